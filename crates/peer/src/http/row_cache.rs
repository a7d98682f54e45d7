//! Rows of views that were asked for of late, for those who allow an answer an age.
//!
//! Promises: V1 what it gives was current no longer ago than the asker allows, counted from before the question
//! went to the shard's leader until the asker came; V2 it holds no more entries and bytes than its bounds, the rows
//! that were asked for least lately go first; V3 that there is no row is kept like a row; V4 what was asked earlier
//! never replaces what was asked later. Never asks anybody, and never looks at a clock: moments are given to it.

use crate::call::Place;
use crate::limits;
use bytes::Bytes;
use lru::LruCache;
use model::TaskId;
use prometheus_client::metrics::counter::Counter;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Roughly what an entry takes beside its key and its value.
const ENTRY_BYTES: usize = 256;

/// Whose row it is, and its key in the table.
pub type Key = (TaskId, Bytes);

/// What a shard's leader answered behind a barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Nothing: there was no such row.
    pub row: Option<Bytes>,
    /// Where it was true; its age is counted from before it was asked.
    pub place: Place,
}

/// The rows that a peer remembers.
#[derive(Debug)]
pub struct RowCache {
    kept: Mutex<Kept>,
    /// Answers that were given from here, and those that were not here or too old.
    pub hits: Counter,
    pub misses: Counter,
}

#[derive(Debug)]
struct Kept {
    /// Answers with the moment before they were asked for.
    rows: LruCache<Key, (Instant, Answer)>,
    bytes: usize,
}

impl Default for RowCache {
    fn default() -> Self {
        let kept = Mutex::new(Kept { rows: LruCache::unbounded(), bytes: 0 });
        Self { kept, hits: Counter::default(), misses: Counter::default() }
    }
}

impl RowCache {
    /// What is remembered and at most so old, else what the leader answers, which is kept if it may be given again.
    ///
    /// # Errors
    /// Those of `leader`, of which nothing is kept.
    pub async fn find_or_ask<E>(
        &self,
        key: &Key,
        age_max: Duration,
        clock: impl Fn() -> Instant,
        leader: impl Future<Output = Result<Answer, E>>,
    ) -> Result<Answer, E> {
        // Before the question is sent: the answer was current at some moment after this one.
        let asked = clock();
        if let Some(answer) = self.find(key, asked, age_max) {
            return Ok(answer);
        }
        let answer = leader.await?;
        if !age_max.is_zero() {
            self.keep(key, asked, &answer);
        }
        Ok(answer)
    }

    /// An answer that is at most so old at this moment; its age, in ms, is rounded up.
    fn find(&self, key: &Key, now: Instant, age_max: Duration) -> Option<Answer> {
        let found = self.kept().rows.get(key).and_then(|(asked, answer)| {
            let age = now.saturating_duration_since(*asked);
            (age <= age_max).then(|| {
                let age_ms = age.as_nanos().div_ceil(1_000_000) as u64;
                Answer { place: Place { age_ms, ..answer.place }, ..answer.clone() }
            })
        });
        match found {
            Some(_) => self.hits.inc(),
            None => self.misses.inc(),
        };
        found
    }

    /// Keeps an answer whose question was not sent before `asked`.
    fn keep(&self, key: &Key, asked: Instant, answer: &Answer) {
        let row = answer.row.as_ref();
        if size(&key.1, row) > limits::ROW_CACHE_ROW_BYTES {
            return;
        }
        // What came over the network is a slice of a whole frame, which would be kept with it.
        let key = (key.0, Bytes::copy_from_slice(&key.1));
        let row = row.map(|row| Bytes::copy_from_slice(row));
        let mut kept = self.kept();
        if kept.rows.peek(&key).is_some_and(|(later, _)| *later > asked) {
            return;
        }
        kept.bytes += size(&key.1, row.as_ref());
        let place = answer.place;
        if let Some((_, old)) = kept.rows.put(key.clone(), (asked, Answer { row, place })) {
            kept.bytes -= size(&key.1, old.row.as_ref());
        }
        while kept.rows.len() > limits::ROW_CACHE_ROWS || kept.bytes > limits::ROW_CACHE_BYTES {
            let Some(((_, key), (_, gone))) = kept.rows.pop_lru() else { break };
            kept.bytes -= size(&key, gone.row.as_ref());
        }
    }

    /// How many rows are kept, and roughly how many bytes they take.
    pub fn held(&self) -> (usize, usize) {
        let kept = self.kept();
        (kept.rows.len(), kept.bytes)
    }

