//! Real processes under test: a scene of peers, clients that keep a history, and checks of what was promised.
//!
//! Promises that every process it starts is ended with it. Never looks inside a peer: it knows only what clients see.

pub mod ask;
pub mod binaries;
#[cfg(target_os = "linux")]
pub mod chaos;
pub mod check;
pub mod clients;
#[cfg(target_os = "linux")]
pub mod command;
pub mod hand;
pub mod history;
pub mod install;
pub mod ledger;
pub mod power;
pub mod raw;
pub mod scene;
pub mod secrets;
pub mod space;
pub mod standing;
pub mod still;
pub mod weight;

pub use scene::Scene;
