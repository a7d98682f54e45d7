//! Numbers for Prometheus, in the form of OpenMetrics.
//!
//! `/metrics` has a number of series that does not grow with what users make; what has one a stage, group or
//! stream is at `/metrics/internal`.

use super::mesh::state_of;
use super::{Asked, RowCache};
use crate::call::ShardStatus;
use crate::figures::{Figures, GroupFigures, TaskFigures};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use door::http::MemberState;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;

type Labels = Vec<(&'static str, String)>;
/// Name, help, and what it is of one stage.
type OfStage = (&'static str, &'static str, fn(&TaskFigures) -> i64);

/// `GET /metrics`.
pub async fn few(State(asked): State<Asked>) -> Response {
    let figures = asked.teller.figures().await;
    let mut registry = Registry::with_prefix("shoal");
    counted(&mut registry, &figures);
    timed(&mut registry, &asked);
    held(&mut registry, &figures);
    seen(&mut registry, &asked);
    worked(&mut registry, &figures);
    remembered(&mut registry, &asked.rows);
    answer(&registry)
}

/// `GET /metrics/internal`.
pub async fn all(State(asked): State<Asked>) -> Response {
    let figures = asked.teller.figures().await;
    let catalogue = asked.router.board.catalogue();
    let mut registry = Registry::with_prefix("shoal");
    let of_stage = |number: fn(&TaskFigures) -> i64| {
        let one = |task: &TaskFigures| {
            let pipeline = ("pipeline", task.pipeline.clone());
            (vec![pipeline, ("stage", task.stage.clone())], number(task))
        };
        Each(figures.tasks.iter().map(one).collect())
    };
    let stages: [OfStage; 4] = [
        ("stage_backlog_events", "Events that the tasks here have not read", |it| it.backlog),
        ("stage_tasks_running", "Tasks of the stage that run here", |it| i64::from(it.running)),
        ("stage_tasks_parked", "Tasks of the stage that are parked here", |it| {
            it.parked.len() as i64
        }),
        ("stage_watermark_seconds", "The lowest watermark of the tasks here", |it| {
            it.watermark_ms.unwrap_or(0) / 1_000
        }),
    ];
    for (name, help, number) in stages {
        registry.register(name, help, of_stage(number));
    }
    let lag = |group: &GroupFigures| (vec![("group", group.name.clone())], group.lag);
    let groups = Each(figures.groups.iter().map(lag).collect());
    registry.register("group_lag_events", "Events that a group has not read", groups);
    let events = |(id, events, _): &(model::StreamId, i64, i64)| {
        let name = catalogue.streams.get(id)?.name.clone();
        Some((vec![("stream", name)], *events))
    };
    let streams = Each(figures.streams.iter().filter_map(events).collect());
    registry.register("stream_events", "Events ever appended, of partitions led here", streams);
    let applied =
        |shard: &ShardStatus| (vec![("shard", shard.shard.0.to_string())], shard.applied as i64);
    let shards = Each(figures.shards.iter().map(applied).collect());
    registry.register("shard_applied_index", "Up to where a replica here has applied", shards);
    answer(&registry)
}

fn answer(registry: &Registry) -> Response {
    let mut text = String::new();
    if encode(&mut text, registry).is_err() {
        // Writing into a text fails only if a metric says so, and none does.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// One gauge with several sets of labels, as they are now.
#[derive(Debug)]
struct Each(Vec<(Labels, i64)>);

impl EncodeMetric for Each {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        for (labels, number) in &self.0 {
            let labels = Named(labels);
            ConstGauge::new(*number).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

struct Named<'a>(&'a Labels);

impl EncodeLabelSet for Named<'_> {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder,
    ) -> Result<(), fmt::Error> {
        let pairs: Vec<(&str, &str)> = self.0.iter().map(|(k, v)| (*k, v.as_str())).collect();
        pairs.encode(encoder)
    }
}

fn counted(registry: &mut Registry, figures: &Figures) {
    let counts = &figures.counts;
    for (name, help, count) in [
        ("events_in", "Events that clients appended here", counts.events_in),
        ("bytes_in", "Bytes of them, as they were sent", counts.bytes_in),
        ("events_out", "Events that clients were given here", counts.events_out),
        ("bytes_out", "Bytes of them", counts.bytes_out),
        ("appends_refused", "Appends that were not acknowledged", counts.refused),
        ("shard_owner_changes", "Leads of shards taken or lost here", counts.leads),
        ("actor_restarts", "Tasks that ended and were started again", counts.restarts),
        ("dead_events", "Events that tasks here gave up", counts.dead),
        ("handoff_bytes", "Bytes of snapshots fetched", counts.handoff_bytes),
    ] {
        registry.register(name, help, ConstCounter::new(count));
    }
    let held = ConstCounter::new(counts.held_us as f64 / 1e6);
    registry.register("backpressure_seconds", "Time that clients waited for credit", held);
    let cpu = ConstCounter::new(figures.cpu_ms as f64 / 1e3);
    registry.register("process_cpu_seconds", "Time on processors", cpu);
}

fn timed(registry: &mut Registry, asked: &Asked) {
    let meter = &asked.router.board.meter;
    for (name, help, spread) in [
        (
            "append_latency_seconds",
            "From an append's arrival to its acknowledgement",
            &meter.append,
        ),
        (
            "event_latency_seconds",
            "From an event's arrival at its shard to the commit of the task that read it; sampled",
            &meter.event,
        ),
        ("fsync_seconds", "One frame of the journal onto the disk", &meter.sync),
    ] {
        registry.register(name, help, spread.clone());
    }
}

fn held(registry: &mut Registry, figures: &Figures) {
    let led = figures.shards.iter().filter(|shard| shard.leading).count();
    let unled = figures.shards.iter().filter(|shard| shard.leader.is_none()).count();
    let under =
        figures.shards.iter().filter(|shard| shard.leading && shard.under_replicated).count();
    for (name, help, number) in [
        ("shards_led", "Shards led here", led as i64),
        (
            "shards_without_leader",
            "Shards with a replica here whose leader is not known",
            unled as i64,
        ),
        ("shards_under_replicated", "Shards led here with fewer voters than copies", under as i64),
        ("replicas", "Replicas here", figures.shards.len() as i64),
        ("disk_free_bytes", "Bytes left on the disk", figures.disk_free as i64),
        ("disk_full", "1 while events are refused for want of room", i64::from(figures.disk_full)),
        ("process_resident_memory_bytes", "Memory in use", figures.memory as i64),
        ("process_uptime_seconds", "Since the start", (figures.up_ms / 1_000) as i64),
    ] {
        registry.register(name, help, ConstGauge::new(number));
    }
}

fn seen(registry: &mut Registry, asked: &Asked) {
    let catalogue = asked.router.board.catalogue();
    let states = [MemberState::Alive, MemberState::Suspect, MemberState::Gone].map(|state| {
        let of = catalogue.roster.keys().filter(|peer| state_of(asked, **peer) == state);
        (vec![("state", state.as_str().to_owned())], of.count() as i64)
    });
    registry.register("members", "Peers of the roster, as this one sees them", Each(states.into()));
    let epoch = ConstGauge::new(catalogue.epoch.0 as i64);
    registry.register("ring_epoch", "The ring's version", epoch);
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    registry.register("build", "The version that runs", Each(vec![(version, 1)]));
}

/// Rows that are kept for those who allow an answer an age.
fn remembered(registry: &mut Registry, rows: &RowCache) {
    let help = "Rows that were asked for with an age and remembered here";
    registry.register("view_cache_hits", help, rows.hits.clone());
    let help = "Rows that were asked for with an age and not remembered, or too old";
    registry.register("view_cache_misses", help, rows.misses.clone());
    let help = "The part of them that was remembered, since the start";
    registry.register("view_cache_hit_ratio", help, ConstGauge::new(rows.hit_ratio()));
    let (held, bytes) = rows.held();
    registry.register("view_cache_rows", "Rows remembered here", ConstGauge::new(held as i64));
    registry.register("view_cache_bytes", "Bytes of them", ConstGauge::new(bytes as i64));
}

fn worked(registry: &mut Registry, figures: &Figures) {
    let sum = |of: fn(&TaskFigures) -> i64| figures.tasks.iter().map(of).sum();
    let states = [
        ("running", sum(|it| i64::from(it.running))),
        ("restarting", sum(|it| i64::from(it.restarting))),
        ("parked", sum(|it| it.parked.len() as i64)),
    ];
    let each = states.map(|(state, number)| (vec![("state", state.to_owned())], number));
    registry.register("tasks", "Tasks here", Each(each.into()));
    let backlog: i64 = sum(|it| it.backlog);
    let help = "Events that tasks here have not read, summed over tasks";
    registry.register("task_backlog_events", help, ConstGauge::new(backlog));
    let most = figures.groups.iter().map(|group| group.lag).max().unwrap_or(0);
    let help = "The lag of the group that is furthest behind, of those coordinated here";
    registry.register("group_lag_events_max", help, ConstGauge::new(most));
}
