//! One picture of the mesh from what its peers told in the last seconds.

use super::{Look, Notes};
use crate::call::ShardStatus;
use crate::figures::{Counts, Figures};
use crate::http::mesh::{judged, member, ring_row};
use crate::http::{Asked, pipelines};
use crate::meter::percentile;
use crate::wall_ms;
use door::http::{
    GroupGlance, Happening, Health, Load, MemberState, Overview, PeerGlance, Percentiles,
    PipelineGlance, PipelineState, Rates, StageGlance, StreamGlance, ViewGlance,
};
use model::catalogue::{Catalogue, Pipeline, Stage};
use model::{PeerId, ShardId, StreamId};
use std::collections::{BTreeMap, VecDeque};

/// Happenings of one picture.
const RECENT: usize = 40;

/// Makes the picture of the last look; the looks before it give rates.
pub async fn paint(asked: &Asked, looks: &VecDeque<Look>, notes: &Notes) -> Overview {
    let board = &asked.router.board;
    let catalogue = board.catalogue();
    let (first, last) = (&looks[0], &looks[looks.len() - 1]);
    let survey: BTreeMap<PeerId, Vec<ShardStatus>> =
        last.told.iter().map(|(peer, told)| (*peer, told.shards.clone())).collect();
    let since = Since { first, last, seconds: (last.at - first.at).as_secs_f64() };
    let happening = |(peer, note): (PeerId, &crate::meter::Note)| Happening {
        at_ms: note.at_ms,
        peer: peer.0,
        number: note.number,
        kind: note.kind.clone(),
        text: note.text.clone(),
    };
    let view = |view: &model::catalogue::View| ViewGlance {
        name: view.name.clone(),
        pipeline: view.pipeline.clone(),
        format: view.format.clone(),
    };
    let peers = peers(asked, &catalogue, &survey, &since);
    let health = honest(judged(asked, &last.told), &peers);
    Overview {
        at_ms: wall_ms(),
        me: board.me().0,
        mesh: asked.router.calls.mesh().to_string(),
        health,
        epoch: catalogue.epoch.0,
        replication: catalogue.replication,
        peers,
        ring: (0..board.shards()).map(|id| ring_row(asked, ShardId(id), &survey)).collect(),
        rates: since.rates(),
        streams: streams(&catalogue, &since),
        groups: groups(last),
        pipelines: catalogue.pipelines.values().map(|it| since.pipeline(&catalogue, it)).collect(),
        views: catalogue.views.values().map(view).collect(),
        recent: notes.latest().take(RECENT).map(happening).collect(),
        history: Vec::new(),
    }
}

/// Who has just fallen silent is missed here before gossip is sure of it.
fn honest(mut health: Health, peers: &[PeerGlance]) -> Health {
    let silent: Vec<&str> =
        peers.iter().filter(|peer| !peer.answers).map(|peer| &*peer.name).collect();
    if health.healthy && !silent.is_empty() {
        let reason = format!("peers that do not answer: {}", silent.join(", "));
        health.verdict = format!("the mesh works, but: {reason}");
        health.reasons.push(reason);
        health.healthy = false;
        health.peers.alive = health.peers.alive.saturating_sub(silent.len() as u32);
    }
    health
}

fn peers(
    asked: &Asked,
    catalogue: &Catalogue,
    survey: &BTreeMap<PeerId, Vec<ShardStatus>>,
    since: &Since,
) -> Vec<PeerGlance> {
    let glance = |peer: &model::catalogue::Enrolled| {
        let known = member(asked, peer, survey);
        let answers = since.last.told.contains_key(&peer.id);
        // Who does not answer is not well, whatever gossip still says.
        let state = match (answers, known.state) {
            (false, MemberState::Alive) => MemberState::Suspect,
            (false, _) => MemberState::Gone,
            (true, state) => state,
        };
        PeerGlance {
            id: known.id,
            name: known.name,
            state,
            answers,
            zone: known.zone,
            weight: known.weight,
            version: known.version,
            http: known.http,
            kafka: known.kafka,
            leads: known.leads,
            replicas: known.replicas,
            note: known.note,
            load: since.load(peer.id),
        }
    };
    catalogue.roster.values().map(glance).collect()
}

