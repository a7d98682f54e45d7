//! What must hold at every moment, a file each. Each step is held against what it changed; everything against
//! everything now and then, and at the end.

mod bounds;
mod committed;
mod durable;
mod leaders;
mod model_of;
mod owners;
mod reference;
mod segments;
mod views;

use super::trace::note;
use super::world::{SHARDS, World};
use bytes::Bytes;
use committed::Committed;
use durable::Durable;
use flow::Pipelines;
use leaders::Leaders;
use model::{Batch, Catalogue, LogEntry, PartitionId, ReplicaId, ShardId, TaskId};
use model_of::Model;
use owners::Owners;
use reference::Reference;
use replica::Replica;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Record, Recovered};

/// What is known of the whole mesh by somebody who sees everything.
pub struct Truth {
    leaders: Leaders,
    committed: Committed,
    durable: Durable,
    owners: Owners,
    /// A fold of each shard's committed log, made here.
    references: Vec<Reference>,
    /// What the log means, by a second implementation that knows only what clients are promised.
    model: Model,
}

impl Truth {
    pub fn new(code: Arc<Pipelines>) -> Self {
        Self {
            leaders: Leaders::default(),
            committed: Committed::default(),
            durable: Durable::default(),
            owners: Owners::default(),
            references: (0..SHARDS).map(|shard| Reference::new(ShardId(shard))).collect(),
            model: Model::new(code),
        }
    }

    pub fn commits(&self) -> u64 {
        self.model.commits()
    }
    pub fn terms(&self) -> u64 {
        self.leaders.terms()
    }
    pub fn catalogue(&self) -> Option<&Arc<Catalogue>> {
        self.references[0].fold().catalogue()
    }
    /// The bytes that were appended at an offset.
    pub fn batch_at(&self, partition: PartitionId, offset: i64) -> Option<&Bytes> {
        self.model.batch_at(partition, offset)
    }
    /// All batches of a partition, by base offset.
    pub fn batches(&self, partition: PartitionId) -> impl Iterator<Item = (i64, &Bytes)> {
        self.model.batches(partition)
    }
    pub fn next_offset(&self, partition: PartitionId) -> i64 {
        self.model.next_offset(partition)
    }
    /// Where a task has committed that it stands in a source.
    pub fn position(&self, task: TaskId, source: PartitionId) -> i64 {
        self.model.position(task, source)
    }
    /// The committed configuration of a shard.
    pub fn configuration(&self, shard: ShardId) -> &replica::configuration::Configuration {
        self.references[usize::from(shard.0)].fold().configuration()
    }
    /// The last committed entry of a shard that anybody has applied.
    pub fn index(&self, shard: ShardId) -> u64 {
        self.references[usize::from(shard.0)].fold().index()
    }

    /// A replica has a seat: only who was given its id by the log may have it.
    pub fn seated(&mut self, h: usize, shard: ShardId, replica: &Replica) -> Result<(), String> {
        self.owners.seated(h, shard, replica)?;
        self.committed.seated(h, shard, replica);
        Ok(())
    }

    /// A replica fell silent: nobody counts on what its disk had.
    pub fn silenced(&mut self, h: usize, shard: ShardId) {
        self.durable.lose(h, shard);
    }

    /// A disk is gone.
    pub fn wiped(&mut self, h: usize) {
        (0..SHARDS).for_each(|shard| self.durable.lose(h, ShardId(shard)));
    }

    pub fn written(
        &mut self,
        h: usize,
        shard: ShardId,
        entries: &[LogEntry],
    ) -> Result<(), String> {
        self.committed.written(h, shard, entries)
    }

    pub fn synced(&mut self, h: usize, records: &[Record]) {
        self.durable.synced(h, records);
    }

    pub fn recovered(
        &mut self,
        h: usize,
        found: &Recovered,
        damaged: &BTreeSet<(ShardId, ReplicaId)>,
    ) -> Result<(), String> {
        self.durable.recovered(h, found, damaged)
    }

