//! `/v1/streams` and reading `/v1/streams/{name}/events`.

use super::Shown;
use model::{Problem, Record};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Partitions of a stream whose creator does not say.
const PARTITIONS_USUAL: u32 = 16;

/// `POST /v1/streams`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStream {
    pub name: String,
    #[serde(default = "NewStream::partitions_usual")]
    pub partitions: u32,
}

impl NewStream {
    pub const fn partitions_usual() -> u32 {
        PARTITIONS_USUAL
    }

    /// Whether there can be such a stream.
    pub fn check(&self) -> Result<(), Problem> {
        let max = crate::PARTITIONS_MAX;
        if let Err(error) = model::name::check(&self.name) {
            let what = "a stream cannot have this name";
            return Err(Problem::new("SH0002", what, error.to_string(), "choose another name"));
        }
        if !(1..=max).contains(&self.partitions) {
            let what = format!("a stream cannot have {} partitions", self.partitions);
            let because = format!("a stream has 1 to {max} partitions");
            let fix = format!("leave `partitions` out to get {PARTITIONS_USUAL}");
            return Err(Problem::new("SH0404", what, because, fix));
        }
        Ok(())
    }
}

/// `GET /v1/streams`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Streams {
    pub streams: Vec<Stream>,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stream {
    pub name: String,
    /// 32 hexadecimal digits.
    pub id: String,
    pub partitions: u32,
    /// `pipeline.stage` if a stage writes it; clients may not.
    pub written_by: Option<String>,
    /// Only for one stream (`GET /v1/streams/{name}`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<Part>>,
}

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Part {
    pub partition: u32,
    pub shard: u16,
    pub leader: Option<i32>,
    /// The first offset that is kept; -1 when its leader does not answer.
    pub start: i64,
    /// The offset the next event will have; -1 when its leader does not answer.
    pub next: i64,
}

/// `GET /v1/streams/{name}/events?…`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    pub partition: u32,
    #[serde(default)]
    pub offset: i64,
    #[serde(default = "EventsQuery::max_usual")]
    pub max: usize,
    #[serde(default)]
    pub wait_ms: u64,
}

impl EventsQuery {
    const fn max_usual() -> usize {
        100
    }
}

/// `GET /v1/streams/{name}/events/tail?…`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct TailQuery {
    /// Only this partition, instead of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// From here on, instead of from the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
}

/// Events of one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Events {
    pub events: Vec<Event>,
    /// Read on from here.
    pub next: i64,
    /// The offset after the last committed event.
    pub high: i64,
    /// The peer whose copy was read; `high` is always its leader's.
    pub peer: i32,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    pub partition: u32,
    pub offset: i64,
    pub time_ms: i64,
    pub key: Shown,
    pub value: Shown,
}

impl Event {
    pub fn of(partition: u32, record: &Record) -> Self {
        Self {
            partition,
            offset: record.offset,
            time_ms: record.time_ms,
            key: Shown::of(record.key.as_deref()),
            value: Shown::of(record.value.as_deref()),
        }
    }
}
