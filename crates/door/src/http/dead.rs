//! Dead letters over HTTP: what the stages of pipelines gave up, and what a person wants done with it.

use super::Shown;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// `GET /v1/dead`: every stage, those of a pipeline together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadStages {
    pub stages: Vec<DeadStage>,
}

/// How many letters a stage has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadStage {
    pub pipeline: String,
    pub stage: String,
    /// The stream that holds them.
    pub stream: String,
    pub letters: u64,
}

/// `GET /v1/dead/{pipeline.stage}?…`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct LettersQuery {
    #[serde(default = "LettersQuery::max_usual")]
    pub max: usize,
}

impl LettersQuery {
    const fn max_usual() -> usize {
        100
    }
}

/// Letters of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Letters {
    pub letters: Vec<Letter>,
    /// There are more than were asked for.
    pub more: bool,
}

/// One event, or timer, that was given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Letter {
    /// Where the letter lies.
    pub partition: u32,
    pub offset: i64,
    pub time_ms: i64,
    pub cause: String,
    pub attempt: u32,
    /// The event that it is about; none for a timer.
    pub about: Option<About>,
    /// The time of the timer that it is about.
    pub timer_ms: Option<i64>,
    pub key: Shown,
    pub value: Shown,
}

/// An event of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct About {
    pub stream: String,
    pub partition: u32,
    pub offset: i64,
}

/// `POST /v1/dead/{pipeline.stage}/{retry,drop}`: all letters, those of one partition, or those up to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpTo {
    #[serde(default)]
    pub partition: Option<u32>,
    /// The last letter; wants a partition.
    #[serde(default)]
    pub offset: Option<i64>,
}

/// What became of letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// Letters that are no more, tried again or dropped.
    pub letters: u64,
    /// Where a partition's letters were not gone on with, and why.
    pub stopped: Vec<Stopped>,
}

/// The first letter of a partition that cannot be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stopped {
    pub partition: u32,
    pub offset: i64,
    pub because: String,
}
