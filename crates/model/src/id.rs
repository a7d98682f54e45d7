//! Identities. Each is handed out once, by the log that owns it, and never reused.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A mesh, named by 128 random bits when it is founded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct MeshId(pub u128);

impl MeshId {
    /// The mesh after a quorum of it was given up by hand: another one to all who were not there.
    pub fn recovered(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// True if this is that mesh after one recovery or more. Ids are drawn: no two meshes lie so near each other.
    pub fn is_recovered_from(self, earlier: Self) -> bool {
        (1..=u128::from(u16::MAX)).contains(&self.0.wrapping_sub(earlier.0))
    }
}

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

/// An idempotent producer of a Kafka client: a number of 63 bits to the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProducerId {
    /// Whose log has issued it …
    pub shard: ShardId,
    /// … as the how-many-eth, from 1.
    pub count: i64,
}

impl ProducerId {
    const COUNT_BITS: u32 = 47;

    /// Reads a client's number; none if no shard could ever issue it.
    pub fn read(number: i64) -> Option<Self> {
        let count = number & ((1 << Self::COUNT_BITS) - 1);
        let shard = u16::try_from(number >> Self::COUNT_BITS).ok()?;
        (count > 0).then_some(Self { shard: ShardId(shard), count })
    }

    /// The number a client is told.
    pub fn number(self) -> i64 {
        i64::from(self.shard.0) << Self::COUNT_BITS | self.count
    }
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
