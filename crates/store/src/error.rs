//! Why a file could not be read or written, and what the caller can do about it.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use thiserror::Error;

/// Each variant says what to do; the text is for people.
#[derive(Debug, Error)]
pub enum Error {
    /// Give the operation up; it may or may not have taken effect. A journal or segments that say this once stay
    /// [`Error::Fenced`].
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
    /// Try again when there is room: nothing was written, and nothing has failed for good (SH0502).
    #[error("{doing}: no room is left on the disk")]
    NoRoom { doing: String },
    /// Rebuild: a write or sync has failed before, so nothing that is said now could be believed.
    #[error("writing has ended: {0}")]
    Fenced(String),
    /// Take the bytes from another replica: these have changed on the disk (SH0207).
    #[error("stored bytes are damaged: {0}")]
    Rot(String),
    /// What was asked for is not on this disk: take it from another replica, or correct the question.
    #[error("not on this disk: {0}")]
    Missing(String),
    /// Correct the call: nothing was written.
    #[error("refused: {0}")]
    Misuse(String),
    /// Start the version that wrote it, or a newer one (SH0204).
    #[error("{what} was written by {written_by}, this is {this}")]
    Newer { what: String, written_by: String, this: String },
    /// Stop the other process, or take another folder (SH0202).
    #[error("data folder in use by pid {pid}")]
    InUse { path: PathBuf, pid: u32 },
    /// Take another folder: this one belongs to another mesh (SH0203).
    #[error("data folder of mesh {found}, not of {wanted}")]
    OtherMesh { found: String, wanted: String },
    /// Take another folder: this one holds something that is not shoal's (SH0203).
    #[error("{path} holds {found:?}, which shoal did not write")]
    Foreign { path: PathBuf, found: String },
    /// Say how to begin: there is no data folder yet (SH0205).
    #[error("there is no data folder at {path}")]
    Empty { path: PathBuf },
    /// Make the folder writable (SH0206).
    #[error("{path} cannot be written: {source}")]
    Unwritable { path: PathBuf, source: io::Error },
}

impl Error {
    /// As [`Error::io`], for a write that changes nothing if it fails for want of room.
    pub(crate) fn write(doing: impl Into<String>, source: io::Error) -> Self {
        if is_for_room(&source) {
            Self::NoRoom { doing: doing.into() }
        } else {
            Self::io(doing, source)
        }
    }

    /// A file of the data folder that cannot be written, or has no room.
    pub(crate) fn unwritable(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if is_for_room(&source) {
            Self::NoRoom { doing: format!("write {}", path.display()) }
        } else {
            Self::Unwritable { path, source }
        }
    }

    /// An i/o error with what was being done, as a bare phrase ("open segment 12").
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    /// The code of the problem that people are shown, one of [`model::problem::CODES`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "SH0202",
            Self::OtherMesh { .. } | Self::Foreign { .. } => "SH0203",
            Self::Newer { .. } => "SH0204",
            Self::Empty { .. } => "SH0205",
            Self::Unwritable { .. } | Self::Io { .. } | Self::Fenced(_) => "SH0206",
            Self::NoRoom { .. } => "SH0502",
            Self::Rot(_) | Self::Missing(_) => "SH0207",
            Self::Misuse(_) => "SH0901",
        }
    }
}

/// Whether a write failed only because the disk, or the share of it that may be used, is full.
pub(crate) fn is_for_room(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl From<fjall::Error> for Error {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
                match source.kind() {
                    // Not the disk's words but the reader's: what was read is not what was written.
                    ErrorKind::UnexpectedEof | ErrorKind::InvalidData => {
                        Self::Rot(format!("tables: {source}"))
                    }
                    _ => Self::write("access the tables", source),
                }
            }
            fjall::Error::Poisoned => Self::Fenced("a write of the tables has failed".into()),
            fjall::Error::InvalidVersion(None) => Self::Rot("the tables' version".into()),
            fjall::Error::InvalidVersion(Some(version)) => Self::Newer {
                what: "the tables".into(),
                written_by: format!("format {version:?}"),
                this: env!("CARGO_PKG_VERSION").into(),
            },
            other => Self::Rot(format!("tables: {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_room_is_no_folder_that_cannot_be_written() {
        let of = |kind: ErrorKind| Error::unwritable("head", io::Error::from(kind)).code();
        assert_eq!(of(ErrorKind::StorageFull), "SH0502");
        assert_eq!(of(ErrorKind::QuotaExceeded), "SH0502");
        assert_eq!(of(ErrorKind::PermissionDenied), "SH0206");
    }
}
