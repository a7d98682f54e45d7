//! Where a task stands: what its shard's log has committed of it.

use model::PartitionId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is committed of a task, its rows excepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// How many commits were applied.
    pub sequence: u64,
    /// The pipeline version of the last commit.
    pub version: u32,
    /// `i64::MIN` before the first event.
    pub watermark_ms: i64,
    /// Whether all its sources were idle at the last commit.
    pub is_idle: bool,
    /// Next offset to consume and watermark (ms) of each source partition.
    pub positions: BTreeMap<PartitionId, (i64, i64)>,
}

impl Default for TaskState {
    fn default() -> Self {
        Self {
            sequence: 0,
            version: 0,
            watermark_ms: i64::MIN,
            is_idle: false,
            positions: BTreeMap::new(),
        }
    }
}
