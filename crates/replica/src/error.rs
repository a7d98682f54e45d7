//! Why a step was refused, or why a replica cannot go on.

use model::ReplicaId;
use thiserror::Error;

/// What went wrong. [`Error::is_fatal`] tells whether the replica may be stepped again.
#[derive(Debug, Error)]
pub enum Error {
    /// Drop the message; the state is unchanged.
    #[error("a message is malformed: {0}")]
    Message(&'static str),
    /// Drop the message: it is for another replica, or does not come from whom it says.
    #[error("a message is from {said} but came from {from}")]
    Sender { said: ReplicaId, from: ReplicaId },
    /// Drop the input: the outcome belongs to nothing that is under way.
    #[error("nothing is under way that this belongs to: {0}")]
    Unasked(&'static str),
    /// Fatal: the stored log does not fit the stored fold; the replica must be replaced by a new one.
    #[error("the stored log is in doubt: {0}")]
    Doubt(String),
    /// Fatal: an entry cannot be understood by this build; stop the replica, keep its files.
    #[error("an entry at index {index} has no meaning here: {source}")]
    Entry { index: u64, source: model::entry::Error },
    /// Fatal: the stored fold cannot be read.
    #[error("a stored fold is malformed: {0}")]
    Fold(String),
    /// Fatal: consensus itself refused.
    #[error("consensus: {0}")]
    Raft(#[from] raft::Error),
}

impl Error {
    /// True if the replica must not be stepped again.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Message(_) | Self::Sender { .. } | Self::Unasked(_))
    }
}
