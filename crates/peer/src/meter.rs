//! What this peer counts: events, times and mishaps, since it started.
//!
//! Counting is one addition to an atomic number, per batch and never per event. Nothing decides by these numbers:
//! they are read by `/metrics`, by the dashboard and by other peers' dashboards. Notes of what happened lately are
//! kept for people, a few.

use crate::wall_ms;
use model::PartitionId;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Upper bounds of a [`Spread`]'s counts, µs: 100 µs to some 53 s, by √2, so that a percentile is right within a fifth.
pub const BOUNDS_US: [u64; 39] = bounds();
/// Notes that are kept.
const NOTES: usize = 64;
/// Arrivals that are kept of a partition, and how far they lie apart at least: the last 3 s, for a few bytes.
const ARRIVALS: usize = 64;
const ARRIVAL_GAP: Duration = Duration::from_millis(50);

const fn bounds() -> [u64; 39] {
    let mut bounds = [0; 39];
    let (mut at, mut even, mut odd) = (0, 100, 141);
    while at < bounds.len() {
        if at % 2 == 0 {
            bounds[at] = even;
            even *= 2;
        } else {
            bounds[at] = odd;
            odd = even * 1414 / 1000;
        }
        at += 1;
    }
    bounds
}

/// Times, counted by size.
#[derive(Clone, Debug, Default)]
pub struct Spread(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    /// One more than bounds: what is longer than all of them.
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BOUNDS_US.len() + 1], sum_us: 0.into() }
    }
}

