//! Groups: consumers that share streams. What a shard's log keeps of one, what its consumers ask and are told.
//!
//! Data only: the room `group` decides who shares what, `replica` applies what is kept.

use crate::deal::{self, Deal, Redeal};
use crate::id::PartitionId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A group as the log of its shard keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Group {
    pub formed: Formed,
    /// Its coordinator deals out, instead of a consumer: then no generation has consumers.
    pub deal: Option<Deal>,
    /// The next offset to consume of each partition.
    pub offsets: BTreeMap<PartitionId, Committed>,
    /// What open transactions will add to them, by producer.
    pub pending: BTreeMap<i64, Pending>,
    /// Shard time of the last change: a group without consumers is forgotten some days after it.
    pub touched_ms: u64,
}

/// The consumers of one generation, and what each was assigned.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Formed {
    /// Grows with each generation; 0 before the first.
    pub generation: i32,
    /// What its clients are for, in their own word; empty until somebody joins.
    pub kind: String,
    /// How they share, in their own word: the name of an assignor.
    pub protocol: String,
    /// The consumer that shares out.
    pub leader: String,
    pub consumers: BTreeMap<String, Consumer>,
}

/// One consumer of a generation. `subscription` and `assignment` are the clients' own bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Consumer {
    /// A name that outlives the process, if the client gave one: a static consumer.
    pub instance: Option<String>,
    pub client: String,
    pub host: String,
    pub session_ms: u32,
    pub rebalance_ms: u32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Committed {
    pub offset: i64,
    /// The leader epoch of the last consumed event, or -1.
    pub epoch: i32,
    /// The client's own words.
    pub metadata: String,
}

/// Offsets that count once their transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pending {
    pub epoch: i16,
    pub number: u64,
    pub offsets: BTreeMap<PartitionId, Committed>,
}

/// A change of one group, computed by its coordinator: whoever led the shard in `term`. In an entry of
/// another term it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub group: String,
    pub term: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A generation is complete; it replaces the one before.
    Form(Formed),
    /// Consumers have come this far.
    Commit(Vec<(PartitionId, Committed)>),
    /// Forgets a group that has no consumers.
    Delete,
    /// The coordinator has dealt, or consumers gave up or took what was dealt.
    Deal(Redeal),
}

/// What a change is answered once applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Changed {
    Done,
    /// It was computed in another term or for an older generation: nothing changed.
    Stale,
    /// A bound is reached: nothing changed.
    Full,
    /// There is no such group.
    Missing,
    /// The group has consumers.
    InUse,
}

/// What is asked of a group's coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    Join(Join),
    Sync(Sync),
    /// A sign of life.
    Beat(Caller),
    /// Consumers leave, each by its id, its instance or both.
    Leave(Vec<(String, Option<String>)>),
    Commit {
        caller: Caller,
        offsets: Vec<(PartitionId, Committed)>,
    },
    Describe,
    Delete,
    /// A consumer of a group whose coordinator deals out.
    Hold(Box<deal::Beat>),
    /// May this consumer read offsets?
    Read(Caller),
    /// The same as `Describe`, of a group whose coordinator deals out.
    DescribeDeal,
}

/// A consumer wants to be in the next generation.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Join {
    /// Empty when it has no id yet.
    pub consumer: String,
    pub instance: Option<String>,
    pub client: String,
    pub host: String,
    pub session_ms: i32,
    pub rebalance_ms: i32,
    pub kind: String,
    /// The ways to share that it knows, best first, each with its subscription.
    pub protocols: Vec<(String, Bytes)>,
    /// It comes back with the id that it is given before it is counted.
    pub comes_back: bool,
    /// It can be told to lead without sharing out anew.
    pub skips: bool,
}

/// Who asks, as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Caller {
    /// Negative when it belongs to no generation.
    pub generation: i32,
    pub consumer: String,
    pub instance: Option<String>,
}

/// A consumer asks for its assignment; the leader brings everybody's.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sync {
    pub caller: Caller,
    pub kind: Option<String>,
    pub protocol: Option<String>,
    pub assignments: Vec<(String, Bytes)>,
}

/// What a coordinator answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    Joined(Joined),
    Synced {
        kind: String,
        protocol: String,
        assignment: Bytes,
    },
    /// For each that was to leave, in order: its id, its instance, and whether it left.
    Left(Vec<(String, Option<String>, Result<(), Refusal>)>),
    Described(Described),
    Done,
    Told(deal::Told),
    DescribedDeal(deal::Described),
}

