//! Checkpoints, exports and cuts: what moves folds between memory, tables and neighbours.
//!
//! Does what `peer::shards::bulk` does.

use super::host::Slot;
use super::trace::note;
use super::world::{Of, World};
use super::writer::Due;
use bytes::Bytes;
use model::{PartitionId, ReplicaId, ShardId, TaskId, codec};
use replica::{Fold, Input};
use std::collections::BTreeMap;
use store::Record;

/// The shards are taken in so many parts, one after the other.
const PARTS: usize = 4;
/// The version of a manifest's and an export's bytes.
const VERSION: u8 = 1;

/// What consensus carries: shard, index, the export's size, and the partitions with start and next offset.
pub type Manifest = (ShardId, u64, usize, Vec<(PartitionId, i64, i64)>);
/// An export's content: the small fold and all rows.
pub type Content = (Vec<u8>, Vec<(TaskId, Bytes, Bytes)>);

/// Makes a manifest and its export.
pub fn export(
    shard: ShardId,
    index: u64,
    small: Vec<u8>,
    rows: Vec<(TaskId, Bytes, Bytes)>,
    partitions: Vec<(PartitionId, i64, i64)>,
) -> (Bytes, Bytes) {
    let content: Content = (small, rows);
    let bytes = Bytes::from(codec::encode(VERSION, &content));
    let manifest: Manifest = (shard, index, bytes.len(), partitions);
    (codec::encode(VERSION, &manifest).into(), bytes)
}

pub fn manifest_of(bytes: &[u8]) -> Result<Manifest, String> {
    codec::decode(VERSION, bytes).map_err(|error| error.to_string())
}

pub fn content_of(bytes: &[u8]) -> Result<Content, String> {
    codec::decode(VERSION, bytes).map_err(|error| error.to_string())
}

fn all_rows(fold: &Fold) -> Vec<(TaskId, Bytes, Bytes)> {
    let bytes = Bytes::copy_from_slice;
    fold.rows().map(|(task, key, value)| (task, bytes(key), bytes(value))).collect()
}

impl World {
    pub fn on_checkpoint_time(&mut self, h: usize) -> Result<(), String> {
        let next = self.dice.range(300_000, 1_200_000);
        self.soon(h, next, Of::Checkpoint);
        self.checkpoint(h)
    }

    /// Takes a checkpoint of the folds whose turn it is and that moved, one round at a time; of all, when the journal has
    /// grown.
    pub fn checkpoint(&mut self, h: usize) -> Result<(), String> {
        let most = self.menu.journal_bytes;
        let Some(process) = self.process(h) else { return Ok(()) };
        if process.keeping || process.writer.is_fenced() {
            return Ok(());
        }
        self.flush_appends(h)?;
        let Some(process) = self.process(h) else { return Ok(()) };
        let part = process.part;
        process.part = (part + 1) % PARTS;
        let all = process.writer.bytes() >= most;
        let mut due = Vec::new();
        for (index, slot) in process.slots.iter_mut().enumerate() {
            let Some(slot) = slot else { continue };
            let moved = slot.replica.fold().index() > slot.checkpointed;
            let its_turn = all || index % PARTS == part;
            if !(moved && its_turn || slot.wants_manifest) || slot.fetching {
                continue;
            }
            let wanted = std::mem::take(&mut slot.wants_manifest);
            let checkpoint = slot.replica.fold_mut_checkpoint();
            slot.checkpointed = checkpoint.index;
            let fold = slot.replica.fold();
            due.push(Due {
                shard: ShardId(index as u16),
                replica: slot.replica.id(),
                partitions: fold.partitions().map(|(id, p)| (id, p.start, p.next_offset)).collect(),
                export: wanted.then(|| all_rows(fold)),
                checkpoint,
            });
        }
        if due.is_empty() {
            return Ok(());
        }
        process.keeping = true;
        let slow_us = self.hosts[h].slow_us;
        let delay = self.dice.range(500, 30_000 + 4 * slow_us);
        note!(self, "h{h} keeps {} folds", due.len());
        self.soon(h, delay, Of::Kept(due));
        Ok(())
    }

    pub fn on_checkpointed(
        &mut self,
        h: usize,
        kept: Vec<(ShardId, ReplicaId, u64)>,
        exported: Vec<(ShardId, ReplicaId, (u64, u64), Bytes)>,
    ) -> Result<(), String> {
        if let Some(process) = self.process(h) {
            process.keeping = false;
        }
        let mut durable = BTreeMap::new();
        for (shard, replica, index) in kept {
            if self.is_here(h, shard, replica) {
                self.step(h, shard, Input::Checkpointed { index })?;
                durable.insert(shard, index);
            }
        }
        for (shard, replica, (index, term), bytes) in exported {
            if self.is_here(h, shard, replica) {
                self.step(h, shard, Input::Manifest { index, term, bytes })?;
            }
        }
        self.cut(h, durable)?;
        let Some(process) = self.process(h) else { return Ok(()) };
        let wanted = process.slots.iter().flatten().any(|slot| slot.wants_manifest);
        if wanted { self.checkpoint(h) } else { Ok(()) }
    }

    pub fn is_here(&mut self, h: usize, shard: ShardId, replica: ReplicaId) -> bool {
        let slot = self.process(h).and_then(|process| process.slot(shard));
        slot.is_some_and(|slot| slot.replica.id() == replica)
    }

    /// Lets the journal forget what is in the tables. Only when it has grown: a cut costs a sync.
    fn cut(&mut self, h: usize, durable: BTreeMap<ShardId, u64>) -> Result<(), String> {
        let most = self.menu.journal_bytes;
        let Some(process) = self.process(h) else { return Ok(()) };
        process.durable.extend(durable);
        if process.writer.bytes() < most {
            return Ok(());
        }
        let mut carry = BTreeMap::new();
        for (index, slot) in process.slots.iter().enumerate() {
            let shard = ShardId(index as u16);
            if let (Some(slot), Some(durable)) = (slot, process.durable.get(&shard)) {
                carry.insert(shard, live_records(shard, slot, *durable));
            }
        }
        let durable = process.durable.clone();
        process.writer.cut(durable, carry);
        self.run_writer(h)
    }
}

/// What a shard still needs of the journal: its hard state and the entries above its durable index.
fn live_records(shard: ShardId, slot: &Slot, durable: u64) -> Vec<Record> {
    let replica = slot.replica.id();
    let hard = Record::Hard { shard, replica, hard: slot.replica.hard() };
    let entries = slot.replica.entries_above(durable);
    if entries.is_empty() {
        return vec![hard];
    }
    vec![hard, Record::Entries { shard, replica, entries }]
}