    /// The part of questions that were answered from here since the start, 0 to 1.
    pub fn hit_ratio(&self) -> f64 {
        let (hits, misses) = (self.hits.get() as f64, self.misses.get() as f64);
        hits / (hits + misses).max(1.0)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(key: &Bytes, row: Option<&Bytes>) -> usize {
    ENTRY_BYTES + key.len() + row.map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{PeerId, ShardId, StageId};

    fn key(name: &str) -> Key {
        (TaskId { stage: StageId(7), bucket: 0 }, Bytes::copy_from_slice(name.as_bytes()))
    }

    fn answer(row: Option<&[u8]>) -> Answer {
        let place = Place {
            shard: ShardId(3),
            term: 2,
            index: 9,
            age_ms: 0,
            stale: false,
            peer: PeerId(1),
        };
        Answer { row: row.map(Bytes::copy_from_slice), place }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn no_answer_is_older_than_who_asks_allows_and_its_age_is_never_told_too_low() {
        let (cache, start) = (RowCache::default(), Instant::now());
        cache.keep(&key("a"), start, &answer(Some(b"1")));
        let age = |now, max| cache.find(&key("a"), start + now, ms(max)).map(|it| it.place.age_ms);
        assert_eq!(age(ms(0), 500), Some(0));
        assert_eq!(age(Duration::from_micros(10_001), 500), Some(11), "rounded up");
        assert_eq!(age(ms(500), 500), Some(500));
        assert_eq!(age(ms(500) + Duration::from_nanos(1), 500), None);
        assert_eq!(age(ms(501), 1_000), Some(501), "another asker allows more");
        assert_eq!(age(ms(1), 0), None);
        assert_eq!((cache.hits.get(), cache.misses.get()), (4, 2));
        assert!((cache.hit_ratio() - 4.0 / 6.0).abs() < 1e-9);
    }

    #[tokio::test]
    async fn the_age_counts_from_before_the_question_and_only_who_allows_one_leaves_something() {
        let (cache, start) = (RowCache::default(), Instant::now());
        let now = std::cell::Cell::new(start);
        let clock = || now.get();
        // The leader takes 300 ms to answer.
        let leader = |row: &'static [u8]| async {
            now.set(now.get() + ms(300));
            Ok::<_, String>(answer(Some(row)))
        };
        let none = cache.find_or_ask(&key("a"), ms(0), clock, leader(b"0")).await;
        assert_eq!((none, cache.held()), (Ok(answer(Some(b"0"))), (0, 0)));
        now.set(start);
        let fresh = cache.find_or_ask(&key("a"), ms(500), clock, leader(b"1")).await;
        assert_eq!(fresh, Ok(answer(Some(b"1"))));
        now.set(start + ms(500));
        let kept = cache.find_or_ask(&key("a"), ms(500), clock, leader(b"2")).await.expect("kept");
        assert_eq!((&kept.row, kept.place.age_ms), (&answer(Some(b"1")).row, 500));
        now.set(start + ms(501));
        let fresh = cache.find_or_ask(&key("a"), ms(500), clock, leader(b"2")).await;
        assert_eq!(fresh, Ok(answer(Some(b"2"))));
        let fails = async { Err("no leader".to_owned()) };
        let failed = cache.find_or_ask(&key("b"), ms(500), clock, fails).await;
        assert_eq!((failed, cache.held().0), (Err("no leader".to_owned()), 1));
    }

    #[test]
    fn that_there_is_no_row_is_kept_and_a_later_answer_replaces_an_earlier_one_only() {
        let (cache, start) = (RowCache::default(), Instant::now());
        let found = |now: u64| cache.find(&key("a"), start + ms(now), ms(100)).map(|it| it.row);
        cache.keep(&key("a"), start, &answer(None));
        assert_eq!(found(1), Some(None));
        cache.keep(&key("a"), start + ms(20), &answer(Some(b"2")));
        assert_eq!(found(21), Some(Some(Bytes::from_static(b"2"))));
        // Asked before the last one and answered after it.
        cache.keep(&key("a"), start + ms(10), &answer(Some(b"1")));
        assert_eq!(found(21), Some(Some(Bytes::from_static(b"2"))));
        assert_eq!(cache.find(&key("b"), start, ms(100)), None);
        let other = (TaskId { stage: StageId(8), bucket: 0 }, key("a").1);
        assert_eq!(cache.find(&other, start + ms(21), ms(100)), None, "another view's");
    }

    #[test]
    fn rows_and_bytes_are_bounded_and_those_asked_for_least_lately_go() {
        let (cache, now) = (RowCache::default(), Instant::now());
        let count = limits::ROW_CACHE_ROWS + 10;
        for at in 0..count {
            cache.keep(&key(&at.to_string()), now, &answer(Some(b"x")));
            cache.find(&key("0"), now, ms(1));
        }
        assert_eq!(cache.held().0, limits::ROW_CACHE_ROWS);
        assert!(cache.find(&key("0"), now, ms(1)).is_some(), "it was asked for all the while");
        assert_eq!(cache.find(&key("1"), now, ms(1)), None);
        let large = vec![0; limits::ROW_CACHE_ROW_BYTES - 512];
        let few = limits::ROW_CACHE_BYTES / large.len() + 10;
        for at in 0..few {
            cache.keep(&key(&format!("large {at}")), now, &answer(Some(&large)));
            assert!(cache.held().1 <= limits::ROW_CACHE_BYTES);
        }
        let (rows, bytes) = cache.held();
        assert!(rows <= few && bytes > limits::ROW_CACHE_BYTES / 2, "{rows} rows, {bytes} bytes");
        // The same row again is charged once, and one that is too large not at all.
        cache.keep(&key(&format!("large {}", few - 1)), now, &answer(Some(&large)));
        assert_eq!(cache.held(), (rows, bytes));
        let huge = vec![0; limits::ROW_CACHE_ROW_BYTES];
        cache.keep(&key("huge"), now, &answer(Some(&huge)));
        assert_eq!(cache.held(), (rows, bytes));
    }

    #[test]
    fn a_row_does_not_keep_the_frame_it_came_in() {
        let (cache, now) = (RowCache::default(), Instant::now());
        let frame = Bytes::from(vec![7; 4096]);
        let slice = Answer { row: Some(frame.slice(5..6)), ..answer(None) };
        cache.keep(&(key("a").0, frame.slice(0..4)), now, &slice);
        drop(slice);
        assert!(frame.is_unique(), "V2: bytes that nobody counts are kept");
    }
}
