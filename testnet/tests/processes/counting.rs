//! A load, and the check that all of it is counted: what most stories end with.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testnet::clients::{self, History, Load};
use testnet::scene::Scene;

pub const KEYS: u64 = 1000;
/// The longest that any shard may stand still when a peer dies.
pub const STANDSTILL: Duration = Duration::from_secs(2);

pub fn load(scene: &Scene, events: u64, per_second: u64) -> Load {
    let stream = "bench".to_owned();
    Load { bootstrap: scene.kafka(), stream, events, keys: KEYS, per_second }
}

/// Runs a load on a thread of its own; `at` breaks things in the middle.
pub fn run(load: Load, at: impl FnMut(u64)) -> History {
    clients::block_on(clients::run(load, at)).expect("every event is acknowledged")
}

/// No shard stood still: the load had events under way in every one of them, all the time.
pub fn check_gaps(history: &History) {
    println!("longest gap {:?}, {} retries", history.longest_gap, history.retries);
    assert_eq!(history.acked.len(), 64, "a partition in each shard");
    assert!(history.longest_gap < STANDSTILL, "a shard stood still {:?}", history.longest_gap);
}

/// Every acknowledged event has one offset, and every event is counted once, at every peer.
pub fn check_counts(scene: &Scene, history: &History) {
    history.check_offsets().expect("offsets are a function");
    for (consistency, limit) in [("leader", 30), ("any", 10)] {
        for peer in 1..=scene.net.peers().len() {
            check_view(scene, history, (peer, consistency), Duration::from_secs(limit));
        }
    }
}

/// The same, with one moment by which all peers must agree.
pub fn check_counts_by(scene: &Scene, history: &History, moment: Instant) {
    history.check_offsets().expect("offsets are a function");
    for consistency in ["leader", "any"] {
        for peer in 1..=scene.net.peers().len() {
            let left = moment.saturating_duration_since(Instant::now());
            check_view(scene, history, (peer, consistency), left);
        }
    }
}

fn check_view(scene: &Scene, history: &History, asked: (usize, &str), limit: Duration) {
    let expected = history.expected_counts(KEYS);
    scene.eventually("exact counts", limit, || {
        let counts = scene.counts(asked.0, "bench_counts", asked.1);
        same(&expected, &counts.map_err(|e| e.to_string())?)
    });
}

/// The log holds what was acknowledged, all of it where it was said to be, and nothing else.
pub fn check_log(scene: &Scene, history: &History) {
    let began = Instant::now();
    history.check_log(scene, "bench").expect("what was acknowledged is in the log");
    println!("{} events read back in {:?}", history.acked_events, began.elapsed());
}

pub fn same(expected: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let (want, have): (u64, u64) = (expected.values().sum(), found.values().sum());
    let first = expected.iter().find(|(key, count)| found.get(*key) != Some(count));
    Err(format!("{want} counted were expected, {have} found; first difference {first:?}"))
}