    pub fn appended(&mut self, h: usize, id: PartitionId, batch: &Batch) -> Result<(), String> {
        let base = batch.base_offset();
        match self.model.batch_at(id, base) {
            // Committed by who applied it first: the log says it before anybody else hears of it.
            None => Ok(()),
            Some(there) if there == batch.bytes() => Ok(()),
            Some(_) => Err(format!("h{h}: offset {base} of {id:?} has two batches")),
        }
    }

    pub fn role(
        &mut self,
        h: usize,
        shard: ShardId,
        replica: &Replica,
        term: u64,
        leading: bool,
    ) -> Result<(), String> {
        self.leaders.role(h, shard, replica, term, leading)?;
        if leading {
            self.owners.leads(h, shard, replica)?;
        }
        Ok(())
    }

    /// A replica has applied further: every entry it applied is the committed one, is on a quorum's disk, and means
    /// what it must. True if that moved the shard's configuration.
    pub fn applied(&mut self, h: usize, shard: ShardId, replica: &Replica) -> Result<bool, String> {
        let index = replica.fold().index();
        let place = usize::from(shard.0);
        let known = self.references[place].fold().index();
        self.committed.applied(h, shard, replica)?;
        let mut moved = false;
        if index > known {
            let mut expected = known + 1;
            for entry in replica.entries_above(known) {
                if entry.index > index {
                    break;
                }
                if entry.index != expected {
                    return Err(format!("h{h} {shard} applied {expected} without having it"));
                }
                expected += 1;
                moved |= self.commit(h, shard, &entry)?;
            }
            if expected != index + 1 {
                return Err(format!("h{h} {shard} applied {index}, nobody has entry {expected}"));
            }
        }
        self.references[place].matches(h, replica, false)?;
        Ok(moved)
    }

    /// An entry is applied for the first time.
    fn commit(&mut self, h: usize, shard: ShardId, entry: &LogEntry) -> Result<bool, String> {
        let reference = &mut self.references[usize::from(shard.0)];
        let before = reference.fold().configuration().clone();
        let told = reference.apply(entry)?;
        let after = reference.fold().configuration();
        // Consensus counts by the configuration that its leader has applied, which may be one behind.
        let counted = [reference.earlier(), &before, after];
        let held = counted.iter().any(|c| self.durable.has_quorum(shard, c, entry));
        if !held {
            let (index, term) = (entry.index, entry.term);
            let whose = self.durable.holders(shard, entry);
            return Err(format!(
                "h{h} {shard}: entry {index} of term {term} is applied but only on the disks of {whose:?}"
            ));
        }
        self.committed.commit(shard, entry)?;
        self.owners.configured(shard, reference.fold().configuration());
        let moved = reference.moved(before);
        let catalogue = self.references[0].fold().catalogue().cloned();
        let fold = self.references[usize::from(shard.0)].fold();
        self.model.apply(shard, entry, &told, (fold, catalogue.as_deref()))?;
        Ok(moved)
    }

    /// Everything against everything.
    pub fn check(&mut self, h: usize, shard: ShardId, replica: &Replica) -> Result<(), String> {
        self.references[usize::from(shard.0)].matches(h, replica, true)
    }

    /// The whole of what was folded here, by both implementations.
    pub fn check_reference(&self) -> Result<(), String> {
        let folds = self.references.iter().map(Reference::fold);
        folds.clone().try_for_each(|fold| self.model.matches(fold))?;
        self.model.is_whole_in(folds)
    }
}

impl World {
    /// The full check.
    pub fn check_all(&mut self) -> Result<(), String> {
        for h in 0..self.hosts.len() {
            let Some(process) = self.hosts[h].process.as_deref() else { continue };
            for (shard, slot) in (0..SHARDS).map(ShardId).zip(&process.slots) {
                let Some(slot) = slot else { continue };
                self.truth.check(h, shard, &slot.replica)?;
                bounds::of_replica(h, shard, slot, (process, &self.menu))?;
            }
            bounds::of_process(h, process, &self.menu)?;
        }
        note!(self, "checked");
        self.truth.check_reference()
    }
}
