//! What one peer tells of itself in numbers: for its own `/metrics`, and for dashboards at any peer.
//!
//! Everything is counted or looked up here when it is asked for; nothing of it decides anything.

use crate::call::ShardStatus;
use crate::meter::Note;
use crate::router::Router;
use crate::shards::{self, Found, Query};
use crate::space::Space;
use crate::tasks::{self, TaskStatus};
use crate::wall_ms;
use model::catalogue::{Catalogue, Stage};
use model::group::{Group, Listed};
use model::hash::shard_of;
use model::{PartitionId, PeerId, ShardId, StreamId};
use ractor::ActorRef;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::oneshot;

/// Groups that one peer tells of: more are not to be looked at by a person.
const GROUPS: usize = 256;

/// What a peer tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub peer: PeerId,
    /// By its own clock.
    pub at_ms: u64,
    pub up_ms: u64,
    pub counts: Counts,
    /// Times by size, as [`crate::meter::BOUNDS_US`] parts them.
    pub append: Vec<u64>,
    pub event: Vec<u64>,
    pub sync: Vec<u64>,
    pub shards: Vec<ShardStatus>,
    pub tasks: Vec<TaskFigures>,
    pub groups: Vec<GroupFigures>,
    /// Events ever appended, and those that are kept, of the partitions that are led here.
    pub streams: Vec<(StreamId, i64, i64)>,
    pub disk_free: u64,
    pub disk_full: bool,
    pub memory: u64,
    pub cpu_ms: u64,
    pub notes: Vec<Note>,
}

/// What only grows while the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub events_in: u64,
    pub bytes_in: u64,
    pub events_out: u64,
    pub bytes_out: u64,
    pub refused: u64,
    pub leads: u64,
    pub restarts: u64,
    pub dead: u64,
    pub handoff_bytes: u64,
    pub held_us: u64,
}

/// The tasks of one stage that run here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFigures {
    pub pipeline: String,
    pub stage: String,
    pub running: u32,
    pub restarting: u32,
    /// Buckets whose tasks failed too often.
    pub parked: Vec<u32>,
    pub restarts: u32,
    /// Events that they have read, and have not read yet, of all their sources.
    pub read: i64,
    pub backlog: i64,
    /// The lowest of their watermarks; nothing before the first.
    pub watermark_ms: Option<i64>,
}

/// A group of consumers that is coordinated here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFigures {
    pub name: String,
    pub kind: String,
    pub generation: i32,
    pub consumers: u32,
    /// Events that it has not read, of the partitions it has committed offsets of.
    pub lag: i64,
    pub streams: Vec<String>,
}

/// All that telling needs.
#[derive(Clone)]
pub struct Teller {
    pub router: Router,
    pub tasks: ActorRef<tasks::Msg>,
    pub space: Arc<Space>,
    pub since: Instant,
}

impl Teller {
    /// Counts, looks up, and tells.
    pub async fn figures(&self) -> Figures {
        let board = &self.router.board;
        let meter = &board.meter;
        let catalogue = board.catalogue();
        let weight = store::weight();
        let groups = self.groups(&catalogue).await;
        Figures {
            peer: board.me(),
            at_ms: wall_ms(),
            up_ms: self.since.elapsed().as_millis() as u64,
            counts: Counts {
                events_in: meter.events_in.get(),
                bytes_in: meter.bytes_in.get(),
                events_out: meter.events_out.get(),
                bytes_out: meter.bytes_out.get(),
                refused: meter.refused.get(),
                leads: meter.leads.get(),
                restarts: meter.restarts.get(),
                dead: meter.dead.get(),
                handoff_bytes: meter.handoff_bytes.get(),
                held_us: meter.held_us.load(Ordering::Relaxed),
            },
            append: meter.append.counts(),
            event: meter.event.counts(),
            sync: meter.sync.counts(),
            shards: self.shards().await,
            tasks: self.tasks(&catalogue).await,
            groups,
            streams: self.streams(&catalogue),
            disk_free: self.space.free(),
            disk_full: self.space.is_full(),
            memory: weight.memory,
            cpu_ms: weight.cpu_ms,
            notes: meter.notes(),
        }
    }

