//! What a process does by itself now and then.
//!
//! Does what the duties of `peer::peer` do.

use super::calls::{Ask, Then};
use super::router::{Heard, Held, Reply, Who, Wish};
use super::world::{Of, World};
use model::id::CATALOGUE;
use model::{Op, PeerId};

/// How often the catalogue is pulled where no replica of it is here, µs.
pub const FOLLOW_US: u64 = 500_000;
const DUTY_AGAIN_US: u64 = 200_000;
/// How often a peer says which of its replicas are in doubt, µs.
pub const DOUBTS_US: u64 = 1_000_000;

impl World {
    /// Tells the catalogue the next thing that this start has to tell it.
    pub fn duty(&mut self, h: usize) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(change) = process.duties.front().cloned() else { return Ok(()) };
        let wish = Wish::Propose(Op::Catalogue(Box::new(change)));
        self.hold(h, CATALOGUE, wish, Who::Duty)
    }

    pub fn duty_done(&mut self, h: usize, held: &Held, reply: &Reply) {
        let done = matches!(reply, Ok(Heard::Answer(_)));
        let Some(process) = self.process(h) else { return };
        if done && matches!(held.wish, Wish::Propose(_)) {
            process.duties.pop_front();
        }
        let delay = if done { 100 } else { DUTY_AGAIN_US };
        self.soon(h, delay, Of::Duty);
    }

    /// Asks for new replicas in place of those in doubt until they are here.
    pub fn tell_doubts(&mut self, h: usize) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let board = &process.board;
        let ring = board.ring();
        let wanted = |shard| ring.target(shard).contains(&board.me());
        process.doubts.retain(|(shard, _)| !board.here(*shard) && wanted(*shard));
        let doubts = process.doubts.clone();
        for (shard, replica) in &doubts {
            for (_, key) in self.others(h) {
                let ask = Ask::Replace { shard: *shard, replica: *replica };
                self.call(h, &key, ask, Then::Nothing);
            }
        }
        if !doubts.is_empty() {
            self.soon(h, DOUBTS_US, Of::Doubts);
        }
        Ok(())
    }

    /// Pulls the catalogue where no replica of it is here or none is led, and learns who leads what elsewhere.
    pub fn follow(&mut self, h: usize) -> Result<(), String> {
        self.soon(h, FOLLOW_US, Of::Follow);
        let Some(process) = self.process(h) else { return Ok(()) };
        let board = &process.board;
        if !board.here(CATALOGUE) || board.leader(CATALOGUE).is_none() {
            self.pull_catalogue(h);
        }
        let Some(process) = self.process(h) else { return Ok(()) };
        let elsewhere = process.board.shards().any(|shard| !process.board.here(shard));
        if elsewhere {
            for (peer, key) in self.others(h) {
                self.call(h, &key, Ask::Status, Then::Status(peer));
            }
        }
        Ok(())
    }

    /// Asks who is said to lead the catalogue's shard, and one peer more, another each time.
    fn pull_catalogue(&mut self, h: usize) {
        let others = self.others(h);
        let Some(process) = self.process(h) else { return };
        let since = process.board.catalogue().index;
        let leader = process.board.leader(CATALOGUE);
        let next = others.iter().find(|(peer, _)| *peer > process.asked).or(others.first());
        process.asked = next.map_or(PeerId(0), |(peer, _)| *peer);
        let next = next.map(|(peer, _)| *peer);
        for (_, key) in
            others.iter().filter(|(peer, _)| Some(*peer) == leader || Some(*peer) == next)
        {
            self.call(h, key, Ask::Catalogue { since }, Then::Catalogue);
        }
    }
}
