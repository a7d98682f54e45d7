//! Calls between peers on the request and bulk lanes: what can be asked, and the waiting for answers.
//!
//! A call is answered at most once; a lost connection or a deadline ends it as [`Failed`]. Whether the asked
//! thing happened is then unknown: what changes something is repeatable by its origin.

use crate::gateway::behalf::{Behalf, Told};
use crate::limits;
use crate::shards::{Found, Query};
use bytes::Bytes;
use dashmap::DashMap;
use model::catalogue::{Catalogue, Enrolled};
use model::{MeshId, PartitionId, PeerId, Problem, ReplicaId, ShardId, codec};
use net::{Lane, Net, PeerKey};
use replica::action::{Answer, Refusal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// The version of the messages on these lanes.
const VERSION: u8 = 1;

/// What one peer asks another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Enrol me; answered by [`Said::Joined`]. Passed on to the catalogue's leader. `shards` is the number that the
    /// asker expects, `replaces` the dead peer whose place it takes.
    Join { enrolled: Box<Enrolled>, shards: Option<u16>, replaces: Option<String> },
    /// The catalogue, if it is newer than this index.
    Catalogue { since: u64 },
    /// Put this operation (an encoded entry with one operation) into the shard's log.
    Propose { shard: ShardId, op: Bytes },
    /// Look something up in a shard's fold.
    Look { shard: ShardId, query: Query, linear: bool },
    /// Batches of a partition.
    Batches { partition: PartitionId, shard: ShardId, from: i64, below: i64, bytes_max: u32 },
    /// Events for one bucket of a stage from source positions on.
    Chunks(WantChunks),
    /// What the replicas here know.
    Status,
    /// A piece of a snapshot's rows.
    Export { shard: ShardId, index: u64, at: u64 },
    /// My replica of this shard has lost or doubts its log.
    Replace { shard: ShardId, replica: ReplicaId },
    /// Answer a client of mine, which cannot reach you.
    Behalf(Box<Behalf>),
    /// Whether the sent snapshot was installed.
    Installed { shard: ShardId, replica: ReplicaId, installed: bool },
}

/// Events for one bucket of a stage, from committed positions on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WantChunks {
    pub pipeline: String,
    pub stage: String,
    pub version: u32,
    pub bucket: u32,
    pub from: Vec<(PartitionId, i64)>,
    /// How long the answer may wait for the first event.
    pub wait_ms: u32,
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Said {
    Joined {
        peer: PeerId,
        catalogue: Box<Catalogue>,
    },
    Catalogue(Option<Box<Catalogue>>),
    Proposed(Result<Answer, Refusal>),
    /// What was looked up; nothing if this replica may not answer.
    Found(Option<(Found, Place)>),
    Batches(Vec<Bytes>),
    Chunks(Vec<flow::Chunk>),
    Status(Vec<ShardStatus>),
    /// What a client of the asker is to be told.
    Behalf(Box<Told>),
    Export {
        bytes: Bytes,
        size: u64,
    },
    Done,
    /// Not here: ask this peer.
    Elsewhere(Option<PeerId>),
    /// It cannot be done, in plain words.
    No(String),
    /// It is refused for good; waiting does not mend it.
    Refused(Box<Problem>),
}

/// Where and when an answer was true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub shard: ShardId,
    pub term: u64,
    pub index: u64,
    pub age_ms: u64,
    pub stale: bool,
    pub peer: PeerId,
}

/// One replica as its peer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    pub shard: ShardId,
    pub peer: PeerId,
    pub term: u64,
    pub leading: bool,
    pub leader: Option<PeerId>,
    pub voters: Vec<PeerId>,
    pub learners: Vec<PeerId>,
    pub applied: u64,
    pub under_replicated: bool,
}

/// One frame on the request or bulk lane.
#[derive(Debug, Serialize, Deserialize)]
pub enum Frame {
    Ask { mesh: MeshId, id: u64, ask: Ask },
    Said { id: u64, said: Said },
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("the peer is not connected")]
    Down,
    #[error("the peer did not answer in time")]
    Late,
    #[error("too many calls are under way")]
    Full,
}

