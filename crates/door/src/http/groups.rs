//! `/v1/groups`: consumers that share streams, and how far they are.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/groups`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Groups {
    pub groups: Vec<GroupRow>,
}

/// A group in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupRow {
    pub name: String,
    /// What its clients are for, in their own word: `consumer` for Kafka's.
    pub kind: String,
    /// Whether somebody is in it now.
    pub active: bool,
}

/// `GET /v1/groups/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    pub name: String,
    pub kind: String,
    pub generation: i32,
    pub consumers: Vec<GroupConsumer>,
    pub offsets: Vec<GroupOffset>,
}

/// A consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupConsumer {
    pub id: String,
    pub client: String,
    pub host: String,
}

/// How far a group has read one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupOffset {
    pub stream: String,
    pub partition: u32,
    /// The next offset to read.
    pub offset: i64,
    /// Events behind; null if the partition's leader does not answer.
    pub lag: Option<i64>,
}
