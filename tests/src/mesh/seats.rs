//! How a replica gets its seat in a process, and what is left when it goes.
//!
//! Does what `peer::shards` does about it.

use super::host::Slot;
use super::world::{MESH, REPLICATION, SHARDS, World};
use model::{PeerId, ShardId};
use replica::{Config, Fold, Replica};
use store::Record;

impl World {
    pub fn config(&self, h: usize, peer: PeerId, shard: ShardId) -> Config {
        let life = self.hosts[h].life();
        let seed = self.seed ^ (h as u64) << 32 ^ life << 40 ^ u64::from(shard.0) << 48;
        Config { shard, mesh: MESH, shards: SHARDS, replication: REPLICATION, peer, seed }
    }

    /// Gives a replica its seat and publishes what it has applied.
    pub fn seat(&mut self, h: usize, shard: ShardId, mut replica: Replica) -> Result<(), String> {
        let (tail, follower) = self.menu.log_bytes;
        replica.keep_log(tail, follower);
        self.truth.seated(h, shard, &replica)?;
        let catalogue = replica.fold().catalogue().cloned();
        let Some(process) = self.process(h) else { return Ok(()) };
        for (partition, found) in replica.fold().partitions() {
            process.board.set_mark(partition, (found.start, found.next_offset));
        }
        for (task, standing) in replica.fold().tasks() {
            process.board.set_promise(task, (standing.watermark_ms, standing.is_idle));
        }
        process.board.set_here(shard, true);
        let slot = Slot {
            checkpointed: replica.fold().index(),
            found_bytes: replica.status().log_bytes,
            replica,
            wants_manifest: false,
            fetching: false,
            dirty: false,
        };
        process.slots[usize::from(shard.0)] = Some(slot);
        match catalogue {
            Some(catalogue) => self.learn(h, catalogue),
            None => Ok(()),
        }
    }

    /// Answers what waits at the replica here before a newer one takes its place.
    pub fn retire(&mut self, h: usize, shard: ShardId) -> Result<(), String> {
        let mut actions = Vec::new();
        let Some(slot) = self.process(h).and_then(|process| process.slot(shard)) else {
            return Ok(());
        };
        slot.replica.retire(&mut actions);
        self.carry_out(h, shard, actions)?;
        self.remove(h, shard)
    }

    /// The replica here is no more: its tombstone outlives it, its files do not.
    pub fn remove(&mut self, h: usize, shard: ShardId) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(slot) = process.slots[usize::from(shard.0)].take() else { return Ok(()) };
        let id = slot.replica.id();
        process.tombstones.insert(shard, id);
        process.durable.remove(&shard);
        process.appends.retain(|_, (of, _)| *of != shard);
        process.board.set_here(shard, false);
        process.board.led(shard, 0, None, false);
        self.record(h, Record::Tombstone { shard, replica: id })?;
        self.drop_files(h, shard, slot.replica.fold());
        self.schedule_turn(h);
        Ok(())
    }

    fn drop_files(&mut self, h: usize, shard: ShardId, fold: &Fold) {
        let Some(process) = self.process(h) else { return };
        for (partition, _) in fold.partitions() {
            process.board.forget_mark(partition);
            // As in the product, files that cannot be removed stay behind.
            let _ = process.segments.remove(partition);
        }
        for (task, _) in fold.tasks() {
            process.board.forget_promise(task);
        }
        self.hosts[h].tables.remove(shard);
    }
}
