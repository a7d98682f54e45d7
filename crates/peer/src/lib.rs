//! Who does it, and when: every task, the clock and the dice of a running peer.
//!
//! Promises that machines get time and luck from here alone, that whatever waits has a bound in [`limits`], and
//! that a client is answered only what a shard's log says. Never decides: that is the machines' business.

mod answers;
mod away;
mod board;
mod call;
mod chronicle;
mod dying;
mod end;
mod exchange;
mod figures;
mod gateway;
mod groups;
mod http;
mod keep_catalogue;
mod keeper;
pub mod limits;
mod links;
mod membership;
mod meter;
mod options;
mod peer;
mod problems;
mod router;
mod shape;
mod shards;
mod snapshot;
mod space;
pub mod span;
mod start;
mod stay;
mod survey;
mod task;
mod tasks;
mod throttle;
mod upkeep;
mod writer;

pub use end::End;
pub use options::{Options, Token};
pub use peer::Running;
pub use start::recover::{Price, Recovery};
pub use start::{Begins, REPLICATION, SHARDS, start};

/// The wall clock, ms since 1970.
fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
