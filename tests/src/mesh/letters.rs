//! The frames of consensus: all letters of one turn for one neighbour.
//!
//! Does what `peer::shards::frame` does.

use super::calls::{Ask, Then};
use super::host::{Letter, host_of};
use super::trace::note;
use super::world::{Of, World};
use model::{PeerId, ReplicaId, ShardId};
use replica::{Arrival, Input, Replica};
use store::Record;

/// How often a replica that is counted on and not here is reported, µs.
const REPORT_US: u64 = 1_000_000;

impl World {
    /// Sends what has gathered, one frame a neighbour; what cannot be sent is lost.
    pub fn send_frames(&mut self, h: usize) {
        let Some(process) = self.process(h) else { return };
        let frames = std::mem::take(&mut process.outgoing);
        let key = self.hosts[h].key();
        for (peer, letters) in frames {
            let process = self.process(h);
            let to = process.and_then(|process| process.board.key_of(peer).map(<[u8]>::to_vec));
            let Some(there) = to.and_then(|to| host_of(&to, &self.hosts)) else { continue };
            for delay in self.network.deliver(h, there, &mut self.dice).into_iter().flatten() {
                let (from, letters) = (key.clone(), letters.clone());
                self.soon(there, delay, Of::Frame { from, letters });
            }
        }
    }

    pub fn on_frame(&mut self, h: usize, from: &[u8], letters: Vec<Letter>) -> Result<(), String> {
        let Some(peer) = self.process(h).and_then(|process| process.board.peer_of(from)) else {
            return Ok(());
        };
        letters.into_iter().try_for_each(|letter| self.on_letter(h, peer, from, letter))
    }

    fn on_letter(
        &mut self,
        h: usize,
        from_peer: PeerId,
        key: &[u8],
        letter: Letter,
    ) -> Result<(), String> {
        let Letter { shard, to, from, message } = letter;
        let Some(process) = self.process(h) else { return Ok(()) };
        let here = process.slot(shard).map(|slot| slot.replica.id());
        match replica::arrival(here, process.tombstones.get(&shard).copied(), to, &message) {
            Arrival::Here => {}
            Arrival::Begin => {
                self.retire(h, shard)?;
                self.begin(h, shard, to)?;
            }
            Arrival::Missing => {
                self.report_missing(h, key, shard, to);
                return Ok(());
            }
        }
        self.step(h, shard, Input::Message { from, from_peer, message }).map(drop)
    }

    pub fn report_missing(&mut self, h: usize, to: &[u8], shard: ShardId, replica: ReplicaId) {
        let now_us = self.now_us();
        let Some(process) = self.process(h) else { return };
        let last = process.reported.get(&(shard, replica)).copied();
        if last.is_some_and(|last| now_us - last < REPORT_US) {
            return;
        }
        process.reported.insert((shard, replica), now_us);
        self.call(h, to, Ask::Replace { shard, replica }, Then::Nothing);
    }

    /// A leader says that this replica is a new learner here.
    fn begin(&mut self, h: usize, shard: ShardId, new: ReplicaId) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let me = process.board.me();
        let config = self.config(h, me, shard);
        let restored = Replica::joining(&config, new);
        let base = restored.base;
        let made = Replica::new(config, restored).map_err(|error| error.to_string())?;
        note!(self, "h{h} {shard} {new} begins");
        if self.hosts[h].spared_until.is_some() {
            // The frame that is about to be lost may be this one's.
            self.hosts[h].damage.insert((shard, new));
        }
        if let Some(process) = self.process(h) {
            // What the tables have is of one that was here before.
            process.durable.remove(&shard);
        }
        self.record(h, Record::Begin { shard, replica: new, base })?;
        self.seat(h, shard, made)?;
        let Some(process) = self.process(h) else { return Ok(()) };
        let (ring, epoch) = (process.board.ring(), process.board.catalogue().epoch);
        let (peers, least) = (ring.target(shard).to_vec(), process.board.least());
        self.step(h, shard, Input::Target { epoch, peers, least }).map(drop)
    }
}