fn streams(catalogue: &Catalogue, since: &Since) -> Vec<StreamGlance> {
    let (then, now) = (sums(since.first), sums(since.last));
    let glance = |name: &String| {
        let stream = catalogue.stream(name)?;
        let (events, kept) = now.get(&stream.id).copied().unwrap_or_default();
        let before = then.get(&stream.id).map_or(0, |sum| sum.0);
        let writer = stream.written_by.and_then(|stage| catalogue.stage(stage));
        Some(StreamGlance {
            name: name.clone(),
            partitions: stream.partitions,
            written_by: writer.map(|(it, stage)| format!("{}.{}", it.name, stage.name)),
            events,
            kept,
            per_s: since.per_s((events - before).max(0) as u64),
        })
    };
    catalogue.stream_names.keys().filter_map(glance).collect()
}

fn sums(look: &Look) -> BTreeMap<StreamId, (i64, i64)> {
    let mut sums = BTreeMap::new();
    for (id, events, kept) in look.told.values().flat_map(|told| &told.streams) {
        let sum: &mut (i64, i64) = sums.entry(*id).or_default();
        *sum = (sum.0 + events, sum.1 + kept);
    }
    sums
}

fn groups(look: &Look) -> Vec<GroupGlance> {
    let all = look.told.values().flat_map(|told| &told.groups);
    let glance = |group: &crate::figures::GroupFigures| GroupGlance {
        name: group.name.clone(),
        consumers: group.consumers,
        generation: group.generation,
        lag: group.lag,
        streams: group.streams.clone(),
    };
    let mut groups: Vec<_> = all.map(glance).collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    // While its shard changes its leader two peers may tell of one.
    groups.dedup_by(|a, b| a.name == b.name);
    groups
}

/// Two looks and the time between them.
struct Since<'a> {
    first: &'a Look,
    last: &'a Look,
    seconds: f64,
}

