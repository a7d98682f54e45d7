//! What can happen to a group.

use model::group::{Ask, Refusal};

/// One input of [`crate::Group::step`].
#[derive(Clone, Debug)]
pub enum Input {
    /// A client asks. `fresh` is luck: it becomes part of the id of a consumer that has none.
    Asked { request: u64, ask: Ask, fresh: u128 },
    /// What `Action::Keep` asked for is in the log, or is not.
    Kept { number: u64, result: Result<(), Refusal> },
    /// Time has passed: called some times a second.
    Tick,
}
