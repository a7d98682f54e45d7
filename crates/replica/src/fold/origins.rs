//! Who has appended what: the windows that make an append repeatable.
//!
//! Invariants: O1 of one origin only the next number is appended; O2 a known number is answered with its old
//! offset as long as it is in the window; O3 a gap is refused; O4 a producer that was forgotten is told so, and goes on
//! only under a new epoch or id; O5 a door's connection that may still be used is pushed out by no other. Numbers move only when a batch is appended.

use super::issuers::Issuers;
use super::recent::Recent;
use crate::action::Refusal;
use crate::limits::{
    DOOR_ANSWERS_MAX, DOOR_KEPT_MS, DOORS_MAX, KEYS_MAX, PRODUCER_BATCHES_MAX, PRODUCERS_MAX,
};
use model::planted::{self, Mutant};
use model::{Batch, Origin, PartitionId, ProducerId, ShardId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Half of the sequence numbers: what is further ahead than this lies behind.
const SEQUENCE_HALF: u32 = 1 << 30;
const SEQUENCE_MASK: u32 = (1 << 31) - 1;

/// The origins of one shard.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origins {
    doors: Recent<(u64, u64), Door, DOORS_MAX>,
    producers: Recent<(i64, PartitionId), Producer, PRODUCERS_MAX>,
    issuers: Issuers,
    keys: Recent<(u128, PartitionId), Key, KEYS_MAX>,
}

/// One connection of one run of a door.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Door {
    next: u64,
    /// When it appended last, in shard time.
    used_ms: u64,
    /// Base offsets of the last appends.
    answers: VecDeque<i64>,
}

/// One idempotent producer in one partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    next: i32,
    /// It was forgotten: what it has appended under this epoch nobody knows.
    lost: bool,
    /// (base sequence, last sequence, base offset) of the last batches.
    batches: VecDeque<(i32, i32, i64)>,
}

/// One idempotency key in one partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Key {
    body: u64,
    base_offset: i64,
}

impl Origins {
    /// Holds a batch against its origin: `Ok(None)` if it is the next one, the old base offset if it is known.
    /// `first` says that the batch's transaction is open and has nothing in the partition yet.
    pub fn check(
        &self,
        partition: PartitionId,
        origin: &Origin,
        batch: &Batch,
        first: bool,
    ) -> Result<Option<i64>, Refusal> {
        match origin {
            Origin::Door { door, connection, sequence } => {
                match self.doors.get(&(*door, *connection)) {
                    Some(known) => known.check(*sequence),
                    None if *sequence == 0 => Ok(None),
                    None => Err(Refusal::Gap),
                }
            }
            Origin::Producer { issued } => {
                if batch.producer_epoch() < 0 || batch.base_sequence() < 0 {
                    return Err(Refusal::Malformed);
                }
                let begins = batch.base_sequence() == 0;
                match self.producers.get(&(batch.producer_id(), partition)) {
                    Some(known) => known.check(batch),
                    // Its coordinator has issued the id, and this transaction has appended nothing here.
                    None if first && begins => Ok(None),
                    None => {
                        self.issuers.admit(batch.producer_id(), *issued)?;
                        if begins { Ok(None) } else { Err(Refusal::Gap) }
                    }
                }
            }
            Origin::Key { .. } if planted::is(Mutant::KeyForgotten) => Ok(None),
            Origin::Key { key, body } => match self.keys.get(&(*key, partition)) {
                Some(known) if known.body == *body => Ok(Some(known.base_offset)),
                Some(_) => Err(Refusal::Conflict),
                None => Ok(None),
            },
        }
    }

    /// Whether there is room for an origin: it is known, or the one that would make room is not used any more.
    pub fn has_room(&self, now_ms: u64, origin: &Origin) -> bool {
        let Origin::Door { door, connection, .. } = origin else { return true };
        let oldest = self.doors.displaced(&(*door, *connection));
        let oldest = oldest.and_then(|oldest| self.doors.get(oldest));
        oldest.is_none_or(|it| now_ms.saturating_sub(it.used_ms) >= DOOR_KEPT_MS)
    }