impl Since<'_> {
    fn per_s(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { (count as f64 / self.seconds * 10.0).round() / 10.0 } else { 0.0 }
    }

    /// What a peer told now, and before; nothing of a run of it that has ended.
    fn both(&self, peer: PeerId) -> Option<(&Figures, &Figures)> {
        let (then, now) = (self.first.told.get(&peer)?, self.last.told.get(&peer)?);
        (now.up_ms >= then.up_ms).then_some((then, now))
    }

    fn grown(&self, of: impl Fn(&Counts) -> u64) -> f64 {
        let peers = self.last.told.keys().filter_map(|peer| self.both(*peer));
        let grown = peers.map(|(then, now)| of(&now.counts).saturating_sub(of(&then.counts)));
        self.per_s(grown.sum())
    }

    fn rates(&self) -> Rates {
        Rates {
            in_per_s: self.grown(|it| it.events_in),
            out_per_s: self.grown(|it| it.events_out),
            bytes_in_per_s: self.grown(|it| it.bytes_in),
            bytes_out_per_s: self.grown(|it| it.bytes_out),
            refused_per_s: self.grown(|it| it.refused),
            append: self.percentiles(|it| &it.append),
            event: self.percentiles(|it| &it.event),
            sync: self.percentiles(|it| &it.sync),
        }
    }

    fn percentiles(&self, of: impl Fn(&Figures) -> &[u64]) -> Percentiles {
        let mut sums = Vec::new();
        for (then, now) in self.last.told.keys().filter_map(|peer| self.both(*peer)) {
            add(&mut sums, of(then), of(now));
        }
        let ms = |part| percentile(&sums, part).map(|us| us as f64 / 1e3);
        Percentiles { p50_ms: ms(0.5), p99_ms: ms(0.99) }
    }

    fn load(&self, peer: PeerId) -> Option<Load> {
        let now = self.last.told.get(&peer)?;
        let then = self.both(peer).map_or(now, |(then, _)| then);
        let grown = |of: fn(&Figures) -> u64| of(now).saturating_sub(of(then));
        let mut syncs = Vec::new();
        add(&mut syncs, &then.sync, &now.sync);
        Some(Load {
            in_per_s: self.per_s(grown(|it| it.counts.events_in)),
            out_per_s: self.per_s(grown(|it| it.counts.events_out)),
            cpu: if self.seconds > 0.0 {
                grown(|it| it.cpu_ms) as f64 / self.seconds / 1e3
            } else {
                0.0
            },
            behind: behind(&now.tasks),
            memory: now.memory,
            disk_free: now.disk_free,
            disk_full: now.disk_full,
            sync_p99_ms: percentile(&syncs, 0.99).map(|us| us as f64 / 1e3),
            up_s: now.up_ms / 1_000,
        })
    }

    fn pipeline(&self, catalogue: &Catalogue, pipeline: &Pipeline) -> PipelineGlance {
        let stages: Vec<_> =
            pipeline.stages.iter().map(|it| self.stage(catalogue, pipeline, it)).collect();
        let held = pipelines::is_held(catalogue, pipeline);
        let parked = stages.iter().any(|stage| !stage.parked.is_empty());
        PipelineGlance {
            name: pipeline.name.clone(),
            version: pipeline.version,
            state: match (pipeline.paused, held && !parked) {
                (true, _) => PipelineState::Paused,
                (false, true) => PipelineState::Running,
                (false, false) => PipelineState::Parked,
            },
            stages,
        }
    }

    fn stage(&self, catalogue: &Catalogue, pipeline: &Pipeline, stage: &Stage) -> StageGlance {
        let of = |look: &'_ Look| {
            let tasks = look.told.values().flat_map(|told| &told.tasks);
            let own = tasks.filter(|it| it.pipeline == pipeline.name && it.stage == stage.name);
            own.cloned().collect::<Vec<_>>()
        };
        let (then, now) = (of(self.first), of(self.last));
        let read = |tasks: &[crate::figures::TaskFigures]| tasks.iter().map(|it| it.read).sum();
        let (before, after): (i64, i64) = (read(&then), read(&now));
        let named = |id: &StreamId| catalogue.streams.get(id).map(|it| it.name.clone());
        let dead = stage.dead.and_then(|dead| sums(self.last).get(&dead).map(|sum| sum.1));
        StageGlance {
            name: stage.name.clone(),
            sources: stage.sources.iter().filter_map(named).collect(),
            view: stage.view.clone(),
            output: stage.output.as_ref().and_then(named),
            dead: stage.dead.as_ref().and_then(named),
            dead_events: dead.unwrap_or(0),
            buckets: stage.buckets,
            running: now.iter().map(|it| it.running).sum(),
            parked: now.iter().flat_map(|it| it.parked.iter().copied()).collect(),
            restarts: now.iter().map(|it| it.restarts).sum(),
            // Each bucket reads every partition of its sources.
            per_s: self.per_s(((after - before).max(0) as u64) / u64::from(stage.buckets.max(1))),
            backlog: now.iter().map(|it| it.backlog).sum::<i64>() / i64::from(stage.buckets.max(1)),
            watermark_ms: now.iter().filter_map(|it| it.watermark_ms).min(),
        }
    }
}

/// Events that tasks of one peer have not read; each bucket reads every partition of its sources.
fn behind(tasks: &[crate::figures::TaskFigures]) -> i64 {
    let of = |stage: &crate::figures::TaskFigures| {
        let tasks = i64::from(stage.running + stage.restarting) + stage.parked.len() as i64;
        stage.backlog / tasks.max(1)
    };
    tasks.iter().map(of).sum()
}

/// Adds what was counted between two moments, bucket by bucket.
fn add(sums: &mut Vec<u64>, then: &[u64], now: &[u64]) {
    sums.resize(sums.len().max(now.len()), 0);
    for (at, sum) in sums.iter_mut().enumerate() {
        let count = |counts: &[u64]| counts.get(at).copied().unwrap_or(0);
        *sum += count(now).saturating_sub(count(then));
    }
}
