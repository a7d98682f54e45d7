//! Groups whose coordinator deals the partitions out itself (KIP-848): what a shard's log keeps of one, what its
//! consumers say and are told.
//!
//! Data only: the room `group` deals, `replica` applies what is kept.

use crate::id::PartitionId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A consumer with this epoch is new, or gave everything up and comes in again.
pub const COMES: i32 = 0;
/// It leaves for good.
pub const LEAVES: i32 = -1;
/// Its process ends, and another one that bears its instance's name comes back soon.
pub const AWAY: i32 = -2;

/// Partitions of one consumer.
pub type Hand = BTreeSet<PartitionId>;

/// The group as the log of its shard keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Deal {
    pub round: Round,
    pub consumers: BTreeMap<String, Consumer>,
}

/// Where the group stands as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Round {
    /// Grows by one with each change that is kept: a change counts only on top of the one before it.
    pub version: u64,
    /// Grows when who shares or what is shared becomes another.
    pub epoch: i32,
    /// The epoch for which the targets were dealt.
    pub dealt: i32,
    /// How they were dealt.
    pub assignor: String,
    /// Index of the catalogue they were dealt by: an older one deals nothing.
    pub catalogue: u64,
}

/// One consumer.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Consumer {
    /// A name that outlives the process, if the client gave one: a static consumer.
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub client: String,
    pub host: String,
    /// How long it may take to give up what it owes.
    pub rebalance_ms: u32,
    /// The streams it subscribes to by name, there or not.
    pub names: BTreeSet<String>,
    /// A regular expression of further ones.
    pub pattern: Option<String>,
    /// The assignor it prefers.
    pub assignor: Option<String>,
    /// The epoch it was told last, or [`AWAY`].
    pub epoch: i32,
    /// The one before, with which it comes again if the answer was lost.
    pub previous: i32,
    /// What it is to hold in the end.
    pub target: Hand,
    /// What it may read now: nobody else holds or owes it.
    pub held: Hand,
    /// What it has been told to give up, and has not said to have given up.
    pub owed: Hand,
}

/// A change of the group: these consumers replace what was kept of them.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Redeal {
    /// Its version is one more than that of the round it follows.
    pub round: Round,
    pub put: BTreeMap<String, Consumer>,
    pub gone: BTreeSet<String>,
}

/// A consumer's sign of life, and what is new with it; nothing said is nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Beat {
    /// Empty when an old client wants to be given one.
    pub consumer: String,
    /// The epoch it was told last, or [`COMES`], [`LEAVES`], [`AWAY`].
    pub epoch: i32,
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub client: String,
    pub host: String,
    pub rebalance_ms: Option<u32>,
    pub names: Option<Vec<String>>,
    /// Empty: it wants none any more.
    pub pattern: Option<String>,
    pub assignor: Option<String>,
    /// What it has in its hands.
    pub holds: Option<Hand>,
}

/// What a consumer is told.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Told {
    pub consumer: String,
    pub epoch: i32,
    /// When it is to be heard of again.
    pub beat_ms: u32,
    /// What it may hold, if that is another or it has told everything.
    pub hand: Option<Hand>,
}

/// A group as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Described {
    /// In Kafka's words: `Empty`, `Assigning`, `Reconciling`, `Stable`.
    pub state: String,
    pub deal: Deal,
}

impl Deal {
    /// Takes a change, if it follows what is kept.
    pub fn take(&mut self, redeal: Redeal) -> bool {
        let Redeal { round, put, gone } = redeal;
        if round.version != self.round.version + 1 {
            return false;
        }
        self.round = round;
        self.consumers.retain(|id, _| !gone.contains(id));
        self.consumers.extend(put);
        true
    }

    /// Roughly how many bytes it takes.
    pub fn size(&self) -> usize {
        ROUND_BYTES + self.consumers.iter().map(|(id, it)| id.len() + it.size()).sum::<usize>()
    }
}

/// Roughly how many bytes a round takes.
pub const ROUND_BYTES: usize = 64;
/// A partition's in a hand.
const PART_BYTES: usize = 24;

impl Consumer {
    /// Roughly how many bytes it takes.
    pub fn size(&self) -> usize {
        let parts = self.target.len() + self.held.len() + self.owed.len();
        self.said_size() + parts * PART_BYTES
    }

    /// The same of what it says of itself: without its hands.
    pub fn said_size(&self) -> usize {
        let optional = [&self.instance, &self.rack, &self.pattern, &self.assignor];
        let words: usize = optional.into_iter().flatten().map(String::len).sum();
        let names: usize = self.names.iter().map(|name| 16 + name.len()).sum();
        160 + words + self.client.len() + self.host.len() + names
    }
}

impl Redeal {
    /// Roughly how many bytes it takes in an entry.
    pub fn size(&self) -> usize {
        let put: usize = self.put.iter().map(|(id, it)| id.len() + it.size()).sum();
        ROUND_BYTES + put + self.gone.iter().map(|id| 16 + id.len()).sum::<usize>()
    }
}
