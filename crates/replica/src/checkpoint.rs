//! What a replica is started from, and what it gives to be kept.

use crate::fold::Fold;
use bytes::Bytes;
use model::{HardState, LogEntry, ReplicaId, TaskId};

/// What the disk kept of a replica: the fold of a checkpoint and the journal after it.
#[derive(Clone, Debug)]
pub struct Restored {
    pub replica: ReplicaId,
    pub fold: Fold,
    pub hard: HardState,
    /// In order, without a gap; the first follows `base`.
    pub entries: Vec<LogEntry>,
    /// Index and term before the first of `entries`; at or below the fold's.
    pub base: (u64, u64),
}

/// The fold at one index, and what changed in its rows since the last one taken.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub index: u64,
    pub term: u64,
    pub hard: HardState,
    /// The encoded fold without rows, for [`Fold::restore`].
    pub small: Vec<u8>,
    /// Rows put (`Some`) or removed (`None`) since the last checkpoint that was taken.
    pub rows: Vec<(TaskId, Bytes, Option<Bytes>)>,
}
