//! What was committed: partitions and tasks, changed only by commits whose assumptions hold.

use crate::{Event, Restored};
use bytes::Bytes;
use model::entry::{Commit, row};
use model::{Batch, BatchBuilder, PartitionId, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// The folds of all shards, as one.
#[derive(Debug, Default)]
pub(super) struct Fold {
    logs: BTreeMap<PartitionId, Vec<Batch>>,
    tasks: BTreeMap<TaskId, Kept>,
    commits: u64,
}

/// What is committed of a task.
#[derive(Debug)]
struct Kept {
    sequence: u64,
    version: u32,
    watermark_ms: i64,
    is_idle: bool,
    positions: BTreeMap<PartitionId, (i64, i64)>,
    rows: BTreeMap<Bytes, Bytes>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            sequence: 0,
            version: 0,
            watermark_ms: i64::MIN,
            is_idle: false,
            positions: BTreeMap::new(),
            rows: BTreeMap::new(),
        }
    }
}

impl Fold {
    pub(super) fn next_offset(&self, partition: PartitionId) -> i64 {
        self.logs.get(&partition).and_then(|log| log.last()).map_or(0, Batch::next_offset)
    }

    pub(super) fn append(&mut self, partition: PartitionId, batch: BatchBuilder) {
        if let Ok(batch) = batch.build() {
            self.place(partition, &batch);
        }
    }

    fn place(&mut self, partition: PartitionId, batch: &Batch) {
        let at = self.next_offset(partition);
        self.logs.entry(partition).or_default().push(batch.placed(at, 1));
    }

    /// Up to `count` batches from the one that holds `from`.
    pub(super) fn read(&self, partition: PartitionId, from: i64, count: usize) -> Vec<Batch> {
        let log = self.logs.get(&partition).map_or(&[][..], Vec::as_slice);
        let first = log.partition_point(|batch| batch.next_offset() <= from);
        log[first..].iter().take(count).cloned().collect()
    }

    pub(super) fn events(&self, partition: PartitionId) -> Vec<Event> {
        let batches = self.logs.get(&partition).map_or(&[][..], Vec::as_slice);
        let records = batches
            .iter()
            .flat_map(|batch| batch.records(usize::MAX).expect("own batches are plain").flatten());
        records.map(|record| Event::of(record, partition.partition)).collect()
    }

    /// How many commits were applied.
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    /// A task's watermark, and whether it is idle.
    pub(super) fn promise(&self, task: TaskId) -> (i64, bool) {
        self.tasks.get(&task).map_or((i64::MIN, false), |kept| (kept.watermark_ms, kept.is_idle))
    }

    pub(super) fn restored(&self, task: TaskId) -> Restored {
        let Some(kept) = self.tasks.get(&task) else {
            return Restored { term: 1, ..Restored::default() };
        };
        Restored {
            term: 1,
            version: kept.version,
            sequence: kept.sequence,
            watermark_ms: kept.watermark_ms,
            positions: kept.positions.clone(),
            rows: kept.rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        }
    }

    /// Applies a commit, if what it assumes is so; returns the new sequence.
    pub(super) fn apply(&mut self, commit: &Commit) -> Option<u64> {
        let kept = self.tasks.entry(commit.task).or_default();
        let at = |source| kept.positions.get(&source).map_or(0, |(offset, _)| *offset);
        let holds = commit.sequence == kept.sequence
            && commit.version >= kept.version
            && commit.moves.iter().all(|step| step.from == at(step.source) && step.to >= step.from);
        if !holds {
            return None;
        }
        assert!(commit.watermark_ms >= kept.watermark_ms, "a watermark fell");
        for step in &commit.moves {
            let last = kept.positions.insert(step.source, (step.to, step.watermark_ms));
            let last = last.map_or(i64::MIN, |(_, watermark_ms)| watermark_ms);
            assert!(step.watermark_ms >= last, "a source's watermark fell");
        }
        kept.sequence += 1;
        self.commits += 1;
        kept.version = commit.version;
        kept.watermark_ms = commit.watermark_ms;
        kept.is_idle = commit.is_idle;
        let keys: BTreeSet<&[u8]> = commit.changes.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), commit.changes.count(), "a commit says each key once");
        for (key, value) in commit.changes.iter() {
            let key = Bytes::copy_from_slice(key);
            match value {
                Some(value) => _ = kept.rows.insert(key, Bytes::copy_from_slice(value)),
                None => _ = kept.rows.remove(&key),
            }
        }
        let sequence = kept.sequence;
        for (partition, batch) in commit.emitted.iter().zip(&commit.batches) {
            let batch = Batch::one(batch.clone()).expect("a task emits whole batches");
            self.place(*partition, &batch);
        }
        Some(sequence)
    }

    /// The value of a view's row.
    pub(super) fn row(&self, task: TaskId, key: &[u8]) -> Option<&Bytes> {
        let mut full = vec![row::VIEW];
        full.extend_from_slice(key);
        self.tasks.get(&task)?.rows.get(&full[..])
    }

    /// How many rows there are that no client sees.
    pub(super) fn kept(&self, task: TaskId) -> usize {
        let rows = self.tasks.get(&task).into_iter().flat_map(|kept| kept.rows.keys());
        rows.filter(|key| key.first() != Some(&row::VIEW)).count()
    }

    /// Rows of a space, without the byte that says it.
    pub(super) fn rows(&self, task: TaskId, space: u8) -> impl Iterator<Item = (Bytes, &Bytes)> {
        let rows = self.tasks.get(&task).into_iter().flat_map(|kept| &kept.rows);
        rows.filter(move |(key, _)| key.first() == Some(&space))
            .map(|(key, value)| (key.slice(1..), value))
    }
}
