//! `/v1/overview`: the whole mesh at a glance, as one peer has gathered it. `/v1/overview/watch` sends it each second.

use super::{Health, MemberState, PipelineState, RingRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer, and the data of each message of the watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// When it was gathered, by the clock of the peer that answers.
    pub at_ms: u64,
    /// The id of the peer that answers.
    pub me: i32,
    pub mesh: String,
    pub health: Health,
    pub epoch: u64,
    pub replication: u8,
    pub peers: Vec<PeerGlance>,
    pub ring: Vec<RingRow>,
    pub rates: Rates,
    pub streams: Vec<StreamGlance>,
    pub groups: Vec<GroupGlance>,
    pub pipelines: Vec<PipelineGlance>,
    pub views: Vec<ViewGlance>,
    /// The latest first.
    pub recent: Vec<Happening>,
    /// The last two minutes, the oldest first; only in the first message of a watch, and in a single answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Moment>,
}

/// A peer. What it counts is null while it does not answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerGlance {
    pub id: i32,
    pub name: String,
    pub state: MemberState,
    /// Whether it answered the last question.
    pub answers: bool,
    pub zone: String,
    pub weight: u32,
    pub version: String,
    pub http: String,
    pub kafka: String,
    pub leads: u32,
    pub replicas: u32,
    pub note: String,
    pub load: Option<Load>,
}

/// What a peer does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Load {
    pub in_per_s: f64,
    pub out_per_s: f64,
    /// Part of one processor core.
    pub cpu: f64,
    /// Events that its tasks have not read yet; each stage's tasks count as one, by their mean.
    pub behind: i64,
    pub memory: u64,
    pub disk_free: u64,
    pub disk_full: bool,
    /// The 99th percentile of the last seconds' frames onto the disk; null if there was none.
    pub sync_p99_ms: Option<f64>,
    pub up_s: u64,
}

/// What the mesh does at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    pub in_per_s: f64,
    pub out_per_s: f64,
    pub bytes_in_per_s: f64,
    pub bytes_out_per_s: f64,
    pub refused_per_s: f64,
    pub append: Percentiles,
    pub event: Percentiles,
    pub sync: Percentiles,
}

/// Of the last seconds, each the upper bound of its bucket (a step is √2); null if nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Percentiles {
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// A point of the charts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Moment {
    pub at_ms: u64,
    pub rates: Rates,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StreamGlance {
    pub name: String,
    pub partitions: u32,
    pub written_by: Option<String>,
    /// Events ever appended, and those that are kept.
    pub events: i64,
    pub kept: i64,
    pub per_s: f64,
}

/// A group of consumers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupGlance {
    pub name: String,
    pub consumers: u32,
    pub generation: i32,
    pub lag: i64,
    pub streams: Vec<String>,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PipelineGlance {
    pub name: String,
    pub version: u32,
    pub state: PipelineState,
    pub stages: Vec<StageGlance>,
}

/// A stage: its tasks on all peers together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageGlance {
    pub name: String,
    pub sources: Vec<String>,
    pub view: Option<String>,
    pub output: Option<String>,
    pub dead: Option<String>,
    /// Dead letters that are kept.
    pub dead_events: i64,
    pub buckets: u32,
    pub running: u32,
    /// Buckets whose tasks are parked.
    pub parked: Vec<u32>,
    pub restarts: u32,
    pub per_s: f64,
    pub backlog: i64,
    pub watermark_ms: Option<i64>,
}

/// A view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewGlance {
    pub name: String,
    pub pipeline: String,
    pub format: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Happening {
    pub at_ms: u64,
    /// The peer that saw it, and its count of such notes.
    pub peer: i32,
    pub number: u64,
    pub kind: String,
    pub text: String,
}
