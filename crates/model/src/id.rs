//! Identities. Each is handed out once, by the log that owns it, and never reused.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A mesh, named by 128 random bits when it is founded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct MeshId(pub u128);

/// A peer of the roster; the same number is its Kafka node id. The founder is 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct PeerId(pub i32);

/// One of the mesh's fixed number of logs, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct ShardId(pub u16);

/// One copy of a shard. Handed out by the shard's own log; the founder's first copy is 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct ReplicaId(pub u64);

/// A stream; also its Kafka topic id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct StreamId(pub u128);

/// A stage of a pipeline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct StageId(pub u128);

/// The ring's version: the catalogue index of the last entry that changed the roster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Epoch(pub u64);

/// One ordered piece of a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct PartitionId {
    pub stream: StreamId,
    pub partition: u32,
}

/// One stage on one bucket of its keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct TaskId {
    pub stage: StageId,
    pub bucket: u32,
}

/// The founder of every mesh is its first peer.
pub const FOUNDER: PeerId = PeerId(1);
/// The catalogue's shard.
pub const CATALOGUE: ShardId = ShardId(0);

macro_rules! shown {
    ($($t:ident $f:literal),*) => {$(
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $f, self.0)
            }
        }
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
shown!(MeshId "{:032x}", PeerId "p{}", ShardId "s{}", ReplicaId "r{}", StreamId "{:032x}", StageId "{:032x}", Epoch "e{}");

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.partition)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.stage, self.bucket)
    }
}
