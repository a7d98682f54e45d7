//! How a stream's events are kept.

use serde::{Deserialize, Serialize};

/// The settings of a stream. What is `None` is as usual in this mesh, now and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Events older than this may be forgotten; negative: never.
    pub retention_ms: Option<i64>,
    /// Bytes of one partition above which its oldest events may be forgotten; negative: none.
    pub retention_bytes: Option<i64>,
    /// The largest batch that clients may append.
    pub batch_bytes_max: Option<u32>,
}

impl Settings {
    /// Usually nothing is forgotten.
    pub fn retention_ms(&self) -> Option<u64> {
        self.retention_ms.and_then(|ms| u64::try_from(ms).ok())
    }

    pub fn retention_bytes(&self) -> Option<u64> {
        self.retention_bytes.and_then(|bytes| u64::try_from(bytes).ok())
    }

    /// True if something of the stream may be forgotten some day.
    pub fn forgets(&self) -> bool {
        self.retention_ms().is_some() || self.retention_bytes().is_some()
    }
}
