//! `/readyz`, `/v1/members`, `/v1/health`, and what is wished of a peer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /readyz`: 200 when ready, else 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    pub ready: bool,
    pub reasons: Vec<String>,
}

/// `GET /v1/members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Members {
    /// The id of the peer that answers.
    pub me: i32,
    pub members: Vec<Member>,
}

/// A peer as the one that answers sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    pub id: i32,
    pub name: String,
    pub state: MemberState,
    pub zone: String,
    pub weight: u32,
    pub version: String,
    pub incarnation: u64,
    pub mesh: String,
    pub kafka: String,
    pub http: String,
    /// Shards it leads.
    pub leads: u32,
    /// Shards of which it holds a copy.
    pub replicas: u32,
    /// The pipelines whose code it holds, each as `name vVERSION`.
    pub pipelines: Vec<String>,
    /// What is odd about it, or empty.
    pub note: String,
}

/// What gossip says of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    Alive,
    Suspect,
    Gone,
}

impl MemberState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Gone => "gone",
        }
    }
}

/// `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// One sentence.
    pub verdict: String,
    pub healthy: bool,
    pub ready: bool,
    pub reasons: Vec<String>,
    pub shards: ShardCount,
    pub peers: PeerCount,
}

/// How the shards are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShardCount {
    pub total: u32,
    pub led: u32,
    pub under_replicated: u32,
}

/// How the peers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerCount {
    pub alive: u32,
    pub total: u32,
}

/// What a wish is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wished {
    /// Where it stands in the catalogue's log.
    pub index: u64,
}

/// `POST /v1/mesh/{leave,drain,undrain,remove}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WishBody {
    pub peer: i32,
    /// Accepts that fewer peers than copies will be left.
    #[serde(default)]
    pub shrink: bool,
}
