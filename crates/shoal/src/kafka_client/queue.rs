//! What one partition still has to send, in the order that its sequence numbers promise.
//!
//! Promises (`Q1`) that batches leave in the order of their numbers, (`Q2`) that a failed one is sent again before
//! any later one, and (`Q3`) only once everything in flight is answered. Never sends, never asks the time.

use super::wire::ProducerId;
use bytes::Bytes;
use model::BatchBuilder;
use std::collections::VecDeque;

/// Bytes that close a batch before it has its count of events; far below what a peer takes as one append.
const BATCH_BYTES_MAX: usize = 900 * 1024;

/// A built batch, and the tag that the caller gave to each of its events.
#[derive(Debug)]
pub struct Parcel {
    pub bytes: Bytes,
    pub tags: Vec<u64>,
    /// How often it came back.
    pub tries: u32,
    /// Grows with each batch of the partition; the sequence number wraps, this does not.
    order: u64,
}

/// The events of one partition on their way out.
#[derive(Debug)]
pub struct Queue {
    id: ProducerId,
    events_max: usize,
    sequence: i32,
    orders: u64,
    open: Option<BatchBuilder>,
    open_tags: Vec<u64>,
    ready: VecDeque<Parcel>,
    failed: Vec<Parcel>,
    flying: usize,
    /// The peer that has what is in flight: a new leader gets nothing before the old one has answered.
    flying_to: i32,
    unsent: usize,
}

impl Queue {
    pub fn new(id: ProducerId, events_max: usize) -> Self {
        Self {
            id,
            events_max: events_max.max(1),
            sequence: 0,
            orders: 0,
            open: None,
            open_tags: Vec::new(),
            ready: VecDeque::new(),
            failed: Vec::new(),
            flying: 0,
            flying_to: -1,
            unsent: 0,
        }
    }

    /// Adds an event to the batch that is being filled.
    pub fn push(&mut self, time_ms: i64, key: &[u8], value: &[u8], tag: u64) {
        let (id, sequence) = (self.id, self.sequence);
        let open = self
            .open
            .get_or_insert_with(|| BatchBuilder::new().producer(id.id, id.epoch, sequence));
        open.push(time_ms, Some(key), Some(value), &[]);
        self.open_tags.push(tag);
        self.unsent += 1;
        if self.open_tags.len() >= self.events_max || open.size() >= BATCH_BYTES_MAX {
            self.close();
        }
    }

    /// Takes the next batch for `peer`; none while an earlier one waits to be sent again or flies elsewhere.
    pub fn take(&mut self, peer: i32) -> Option<Parcel> {
        if !self.failed.is_empty() || (self.flying > 0 && self.flying_to != peer) {
            return None;
        }
        if self.ready.is_empty() {
            self.close();
        }
        let parcel = self.ready.pop_front()?;
        self.flying += 1;
        self.flying_to = peer;
        self.unsent -= parcel.tags.len();
        Some(parcel)
    }

    /// The peer has appended a batch of ours.
    pub fn on_done(&mut self) {
        assert!(self.flying > 0, "an answer without a batch in flight");
        self.flying -= 1;
        self.line_up();
    }

    /// The peer has not, or may not have, appended `parcel`.
    pub fn on_failed(&mut self, mut parcel: Parcel) {
        assert!(self.flying > 0, "an answer without a batch in flight");
        self.flying -= 1;
        parcel.tries += 1;
        self.unsent += parcel.tags.len();
        self.failed.push(parcel);
        self.line_up();
    }

    /// Whether something was sent and not yet answered well.
    pub fn is_retrying(&self) -> bool {
        !self.failed.is_empty()
    }
    /// Events that are not in flight.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// Q2, Q3: puts what failed in front again, oldest first.
    fn line_up(&mut self) {
        if self.flying > 0 || self.failed.is_empty() {
            return;
        }
        self.failed.sort_by_key(|parcel| parcel.order);
        while let Some(parcel) = self.failed.pop() {
            self.ready.push_front(parcel);
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let batch = open.build().expect("an open batch has an event");
        let tags = std::mem::take(&mut self.open_tags);
        self.sequence = self.sequence.wrapping_add(tags.len() as i32) & i32::MAX;
        self.orders += 1;
        let bytes = batch.bytes().clone();
        self.ready.push_back(Parcel { bytes, tags, tries: 0, order: self.orders });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Batch;

    fn queue(events: u64) -> Queue {
        let mut queue = Queue::new(ProducerId { id: 9, epoch: 0 }, 2);
        (0..events).for_each(|tag| queue.push(1_000, b"k", b"v", tag));
        queue
    }

    fn sequence(parcel: &Parcel) -> i32 {
        Batch::one(parcel.bytes.clone()).expect("a whole batch").base_sequence()
    }

    #[test]
    fn sequence_numbers_follow_the_events() {
        let mut queue = queue(5);
        let taken: Vec<Parcel> = std::iter::from_fn(|| queue.take(1)).collect();
        let sequences: Vec<i32> = taken.iter().map(sequence).collect();
        assert_eq!(sequences, [0, 2, 4]);
        assert_eq!(taken[2].tags, [4]);
        assert_eq!(queue.unsent(), 0);
    }

    #[test]
    fn a_failed_batch_goes_out_again_before_any_later_one() {
        let mut queue = queue(7);
        let first = queue.take(1).expect("first");
        let second = queue.take(1).expect("second");
        queue.on_failed(first);
        assert!(queue.take(1).is_none(), "the second is still in flight");
        queue.on_failed(second);
        let again: Vec<i32> =
            std::iter::from_fn(|| queue.take(2)).map(|parcel| sequence(&parcel)).collect();
        assert_eq!(again, [0, 2, 4, 6]);
    }

    #[test]
    fn a_new_leader_gets_nothing_before_the_old_one_has_answered() {
        let mut queue = queue(4);
        assert!(queue.take(1).is_some());
        assert!(queue.take(2).is_none());
        queue.on_done();
        assert!(queue.take(2).is_some());
    }
}
