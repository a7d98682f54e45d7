//! Transactions of Kafka's producers: what logs keep of them, and how they change.
//!
//! A transaction has a coordinator, the shard its id hashes to, which knows its parts and how it ends; and parts, the
//! partitions and groups it writes to, each in its own shard, which know only whether it is open there. Data only.

use crate::group::{Caller, Committed};
use crate::id::{PartitionId, ShardId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a transaction writes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// With its shard, which is found without the catalogue: that may know the stream no more, or not yet.
    Partition(PartitionId, ShardId),
    Group(String),
}

/// A transactional producer, as its coordinator's log keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    pub producer: i64,
    pub epoch: i16,
    /// Grows with each transaction of this id: what is said of an older one is known to be late.
    pub number: u64,
    pub timeout_ms: u32,
    pub phase: Phase,
    /// Shard time of the last change.
    pub touched_ms: u64,
    /// What made the present epoch: a repeated wish for it is answered again.
    pub nonce: u128,
    /// The producer and epoch that asked for the present epoch, until it is used: whoever missed the answer asks with them
    /// once more.
    pub last: Option<(i64, i16)>,
}

/// Where a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// None is open; how the last one ended, if there was one.
    Idle {
        committed: Option<bool>,
    },
    Open {
        since_ms: u64,
        parts: BTreeSet<Part>,
    },
    /// It is decided; the parts are being told.
    Ending {
        commit: bool,
        parts: BTreeSet<Part>,
    },
}

/// A change at the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The client's name for its producer.
    pub id: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A producer begins: it gets an epoch that no earlier one has, and their open transaction ends.
    Init {
        timeout_ms: u32,
        nonce: u128,
        before: Option<(i64, i16)>,
    },
    Add {
        producer: i64,
        epoch: i16,
        parts: Vec<Part>,
    },
    End {
        producer: i64,
        epoch: i16,
        commit: bool,
    },
    /// The transaction has been open for too long, says the leader; apply looks for itself.
    Expire {
        number: u64,
    },
    /// All parts know how it ended.
    Ended {
        number: u64,
    },
}

/// What a change is answered once applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Changed {
    Begun {
        producer: i64,
        epoch: i16,
    },
    /// The parts are in the transaction of this number.
    Added {
        number: u64,
    },
    /// It is decided how it ends: the parts are to be told.
    Ending,
    Done,
    /// The last transaction still ends: again, a little later.
    Busy,
    /// Nobody has this id, or another producer.
    Unknown,
    /// A later producer has taken the id.
    Fenced,
    /// There is nothing to end in this way.
    Invalid,
    /// A bound is reached.
    Full,
}

/// A change at a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub part: Part,
    pub producer: i64,
    pub epoch: i16,
    pub what: StepWhat,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepWhat {
    /// From now on the producer's writes of this transaction are taken.
    Open {
        number: u64,
    },
    /// Offsets that count once the transaction is committed (groups only), and the consumer whose they are, if it is one
    /// of a generation.
    Offsets(Option<Caller>, Vec<(PartitionId, Committed)>),
    Close {
        number: u64,
        commit: bool,
    },
}

/// What a step is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stepped {
    Done,
    /// The transaction has ended, or was never opened here: nothing changed.
    Closed,
    Full,
    /// The group has another generation by now, or not this consumer.
    Stale,
}

/// A transaction that was given up, in one partition: its events from `first` on do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aborted {
    pub producer: i64,
    pub first: i64,
    /// The offset of the marker.
    pub last: i64,
}

impl Aborted {
    /// Whether a producer's event at an offset is one of those.
    pub fn covers(&self, producer: i64, offset: i64) -> bool {
        self.producer == producer && (self.first..=self.last).contains(&offset)
    }
}

impl Part {
    pub fn size(&self) -> usize {
        match self {
            Self::Partition(..) => 40,
            Self::Group(name) => 32 + name.len(),
        }
    }
}

impl Change {
    /// Roughly how many bytes it takes in an entry.
    pub fn size(&self) -> usize {
        let parts = match &self.what {
            What::Add { parts, .. } => parts.iter().map(Part::size).sum(),
            _ => 0,
        };
        96 + self.id.len() + parts
    }
}

impl Step {
    /// Roughly how many bytes it takes in an entry.
    pub fn size(&self) -> usize {
        let offsets = match &self.what {
            StepWhat::Offsets(_, offsets) => offsets.iter().map(|(_, it)| it.size()).sum(),
            _ => 0,
        };
        64 + self.part.size() + offsets
    }
}
