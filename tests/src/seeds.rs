//! Runs many seeds on all cores, or one as the environment says.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What `SHOAL_SEED` and `SHOAL_SEEDS` ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `SHOAL_SEED` alone: this one, with its trace.
    One(u64),
    /// So many from the first on.
    Many(Range<u64>),
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Reads the environment; without it, `seeds` from 0 on.
pub fn asked(seeds: u64) -> Asked {
    match (setting("SHOAL_SEED"), setting("SHOAL_SEEDS")) {
        (Some(seed), None) => Asked::One(seed),
        (first, count) => {
            let first = first.unwrap_or(0);
            Asked::Many(first..first.saturating_add(count.unwrap_or(seeds)))
        }
    }
}

/// Runs seeds on all cores and returns what they told, or the first failure.
pub fn run<O: Send>(
    seeds: Range<u64>,
    run_one: impl Fn(u64) -> Result<O, String> + Sync,
) -> Result<Vec<O>, String> {
    let next = AtomicU64::new(seeds.start);
    let told = Mutex::new(Vec::new());
    let failed = Mutex::new(None::<String>);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().expect("no panics").is_some() {
                        return;
                    }
                    match run_one(seed) {
                        Ok(outcome) => told.lock().expect("no panics").push(outcome),
                        Err(why) => *failed.lock().expect("no panics") = Some(why),
                    }
                }
            });
        }
    });
    match failed.into_inner().expect("no panics") {
        Some(why) => Err(why),
        None => Ok(told.into_inner().expect("no panics")),
    }
}
