//! A peer's place in the roster: it goes when it was told to leave and holds nothing any more, or when it hears that it
//! was taken out; then its host comes back as another peer, with an empty disk.
//!
//! Does what `peer::stay` does.

use super::calls::{Ask, Then};
use super::router::{Who, Wish};
use super::trace::note;
use super::world::{Of, SHARDS, World};
use model::catalogue::{Away, Change};
use model::id::CATALOGUE;
use model::{Op, PeerId, ShardId};
use std::collections::BTreeMap;
use store::SimDisk;

/// How often a peer looks whether it still holds something, µs.
pub const STAY_US: u64 = 500_000;

/// What leaders said of their shards since the last look: the term, and who has a replica.
pub type Survey = BTreeMap<ShardId, (u64, Vec<PeerId>)>;

impl World {
    pub fn stay(&mut self, h: usize) -> Result<(), String> {
        let incarnation = self.hosts[h].incarnation;
        let Some(process) = self.process(h) else { return Ok(()) };
        let me = process.board.me();
        let catalogue = process.board.catalogue();
        if catalogue.has_removed(me) {
            self.go(h);
            return Ok(());
        }
        self.soon(h, STAY_US, Of::Stay);
        if catalogue.away.get(&me) != Some(&Away::Leaving) {
            return Ok(());
        }
        if self.holds_nothing(h) {
            let change = Change::Remove { peer: me, incarnation, shrink: false };
            let wish = Wish::Propose(Op::Catalogue(Box::new(change)));
            self.hold(h, CATALOGUE, wish, Who::Stay)?;
        }
        let Some(process) = self.process(h) else { return Ok(()) };
        process.survey.clear();
        for (peer, key) in self.others(h) {
            self.call(h, &key, Ask::Status, Then::Status(peer));
        }
        Ok(())
    }

    /// No replica is here, and no group counts on one.
    fn holds_nothing(&mut self, h: usize) -> bool {
        let Some(process) = self.process(h) else { return false };
        let (board, survey) = (&process.board, &process.survey);
        (0..SHARDS).map(ShardId).all(|shard| {
            let free = survey.get(&shard).is_some_and(|(_, peers)| !peers.contains(&board.me()));
            free && !board.here(shard)
        })
    }

    /// The process ends; what it kept is of no use to anybody.
    fn go(&mut self, h: usize) {
        note!(self, "h{h} has left the mesh");
        self.outcome.left += 1;
        self.end(h);
        self.replace_disk(h);
    }

    /// The host gets a new disk: it is another peer now.
    pub fn replace_disk(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        host.generation += 1;
        (host.disk, host.head) = (SimDisk::new(), None);
        (host.tables, host.incarnation) = (Default::default(), 0);
        (host.failing, host.spared_until) = (false, None);
        host.rotten.clear();
        self.truth.wiped(h);
    }
}
