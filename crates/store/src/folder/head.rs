//! What a data folder says of itself: the file `head`, lines of text with a checksum.
//!
//! The first two lines, format and writing version, never change their form: an older version can say what wrote a
//! folder that it cannot read. Never printed for people: it holds the mesh's secret.

use crate::Error;
use model::{MeshId, PeerId};
use std::fmt;

const FORMAT: u32 = 1;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The head of a data folder.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    pub mesh: MeshId,
    /// Grows when a quorum was given up by hand.
    pub recovery: u32,
    /// 0 until the mesh has given one.
    pub peer: PeerId,
    pub name: String,
    pub secret: Vec<u8>,
    pub shards: u16,
    pub replication: u8,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} of {}, recovery {})", self.peer, self.mesh, self.recovery)
    }
}

impl Head {
    pub(super) fn print(&self) -> String {
        let Self { mesh, recovery, peer, name, secret, shards, replication } = self;
        let text = format!(
            "shoal-data {FORMAT}\nwritten-by {VERSION}\nmesh {mesh}\nrecovery {recovery}\n\
             peer {}\nname {name}\nsecret {}\nshards {shards}\nreplication {replication}\n",
            peer.0,
            to_hex(secret),
        );
        format!("{text}crc {:08x}\n", crc32fast::hash(text.as_bytes()))
    }

    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let rot = || Error::Rot("the file `head` of the data folder".into());
        let mut lines = text.lines();
        let mut field = |name: &str| {
            let line = lines.next()?;
            line.strip_prefix(name)?.strip_prefix(' ')
        };
        let format: u32 = field("shoal-data").and_then(|v| v.parse().ok()).ok_or_else(rot)?;
        let written_by = field("written-by").ok_or_else(rot)?.to_string();
        if format > FORMAT {
            let what = "the data folder".into();
            return Err(Error::Newer { what, written_by, this: VERSION.into() });
        }
        let head = (|| {
            Some(Self {
                mesh: MeshId(u128::from_str_radix(field("mesh")?, 16).ok()?),
                recovery: field("recovery")?.parse().ok()?,
                peer: PeerId(field("peer")?.parse().ok()?),
                name: field("name")?.into(),
                secret: from_hex(field("secret")?)?,
                shards: field("shards")?.parse().ok()?,
                replication: field("replication")?.parse().ok()?,
            })
        })()
        .ok_or_else(rot)?;
        let body = text.rfind("crc ").ok_or_else(rot)?;
        let crc = u32::from_str_radix(text[body + 4..].trim_end(), 16).map_err(|_| rot())?;
        if crc != crc32fast::hash(&text.as_bytes()[..body]) {
            return Err(rot());
        }
        Ok(head)
    }
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}
