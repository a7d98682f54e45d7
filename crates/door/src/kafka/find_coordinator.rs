//! FindCoordinator (10): which peer coordinates a group or a transactional producer.

use super::wire::{Flaw, Reader, Writer};
use super::{KafkaError, MetadataPeer};

/// The question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindCoordinator {
    pub kind: Coordinates,
    /// More than one from version 4 on.
    pub keys: Vec<String>,
}

/// What is coordinated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    Group,
    Transaction,
    /// Share groups, and what comes after them: answer [`KafkaError::InvalidRequest`].
    Other,
}

/// The answer for one key, in the order of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinator {
    pub key: String,
    /// With the address that *this* listener's clients can reach.
    pub result: Result<MetadataPeer, KafkaError>,
}

impl FindCoordinator {
    pub(super) fn refuse(self, error: KafkaError) -> Vec<Coordinator> {
        self.keys.into_iter().map(|key| Coordinator { key, result: Err(error) }).collect()
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<FindCoordinator, Flaw> {
    let mut keys = Vec::new();
    if version < 4 {
        keys.push(reader.text("a coordinator's key")?);
    }
    let kind = match if version >= 1 { reader.i8()? } else { 0 } {
        0 => Coordinates::Group,
        1 => Coordinates::Transaction,
        _ => Coordinates::Other,
    };
    if version >= 4 {
        keys = reader.array("the list of keys", 1, |reader| reader.text("a coordinator's key"))?;
    }
    reader.tags()?;
    Ok(FindCoordinator { kind, keys })
}

pub(super) fn encode(writer: &mut Writer, version: i16, found: &[Coordinator]) {
    if version >= 1 {
        writer.i32(0);
    }
    if version >= 4 {
        writer.count(found.len());
        for it in found {
            writer.text(&it.key);
            encode_peer(writer, &it.result);
            writer.error(it.result.as_ref().err().copied());
            writer.text_opt(None);
            writer.tags();
        }
    } else {
        let result = found.first().map_or(&Err(KafkaError::Unknown), |it| &it.result);
        writer.error(result.as_ref().err().copied());
        if version >= 1 {
            writer.text_opt(None);
        }
        encode_peer(writer, result);
    }
    writer.tags();
}

fn encode_peer(writer: &mut Writer, result: &Result<MetadataPeer, KafkaError>) {
    let peer = result.as_ref().ok();
    writer.i32(peer.map_or(-1, |peer| peer.id.0));
    writer.text(peer.map_or("", |peer| &peer.host));
    writer.i32(peer.map_or(-1, |peer| i32::from(peer.port)));
}
