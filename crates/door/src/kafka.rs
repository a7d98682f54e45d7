//! Kafka's protocol: frames to asks, replies to frames. One file an API; their versions are listed
//! in [`versions`].
//!
//! The codec is our own, not `kafka-protocol`'s: that one reserves memory for as many items as a
//! request claims to have (`Vec::with_capacity(n)`, 2³¹ of them if it says so) and takes a fetched
//! partition as one contiguous piece, which costs a copy. It is the oracle of the tests instead.
//!
//! Promises: batches stay slices of the request's frame; every count is checked against the bytes
//! that follow it; what can be answered without asking anybody comes as [`Ask::Answered`]. Never
//! guesses what a client meant.

mod alter_settings;
mod commit_offsets;
mod committed_offsets;
mod coordinated;
mod create_streams;
mod deal_beat;
mod delete_groups;
mod delete_streams;
mod describe_deals;
mod describe_groups;
mod describe_mesh;
mod describe_settings;
mod epochs;
mod error;
mod events;
mod fetch;
mod find_coordinator;
mod frame;
mod grow_streams;
mod heartbeat;
mod init_producer;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod produce;
mod resource;
pub mod settings;
mod sync_group;
mod transactions;
mod trim_streams;
pub mod versions;
mod wire;

pub use alter_settings::{AlterSettings, Altered};
pub use commit_offsets::{CommitOffsets, CommitPart, CommittedPart};
pub use committed_offsets::{CommittedOffsets, GroupOffsets, OffsetOf, Parts, WantedOffsets};
pub use create_streams::{CreateStreams, Created, CreatedStream, NewStream, StreamSpec};
pub use delete_groups::DeletedGroup;
pub use delete_streams::DeletedStream;
pub use describe_deals::{DescribedDeal, Names};
pub use describe_groups::DescribedGroup;
pub use describe_mesh::{DescribeMesh, DescribedMesh};
pub use describe_settings::{SettingsOf, WantedSettings};
pub use epochs::{EpochEnd, EpochPart};
pub use error::{KafkaError, Refused};
pub use fetch::{Fetch, FetchPart, FetchReply, Fetched, FetchedPart, Which};
pub use find_coordinator::{Coordinates, Coordinator, FindCoordinator};
pub use frame::{FRAME_BYTES_MAX, Reject, frame_size};
pub use grow_streams::{GrowStreams, Grown, Growth};
pub use init_producer::InitProducer;
pub use list_groups::{ListGroups, ListedGroup};
pub use list_offsets::{Found, FoundPart, ListOffsets, OffsetPart, Place};
pub use metadata::{Metadata, MetadataPart, MetadataPeer, MetadataReply, MetadataStream, Wanted};
pub use produce::{Produce, ProducePart, ProducedPart};
pub use resource::Resource;
pub use transactions::{
    AddOffsets, AddPartitions, AddedPart, EndTransaction, PendOffsets, Transact, Transacted,
};
pub use trim_streams::{TrimPart, TrimmedPart};
pub use wire::{Flaw, ITEMS_MAX};

use bytes::Bytes;
use model::group;
use wire::{Reader, Writer};

/// What a reply needs to know of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub correlation: i32,
    pub api: i16,
    pub version: i16,
    pub client_id: Option<String>,
    /// The client expects no reply (Produce with acks 0); one sent all the same would shift all
    /// later ones.
    pub silent: bool,
}

/// One decoded request.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: Head,
    pub ask: Ask,
}

/// What a client asks.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Which APIs and versions there are: answered with [`Reply::Versions`], whatever version was
    /// asked.
    Versions,
    Metadata(Metadata),
    InitProducer(InitProducer),
    Produce(Produce),
    Fetch(Fetch),
    ListOffsets(ListOffsets),
    CreateStreams(CreateStreams),
    FindCoordinator(FindCoordinator),
    /// Something for the group's coordinator: join, sync, a sign of life of either kind, leave.
    Group {
        group: String,
        ask: group::Ask,
    },
    CommitOffsets(CommitOffsets),
    CommittedOffsets(CommittedOffsets),
    /// Groups by name.
    DescribeGroups(Vec<String>),
    /// The same, of groups whose coordinator deals.
    DescribeDeals(Vec<String>),
    ListGroups(ListGroups),
    DeleteGroups(Vec<String>),
    DeleteStreams(Vec<Wanted>),
    GrowStreams(GrowStreams),
    TrimStreams(Vec<TrimPart>),
    DescribeSettings(Vec<WantedSettings>),
    AlterSettings(AlterSettings),
    DescribeMesh(DescribeMesh),
    Epochs(Vec<EpochPart>),
    Transact(Transact),
    /// The door knows the answer itself; pass it to [`encode`].
    Answered(Reply),
}