    async fn shards(&self) -> Vec<ShardStatus> {
        let (reply, answer) = oneshot::channel();
        if self.router.shards.cast(shards::Msg::Status(reply)).is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    fn streams(&self, catalogue: &Catalogue) -> Vec<(StreamId, i64, i64)> {
        let board = &self.router.board;
        let of = |stream: &model::catalogue::Stream| {
            let mut sum = (stream.id, 0, 0);
            for partition in 0..stream.partitions {
                let shard = shard_of(stream.placement, partition, board.shards());
                let id = PartitionId { stream: stream.id, partition };
                if let Some(mark) = board.mark(id).filter(|_| board.leading(shard)) {
                    sum.1 += mark.next;
                    sum.2 += mark.next - mark.start;
                }
            }
            sum
        };
        catalogue.streams.values().map(of).filter(|(_, events, _)| *events > 0).collect()
    }

    async fn tasks(&self, catalogue: &Catalogue) -> Vec<TaskFigures> {
        let (reply, answer) = oneshot::channel();
        if self.tasks.cast(tasks::Msg::Status(reply)).is_err() {
            return Vec::new();
        }
        let mut by_stage: BTreeMap<_, Vec<TaskStatus>> = BTreeMap::new();
        for status in answer.await.unwrap_or_default() {
            by_stage.entry(status.task.stage).or_default().push(status);
        }
        let mut told = Vec::new();
        for (id, tasks) in by_stage {
            let Some((pipeline, stage)) = catalogue.stage(id) else { continue };
            let mut figures = self.stage(catalogue, stage, &tasks).await;
            figures.pipeline = pipeline.name.clone();
            told.push(figures);
        }
        told
    }

    async fn stage(
        &self,
        catalogue: &Catalogue,
        stage: &Stage,
        tasks: &[TaskStatus],
    ) -> TaskFigures {
        let mut told = TaskFigures { stage: stage.name.clone(), ..TaskFigures::default() };
        let sources = stage.sources.iter().filter_map(|id| catalogue.streams.get(id));
        let of = |stream: &model::catalogue::Stream| {
            let stream_id = stream.id;
            (0..stream.partitions)
                .map(move |partition| PartitionId { stream: stream_id, partition })
        };
        let ends = self.ends(catalogue, sources.flat_map(of).collect()).await;
        for status in tasks {
            match status.state.as_str() {
                "running" => told.running += 1,
                "parked" => told.parked.push(status.task.bucket),
                _ => told.restarting += 1,
            }
            told.restarts += status.restarts;
            let shard = shard_of(stage.id.0, status.task.bucket, self.router.board.shards());
            let query = Query::Task { task: status.task };
            let Some((Found::Task(Some(standing)), _)) =
                self.router.ask_here(shard, query, false).await
            else {
                continue;
            };
            for (partition, end) in &ends {
                let read = standing.positions.get(partition).map_or(0, |(at, _)| *at);
                told.read += read;
                told.backlog += (end - read).max(0);
            }
            if standing.watermark_ms > i64::MIN {
                let low = told.watermark_ms.unwrap_or(i64::MAX);
                told.watermark_ms = Some(low.min(standing.watermark_ms));
            }
        }
        told
    }

    /// Where partitions end for those who read them: as applied here, or asked where no copy is.
    async fn ends(
        &self,
        catalogue: &Catalogue,
        partitions: BTreeSet<PartitionId>,
    ) -> BTreeMap<PartitionId, i64> {
        let board = &self.router.board;
        let end = |partition: PartitionId| async move {
            let stream = catalogue.streams.get(&partition.stream)?;
            let shard = shard_of(stream.placement, partition.partition, board.shards());
            if board.here(shard) {
                return Some((partition, board.mark(partition).map_or(0, |mark| mark.stable)));
            }
            match self.router.ask(shard, Query::Mark { partition }, false).await {
                Ok((Found::Mark(mark), _)) => Some((partition, mark.map_or(0, |(_, end)| end))),
                _ => None,
            }
        };
        let asked = futures::future::join_all(partitions.into_iter().map(end)).await;
        asked.into_iter().flatten().collect()
    }

    async fn groups(&self, catalogue: &Catalogue) -> Vec<GroupFigures> {
        let board = &self.router.board;
        let mut told = Vec::new();
        for shard in (0..board.shards()).map(ShardId).filter(|shard| board.leading(*shard)) {
            let found = self.router.ask_here(shard, Query::Groups, false).await;
            let Some((Found::Groups(listed), _)) = found else { continue };
            for Listed { name, .. } in listed {
                if told.len() == GROUPS {
                    return told;
                }
                let query = Query::Group { name: name.clone() };
                if let Some((Found::Group(Some(group)), _)) =
                    self.router.ask_here(shard, query, false).await
                {
                    told.push(self.group(catalogue, name, &group).await);
                }
            }
        }
        told
    }

    async fn group(&self, catalogue: &Catalogue, name: String, group: &Group) -> GroupFigures {
        let ends = self.ends(catalogue, group.offsets.keys().copied().collect()).await;
        let behind = |(partition, end): (&PartitionId, &i64)| {
            let at = group.offsets.get(partition).map_or(0, |committed| committed.offset);
            (end - at).max(0)
        };
        let streams: BTreeSet<_> = group.offsets.keys().map(|id| id.stream).collect();
        let named = |id| catalogue.streams.get(&id).map(|stream| stream.name.clone());
        GroupFigures {
            name,
            kind: group.kind().to_owned(),
            generation: group.generation(),
            consumers: group.consumers().count() as u32,
            lag: ends.iter().map(behind).sum(),
            streams: streams.into_iter().filter_map(named).collect(),
        }
    }
}
