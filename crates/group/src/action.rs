//! What a group asks for.

use model::PartitionId;
use model::deal::Redeal;
use model::group::{Committed, Formed, Refusal, Said};

/// One action of [`crate::Group::step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The answer to a request.
    Answer { request: u64, result: Result<Said, Refusal> },
    /// Put this generation into the log, then say `Input::Kept` with its number.
    Keep { number: u64, formed: Formed },
    /// Put this change of what is dealt into the log, in the order of these, then say `Input::Dealt` with its number.
    Deal { number: u64, redeal: Redeal },
    /// The group takes these offsets: put them into the log and answer the request by what comes of it.
    Commit { request: u64, offsets: Vec<(PartitionId, Committed)> },
    /// The group has no consumers: delete it from the log and answer the request by what comes of it.
    Delete { request: u64 },
}
