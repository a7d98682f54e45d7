//! A shard's group in a simulated world: real machines, virtual time, a lossy network, lying disks, one seed.
//!
//! A run has two phases. In the first, faults of all kinds happen and safety is checked at each action. Then the
//! faults stop, and the group must heal: all requests answered, all folds equal, the configuration at its target,
//! the lead at its owner. Everything follows from the seed: the same seed gives the same trace, byte for byte.

mod bulk;
mod clients;
pub(crate) mod dice;
mod disk;
mod driver;
mod faults;
mod invariants;
mod network;
mod world;

pub use faults::Fault;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// What a run that held tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A hash over every line of the trace.
    pub trace: u64,
    pub events: u64,
    pub simulated_ms: u64,
    pub acknowledged: u64,
    pub crashes: u64,
    /// Faults that did something, by their kinds, as they are numbered in [`Fault::ALL`].
    pub kinds: [u64; Fault::ALL.len()],
    pub snapshots: u64,
    pub terms: u64,
    /// Virtual time from the last fault to health, ms.
    pub healed_ms: u64,
}

/// Runs one seed; `Err` says which invariant broke, when, and how to see it again.
pub fn run(seed: u64, verbose: bool) -> Result<Outcome, String> {
    let mut world = World::new(seed, verbose);
    // A panic of the machine is a failure of the seed like any other.
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    lived.unwrap_or_else(|_| Err("it panicked, see above".into())).map_err(|why| {
        let at = world.now_us() / 1000;
        format!("seed {seed} at {at} ms: {why}\n  again, with its trace: {}", again(seed))
    })
}

/// The command that runs one seed and nothing else, and shows its trace.
pub fn again(seed: u64) -> String {
    format!("SHOAL_SEED={seed} cargo test -p tests --test group a_group -- --nocapture")
}
