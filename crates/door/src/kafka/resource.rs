//! What settings belong to, as two APIs say it.

use super::wire::{Flaw, Reader, Writer};

const STREAM: i8 = 2;
const PEER: i8 = 4;

/// What is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Stream(String),
    /// A peer's id as text; empty means all.
    Peer(String),
    /// Something that has no settings here.
    Other(i8, String),
}

impl Resource {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Flaw> {
        let kind = reader.i8()?;
        let name = reader.text("a resource's name")?;
        Ok(match kind {
            STREAM => Self::Stream(name),
            PEER => Self::Peer(name),
            other => Self::Other(other, name),
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        let (kind, name) = match self {
            Self::Stream(name) => (STREAM, name),
            Self::Peer(name) => (PEER, name),
            Self::Other(kind, name) => (*kind, name),
        };
        writer.i8(kind);
        writer.text(name);
    }
}
