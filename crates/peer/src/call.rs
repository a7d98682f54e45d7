//! Calls between peers on the request and bulk lanes: what can be asked, and the waiting for answers.
//!
//! A call is answered at most once; a lost connection or a deadline ends it as [`Failed`]. Whether the asked
//! thing happened is then unknown: what changes something is repeatable by its origin.

use crate::figures::Figures;
use crate::gateway::behalf::{Behalf, Told};
use crate::limits;
use crate::shards::{Found, Query};
use crate::tasks::TaskStatus;
use bytes::Bytes;
use dashmap::{DashMap, Entry};
use model::catalogue::{Catalogue, Enrolled};
use model::{MeshId, PartitionId, PeerId, Problem, ReplicaId, ShardId, TaskId, codec};
use net::{Lane, Net, PeerKey};
use replica::action::{Answer, Refusal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The version of the messages on these lanes.
const VERSION: u8 = 4;

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
    /// Batches of a partition, as consumers see them.
    Batches { partition: PartitionId, shard: ShardId, from: i64, below: i64, bytes_max: u32 },
    /// The same as they are stored, for a copy of this replica: also what is open, or was given up.
    Stored { partition: PartitionId, shard: ShardId, from: i64, below: i64, bytes_max: u32 },
    /// Events for one bucket of a stage from source positions on.
    Chunks(WantChunks),
    /// What the replicas here know.
    Status,
    /// How the tasks here are.
    Tasks,
    /// A piece of a snapshot's rows.
    Export { shard: ShardId, index: u64, at: Where },
    /// My replica of this shard has lost or doubts its log.
    Replace { shard: ShardId, replica: ReplicaId },
    /// Answer a client of mine, which cannot reach you.
    Behalf(Box<Behalf>),
    /// Whether the sent snapshot was installed.
    Installed { shard: ShardId, replica: ReplicaId, installed: bool },
    /// What you count and hold.
    Figures,
    /// I lead these shards now, in these terms: who holds no replica of them hears it so, at once.
    Leads(Vec<(ShardId, u64)>),
    /// Do you hold a mesh? Asked by who holds none and may found one.
    Holds,
    /// Which keys the tasks of a pipeline get most.
    Keys { pipeline: String },
}

/// Events for one bucket of a stage, from committed positions on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WantChunks {
    pub pipeline: String,
    pub stage: String,
    pub version: u32,
    pub bucket: u32,
    pub from: Vec<(PartitionId, i64)>,
    /// Partial aggregates are welcome, to a task whose watermark is this.
    pub partials: Option<i64>,
    /// How long the answer may wait for the first event.
    pub wait_ms: u32,
}

/// Where in an export a piece is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Where {
    /// From this byte of the small fold on.
    Small(u64),
    /// The rows after this one, or the first.
    Rows(Option<(TaskId, Bytes)>),
}

/// A piece of an export.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Piece {
    Small(Bytes),
    /// In order; none: there are no more.
    Rows(Vec<(TaskId, Bytes, Bytes)>),
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
    Tasks(Vec<TaskStatus>),
    /// What a client of the asker is to be told.
    Behalf(Box<Told>),
    Export(Piece),
    Done,
    /// Not here: ask this peer.
    Elsewhere(Option<PeerId>),
    /// It cannot be done, in plain words.
    No(String),
    /// It is refused for good; waiting does not mend it.
    Refused(Box<Problem>),
    Figures(Box<Figures>),
    /// This mesh.
    Holds(MeshId),
    /// None, and this peer waits for one.
    Waits(mesh::founding::Waiting),
    /// Of the tasks that run there.
    Keys(Vec<(TaskId, flow::Heat)>),
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
    /// How many are under way to each peer: one that is slow must not take the others' room.
    under_way: DashMap<PeerKey, usize>,
    /// Another peer has refused this one for good.
    refused: watch::Sender<Option<Problem>>,
}

impl Calls {
    pub fn new(net: Net, mesh: MeshId) -> Self {
        Self {
            net,
            mesh: std::sync::RwLock::new(mesh),
            next: AtomicU64::new(1),
            waiting: DashMap::new(),
            under_way: DashMap::new(),
            refused: watch::Sender::default(),
        }
    }

    /// Notes that this peer has no place in the mesh.
    pub fn refuse(&self, problem: Problem) {
        self.refused.send_replace(Some(problem));
    }
    /// Returns when that was noted, and why; else never.
    pub async fn refused(&self) -> Problem {
        let mut refused = self.refused.subscribe();
        let noted = refused.wait_for(Option::is_some).await.expect("its sender is here");
        noted.clone().expect("just waited for")
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
        self.count(peer)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.insert(id, (peer.clone(), sender));
        let asked = Asked { calls: self.clone(), peer: peer.clone(), id, answer };
        let frame = encode(&Frame::Ask { mesh: self.mesh(), id, ask });
        match self.net.send(peer, lane, frame) {
            Ok(()) => Ok(asked),
            Err(net::SendError::Full | net::SendError::TooLarge { .. }) => Err(Failed::Full),
            Err(net::SendError::Down) => Err(Failed::Down),
        }
    }

    fn count(&self, peer: &PeerKey) -> Result<(), Failed> {
        let mut count = self.under_way.entry(peer.clone()).or_default();
        if *count >= limits::CALLS {
            return Err(Failed::Full);
        }
        *count += 1;
        Ok(())
    }

    fn uncount(&self, peer: &PeerKey) {
        if let Entry::Occupied(mut count) = self.under_way.entry(peer.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
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
        let mut sent = self.net.send(peer, lane, encode(&Frame::Said { id, said }));
        if let Err(net::SendError::TooLarge { bytes, bytes_max }) = sent {
            tracing::warn!(%peer, bytes, bytes_max, "an answer is larger than a frame");
            let why = format!("the answer has {bytes} bytes, a frame {bytes_max} at most");
            let frame = encode(&Frame::Said { id, said: Said::No(why) });
            sent = self.net.send(peer, lane, frame);
        }
        if let Err(error) = sent {
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
    peer: PeerKey,
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
        self.calls.uncount(&self.peer);
    }
}

pub fn encode(frame: &Frame) -> Bytes {
    codec::encode(VERSION, frame).into()
}

pub fn decode(bytes: &[u8]) -> Result<Frame, codec::Error> {
    codec::decode(VERSION, bytes)
}
