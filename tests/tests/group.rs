//! A shard's group under every fault the simulator knows.
//!
//! `SHOAL_SEEDS=n` runs n seeds, `SHOAL_SEED=s` runs one and shows its trace, both run n seeds from s on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tests::sim;

const SEEDS: u64 = 1_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on all cores and returns what they told, or the first failure.
fn run_seeds(seeds: std::ops::Range<u64>) -> Result<Vec<sim::Outcome>, String> {
    let next = AtomicU64::new(seeds.start);
    let told = Mutex::new(Vec::new());
    let failed = Mutex::new(None::<(u64, String)>);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().expect("no panics").is_some() {
                        return;
                    }
                    match sim::run(seed, false) {
                        Ok(outcome) => told.lock().expect("no panics").push(outcome),
                        Err(why) => *failed.lock().expect("no panics") = Some((seed, why)),
                    }
                }
            });
        }
    });
    match failed.into_inner().expect("no panics") {
        Some((_, why)) => Err(why),
        None => Ok(told.into_inner().expect("no panics")),
    }
}

#[test]
fn a_group_loses_nothing_it_acknowledged_and_heals() {
    let (first, seeds) = (setting("SHOAL_SEED"), setting("SHOAL_SEEDS"));
    if let (Some(seed), None) = (first, seeds) {
        match sim::run(seed, true) {
            Ok(outcome) => println!("{outcome:?}"),
            Err(why) => panic!("{why}"),
        }
        return;
    }
    let (first, seeds) = (first.unwrap_or(0), seeds.unwrap_or(SEEDS));
    let began = std::time::Instant::now();
    let outcomes =
        run_seeds(first..first.saturating_add(seeds)).unwrap_or_else(|why| panic!("{why}"));
    let sum = |of: fn(&sim::Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    println!(
        "{seeds} seeds from {first} in {:?}: {} events, {} appends acknowledged, {} crashes, {} snapshots, {} terms",
        began.elapsed(),
        sum(|o| o.events),
        sum(|o| o.acknowledged),
        sum(|o| o.crashes),
        sum(|o| o.snapshots),
        sum(|o| o.terms),
    );
    assert!(sum(|o| o.acknowledged) > seeds * 10, "hardly anything was written");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 5_000..5_020 {
        let first = sim::run(seed, false).unwrap_or_else(|why| panic!("{why}"));
        let again = sim::run(seed, false).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(first, again, "seed {seed} has two traces");
    }
}
