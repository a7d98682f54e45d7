//! `/v1/mesh/plan`: what would move if peers came or were drained, before anything does.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// `GET /v1/mesh/plan?add=2&drain=3,4`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PlanQuery {
    /// Ordinary peers that would join.
    #[serde(default)]
    pub add: u16,
    /// Ids of peers that would hold nothing any more, with commas between them.
    #[serde(default)]
    pub drain: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    pub moves: Vec<PlanMove>,
    /// Copies of shards that there are now.
    pub replicas: u32,
    /// Shards that another peer would lead.
    pub leads: u32,
    /// Bytes of events that would travel, by the mean of the shards that the answering peer holds; null where it
    /// holds none.
    pub bytes_about: Option<u64>,
    /// Seconds that this takes the peer that gets the most, if all take as many bytes a second as the answering peer.
    pub seconds_about: Option<u64>,
}

/// One replica's way; without `from` a shard gains a copy, without `to` it loses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanMove {
    pub shard: u16,
    pub from: Option<i32>,
    pub to: Option<i32>,
}
