//! `GET /v1/ring`: who holds which shard, and where a key lies.

use serde::{Deserialize, Serialize};

/// The question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    pub epoch: u64,
    pub shards: u16,
    pub replication: u8,
    pub rows: Vec<RingRow>,
    /// Where the key of the question lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyPlace>,
}

/// One shard, as the peer that answers knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingRow {
    pub shard: u16,
    pub leader: Option<i32>,
    pub term: u64,
    pub voters: Vec<i32>,
    pub learners: Vec<i32>,
    /// Where the ring wants it, owner first.
    pub target: Vec<i32>,
}

/// Where a key lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPlace {
    pub partition: u32,
    pub shard: u16,
}