    /// Remembers that a batch, which [`Origins::check`] found to be the next, is in a partition at an offset.
    pub fn remember(
        &mut self,
        now_ms: u64,
        (partition, base_offset): (PartitionId, i64),
        origin: &Origin,
        batch: &Batch,
    ) {
        match origin {
            Origin::Door { door, connection, sequence } => {
                let known = self.doors.touch((*door, *connection), Door::default);
                (known.next, known.used_ms) = (sequence + 1, now_ms);
                push(&mut known.answers, base_offset, DOOR_ANSWERS_MAX);
            }
            Origin::Producer { .. } => {
                let known = self.window(partition, batch);
                if known.epoch != batch.producer_epoch() {
                    let epoch = batch.producer_epoch();
                    *known = Producer { epoch, ..Producer::default() };
                }
                let last = after(batch.base_sequence(), batch.last_offset_delta());
                known.next = after(last, 1);
                let entry = (batch.base_sequence(), last, base_offset);
                push(&mut known.batches, entry, PRODUCER_BATCHES_MAX);
            }
            Origin::Key { key, body } => {
                let known = Key { body: *body, base_offset };
                self.keys.touch((*key, partition), || known);
            }
        }
    }

    /// What an append says of a shard's producer ids.
    pub fn learn(&mut self, shard: ShardId, issued: i64) {
        self.issuers.learn(shard, issued);
    }

    /// Whether a request with this key has appended this body to a partition.
    pub fn has_key(&self, key: u128, partition: PartitionId, body: u64) -> bool {
        self.keys.get(&(key, partition)).is_some_and(|known| known.body == body)
    }

    /// Whether the log knows that a producer's id was issued.
    pub fn is_issued(&self, id: ProducerId) -> bool {
        id.count <= self.issuers.issued(id.shard)
    }

    /// Remembers of a producer, which [`Origins::check`] found to be forgotten, that it is: a later epoch goes on.
    pub fn lose(&mut self, partition: PartitionId, batch: &Batch) {
        let epoch = batch.producer_epoch();
        *self.window(partition, batch) = Producer { epoch, lost: true, ..Producer::default() };
    }

    fn window(&mut self, partition: PartitionId, batch: &Batch) -> &mut Producer {
        let key = (batch.producer_id(), partition);
        if let Some((displaced, _)) = self.producers.displaced(&key) {
            self.issuers.forget(*displaced);
        }
        self.producers.touch(key, Producer::default)
    }
}

#[cfg(test)]
impl Origins {
    /// Moves a producer to a sequence that no test has the time to reach.
    pub fn set_next(&mut self, id: i64, partition: PartitionId, next: i32) {
        self.producers.touch((id, partition), Producer::default).next = next;
    }
}

impl Door {
    fn check(&self, sequence: u64) -> Result<Option<i64>, Refusal> {
        if sequence == self.next {
            return Ok(None);
        }
        if sequence > self.next {
            if planted::is(Mutant::GapTaken) {
                return Ok(None);
            }
            return Err(Refusal::Gap);
        }
        let back = self.next - sequence;
        match usize::try_from(back).ok().and_then(|back| self.answers.len().checked_sub(back)) {
            Some(place) => Ok(Some(self.answers[place])),
            None => Err(Refusal::Forgotten),
        }
    }
}

impl Producer {
    fn check(&self, batch: &Batch) -> Result<Option<i64>, Refusal> {
        let (epoch, base) = (batch.producer_epoch(), batch.base_sequence());
        if epoch < self.epoch {
            return Err(Refusal::Fenced);
        }
        if epoch > self.epoch {
            return if base == 0 { Ok(None) } else { Err(Refusal::Gap) };
        }
        if self.lost {
            return Err(Refusal::Lost);
        }
        if base == self.next || planted::is(Mutant::DuplicateTaken) {
            return Ok(None);
        }
        let last = after(base, batch.last_offset_delta());
        let known = self.batches.iter().find(|(b, l, _)| (*b, *l) == (base, last));
        if let Some((_, _, offset)) = known {
            return Ok(Some(*offset));
        }
        let ahead = (base as u32).wrapping_sub(self.next as u32) & SEQUENCE_MASK;
        Err(if ahead < SEQUENCE_HALF { Refusal::Gap } else { Refusal::Forgotten })
    }
}

/// Sequence numbers go from 2^31 - 1 to 0.
fn after(sequence: i32, count: i32) -> i32 {
    ((sequence as u32).wrapping_add(count as u32) & SEQUENCE_MASK) as i32
}

fn push<T>(window: &mut VecDeque<T>, value: T, most: usize) {
    if window.len() >= most {
        window.pop_front();
    }
    window.push_back(value);
}
