//! One shard's log: consensus, and what its committed entries mean.
//!
//! [`Replica`] is a machine: `step(now, input, &mut actions)`. It promises that nothing is acknowledged before a
//! quorum of voters has it on disk and this replica has applied it. It never does I/O, never asks a clock or dice.

pub mod action;
mod arrival;
pub mod checkpoint;
pub mod configuration;
pub mod error;
pub mod fold;
pub mod input;
mod limits;
mod log;
pub mod recover;
mod reopen;
pub mod replica;
pub mod retention;
pub mod status;
pub mod wire;

pub use action::{Action, Answer, Refusal};
pub use arrival::{Arrival, arrival};
pub use checkpoint::{Checkpoint, Restored};
pub use error::Error;
pub use fold::{Fold, Member, Partition, TaskState};
pub use input::{Input, Now};
pub use reopen::{Journalled, Reopened, Tabled, reopen};
pub use replica::{Config, Replica};
pub use status::Status;

/// How often the driver steps `Input::Tick`, in ms. Election takes 10 to 20 of them, so at most 1 s of silence.
pub const TICK_MS: u64 = 50;
/// Every how many ticks of a driver are the beat in which leaders give their signs of life.
pub const BEAT_TICKS: u64 = limits::HEARTBEAT_TICKS as u64;