/// What a client is answered; parts in the order of the request, those of one stream side by side.
#[derive(Clone, Debug)]
pub enum Reply {
    Versions,
    Metadata(MetadataReply),
    /// The producer's id and epoch.
    InitProducer(Result<(i64, i16), KafkaError>),
    Produce(Vec<ProducedPart>),
    Fetch(FetchReply),
    ListOffsets(Vec<FoundPart>),
    CreateStreams(Vec<CreatedStream>),
    FindCoordinator(Vec<Coordinator>),
    Group(Result<group::Said, group::Refusal>),
    CommitOffsets(Vec<CommittedPart>),
    CommittedOffsets(Vec<GroupOffsets>),
    DescribeGroups(Vec<DescribedGroup>),
    DescribeDeals(Vec<DescribedDeal>),
    ListGroups(Result<Vec<ListedGroup>, KafkaError>),
    DeleteGroups(Vec<DeletedGroup>),
    DeleteStreams(Vec<DeletedStream>),
    GrowStreams(Vec<Grown>),
    TrimStreams(Vec<TrimmedPart>),
    DescribeSettings(Vec<SettingsOf>),
    AlterSettings(Vec<Altered>),
    DescribeMesh(Result<DescribedMesh, KafkaError>),
    Epochs(Vec<EpochEnd>),
    Transacted(Transacted),
}

impl Ask {
    /// The same refusal for all that was asked: the peer stops, has no credit left, or could not
    /// decide in time.
    pub fn refuse(self, error: KafkaError) -> Reply {
        match self {
            Self::Versions => Reply::Versions,
            Self::Metadata(ask) => Reply::Metadata(ask.refuse(error)),
            Self::InitProducer(_) => Reply::InitProducer(Err(error)),
            Self::Produce(ask) => Reply::Produce(ask.refuse(error)),
            Self::Fetch(ask) => Reply::Fetch(ask.refuse(error)),
            Self::ListOffsets(ask) => Reply::ListOffsets(ask.refuse(error)),
            Self::CreateStreams(ask) => Reply::CreateStreams(ask.refuse(error)),
            Self::DeleteStreams(all) => {
                let refuse = |it: Wanted| it.deleted(Err(error.into()));
                Reply::DeleteStreams(all.into_iter().map(refuse).collect())
            }
            Self::GrowStreams(ask) => Reply::GrowStreams(ask.refuse(error)),
            Self::TrimStreams(parts) => {
                Reply::TrimStreams(parts.into_iter().map(|it| it.refuse(error)).collect())
            }
            Self::DescribeSettings(all) => {
                Reply::DescribeSettings(all.into_iter().map(|it| it.refuse(error)).collect())
            }
            Self::AlterSettings(ask) => Reply::AlterSettings(ask.refuse(error)),
            Self::DescribeMesh(_) => Reply::DescribeMesh(Err(error)),
            Self::Epochs(parts) => {
                Reply::Epochs(parts.into_iter().map(|it| it.refuse(error)).collect())
            }
            Self::Answered(reply) => reply,
            coordinated => coordinated.refuse_coordinated(error),
        }
    }
}

/// Decodes one frame, the four bytes of its length left out. After a [`Reject`] the connection must
/// be closed.
pub fn decode(frame: Bytes) -> Result<Request, Reject> {
    let size = frame.len();
    let mut reader = Reader::new(frame);
    let mut first = || Some((reader.i16().ok()?, reader.i16().ok()?, reader.i32().ok()?));
    let (api, version, correlation) = first().ok_or(Reject::Short(size as i32))?;
    let mut head = Head { correlation, api, version, client_id: None, silent: false };
    let offer = versions::offer(api).ok_or(Reject::Api { api, version })?;
    if !(offer.min..=offer.max).contains(&version) {
        // Clients begin with the newest ApiVersions they know and go down to what the reply lists.
        return match api {
            versions::API_VERSIONS => Ok(Request { head, ask: Ask::Versions }),
            _ => Err(Reject::Version { api, version }),
        };
    }
    let ask = body(&mut reader, offer, &mut head);
    let ask = ask.map_err(|flaw| Reject::Malformed { api, version, flaw })?;
    Ok(Request { head, ask })
}

