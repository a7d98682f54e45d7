//! Metadata and making streams, in Kafka's words.

use super::Door;
use super::room::Room;
use crate::limits;
use door::http;
use door::kafka::{
    Ask, CreateStreams, Created, CreatedStream, KafkaError, Metadata, MetadataPart, MetadataPeer,
    MetadataReply, MetadataStream, NewStream, Refused, Reply, StreamSpec, Wanted,
};
use model::catalogue::{Catalogue, Stream};
use model::hash::shard_of;
use model::{PeerId, Problem, Settings};
use std::collections::HashSet;
use std::time::Duration;

impl Door {
    pub(super) async fn metadata(&self, ask: Metadata, room: &Room) -> Reply {
        if !room.take(self.told_bytes(&ask)).await {
            return Ask::Metadata(ask).refuse(KafkaError::NotLeader);
        }
        let Metadata { mut streams, create } = ask;
        if let Some(streams) = &mut streams {
            // Each is told once, however often it is named.
            let mut named = HashSet::new();
            streams.retain(|wanted| named.insert(wanted.clone()));
        }
        let streams = match streams {
            None => {
                let catalogue = self.board().catalogue();
                let mut streams: Vec<&Stream> = catalogue.streams.values().collect();
                streams.sort_by(|left, right| left.name.cmp(&right.name));
                streams.into_iter().map(|stream| self.shown(stream)).collect()
            }
            Some(wanted) => {
                let mut shown = Vec::with_capacity(wanted.len());
                for wanted in wanted {
                    shown.push(self.wanted(wanted, create).await);
                }
                shown
            }
        };
        let catalogue = self.board().catalogue();
        Reply::Metadata(MetadataReply {
            mesh: catalogue.mesh,
            controller: self.board().me(),
            peers: self.told(&catalogue),
            streams,
        })
    }

    /// About how many bytes the answer takes, for all streams at most.
    fn told_bytes(&self, ask: &Metadata) -> usize {
        let catalogue = self.board().catalogue();
        let partitions = |stream: &Stream| 1 + stream.partitions as usize;
        let told: usize = match &ask.streams {
            None => catalogue.streams.values().map(partitions).sum(),
            Some(wanted) => {
                let stream = |wanted: &Wanted| match wanted {
                    Wanted::Name(name) => catalogue.stream(name),
                    Wanted::Id(id) => catalogue.streams.get(id),
                    Wanted::BadName(_) => None,
                };
                let usual = http::NewStream::partitions_usual() as usize;
                let named: HashSet<&Wanted> = wanted.iter().collect();
                named.into_iter().map(|it| stream(it).map_or(usual, partitions)).sum()
            }
        };
        told * limits::PARTITION_TOLD_BYTES
    }

    async fn wanted(&self, wanted: Wanted, create: bool) -> MetadataStream {
        let catalogue = self.board().catalogue();
        let found = match &wanted {
            Wanted::Name(name) => catalogue.stream(name),
            Wanted::Id(id) => catalogue.streams.get(id),
            Wanted::BadName(_) => None,
        };
        if let Some(stream) = found {
            return self.shown(stream);
        }
        match wanted {
            Wanted::Name(name) if create => {
                match self.create_usual(&name).await {
                    Ok((stream, _)) => self.shown(&stream),
                    // Somebody made it with other settings a moment ago: then it is there.
                    Err(problem) => match self.board().catalogue().stream(&name) {
                        Some(stream) => self.shown(stream),
                        None => Wanted::Name(name).refuse(KafkaError::of(&problem)),
                    },
                }
            }
            Wanted::BadName(_) => wanted.refuse(KafkaError::InvalidName),
            Wanted::Id(_) => wanted.refuse(KafkaError::UnknownStreamId),
            Wanted::Name(_) => wanted.refuse(KafkaError::UnknownStream),
        }
    }

    async fn create_usual(&self, name: &str) -> Result<(Stream, bool), Problem> {
        let usual = http::NewStream::partitions_usual();
        self.create_stream(name, usual, Settings::default(), limits::HOLD).await
    }

    fn shown(&self, stream: &Stream) -> MetadataStream {
        let parts = (0..stream.partitions).map(|partition| self.part(stream, partition)).collect();
        MetadataStream { error: None, name: Some(stream.name.clone()), id: stream.id, parts }
    }

    /// The peers that clients are told.
    pub(super) fn told(&self, catalogue: &Catalogue) -> Vec<MetadataPeer> {
        let mut told = peers(catalogue);
        let me = self.board().me();
        told.retain(|peer| !self.single || peer.id == me);
        told
    }

    fn part(&self, stream: &Stream, partition: u32) -> MetadataPart {
        let board = self.board();
        if self.single {
            let me = board.me();
            // Leaders change unseen behind this peer: no epoch of theirs would mean anything to the client.
            let (partition, leader, epoch) = (partition as i32, Some(me), -1);
            let (replicas, in_sync, offline) = (vec![me], vec![me], Vec::new());
            return MetadataPart { partition, leader, epoch, replicas, in_sync, offline };
        }
        let shard = shard_of(stream.placement, partition, board.shards());
        let replicas = board.ring().target(shard).to_vec();
        let alive = |peer: &PeerId| {
            *peer == board.me()
                || board.member(*peer).is_none_or(|member| member.state != mesh::State::Gone)
        };
        let (in_sync, offline) = replicas.iter().copied().partition(alive);
        let leader = board.leader(shard);
        let epoch = if board.here(shard) { board.term(shard) as i32 } else { -1 };
        MetadataPart { partition: partition as i32, leader, epoch, replicas, in_sync, offline }
    }

    pub(super) async fn create_streams(&self, ask: CreateStreams) -> Reply {
        let patience = Duration::from_millis(ask.timeout_ms.max(0) as u64);
        let patience = patience.clamp(limits::HOLD, limits::CREATE);
        let mut created = Vec::with_capacity(ask.streams.len());
        for NewStream { name, spec } in ask.streams {
            let result = match spec {
                Ok(spec) => self.create_one(&name, spec, ask.validate_only, patience).await,
                Err(refused) => Err(refused),
            };
            created.push(CreatedStream { name, result });
        }
        Reply::CreateStreams(created)
    }

    async fn create_one(
        &self,
        name: &str,
        spec: StreamSpec,
        check: bool,
        patience: Duration,
    ) -> Result<Created, Refused> {
        let partitions = spec.partitions.unwrap_or_else(http::NewStream::partitions_usual);
        let replication = self.board().catalogue().replication;
        if self.board().catalogue().stream(name).is_some() {
            return Err(Refused::new(KafkaError::StreamExists, "there is a stream of this name"));
        }
        if check {
            return Ok(Created { id: model::StreamId(0), partitions, replication });
        }
        let (stream, created) = self
            .create_stream(name, partitions, spec.settings, patience)
            .await
            .map_err(|problem| Refused::from(&problem))?;
        if !created {
            return Err(Refused::new(KafkaError::StreamExists, "there is a stream of this name"));
        }
        Ok(Created { id: stream.id, partitions: stream.partitions, replication })
    }
}

/// All peers with the address that clients are told.
pub(super) fn peers(catalogue: &Catalogue) -> Vec<MetadataPeer> {
    let shown = |peer: &model::catalogue::Enrolled| {
        let (host, port) = peer.addresses.kafka.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let zone = (!peer.zone.is_empty()).then(|| peer.zone.clone());
        Some(MetadataPeer { id: peer.id, host, port: port.parse().ok()?, zone })
    };
    catalogue.roster.values().filter_map(shown).collect()
}
