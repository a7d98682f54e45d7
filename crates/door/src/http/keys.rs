//! Which keys of a pipeline get the most events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/pipelines/{name}/keys`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HotKeys {
    /// Of each stage the hottest first, 16 at most.
    pub keys: Vec<HotKey>,
    /// Peers that did not answer: their tasks' keys are missing.
    pub silent: Vec<i32>,
}

/// One key of a stage, as its task counted it in the last 30 to 60 s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HotKey {
    pub pipeline: String,
    pub stage: String,
    /// As text; what is not UTF-8 in it becomes U+FFFD. The first 256 bytes.
    pub key: String,
    /// About how many events a second.
    pub rate: f64,
    /// Its part of the stage's events, 0 to 1.
    pub share: f64,
    /// By how much that may be too high, 0 to 1: others took turns in its place of the sketch.
    pub over: f64,
    pub bucket: u32,
    /// Where its task runs.
    pub peer: i32,
}