/// A consumer is in a generation.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Joined {
    pub generation: i32,
    pub kind: String,
    pub protocol: String,
    pub leader: String,
    /// Its own id.
    pub consumer: String,
    /// It leads, but what was shared out stays as it is.
    pub skip: bool,
    /// Id, instance and subscription of all, for the leader; nothing for the others.
    pub consumers: Vec<(String, Option<String>, Bytes)>,
}

/// A group as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Described {
    /// In Kafka's words: `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Stable`, `Dead`.
    pub state: String,
    pub kind: String,
    pub protocol: String,
    pub consumers: Vec<(String, Consumer)>,
}

/// Why a coordinator refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Another peer coordinates the group, or nobody at the moment.
    NotCoordinator,
    /// Its state is being read: the same again.
    Loading,
    BadGroup,
    BadSession,
    /// No consumer has this id: join anew.
    UnknownConsumer,
    /// The generation is not the present one: join anew.
    OldGeneration,
    /// A new generation is being formed: join it.
    Rebalancing,
    /// Another process has taken the instance.
    Fenced,
    /// It knows no way to share that all others know.
    Inconsistent,
    /// This is its id: the same again, with it.
    ComeBack(String),
    /// A bound is reached.
    Full,
    /// The group has consumers.
    InUse,
    Missing,
    /// The epoch is not the one it was told: it gives up all it holds and comes in again.
    OldEpoch,
    /// The epoch is not the one it was told; what it asked changes nothing.
    StaleEpoch,
    /// Another process bears the instance's name and is not away.
    Unreleased,
    /// Nobody deals out in the way it prefers.
    NoAssignor,
    /// The regular expression is none, or too large.
    BadPattern,
    /// The group's consumers share out themselves, or there is no such group.
    NotDealt,
    /// The text says what is wrong.
    BadAsk(String),
}

/// One line of a list of groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub name: String,
    pub kind: String,
    /// Its coordinator deals out.
    pub dealt: bool,
    pub has_consumers: bool,
}

/// What clients of a group whose coordinator deals out are for: nobody else uses such groups.
pub const DEALT_KIND: &str = "consumer";

impl Group {
    pub fn has_consumers(&self) -> bool {
        let dealt = self.deal.as_ref().is_some_and(|deal| !deal.consumers.is_empty());
        dealt || !self.formed.consumers.is_empty()
    }

    /// What its clients are for, in their own word.
    pub fn kind(&self) -> &str {
        if self.deal.is_some() { DEALT_KIND } else { &self.formed.kind }
    }

    /// The generation, or the epoch.
    pub fn generation(&self) -> i32 {
        self.deal.as_ref().map_or(self.formed.generation, |deal| deal.round.epoch)
    }

    /// Id, client and host of each consumer.
    pub fn consumers(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let formed = self.formed.consumers.iter().map(|(id, it)| (id, &it.client, &it.host));
        let deal = self.deal.iter().flat_map(|deal| &deal.consumers);
        let dealt = deal.map(|(id, it)| (id, &it.client, &it.host));
        formed.chain(dealt).map(|(id, client, host)| (&**id, &**client, &**host))
    }

    pub fn listed(&self, name: &str) -> Listed {
        Listed {
            name: name.to_owned(),
            kind: self.kind().to_owned(),
            dealt: self.deal.is_some(),
            has_consumers: self.has_consumers(),
        }
    }
}

impl Formed {
    /// Roughly how many bytes it takes in an entry.
    pub fn size(&self) -> usize {
        let words = self.kind.len() + self.protocol.len() + self.leader.len();
        let consumers = self.consumers.iter().map(|(id, it)| id.len() + it.size());
        64 + words + consumers.sum::<usize>()
    }
}

impl Consumer {
    fn size(&self) -> usize {
        let words = self.client.len() + self.host.len();
        let instance = self.instance.as_ref().map_or(0, String::len);
        96 + words + instance + self.subscription.len() + self.assignment.len()
    }
}

impl Pending {
    pub fn size(&self) -> usize {
        64 + self.offsets.values().map(Committed::size).sum::<usize>()
    }
}

impl Committed {
    pub fn size(&self) -> usize {
        48 + self.metadata.len()
    }
}

impl Change {
    /// Roughly how many bytes it takes in an entry.
    pub fn size(&self) -> usize {
        let what = match &self.what {
            What::Form(formed) => formed.size(),
            What::Commit(offsets) => offsets.iter().map(|(_, it)| it.size()).sum(),
            What::Delete => 0,
            What::Deal(redeal) => redeal.size(),
        };
        64 + self.group.len() + what
    }
}
