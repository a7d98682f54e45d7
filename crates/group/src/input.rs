//! What can happen to a group.

use model::Catalogue;
use model::group::{Ask, Refusal};
use std::sync::Arc;

/// One input of [`crate::Coordinator::step`].
#[derive(Clone, Debug)]
pub enum Input {
    /// A client asks. `fresh` is luck: it becomes part of the id of a consumer that has none.
    Asked { request: u64, ask: Ask, fresh: u128 },
    /// What `Action::Keep` asked for is in the log, or is not.
    Kept { number: u64, result: Result<(), Refusal> },
    /// What `Action::Deal` asked for is in the log, or is not.
    Dealt { number: u64, result: Result<(), Refusal> },
    /// The catalogue is this: before anybody asks, and when it has changed.
    Catalogue(Arc<Catalogue>),
    /// Time has passed: called some times a second.
    Tick,
}