fn body(reader: &mut Reader, offer: &versions::Offer, head: &mut Head) -> Result<Ask, Flaw> {
    // The client id is an old-style string in every header version.
    head.client_id = reader.text_opt()?;
    reader.flexible(head.version >= offer.flexible);
    reader.tags()?;
    let version = head.version;
    Ok(match head.api {
        versions::API_VERSIONS => Ask::Versions,
        versions::METADATA => Ask::Metadata(metadata::decode(reader, version)?),
        versions::INIT_PRODUCER => Ask::InitProducer(init_producer::decode(reader, version)?),
        versions::PRODUCE => {
            let produce::Decoded { acks, ask } = produce::decode(reader, version)?;
            head.silent = acks == 0;
            ask
        }
        versions::FETCH => fetch::decode(reader, version)?,
        versions::LIST_OFFSETS => Ask::ListOffsets(list_offsets::decode(reader, version)?),
        versions::CREATE_STREAMS => Ask::CreateStreams(create_streams::decode(reader, version)?),
        versions::DELETE_STREAMS => Ask::DeleteStreams(delete_streams::decode(reader, version)?),
        versions::GROW_STREAMS => Ask::GrowStreams(grow_streams::decode(reader)?),
        versions::TRIM_STREAMS => Ask::TrimStreams(trim_streams::decode(reader)?),
        versions::DESCRIBE_SETTINGS => {
            Ask::DescribeSettings(describe_settings::decode(reader, version)?)
        }
        versions::ALTER_SETTINGS => Ask::AlterSettings(alter_settings::decode(reader)?),
        versions::DESCRIBE_MESH => Ask::DescribeMesh(describe_mesh::decode(reader, version)?),
        versions::EPOCHS => Ask::Epochs(epochs::decode(reader, version)?),
        _ => coordinated::decode(reader, head)?,
    })
}

/// Encodes a reply with its length; `None` when the client expects none.
pub fn encode(head: &Head, reply: Reply) -> Option<Bytes> {
    if head.silent {
        return None;
    }
    let version = head.version;
    let mut writer = Writer::new(64 + size_hint(&reply), head.correlation);
    if head.api != versions::API_VERSIONS {
        let offer = versions::offer(head.api).expect("only offered APIs are decoded");
        writer.flexible(version >= offer.flexible);
        writer.tags();
    }
    match (head.api, &reply) {
        (versions::API_VERSIONS, Reply::Versions) => versions::encode(&mut writer, version),
        (versions::METADATA, Reply::Metadata(reply)) => {
            metadata::encode(&mut writer, version, reply)
        }
        (versions::INIT_PRODUCER, Reply::InitProducer(reply)) => {
            init_producer::encode(&mut writer, version, *reply)
        }
        (versions::PRODUCE, Reply::Produce(parts)) => produce::encode(&mut writer, version, parts),
        (versions::FETCH, Reply::Fetch(reply)) => fetch::encode(&mut writer, version, reply),
        (versions::LIST_OFFSETS, Reply::ListOffsets(parts)) => {
            list_offsets::encode(&mut writer, version, parts)
        }
        (versions::CREATE_STREAMS, Reply::CreateStreams(streams)) => {
            create_streams::encode(&mut writer, version, streams)
        }
        _ => encode_more(&mut writer, head, &reply),
    }
    Some(writer.finish())
}

fn encode_more(writer: &mut Writer, head: &Head, reply: &Reply) {
    let version = head.version;
    match (head.api, reply) {
        (versions::DELETE_STREAMS, Reply::DeleteStreams(streams)) => {
            delete_streams::encode(writer, version, streams)
        }
        (versions::GROW_STREAMS, Reply::GrowStreams(streams)) => {
            grow_streams::encode(writer, streams)
        }
        (versions::TRIM_STREAMS, Reply::TrimStreams(parts)) => trim_streams::encode(writer, parts),
        (versions::DESCRIBE_SETTINGS, Reply::DescribeSettings(all)) => {
            describe_settings::encode(writer, version, all)
        }
        (versions::ALTER_SETTINGS, Reply::AlterSettings(all)) => {
            alter_settings::encode(writer, all)
        }
        (versions::DESCRIBE_MESH, Reply::DescribeMesh(reply)) => {
            describe_mesh::encode(writer, version, reply)
        }
        (versions::EPOCHS, Reply::Epochs(parts)) => epochs::encode(writer, parts),
        _ => coordinated::encode(writer, head, reply),
    }
}

/// Roughly how many bytes a reply takes, so that writing it does not grow its buffer again and
/// again.
fn size_hint(reply: &Reply) -> usize {
    match reply {
        Reply::Versions | Reply::InitProducer(_) => 64,
        Reply::Metadata(reply) => {
            let parts: usize = reply.streams.iter().map(|s| 64 + s.parts.len() * 64).sum();
            reply.peers.len() * 64 + parts
        }
        Reply::Produce(parts) => parts.len() * 64,
        Reply::Fetch(reply) => reply.parts.iter().map(fetch::size_hint).sum(),
        Reply::ListOffsets(parts) => parts.len() * 48,
        Reply::CreateStreams(streams) => streams.len() * 128,
        Reply::CommitOffsets(parts) => parts.len() * 16,
        Reply::CommittedOffsets(groups) => groups.iter().map(|it| 64 + it.parts.len() * 48).sum(),
        _ => 256,
    }
}
