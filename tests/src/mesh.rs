//! A whole mesh in a simulated world, under one seed: the product's own machines, virtual time, links that lose,
//! double, reorder and go deaf one way, disks that tear, lose, rot and fail, and clients that hold it to its word.
//!
//! What runs is the product's: `mesh::Mesh`, `ring::Ring`, `replica::Replica` for every shard, `flow::Exchange` and
//! `flow::Task`, and `store`'s journal and segments on its simulated disk. What plays the part of `peer` is here,
//! and the head of each file says where it differs. Tables are a model: fjall opens real files.
//!
//! A run has two phases: first faults, with every invariant held against each step; then none, and the mesh must
//! heal within a bound. The same seed gives the same trace, byte for byte.

mod board;
mod bulk;
mod calls;
mod clients;
mod duties;
mod event;
mod exchange;
mod faults;
mod fetch;
mod gossip;
mod health;
mod host;
mod invariants;
mod letters;
mod network;
mod pipelines;
mod puller;
mod rot;
mod router;
mod seats;
mod shards;
mod start;
mod stay;
mod tables;
mod task;
mod tasks;
mod trace;
mod world;
mod writer;

pub use faults::Fault;
use std::panic::{AssertUnwindSafe, catch_unwind};
pub use trace::Tracing;
use world::World;

/// What a run that held tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// A hash over every line of the trace; 0 if there is none.
    pub trace: u64,
    /// Steps of the world.
    pub steps: u64,
    pub simulated_ms: u64,
    /// Events that were acknowledged to clients.
    pub acknowledged: u64,
    /// Commits of tasks that were applied.
    pub commits: u64,
    /// Faults that did something.
    pub faults: u64,
    /// The same by their kinds, as they are numbered in [`Fault::ALL`].
    pub kinds: [u64; Fault::ALL.len()],
    pub crashes: u64,
    /// Times that the power of all peers went at once.
    pub power_cuts: u64,
    pub snapshots: u64,
    pub terms: u64,
    /// Replicas that fell silent over what their disk had done.
    pub doubts: u64,
    /// Peers that left, or were removed while they were away.
    pub left: u64,
    /// Virtual time from the last fault to health.
    pub healed_ms: u64,
}

/// Runs one seed; `Err` says which invariant broke, when, and how to see it again.
pub fn run(seed: u64, tracing: Tracing) -> Result<Outcome, String> {
    let mut world = World::new(seed, tracing);
    // A panic of a machine is a failure of the seed like any other.
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    lived.unwrap_or_else(|_| Err("it panicked, see above".into())).map_err(|why| {
        let at = world.now_us() / 1000;
        format!("seed {seed} at {at} ms: {why}\n  again, with its trace: {}", again(seed))
    })
}

/// The command that runs one seed and nothing else, and shows its trace.
pub fn again(seed: u64) -> String {
    format!("SHOAL_SEED={seed} cargo test -p tests --test mesh a_mesh -- --nocapture")
}
