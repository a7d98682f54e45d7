//! Metadata (3): who is here, which streams there are and who leads their partitions. Asked by
//! name, or, from version 10 on, by id; versions 0 to 3 imply that unknown streams are to be made.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};
use model::{MeshId, PeerId, StreamId};

/// What `authorized operations` says when there is no access control.
pub(super) const OPERATIONS_UNKNOWN: i32 = i32::MIN;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// `None`: all streams.
    pub streams: Option<Vec<Wanted>>,
    /// Make those that do not exist.
    pub create: bool,
}

/// One stream somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    Name(String),
    Id(StreamId),
    /// A name that no stream can have: answer [`KafkaError::InvalidName`].
    BadName(String),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataReply {
    pub mesh: MeshId,
    /// The peer that takes administrative requests; any peer does, so the one that answers is fine.
    pub controller: PeerId,
    pub peers: Vec<MetadataPeer>,
    pub streams: Vec<MetadataStream>,
}

/// A peer with the address that *this* listener's clients can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataPeer {
    pub id: PeerId,
    pub host: String,
    pub port: u16,
    pub zone: Option<String>,
}

/// A stream, or why it is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataStream {
    pub error: Option<KafkaError>,
    /// `None` when it was asked for by an id that no stream has.
    pub name: Option<String>,
    pub id: StreamId,
    pub parts: Vec<MetadataPart>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataPart {
    pub partition: i32,
    /// `None`: no leader at the moment; the part gets [`KafkaError::LeaderNotAvailable`].
    pub leader: Option<PeerId>,
    /// The shard's term, or -1; it must never fall, or clients ignore the answer.
    pub epoch: i32,
    pub replicas: Vec<PeerId>,
    /// Those of the replicas that are alive and vote.
    pub in_sync: Vec<PeerId>,
    pub offline: Vec<PeerId>,
}

impl Wanted {
    pub(super) fn named(name: String) -> Self {
        match model::name::check(&name) {
            Ok(()) => Self::Name(name),
            Err(_) => Self::BadName(name),
        }
    }

    /// The answer that there is no such stream, or that there cannot be one.
    pub fn refuse(self, error: KafkaError) -> MetadataStream {
        let (error, name, id) = match self {
            Self::Name(name) => (error, Some(name), StreamId(0)),
            Self::BadName(name) => (KafkaError::InvalidName, Some(name), StreamId(0)),
            Self::Id(id) => (error, None, id),
        };
        MetadataStream { error: Some(error), name, id, parts: Vec::new() }
    }
}

impl Metadata {
    pub(super) fn refuse(self, error: KafkaError) -> MetadataReply {
        let wanted = self.streams.unwrap_or_default();
        MetadataReply {
            mesh: MeshId(0),
            controller: PeerId(-1),
            peers: Vec::new(),
            streams: wanted.into_iter().map(|wanted| wanted.refuse(error)).collect(),
        }
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Metadata, Flaw> {
    let by_id = version >= 10;
    let streams = reader.array_opt(if by_id { 18 } else { 2 }, |reader| {
        let wanted = match by_id {
            false => Wanted::named(reader.text("a topic's name")?),
            true => {
                let id = StreamId(reader.uuid()?);
                reader.text_opt()?.map_or(Wanted::Id(id), Wanted::named)
            }
        };
        reader.tags()?;
        Ok(wanted)
    })?;
    // In version 0 an empty list means all; later null does, and empty means none.
    let streams = if version == 0 { streams.filter(|s| !s.is_empty()) } else { streams };
    let create = if version >= 4 { reader.bool()? } else { true };
    if (8..=10).contains(&version) {
        reader.bool()?;
    }
    if version >= 8 {
        reader.bool()?;
    }
    reader.tags()?;
    Ok(Metadata { streams, create })
}

pub(super) fn encode(writer: &mut Writer, version: i16, reply: &MetadataReply) {
    if version >= 3 {
        writer.i32(0);
    }
    writer.count(reply.peers.len());
    for peer in &reply.peers {
        writer.i32(peer.id.0);
        writer.text(&peer.host);
        writer.i32(i32::from(peer.port));
        if version >= 1 {
            writer.text_opt(peer.zone.as_deref());
        }
        writer.tags();
    }
    if version >= 2 {
        writer.text(&reply.mesh.to_string());
    }
    if version >= 1 {
        writer.i32(reply.controller.0);
    }
    writer.count(reply.streams.len());
    for stream in &reply.streams {
        encode_stream(writer, version, stream);
    }
    if (8..=10).contains(&version) {
        writer.i32(OPERATIONS_UNKNOWN);
    }
    writer.tags();
}

fn encode_stream(writer: &mut Writer, version: i16, stream: &MetadataStream) {
    writer.error(stream.error);
    match &stream.name {
        None if version >= 12 => writer.text_opt(None),
        name => writer.text(name.as_deref().unwrap_or_default()),
    }
    if version >= 10 {
        writer.uuid(stream.id.0);
    }
    if version >= 1 {
        writer.bool(false);
    }
    writer.count(stream.parts.len());
    for part in &stream.parts {
        writer.error(part.leader.is_none().then_some(KafkaError::LeaderNotAvailable));
        writer.i32(part.partition);
        writer.i32(part.leader.map_or(-1, |leader| leader.0));
        if version >= 7 {
            writer.i32(part.epoch);
        }
        encode_peers(writer, &part.replicas);
        encode_peers(writer, &part.in_sync);
        if version >= 5 {
            encode_peers(writer, &part.offline);
        }
        writer.tags();
    }
    if version >= 8 {
        writer.i32(OPERATIONS_UNKNOWN);
    }
    writer.tags();
}

fn encode_peers(writer: &mut Writer, peers: &[PeerId]) {
    writer.count(peers.len());
    for peer in peers {
        writer.i32(peer.0);
    }
}
