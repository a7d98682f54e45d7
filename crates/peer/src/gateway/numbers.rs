//! Numbers the appends that have no producer id: those of Kafka connections or HTTP's requests, one after the other.
//!
//! Promises that a number is used once, and that an append is never told apart from its own repetition. A shard
//! remembers a bounded number of origins, so few are opened: who comes takes over those of who has gone.

use super::Door;
use crate::limits;
use model::{Origin, ShardId};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The origins of who sends one append after the other, one a shard.
#[derive(Default)]
pub struct Numbers {
    of: HashMap<ShardId, Sequence>,
    /// An append was given up: its number is lost, so new origins begin.
    broken: Arc<AtomicBool>,
}

struct Sequence {
    origin: (u64, u64),
    next: u64,
    used: Instant,
}

impl Numbers {
    /// The next number in a shard; `fresh` opens an origin that was never used.
    pub(super) fn next(&mut self, shard: ShardId, fresh: impl Fn() -> (u64, u64)) -> Origin {
        if self.broken.swap(false, Ordering::Relaxed) {
            self.of.clear();
        }
        let now = Instant::now();
        // The shard may have forgotten who was silent, and nothing of that one can be under way any more.
        let idle = |it: &Sequence| now.duration_since(it.used) >= limits::ORIGIN_IDLE;
        if self.of.get(&shard).is_some_and(idle) {
            self.of.remove(&shard);
        }
        let begin = || Sequence { origin: fresh(), next: 0, used: now };
        let it = self.of.entry(shard).or_insert_with(begin);
        let sequence = it.next;
        (it.next, it.used) = (sequence + 1, now);
        Origin::Door { door: it.origin.0, connection: it.origin.1, sequence }
    }

    /// An append, or some that are waited for together, with these numbers.
    pub(super) fn under_way(&self) -> UnderWay {
        UnderWay { broken: self.broken.clone(), is_settled: false }
    }

    /// Nothing of it will be used again.
    fn is_over(&self, now: Instant) -> bool {
        self.of.values().all(|it| now.duration_since(it.used) >= limits::ORIGIN_IDLE)
    }
}

/// Appends that wait for their answer: who lets go of this before it came has given their numbers up.
pub(super) struct UnderWay {
    broken: Arc<AtomicBool>,
    is_settled: bool,
}

impl UnderWay {
    /// All were answered.
    pub(super) fn settled(mut self) {
        self.is_settled = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.is_settled {
            self.broken.store(true, Ordering::Relaxed);
        }
    }
}

/// Numbers that nobody uses at the moment, those that were used last at the end.
#[derive(Default)]
pub struct Spare(Mutex<VecDeque<Numbers>>);

impl Spare {
    /// Numbers for one request or connection: nobody else has them until they are put back.
    pub fn take(&self) -> Numbers {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_back().unwrap_or_default()
    }

    /// Puts back numbers of which nothing is under way any more.
    pub fn put_back(&self, numbers: Numbers) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while spare.front().is_some_and(|oldest| oldest.is_over(now)) {
            spare.pop_front();
        }
        if spare.len() < limits::SPARE_NUMBERS && !numbers.is_over(now) {
            spare.push_back(numbers);
        }
    }
}

impl Door {
    /// The origin of the next append to a shard.
    pub fn number(&self, numbers: &mut Numbers, shard: ShardId) -> Origin {
        numbers.next(shard, || self.fresh_origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_thousand_requests_one_after_the_other_open_one_origin_a_shard() {
        let (spare, opened) = (Spare::default(), Cell::new(0));
        let fresh = || {
            opened.set(opened.get() + 1);
            (1, opened.get())
        };
        for request in 0..1_000 {
            let mut numbers = spare.take();
            for (shard, connection) in [(3, 1), (9, 2)] {
                let origin = numbers.next(ShardId(shard), fresh);
                assert_eq!(origin, Origin::Door { door: 1, connection, sequence: request });
            }
            spare.put_back(numbers);
        }
        assert_eq!(opened.get(), 2);
    }

    #[test]
    fn what_was_given_up_is_not_counted_on() {
        let (spare, opened) = (Spare::default(), Cell::new(0));
        let fresh = || {
            opened.set(opened.get() + 1);
            (1, opened.get())
        };
        let mut numbers = spare.take();
        numbers.next(ShardId(3), fresh);
        numbers.under_way().settled();
        let origin = numbers.next(ShardId(3), fresh);
        assert_eq!(origin, Origin::Door { door: 1, connection: 1, sequence: 1 });
        drop(numbers.under_way());
        let origin = numbers.next(ShardId(3), fresh);
        assert_eq!(origin, Origin::Door { door: 1, connection: 2, sequence: 0 });
        // A request that was dropped in the middle never puts its numbers back.
        drop(numbers);
        let origin = spare.take().next(ShardId(3), fresh);
        assert_eq!(origin, Origin::Door { door: 1, connection: 3, sequence: 0 });
    }
}
