//! What consensus asks the disk to keep, in words that know neither the one nor the other.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One entry of a shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub index: u64,
    pub term: u64,
    pub kind: EntryKind,
    /// An encoded [`crate::Entry`], a configuration change, or nothing (a new leader's first entry).
    pub bytes: Bytes,
}

/// What an entry's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    Normal,
    Configuration,
}

/// What a replica must never forget once it has said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HardState {
    pub term: u64,
    /// The replica id voted for in `term`, 0 for nobody.
    pub vote: u64,
    pub commit: u64,
}
