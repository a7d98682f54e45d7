//! What the driver knows of a task when it builds it: the fold's part, and the catalogue's.

use bytes::Bytes;
use model::{PartitionId, StreamId};
use std::collections::BTreeMap;

/// What the fold has of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The term in which this peer leads the task's shard.
    pub term: u64,
    /// The version that runs; 0 if the task never ran.
    pub version: u32,
    pub sequence: u64,
    pub watermark_ms: i64,
    /// Committed offset and watermark of each source partition; none is offset 0 and no watermark.
    pub positions: BTreeMap<PartitionId, (i64, i64)>,
    /// All its rows.
    pub rows: Vec<(Bytes, Bytes)>,
}

impl Default for Restored {
    fn default() -> Self {
        Self {
            term: 0,
            version: 0,
            sequence: 0,
            watermark_ms: i64::MIN,
            positions: BTreeMap::new(),
            rows: Vec::new(),
        }
    }
}

/// The streams around a task, by the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStreams {
    pub output: Option<PartitionId>,
    /// In the order of [`StageCode::sides`].
    pub sides: Vec<PartitionId>,
    pub dead: PartitionId,
    /// In the order of [`StageCode::sources`].
    pub sources: Vec<SourceStream>,
}

/// One stream that the stage reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStream {
    pub stream: StreamId,
    pub partitions: u32,
}
