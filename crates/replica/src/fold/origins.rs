//! Who has appended what: the windows that make an append repeatable.
//!
//! Invariants: O1 of one origin only the next number is appended; O2 a known number is answered with its old
//! offset as long as it is in the window; O3 a gap is refused. Numbers move only when a batch is appended.

use super::recent::Recent;
use crate::action::Refusal;
use crate::limits::{DOOR_ANSWERS_MAX, DOORS_MAX, KEYS_MAX, PRODUCER_BATCHES_MAX, PRODUCERS_MAX};
use model::batch::HEADER_BYTES;
use model::{Batch, Origin, PartitionId, hash};
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
    keys: Recent<(u128, PartitionId), Key, KEYS_MAX>,
}

/// One connection of one run of a door.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Door {
    next: u64,
    /// Base offsets of the last appends.
    answers: VecDeque<i64>,
}

/// One idempotent producer in one partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    next: i32,
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
    pub fn check(
        &self,
        partition: PartitionId,
        origin: &Origin,
        batch: &Batch,
    ) -> Result<Option<i64>, Refusal> {
        match origin {
            Origin::Door { door, connection, sequence } => {
                match self.doors.get(&(*door, *connection)) {
                    Some(known) => known.check(*sequence),
                    None if *sequence == 0 => Ok(None),
                    None => Err(Refusal::Gap),
                }
            }
            Origin::Producer => {
                if batch.producer_id() < 0
                    || batch.producer_epoch() < 0
                    || batch.base_sequence() < 0
                {
                    return Err(Refusal::Malformed);
                }
                match self.producers.get(&(batch.producer_id(), partition)) {
                    Some(known) => known.check(batch),
                    None if batch.base_sequence() == 0 => Ok(None),
                    None => Err(Refusal::Gap),
                }
            }
            Origin::Key(key) => match self.keys.get(&(*key, partition)) {
                Some(known) if known.body == body(batch) => Ok(Some(known.base_offset)),
                Some(_) => Err(Refusal::Conflict),
                None => Ok(None),
            },
        }
    }

    /// Remembers that a batch, which [`Origins::check`] found to be the next, is at `base_offset`.
    pub fn remember(
        &mut self,
        partition: PartitionId,
        origin: &Origin,
        batch: &Batch,
        base_offset: i64,
    ) {
        match origin {
            Origin::Door { door, connection, sequence } => {
                let known = self.doors.touch((*door, *connection), Door::default);
                known.next = sequence + 1;
                push(&mut known.answers, base_offset, DOOR_ANSWERS_MAX);
            }
            Origin::Producer => {
                let key = (batch.producer_id(), partition);
                let known = self.producers.touch(key, Producer::default);
                if known.epoch != batch.producer_epoch() {
                    known.epoch = batch.producer_epoch();
                    known.batches.clear();
                }
                let last = after(batch.base_sequence(), batch.last_offset_delta());
                known.next = after(last, 1);
                let entry = (batch.base_sequence(), last, base_offset);
                push(&mut known.batches, entry, PRODUCER_BATCHES_MAX);
            }
            Origin::Key(key) => {
                let known = Key { body: body(batch), base_offset };
                self.keys.touch((*key, partition), || known);
            }
        }
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
        if base == self.next {
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

/// What makes two requests under one key the same: their events, not when they were sent.
fn body(batch: &Batch) -> u64 {
    hash::hash64(&batch.bytes()[HEADER_BYTES..])
}

fn push<T>(window: &mut VecDeque<T>, value: T, most: usize) {
    if window.len() >= most {
        window.pop_front();
    }
    window.push_back(value);
}