/// The calls under way from this peer.
pub struct Calls {
    net: Net,
    mesh: std::sync::RwLock<MeshId>,
    next: AtomicU64,
    waiting: DashMap<u64, (PeerKey, oneshot::Sender<Said>)>,
}

impl Calls {
    pub fn new(net: Net, mesh: MeshId) -> Self {
        Self {
            net,
            mesh: std::sync::RwLock::new(mesh),
            next: AtomicU64::new(1),
            waiting: DashMap::new(),
        }
    }

    /// Says which mesh this peer belongs to; a joiner learns it from its first answer.
    pub fn belong(&self, mesh: MeshId) {
        *self.mesh.write().expect("no holder panics") = mesh;
    }
    pub fn net(&self) -> &Net {
        &self.net
    }
    pub fn mesh(&self) -> MeshId {
        *self.mesh.read().expect("no holder panics")
    }

    /// Asks a peer and waits for its answer, [`limits::CALL`] at most.
    pub async fn ask(
        self: &Arc<Self>,
        peer: &PeerKey,
        lane: Lane,
        ask: Ask,
    ) -> Result<Said, Failed> {
        self.begin(peer, lane, ask)?.said().await
    }

    /// Sends an ask now, in the order of calls, and returns what waits for its answer.
    pub fn begin(self: &Arc<Self>, peer: &PeerKey, lane: Lane, ask: Ask) -> Result<Asked, Failed> {
        if self.waiting.len() >= limits::CALLS {
            return Err(Failed::Full);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.insert(id, (peer.clone(), sender));
        let asked = Asked { calls: self.clone(), id, answer };
        let frame = encode(&Frame::Ask { mesh: self.mesh(), id, ask });
        match self.net.send(peer, lane, frame) {
            Ok(()) => Ok(asked),
            Err(net::SendError::Full | net::SendError::TooLarge { .. }) => Err(Failed::Full),
            Err(net::SendError::Down) => Err(Failed::Down),
        }
    }

    /// Brings an answer to whoever waits for it; only the asked peer may answer.
    pub fn answered(&self, from: &PeerKey, id: u64, said: Said) {
        if let Some((_, (_, waiter))) = self.waiting.remove_if(&id, |_, (peer, _)| peer == from) {
            // The asker may have stopped waiting; then nobody needs the answer.
            let _ = waiter.send(said);
        }
    }

    /// Sends an answer; if the connection is gone the asker knows that by itself.
    pub fn answer(&self, peer: &PeerKey, lane: Lane, id: u64, said: Said) {
        let frame = encode(&Frame::Said { id, said });
        if let Err(error) = self.net.send(peer, lane, frame) {
            tracing::debug!(%peer, ?error, "an answer could not be sent");
        }
    }

    /// The connection to a peer broke: nobody waits for it any longer.
    pub fn lost(&self, peer: &PeerKey) {
        self.waiting.retain(|_, (asked, _)| asked != peer);
    }
}

/// An ask under way; forgotten when it is dropped.
pub struct Asked {
    calls: Arc<Calls>,
    id: u64,
    answer: oneshot::Receiver<Said>,
}

impl Asked {
    /// Waits for the answer, [`limits::CALL`] at most.
    pub async fn said(self) -> Result<Said, Failed> {
        self.said_within(limits::CALL).await
    }

    pub async fn said_within(mut self, most: Duration) -> Result<Said, Failed> {
        match tokio::time::timeout(most, &mut self.answer).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(_)) => Err(Failed::Down),
            Err(_) => Err(Failed::Late),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.calls.waiting.remove(&self.id);
    }
}

pub fn encode(frame: &Frame) -> Bytes {
    codec::encode(VERSION, frame).into()
}

pub fn decode(bytes: &[u8]) -> Result<Frame, codec::Error> {
    codec::decode(VERSION, bytes)
}
