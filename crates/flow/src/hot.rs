//! Which keys a task gets most: a sketch of bounded size.
//!
//! Space-Saving with [`KEYS`] counters (A. Metwally, D. Agrawal, A. El Abbadi, "Efficient computation of frequent and
//! top-k elements in data streams", 2005): a key with more than 1/[`KEYS`] of the events is in it, and no count is below
//! the true one or above it by more than `over`. Of rows that stand for one event each, about every eighth is looked
//! at and counted eightfold, so both hold for what was looked at. Two spans of [`SPAN_MS`] are kept: what was hot a
//! minute ago is forgotten. Nothing decides by it.

use bytes::Bytes;
use model::hash::hash64;
use serde::{Deserialize, Serialize};

/// Keys that are counted of one task and span.
const KEYS: usize = 64;
/// How long a span is.
const SPAN_MS: u64 = 30_000;
/// Of so many rows of one event each, one is looked at.
const SAMPLE: u64 = 8;
/// Bytes of a key that are kept: more than people look at.
const KEY_BYTES_MAX: usize = 256;

/// What a task got lately, by key.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heat {
    /// Over how long, ms.
    pub span_ms: u64,
    /// Items of all keys.
    pub events: u64,
    /// The most frequent first.
    pub keys: Vec<HotKey>,
}

/// A key with about how many items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotKey {
    /// Its first 256 bytes.
    pub key: Bytes,
    pub events: u64,
    /// By how much that may be too high.
    pub over: u64,
}

/// Counts a task's keys.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    now: Span,
    before: Option<Span>,
    /// The time is known.
    began: bool,
    /// A small generator's state: which rows are looked at must not follow a pattern of theirs.
    luck: u64,
}

#[derive(Debug, Default)]
struct Span {
    since_ms: u64,
    events: u64,
    counters: Vec<Counter>,
}

#[derive(Debug)]
struct Counter {
    hash: u64,
    key: Bytes,
    count: u64,
    over: u64,
}

impl Hot {
    /// So many items of a key came in one row.
    pub(crate) fn add(&mut self, key: &[u8], count: u64) {
        self.now.events += count;
        if count > 1 {
            return self.now.add(key, count);
        }
        // The generator of D. Knuth's MMIX; its high bits.
        self.luck = self.luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if (self.luck >> 33).is_multiple_of(SAMPLE) {
            self.now.add(key, SAMPLE);
        }
    }

    /// Says what time it is, by any monotonic clock.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        if !self.began {
            (self.began, self.now.since_ms) = (true, now_ms);
        }
        if now_ms.saturating_sub(self.now.since_ms) >= SPAN_MS {
            let next = Span { since_ms: now_ms, ..Span::default() };
            self.before = Some(std::mem::replace(&mut self.now, next));
        }
    }

    /// What was counted in this span and the one before.
    pub(crate) fn heat(&self, now_ms: u64) -> Heat {
        let spans = || self.before.iter().chain([&self.now]);
        let since_ms = spans().map(|span| span.since_ms).min().unwrap_or(now_ms);
        let mut known: Vec<(u64, &Bytes)> = Vec::new();
        for counter in spans().flat_map(|span| &span.counters) {
            if !known.contains(&(counter.hash, &counter.key)) {
                known.push((counter.hash, &counter.key));
            }
        }
        let hot_key = |(hash, key): (u64, &Bytes)| {
            let of = spans().map(|span| span.count(hash, key));
            let (events, over) = of.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
            HotKey { key: key.clone(), events, over }
        };
        let mut keys: Vec<HotKey> = known.into_iter().map(hot_key).collect();
        keys.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.key.cmp(&b.key)));
        keys.truncate(KEYS);
        let events = spans().map(|span| span.events).sum();
        Heat { span_ms: now_ms.saturating_sub(since_ms), events, keys }
    }
}

impl Span {
    fn add(&mut self, key: &[u8], count: u64) {
        let hash = hash64(key);
        let kept = &key[..key.len().min(KEY_BYTES_MAX)];
        let is_it = |counter: &&mut Counter| counter.hash == hash && counter.key == kept;
        if let Some(counter) = self.counters.iter_mut().find(is_it) {
            counter.count += count;
            return;
        }
        let key = Bytes::copy_from_slice(kept);
        if self.counters.len() < KEYS {
            return self.counters.push(Counter { hash, key, count, over: 0 });
        }
        // The least frequent one makes place; the new one may have been there that often.
        if let Some(least) = self.counters.iter_mut().min_by_key(|counter| counter.count) {
            *least = Counter { hash, key, count: least.count + count, over: least.count };
        }
    }
}

impl Span {
    /// A key's count, and by how much it may be too high. One that is not here may have been there as often as the
    /// least frequent one (P. Agarwal et al., "Mergeable summaries", 2012).
    fn count(&self, hash: u64, key: &Bytes) -> (u64, u64) {
        let mut counters = self.counters.iter();
        if let Some(found) = counters.find(|counter| counter.hash == hash && counter.key == *key) {
            return (found.count, found.over);
        }
        let least = self.counters.iter().map(|counter| counter.count).min();
        let floor = least.filter(|_| self.counters.len() == KEYS).unwrap_or(0);
        (floor, floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_more_than_its_part_is_found_whatever_else_comes() {
        let mut hot = Hot::default();
        hot.tick(5_000);
        let mut true_hot = 0;
        // Two events each in one row, so that each row is looked at.
        for n in 0..100_000u64 {
            let key = if n % 20 == 0 { "hot".to_owned() } else { format!("cold-{}", n * 7_919) };
            true_hot += if n % 20 == 0 { 2 } else { 0 };
            hot.add(key.as_bytes(), 2);
        }
        let heat = hot.heat(15_000);
        assert_eq!((heat.span_ms, heat.events, heat.keys.len()), (10_000, 200_000, KEYS));
        let found = &heat.keys[0];
        assert_eq!(found.key, &b"hot"[..]);
        assert!(found.events >= true_hot && found.events - found.over <= true_hot, "{found:?}");
        assert!(found.over <= heat.events / KEYS as u64, "{found:?}");
    }

    #[test]
    fn single_events_are_sampled_and_old_spans_forgotten() {
        let mut hot = Hot::default();
        hot.tick(0);
        (0..80_000).for_each(|n| hot.add(if n % 4 == 0 { b"b" } else { b"a" }, 1));
        let heat = hot.heat(1_000);
        let of =
            |key: &[u8]| heat.keys.iter().find(|hot| hot.key == key).map_or(0, |hot| hot.events);
        assert!(of(b"a").abs_diff(60_000) < 3_000 && of(b"b").abs_diff(20_000) < 3_000, "{heat:?}");
        assert_eq!(heat.events, 80_000);
        hot.tick(SPAN_MS);
        assert_eq!(hot.heat(SPAN_MS).events, 80_000);
        hot.tick(2 * SPAN_MS);
        assert_eq!(hot.heat(2 * SPAN_MS).keys, []);
    }
}
