//! DescribeCluster (60): which peers there are.

use super::metadata::OPERATIONS_UNKNOWN;
use super::wire::{Flaw, Reader, Writer};
use super::{KafkaError, MetadataPeer};
use model::{MeshId, PeerId};

/// What of a mesh is asked for: the peers that clients speak to.
const PEERS: i8 = 1;

/// The question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescribeMesh {
    /// False if it asks for something there is none of: answer [`KafkaError::UnsupportedEndpoint`].
    pub peers: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMesh {
    pub mesh: MeshId,
    pub controller: PeerId,
    pub peers: Vec<MetadataPeer>,
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<DescribeMesh, Flaw> {
    let _operations = reader.bool()?;
    let peers = version < 1 || reader.i8()? == PEERS;
    reader.tags()?;
    Ok(DescribeMesh { peers })
}

pub(super) fn encode(writer: &mut Writer, version: i16, reply: &Result<DescribedMesh, KafkaError>) {
    writer.i32(0);
    writer.error(reply.as_ref().err().copied());
    writer.text_opt(None);
    if version >= 1 {
        writer.i8(PEERS);
    }
    let described = reply.as_ref().ok();
    writer.text(&described.map(|it| it.mesh.to_string()).unwrap_or_default());
    writer.i32(described.map_or(-1, |it| it.controller.0));
    let peers = described.map_or(&[][..], |it| &it.peers);
    writer.count(peers.len());
    for peer in peers {
        writer.i32(peer.id.0);
        writer.text(&peer.host);
        writer.i32(i32::from(peer.port));
        writer.text_opt(peer.zone.as_deref());
        writer.tags();
    }
    writer.i32(OPERATIONS_UNKNOWN);
    writer.tags();
}
