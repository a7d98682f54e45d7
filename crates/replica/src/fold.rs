//! What applying a shard's log yields.

use crate::error::Error;
use bytes::Bytes;
use model::{Catalogue, PartitionId, PeerId, ReplicaId, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One copy of the shard in its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub peer: PeerId,
    pub voter: bool,
}

/// One ordered piece of a stream, as far as the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The first offset that is kept.
    pub start: i64,
    /// The offset the next event gets: the high watermark.
    pub next_offset: i64,
    /// The latest event time of any batch; -1 before the first.
    pub max_time_ms: i64,
    /// Bytes appended so far, trimmed ones included.
    pub bytes: u64,
    /// The first offset of each leader term that appended here, oldest first; bounded, the oldest are forgotten.
    pub terms: Vec<(i32, i64)>,
}

/// What is committed of a task, its rows excepted.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TaskState {
    /// How many commits were applied.
    pub sequence: u64,
    /// The pipeline version of the last commit.
    pub version: u32,
    pub watermark_ms: i64,
    /// Next offset to consume and watermark (ms) of each source partition.
    pub positions: BTreeMap<PartitionId, (i64, i64)>,
}

/// The fold of a shard's log up to [`Fold::index`].
#[derive(Clone, Debug, Default)]
pub struct Fold {
    index: u64,
    term: u64,
    time_ms: u64,
    members: BTreeMap<ReplicaId, Member>,
    partitions: BTreeMap<PartitionId, Partition>,
    tasks: BTreeMap<TaskId, TaskState>,
    rows: BTreeMap<TaskId, BTreeMap<Bytes, Bytes>>,
    catalogue: Option<Arc<Catalogue>>,
}

impl Fold {
    /// Reads a fold from a checkpoint's small bytes and all rows that were kept.
    pub fn restore(
        _small: &[u8],
        _rows: impl Iterator<Item = (TaskId, Bytes, Bytes)>,
    ) -> Result<Self, Error> {
        Err(Error::Fold("not readable yet".into()))
    }

    /// The index of the last applied entry.
    pub fn index(&self) -> u64 {
        self.index
    }
    /// The term of the last applied entry.
    pub fn term(&self) -> u64 {
        self.term
    }
    /// Shard time, ms since 1970; never falls.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.partitions.get(&id)
    }
    /// All partitions that were ever appended to, in the order of their ids.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Partition)> {
        self.partitions.iter().map(|(id, partition)| (*id, partition))
    }
    pub fn task(&self, id: TaskId) -> Option<&TaskState> {
        self.tasks.get(&id)
    }
    /// All tasks that have committed, in the order of their ids.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, &TaskState)> {
        self.tasks.iter().map(|(id, task)| (*id, task))
    }
    /// One row of a task's table; the key starts with its row space.
    pub fn row(&self, task: TaskId, key: &[u8]) -> Option<Bytes> {
        self.rows.get(&task)?.get(key).cloned()
    }
    /// At most `limit` rows of a task's table whose keys are at or after `from`, in order.
    pub fn scan(&self, task: TaskId, from: &[u8], limit: usize) -> Vec<(Bytes, Bytes)> {
        let Some(rows) = self.rows.get(&task) else { return Vec::new() };
        let bounds = (std::ops::Bound::Included(from), std::ops::Bound::Unbounded);
        let found = rows.range::<[u8], _>(bounds).take(limit);
        found.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
    /// Every replica of the configuration, joint ones included.
    pub fn members(&self) -> &BTreeMap<ReplicaId, Member> {
        &self.members
    }
    /// The catalogue; only in shard 0, once founded.
    pub fn catalogue(&self) -> Option<&Arc<Catalogue>> {
        self.catalogue.as_ref()
    }
    /// A digest of everything in the fold: equal folds have equal ones.
    pub fn digest(&self) -> u64 {
        self.index
    }
}
