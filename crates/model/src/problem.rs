//! Errors that people read: a code, what happened, because of what, and what to try.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An error with its code, in the form every door and command prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `SHnnnn`, one of [`CODES`].
    pub code: String,
    pub what: String,
    pub because: String,
    /// An exact command or setting.
    #[serde(rename = "try")]
    pub fix: String,
}

/// Every code with its exit code and one sentence for `shoal explain`.
pub const CODES: &[(&str, u8, &str)] = &[
    ("SH0001", 2, "the command line or a setting was not understood"),
    ("SH0002", 2, "a name is not allowed"),
    ("SH0101", 3, "no peer answered at the address given"),
    ("SH0102", 3, "the mesh secret differs: the token is not this mesh's"),
    ("SH0103", 3, "the address speaks another protocol than the mesh's"),
    ("SH0104", 5, "the peer belongs to another mesh"),
    ("SH0105", 5, "a peer of this name is in the mesh already"),
    ("SH0106", 5, "the peer was taken out of the mesh"),
    ("SH0107", 5, "the mesh was recovered without the peer"),
    ("SH0201", 1, "a port is taken by another process"),
    ("SH0202", 5, "the data folder is in use by another process"),
    ("SH0203", 5, "the data folder belongs to another mesh"),
    ("SH0204", 5, "the data folder was written by a newer version"),
    ("SH0205", 2, "the data folder is empty and no command says how to begin"),
    ("SH0206", 1, "the data folder cannot be written"),
    ("SH0207", 1, "stored bytes are damaged"),
    ("SH0208", 5, "the only copy of a shard is damaged"),
    ("SH0301", 4, "no such stream"),
    ("SH0302", 5, "the stream exists with other settings"),
    ("SH0303", 4, "no such view"),
    ("SH0304", 4, "no such pipeline"),
    ("SH0305", 4, "no such peer"),
    ("SH0306", 4, "no such partition"),
    ("SH0307", 4, "no such row"),
    ("SH0308", 4, "no such path"),
    ("SH0309", 5, "a pipeline uses the stream"),
    ("SH0310", 4, "no such group"),
    ("SH0311", 5, "the mesh would have more partitions than it may"),
    ("SH0312", 5, "the group has consumers"),
    ("SH0313", 5, "peers hold the pipeline's code"),
    ("SH0401", 1, "an event or batch is larger than allowed"),
    ("SH0402", 1, "a batch is malformed"),
    ("SH0403", 1, "an offset is outside of the partition"),
    ("SH0404", 1, "the request body is malformed"),
    ("SH0405", 5, "an idempotency key was used with a different body"),
    ("SH0501", 5, "a shard has no leader that can reach its quorum"),
    ("SH0502", 5, "the disk is nearly full"),
    ("SH0503", 5, "the peer has reached a limit and refuses new work"),
    ("SH0504", 5, "the request was not decided in time; its outcome is unknown"),
    ("SH0505", 5, "the peer is starting or stopping"),
    ("SH0506", 5, "fewer peers would be left than shards have copies"),
    ("SH0507", 5, "the peer is the last that can hold shards"),
    ("SH0508", 5, "the peer is alive"),
    ("SH0601", 1, "a processor failed"),
    ("SH0602", 1, "a check found a wrong total"),
    ("SH0603", 5, "a pipeline's new version cannot run"),
    ("SH0901", 1, "an internal error"),
];

impl Problem {
    /// A problem with a code of [`CODES`].
    pub fn new(
        code: &str,
        what: impl Into<String>,
        because: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        assert!(CODES.iter().any(|(known, _, _)| *known == code), "unknown problem code {code}");
        Self { code: code.into(), what: what.into(), because: because.into(), fix: fix.into() }
    }

    /// The process exit code: 1 failed, 2 usage, 3 cannot reach a peer, 4 not found, 5 refused by state.
    pub fn exit_code(&self) -> u8 {
        CODES.iter().find(|(code, _, _)| *code == self.code).map_or(1, |(_, exit, _)| *exit)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error[{}]: {}\n  because: {}\n  try: {}",
            self.code, self.what, self.because, self.fix
        )
    }
}

impl std::error::Error for Problem {}