impl Spread {
    pub fn observe(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_US.partition_point(|bound| *bound < us);
        self.0.counts[at].fetch_add(1, Ordering::Relaxed);
        self.0.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Vec<u64> {
        self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl EncodeMetric for Spread {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        let counts = self.counts();
        let ends = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = ends.zip(counts.iter().copied()).collect();
        let sum = self.0.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// The time within which `part` of what was counted lies, in µs, by the upper bound of its bucket; nothing if
/// nothing was counted.
pub fn percentile(counts: &[u64], part: f64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    let wanted = (total as f64 * part).ceil().max(1.0) as u64;
    let mut seen = 0;
    let at = counts.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    (total > 0).then(|| BOUNDS_US[at.unwrap_or(BOUNDS_US.len()).min(BOUNDS_US.len() - 1)])
}

/// What happened, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Counts up on each peer; with the peer it names the note.
    pub number: u64,
    pub at_ms: u64,
    /// One of `lead`, `member`, `roster`, `task`, `dead`, `disk`, `address`, `start`.
    pub kind: String,
    pub text: String,
}

/// All that a peer counts.
#[derive(Debug, Default)]
pub struct Meter {
    /// Events and bytes that clients appended here and were told so.
    pub events_in: Counter,
    pub bytes_in: Counter,
    /// Events and bytes that clients were given here.
    pub events_out: Counter,
    pub bytes_out: Counter,
    /// Appends that were refused or not decided in time.
    pub refused: Counter,
    /// From an append's arrival here to its acknowledgement.
    pub append: Spread,
    /// From an event's arrival at its shard to the commit of the task that read it.
    pub event: Spread,
    /// One frame of the journal onto the disk.
    pub sync: Spread,
    /// Times this peer took or lost the lead of a shard.
    pub leads: Counter,
    /// Tasks that ended and were started again.
    pub restarts: Counter,
    /// Events that tasks here gave up.
    pub dead: Counter,
    /// Bytes of snapshots that were fetched.
    pub handoff_bytes: Counter,
    /// Time that clients waited here for credit.
    pub held_us: AtomicU64,
    arrivals: dashmap::DashMap<PartitionId, VecDeque<(i64, Instant)>>,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    next: u64,
    kept: VecDeque<Note>,
}

impl Meter {
    /// Notes something for people; the oldest is forgotten.
    pub fn note(&self, kind: &str, text: impl Into<String>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.next += 1;
        let note =
            Note { number: notes.next, at_ms: wall_ms(), kind: kind.into(), text: text.into() };
        if notes.kept.len() == NOTES {
            notes.kept.pop_front();
        }
        notes.kept.push_back(note);
    }

    pub fn notes(&self) -> Vec<Note> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.kept.iter().cloned().collect()
    }

    /// An append of a client came to its end.
    pub fn produced(&self, acknowledged: bool, events: u64, bytes: u64, took: Duration) {
        if !acknowledged {
            self.refused.inc();
            return;
        }
        self.events_in.inc_by(events);
        self.bytes_in.inc_by(bytes);
        self.append.observe(took);
    }

    /// A client was given so many events.
    pub fn given(&self, events: u64, bytes: u64) {
        self.events_out.inc_by(events);
        self.bytes_out.inc_by(bytes);
    }

    /// Events below `next` have arrived in the partition; now and then that is remembered.
    pub fn arrived(&self, partition: PartitionId, next: i64, at: Instant) {
        let mut arrivals = self.arrivals.entry(partition).or_default();
        if arrivals.back().is_some_and(|(_, last)| at < *last + ARRIVAL_GAP) {
            return;
        }
        if arrivals.len() == ARRIVALS {
            arrivals.pop_front();
        }
        arrivals.push_back((next, at));
    }

    pub fn forget(&self, partition: PartitionId) {
        self.arrivals.remove(&partition);
    }

    /// A task has committed that it read the partition from here to there.
    pub fn consumed(&self, partition: PartitionId, from: i64, to: i64, at: Instant) {
        let Some(arrivals) = self.arrivals.get(&partition) else { return };
        match arrivals.front() {
            // What it read is older than all that is remembered: it took at least so long.
            Some((oldest, since)) if to < *oldest && arrivals.len() == ARRIVALS => {
                self.event.observe(at.saturating_duration_since(*since));
            }
            _ => {
                let read = |it: &&(i64, Instant)| from < it.0 && it.0 <= to;
                for (_, since) in arrivals.iter().filter(read) {
                    self.event.observe(at.saturating_duration_since(*since));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::StreamId;

    #[test]
    fn a_percentile_is_the_bound_of_the_bucket_it_lies_in() {
        let spread = Spread::default();
        assert_eq!(percentile(&spread.counts(), 0.5), None);
        for ms in 1..=100 {
            spread.observe(Duration::from_millis(ms));
        }
        let p50 = percentile(&spread.counts(), 0.5).expect("counted") as f64;
        let p99 = percentile(&spread.counts(), 0.99).expect("counted") as f64;
        assert!((50e3..=72e3).contains(&p50), "{p50}");
        assert!((99e3..=142e3).contains(&p99), "{p99}");
        spread.observe(Duration::from_secs(1_000));
        assert_eq!(spread.counts().iter().sum::<u64>(), 101);
        assert!(BOUNDS_US.is_sorted(), "{BOUNDS_US:?}");
    }

    #[test]
    fn an_event_counts_from_its_arrival_to_the_commit_that_read_it() {
        let meter = Meter::default();
        let partition = PartitionId { stream: StreamId(1), partition: 0 };
        let start = Instant::now();
        for i in 0..100u32 {
            meter.arrived(partition, i64::from(i + 1), start + ARRIVAL_GAP * i);
        }
        let end = start + ARRIVAL_GAP * 100;
        meter.consumed(partition, 98, 100, end);
        assert_eq!(meter.event.counts().iter().sum::<u64>(), 2);
        assert_eq!(percentile(&meter.event.counts(), 1.0), Some(102_400));
        // What is older than everything remembered is not passed over: it is slow.
        meter.consumed(partition, 0, 10, end);
        assert!(percentile(&meter.event.counts(), 1.0) > Some(3_000_000));
    }

    #[test]
    fn only_the_latest_notes_are_kept() {
        let meter = Meter::default();
        (0..100).for_each(|i| meter.note("start", i.to_string()));
        let notes = meter.notes();
        assert_eq!((notes.len(), notes[0].number, &*notes[63].text), (64, 37, "99"));
    }
}
