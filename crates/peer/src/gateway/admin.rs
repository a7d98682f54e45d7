//! What people do to streams through Kafka's tools: delete, grow, trim, describe, alter.

use super::{Door, kafka_error};
use crate::shards::{Found, Query};
use door::http;
use door::kafka::settings::{self, Alteration};
use door::kafka::{
    AlterSettings, Altered, DeletedStream, DescribeMesh, DescribedMesh, EpochEnd, EpochPart,
    GrowStreams, Grown, KafkaError, Refused, Reply, Resource, SettingsOf, TrimPart, TrimmedPart,
    Wanted, WantedSettings,
};
use model::catalogue::{Change, Stream};
use model::{Op, PartitionId, ShardId};
use replica::{Answer, Partition};

/// How often an alteration is tried when others alter the same stream.
const ALTERATIONS: usize = 5;

impl Door {
    pub(super) async fn delete_streams(&self, wanted: Vec<Wanted>) -> Reply {
        let mut deleted = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            deleted.push(self.delete_stream(wanted).await);
        }
        Reply::DeleteStreams(deleted)
    }

    async fn delete_stream(&self, wanted: Wanted) -> DeletedStream {
        let catalogue = self.board().catalogue();
        let found = match &wanted {
            Wanted::Name(name) => catalogue.stream(name),
            Wanted::Id(id) => catalogue.streams.get(id),
            Wanted::BadName(_) => None,
        };
        let Some(found) = found else {
            let error = match &wanted {
                Wanted::Id(_) => KafkaError::UnknownStreamId,
                _ => KafkaError::UnknownStream,
            };
            return wanted.deleted(Err(error.into()));
        };
        let what = format!("stream `{}` was not deleted", found.name);
        let change = Change::DeleteStream { stream: found.id };
        let result = self.change(&what, change).await;
        wanted.deleted(result.map_err(|problem| Refused::from(&problem)))
    }

    pub(super) async fn grow_streams(&self, ask: GrowStreams) -> Reply {
        let mut grown = Vec::with_capacity(ask.streams.len());
        for growth in ask.streams {
            let result = match growth.partitions {
                Ok(partitions) => self.grow(&growth.name, partitions, ask.validate_only).await,
                Err(refused) => Err(refused),
            };
            grown.push(Grown { name: growth.name, result });
        }
        Reply::GrowStreams(grown)
    }

    async fn grow(&self, name: &str, partitions: u32, check: bool) -> Result<(), Refused> {
        let stream = self.stream(name)?;
        if partitions <= stream.partitions {
            let text = format!("{name} has {} partitions already", stream.partitions);
            return Err(Refused::new(KafkaError::InvalidPartitions, text));
        }
        if check {
            return Ok(());
        }
        let what = format!("stream `{name}` was not grown");
        let change = Change::Grow { stream: stream.id, partitions, most: self.partitions_max };
        self.change(&what, change).await.map_err(|problem| Refused::from(&problem))
    }

    fn stream(&self, name: &str) -> Result<Stream, Refused> {
        let found = self.board().catalogue().stream(name).cloned();
        found.ok_or_else(|| KafkaError::UnknownStream.into())
    }

    pub(super) async fn trim_streams(&self, parts: Vec<TrimPart>) -> Vec<TrimmedPart> {
        let mut trimmed = Vec::with_capacity(parts.len());
        for TrimPart { stream, partition, below } in parts {
            let result = self.trim(&stream, partition, below).await;
            trimmed.push(TrimmedPart { stream, partition, result });
        }
        trimmed
    }

    async fn trim(
        &self,
        stream: &str,
        partition: i32,
        below: Option<i64>,
    ) -> Result<i64, KafkaError> {
        let located = self.lead_of(stream, partition, None)?;
        let kept = self.partition(located.shard, located.partition).await?.unwrap_or_default();
        let offset = below.unwrap_or(kept.next_offset);
        if !(0..=kept.next_offset).contains(&offset) {
            return Err(KafkaError::OutOfRange);
        }
        let op = Op::Trim { partition: located.partition, offset };
        match self.router.propose(located.shard, op).await {
            Ok(Answer::Trimmed { start }) => Ok(start),
            Ok(_) => Err(KafkaError::Unknown),
            Err(error) => Err(kafka_error(&error)),
        }
    }

    pub(super) fn describe_settings(&self, all: Vec<WantedSettings>) -> Reply {
        let describe = |wanted: WantedSettings| -> SettingsOf {
            let result = match &wanted.resource {
                Resource::Stream(name) => {
                    self.stream(name).map(|stream| settings::shown(&stream.settings))
                }
                Resource::Peer(id) if self.is_peer(id) => {
                    let usual = http::NewStream::partitions_usual();
                    Ok(settings::of_peer(usual, self.board().catalogue().replication))
                }
                _ => Err(Refused::new(KafkaError::InvalidRequest, "it has no settings here")),
            };
            wanted.answer(result)
        };
        Reply::DescribeSettings(all.into_iter().map(describe).collect())
    }

    /// A peer's id as text, or nothing, which means all of them.
    fn is_peer(&self, id: &str) -> bool {
        let known = |id: i32| self.board().catalogue().roster.contains_key(&model::PeerId(id));
        id.is_empty() || id.parse().is_ok_and(known)
    }

    pub(super) async fn alter_settings(&self, ask: AlterSettings) -> Reply {
        let mut all = Vec::with_capacity(ask.resources.len());
        for (resource, alterations) in ask.resources {
            let result = match &resource {
                Resource::Stream(name) => self.alter(name, &alterations, ask.validate_only).await,
                _ => {
                    let text = "clients can only set streams; peers have shoal.toml";
                    Err(Refused::new(KafkaError::InvalidRequest, text))
                }
            };
            all.push(Altered { resource, result });
        }
        Reply::AlterSettings(all)
    }

    async fn alter(
        &self,
        name: &str,
        alterations: &[Alteration],
        check: bool,
    ) -> Result<(), Refused> {
        let mut last = None;
        for _ in 0..ALTERATIONS {
            let stream = self.stream(name)?;
            let to = settings::altered(stream.settings, alterations)?;
            if check || to == stream.settings {
                return Ok(());
            }
            let what = format!("stream `{name}` was not set");
            let change = Change::Configure { stream: stream.id, from: stream.settings, to };
            match self.change(&what, change).await {
                Ok(()) => return Ok(()),
                // Somebody else has set it, and it is known here by now or soon.
                Err(problem) if problem.code == "SH0504" => last = Some(problem),
                Err(problem) => return Err(Refused::from(&problem)),
            }
        }
        Err(last.map_or(KafkaError::RequestTimedOut.into(), |problem| Refused::from(&problem)))
    }

    pub(super) fn describe_mesh(&self, ask: DescribeMesh) -> Reply {
        if !ask.peers {
            return Reply::DescribeMesh(Err(KafkaError::UnsupportedEndpoint));
        }
        let catalogue = self.board().catalogue();
        Reply::DescribeMesh(Ok(DescribedMesh {
            mesh: catalogue.mesh,
            controller: self.board().me(),
            peers: self.told(&catalogue),
        }))
    }

    pub(super) async fn epochs(&self, parts: Vec<EpochPart>) -> Vec<EpochEnd> {
        let mut ends = Vec::with_capacity(parts.len());
        for EpochPart { stream, partition, current, epoch } in parts {
            let result = self.end_of_epoch(&stream, partition, current, epoch).await;
            ends.push(EpochEnd { stream, partition, result });
        }
        ends
    }

    async fn end_of_epoch(
        &self,
        stream: &str,
        partition: i32,
        current: Option<i32>,
        epoch: i32,
    ) -> Result<Option<(i32, i64)>, KafkaError> {
        let located = self.lead_of(stream, partition, current)?;
        let term = self.board().term(located.shard) as i32;
        let found = self.partition(located.shard, located.partition).await?;
        Ok(found.unwrap_or_default().end_of(epoch, term))
    }

    /// What the log says of a partition that is led here.
    pub(super) async fn partition(
        &self,
        shard: ShardId,
        partition: PartitionId,
    ) -> Result<Option<Partition>, KafkaError> {
        let query = Query::Partition { partition };
        match self.router.ask_here(shard, query, true).await {
            Some((Found::Partition(found), _)) => Ok(found),
            _ => Err(KafkaError::NotLeader),
        }
    }
}
