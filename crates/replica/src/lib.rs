//! One shard's log: consensus, and what its committed entries mean.
pub mod action;
pub mod input;
