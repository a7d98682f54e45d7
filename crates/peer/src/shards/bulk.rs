//! Checkpoints and snapshots: what moves folds between memory, tables and neighbours.

use super::{Slot, State};
use crate::keeper::{Due, Exported, Kept};
use crate::limits;
use bytes::Bytes;
use model::{ReplicaId, ShardId};
use replica::{Fold, Input};
use std::collections::BTreeMap;
use store::Record;
use tokio::sync::oneshot;

impl State {
    /// Takes a checkpoint of the folds whose turn it is and that moved, one round at a time. A part of the shards
    /// at a time, so that none is a burst; all, when the journal has grown or somebody waits for it.
    pub(super) fn on_checkpoint(&mut self) {
        if self.keeping || self.fenced {
            return;
        }
        self.flush_appends();
        if !self.appends.is_empty() {
            // A fold must not be on disk before the events that it says are.
            return;
        }
        let part = self.part;
        self.part = (part + 1) % limits::CHECKPOINT_PARTS;
        let all = !self.flushes.is_empty() || self.writer.bytes() >= limits::JOURNAL_BYTES;
        self.flushing = std::mem::take(&mut self.flushes);
        let mut due = Vec::new();
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots[index].as_mut() else { continue };
            let moved = slot.replica.fold().index() > slot.checkpointed;
            let its_turn = all || index % limits::CHECKPOINT_PARTS == part;
            if !(moved && its_turn || slot.wants_manifest) || slot.fetching {
                continue;
            }
            let export = std::mem::take(&mut slot.wants_manifest);
            let checkpoint = slot.replica.fold_mut_checkpoint();
            slot.checkpointed = checkpoint.index;
            let fold = slot.replica.fold();
            due.push(Due {
                shard: ShardId(index as u16),
                replica: slot.replica.id(),
                partitions: fold.partitions().map(|(id, p)| (id, p.start, p.next_offset)).collect(),
                export,
                checkpoint,
            });
        }
        if due.is_empty() {
            self.flushed();
            return;
        }
        self.keeping = true;
        if !self.keeper.keep(due) {
            self.on_fenced("the keeper's thread has ended".to_owned());
        }
    }

    pub(super) fn on_checkpointed(&mut self, kept: Vec<Kept>, exports: Vec<Exported>) {
        self.keeping = false;
        let mut durable = BTreeMap::new();
        for Kept { shard, replica, index } in kept {
            if self.slot(shard).is_some_and(|slot| slot.replica.id() == replica) {
                self.step(shard, Input::Checkpointed { index });
                durable.insert(shard, index);
                self.remove_dropped(shard, index);
            }
        }
        for Exported { shard, replica, index, term, manifest } in exports {
            if self.slot(shard).is_some_and(|slot| slot.replica.id() == replica) {
                self.step(shard, Input::Manifest { index, term, bytes: manifest });
            }
        }
        self.cut(&durable);
        self.settle_aside();
        let wanted = self.slots.iter().flatten().any(|slot| slot.wants_manifest);
        self.flushed();
        if wanted || !self.flushes.is_empty() {
            self.on_checkpoint();
        }
    }

    fn flushed(&mut self) {
        for reply in std::mem::take(&mut self.flushing) {
            // The asker may have stopped waiting; then nobody needs the answer.
            let _ = reply.send(());
        }
    }

    pub(super) fn on_flush(&mut self, reply: oneshot::Sender<()>) {
        self.flushes.push(reply);
        self.on_checkpoint();
    }

    pub(super) fn on_fetched(
        &mut self,
        shard: ShardId,
        replica: ReplicaId,
        message: Bytes,
        fold: Box<Fold>,
    ) {
        let Some(slot) = self.slot(shard) else { return };
        if slot.replica.id() != replica {
            return;
        }
        slot.fetching = false;
        let index = fold.index();
        let partitions: Vec<_> = fold.partitions().map(|(id, p)| (id, p.clone())).collect();
        if !self.step(shard, Input::Fetched { message, fold }) {
            // It caught up by its log meanwhile, or was offered another one. What the store holds of this one is of
            // the same committed log: saves below it change nothing there, and appends skip what it brought.
            tracing::debug!(%shard, %replica, index, "a fetched snapshot is not wanted any more");
            return;
        }
        if let Some(slot) = self.slot(shard) {
            slot.checkpointed = index;
        }
        for (partition, found) in partitions {
            self.args.board.note(partition, &found);
            self.args.board.stream_moved(partition.stream);
        }
        self.catalogue_restored(shard);
    }

    fn catalogue_restored(&mut self, shard: ShardId) {
        let Some(slot) = self.slot(shard) else { return };
        if let Some(catalogue) = slot.replica.fold().catalogue().cloned() {
            self.args.board.learn(catalogue);
        }
    }

    pub(super) fn on_fetch_failed(&mut self, shard: ShardId, replica: ReplicaId) {
        if let Some(slot) = self.slot(shard)
            && slot.replica.id() == replica
        {
            slot.fetching = false;
        }
    }
}

impl State {
    /// Lets the journal forget what is in the tables. Only when it has grown: a cut costs a sync.
    fn cut(&mut self, durable: &BTreeMap<ShardId, u64>) {
        for (shard, index) in durable {
            self.durable.insert(*shard, *index);
        }
        if self.writer.bytes() < limits::JOURNAL_BYTES {
            return;
        }
        let mut carry = BTreeMap::new();
        for (index, slot) in self.slots.iter().enumerate() {
            let shard = ShardId(index as u16);
            if let (Some(slot), Some(durable)) = (slot, self.durable.get(&shard)) {
                carry.insert(shard, live_records(shard, slot, *durable));
            }
        }
        self.writer.cut(self.durable.clone(), carry);
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
