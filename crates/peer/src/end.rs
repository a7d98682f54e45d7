//! How a peer ends by itself, and what people are told of it.

use crate::{problems, shape};
use model::Problem;

/// Why a peer ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to leave, and has handed everything over.
    Left,
    /// It was taken out of the mesh.
    Removed,
    /// A later start of the same peer is in the roster, or the same start from another place.
    Twice,
    /// The others refuse it for good.
    Refused(Box<Problem>),
    /// It cannot go on.
    Failed(String),
}

impl End {
    /// What people are told; a peer that has left is no problem.
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::Left => None,
            Self::Removed => Some(Problem::new(
                "SH0106",
                "this peer was taken out of the mesh",
                "the roster does not have it any more, and its shards have other peers",
                shape::removed_fix(),
            )),
            Self::Twice => Some(Problem::new(
                "SH0202",
                "this peer was started a second time, from a copy of its data folder",
                "the roster names a later start than this one, or the same at another address, and a peer must be there once",
                "let one of the two folders rest for ever; another peer may join with an empty one",
            )),
            Self::Refused(problem) => Some((**problem).clone()),
            Self::Failed(why) => Some(problems::internal("this peer cannot go on", why)),
        }
    }
}
