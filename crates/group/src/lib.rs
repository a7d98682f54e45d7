//! Who reads what together: the dance by which consumers of a group agree on a generation.
//!
//! [`Coordinator`] is a machine: `step(now_ms, input, &mut actions)`. It runs at the leader of the shard that keeps
//! the group; what was agreed on is kept in that shard's log, and a later leader goes on from there. In a [`Group`]
//! what is shared out, and how, is the clients' own: the bytes pass through. A [`Dealer`] deals partitions itself.
//!
//! Promises that every request is answered once. Never does I/O, never asks a clock or dice, never reads what
//! clients say to each other.

pub mod action;
pub mod coordinator;
pub mod deal;
pub mod group;
pub mod input;
mod limits;

pub use action::Action;
pub use coordinator::Coordinator;
pub use deal::Dealer;
pub use group::Group;
pub use input::Input;
