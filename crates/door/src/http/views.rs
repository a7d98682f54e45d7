//! `/v1/views` and `/v1/pipelines`.

use super::Shown;
use model::Problem;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// `GET /v1/views`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Views {
    pub views: Vec<ViewSummary>,
}

/// A view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewSummary {
    pub name: String,
    pub pipeline: String,
    pub stage: String,
    pub buckets: u32,
    pub format: String,
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Linearizable per shard: the leader asks its quorum.
    #[default]
    Leader,
    /// The nearest replica, with its age.
    Any,
}

impl Consistency {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Any => "any",
        }
    }
}

/// `GET /v1/views/{name}/rows/{key}?…`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct RowQuery {
    #[serde(default)]
    pub consistency: Consistency,
    /// With `any`: the answer may be one that this peer was given of late, if it was current at most so long before
    /// the question came. Without it nothing is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_ms: Option<u64>,
}

impl RowQuery {
    /// The age that is allowed; nothing if none is.
    ///
    /// # Errors
    /// `SH0404` if the leader's answer is asked for as well, which has no age.
    pub fn age_max(&self) -> Result<Option<Duration>, Problem> {
        match (self.max_age_ms, self.consistency) {
            (Some(_), Consistency::Leader) => Err(Problem::new(
                "SH0404",
                "an age is allowed, but the leader's answer is asked for",
                "with consistency=leader all that was acknowledged before the question is in the answer",
                "consistency=any&max_age_ms=N, or leave out max_age_ms",
            )),
            (age_ms, _) => Ok(age_ms.map(Duration::from_millis)),
        }
    }
}

/// `GET /v1/views/{name}/watch?key=K`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct WatchQuery {
    pub key: String,
}

/// One row of a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Row {
    pub key: Shown,
    pub value: Shown,
    pub shard: u16,
    pub term: u64,
    pub position: RowPosition,
    /// How long ago the replica last heard from its leader; 0 at the leader. Of a remembered answer: at most so long
    /// before this question came it was current at the leader.
    pub age_ms: u64,
    /// The replica cannot tell how old its answer is.
    pub stale: bool,
    /// The peer whose replica answered.
    pub peer: i32,
}

/// Up to where the log had been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RowPosition {
    pub index: u64,
}

/// `GET /v1/views/{name}/rows?…`: rows in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct RowsQuery {
    /// The first key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default = "RowsQuery::limit_usual")]
    pub limit: usize,
    #[serde(default)]
    pub consistency: Consistency,
}

impl RowsQuery {
    const fn limit_usual() -> usize {
        1_000
    }
}

impl Default for RowsQuery {
    fn default() -> Self {
        Self { from: None, limit: Self::limit_usual(), consistency: Consistency::default() }
    }
}

/// The rows of a scan, and where each shard stood when it answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ViewRows {
    pub rows: Vec<ViewRow>,
    /// Always `per shard`: a scan is not linearizable as a whole.
    pub linearizable: String,
    pub shards: Vec<ShardPosition>,
    /// There are more rows behind the last.
    pub more: bool,
}

impl ViewRows {
    pub const LINEARIZABLE: &'static str = "per shard";
}

/// A row of a scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ViewRow {
    pub key: Shown,
    pub value: Shown,
}

/// Where a shard stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShardPosition {
    pub shard: u16,
    pub term: u64,
    pub index: u64,
    pub age_ms: u64,
    /// The peer whose replica answered.
    pub peer: i32,
}

/// `GET /v1/views/{name}/positions?…`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PositionsQuery {
    #[serde(default)]
    pub consistency: Consistency,
    /// Only this bucket's, instead of the least of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<u32>,
}

/// How far a view has read each source partition: the least of its buckets, or of the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewPositions {
    pub positions: Vec<Position>,
}

/// One source partition: all events below `offset` are in the view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Position {
    pub stream: String,
    pub partition: u32,
    pub offset: i64,
}

/// `GET /v1/pipelines`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pipelines {
    pub pipelines: Vec<PipelineRow>,
}

/// A pipeline in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PipelineRow {
    pub name: String,
    pub version: u32,
    pub stages: u32,
    pub state: PipelineState,
}

/// Whether a pipeline or task makes progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PipelineState {
    Running,
    /// No voter has the code, or it failed too often.
    Parked,
    /// A person stopped it.
    Paused,
}

impl PipelineState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Paused => "paused",
        }
    }
}

/// `GET /v1/pipelines/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PipelineDetail {
    pub name: String,
    pub version: u32,
    /// 16 hexadecimal digits.
    pub fingerprint: String,
    pub stages: Vec<StageDetail>,
}

/// A stage of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StageDetail {
    pub name: String,
    pub buckets: u32,
    pub sources: Vec<String>,
    pub view: Option<String>,
    pub output: Option<String>,
    pub dead: Option<String>,
    pub tasks: Vec<TaskRow>,
}

/// One task of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskRow {
    pub bucket: u32,
    pub shard: u16,
    pub peer: Option<i32>,
    /// `running`, `parked`, or what else its peer says of it.
    pub state: String,
    pub sequence: u64,
    /// No earlier event is expected; null while none has come.
    pub watermark_ms: Option<i64>,
    pub restarts: u32,
    /// Why it ended last, while it does not run.
    pub because: Option<String>,
}
