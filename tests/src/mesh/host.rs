//! A machine and the process that may run on it. The machine's disk outlives its processes.

use super::board::Board;
use super::calls::Call;
use super::fetch::Fetch;
use super::puller::Puller;
use super::router::{Held, Origin, Query};
use super::stay::Survey;
use super::tables::Tables;
use super::task::Task;
use super::writer::Writer;
use bytes::Bytes;
use flow::Exchange;
use model::catalogue::Change;
use model::{Batch, Catalogue, PartitionId, PeerId, ReplicaId, ShardId, StageId, TaskId};
use replica::{Answer, Refusal, Replica};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use store::{Record, Segments, SimDisk};

/// A machine.
pub struct Host {
    pub name: usize,
    /// Counts disks: a new one has another key, so it is another peer.
    pub generation: u8,
    pub disk: SimDisk,
    pub tables: Tables,
    /// The head of the data folder: who this peer is, once it belongs to the mesh.
    pub head: Option<PeerId>,
    /// The copy of the catalogue beside the log.
    pub catalogue: Arc<Catalogue>,
    pub incarnation: u64,
    /// Counts starts and ends of processes; odd while one runs.
    lives: u64,
    pub process: Option<Box<Process>>,
    pub paused_until_us: u64,
    pub wall_ahead_ms: i64,
    /// Syncs take up to this much longer, µs.
    pub slow_us: u64,
    /// Replicas that what was done to its disk may have put in doubt, until the log has replaced them.
    pub damage: BTreeSet<(ShardId, ReplicaId)>,
    /// Replicas whose segments give back other bytes than were written, whether or not anybody has read them since.
    pub rotten: BTreeSet<(ShardId, ReplicaId)>,
    /// Its disk fails at the moment: that excuses the end of a process.
    pub failing: bool,
    /// The power goes in the middle of one of its disk's next changes.
    pub armed: bool,
    /// A frame of its journal was lost or misdirected: no fault may end its process before so many are written, since
    /// rot of the last frame cannot be told from a torn one.
    pub spared_until: Option<u64>,
}

/// What a process has in memory.
pub struct Process {
    pub board: Board,
    pub slots: Vec<Option<Slot>>,
    pub tombstones: BTreeMap<ShardId, ReplicaId>,
    pub dirty: Vec<ShardId>,
    pub turning: bool,
    pub ticks: u64,
    pub next_request: u64,
    pub waiting: BTreeMap<u64, (ShardId, Waiting)>,
    pub outgoing: BTreeMap<PeerId, Vec<Letter>>,
    pub records: Vec<Record>,
    pub persists: Vec<(ShardId, ReplicaId, u64)>,
    pub appends: BTreeMap<PartitionId, (ShardId, Vec<Batch>)>,
    pub answers: Vec<(u64, Result<Answer, Refusal>)>,
    pub writer: Writer,
    /// A round of checkpoints is under way.
    pub keeping: bool,
    /// Which part of the shards the next checkpoint is of.
    pub part: usize,
    /// Indexes up to which the tables hold each fold.
    pub durable: BTreeMap<ShardId, u64>,
    pub exports: BTreeMap<ShardId, (u64, Bytes)>,
    pub fetches: BTreeMap<u64, Fetch>,
    pub segments: Arc<Segments>,
    pub calls: BTreeMap<u64, Call>,
    pub held: BTreeMap<u64, Held>,
    /// Numbers calls, held requests and door connections.
    pub next_number: u64,
    pub gossip: ::mesh::Mesh,
    /// Keys of the roster as gossip was last told.
    pub enrolled: Vec<Vec<u8>>,
    pub tasks: BTreeMap<TaskId, Task>,
    /// Looked for tasks when the board had moved so often.
    pub looked: u64,
    pub exchanges: BTreeMap<(StageId, PartitionId), Exchange>,
    pub pullers: BTreeMap<StageId, Puller>,
    /// Tasks whose commits were applied and are not readable yet.
    pub moved: Vec<(ShardId, TaskId)>,
    /// What this start still has to tell the catalogue.
    pub duties: VecDeque<Change>,
    /// Who was last asked for its catalogue.
    pub asked: PeerId,
    /// What leaders said of their shards, while this peer leaves.
    pub survey: Survey,
    /// Replicas in doubt that must be replaced.
    pub doubts: Vec<(ShardId, ReplicaId)>,
    /// Replicas whose segments were found to be rotten.
    pub rotten: BTreeMap<ShardId, ReplicaId>,
    /// When a missing replica was last reported, µs.
    pub reported: BTreeMap<(ShardId, ReplicaId), u64>,
}

/// One replica and what its driver keeps about it.
pub struct Slot {
    pub replica: Replica,
    /// Bytes of the log that it had in memory when it got its seat.
    pub found_bytes: usize,
    /// The index of the last checkpoint that was taken.
    pub checkpointed: u64,
    /// A follower waits for a manifest.
    pub wants_manifest: bool,
    pub fetching: bool,
    pub dirty: bool,
}

/// One consensus message on its way.
#[derive(Clone, Debug)]
pub struct Letter {
    pub shard: ShardId,
    pub to: ReplicaId,
    pub from: ReplicaId,
    pub message: Bytes,
}

/// Who waits for a replica's answer.
#[derive(Clone, Debug)]
pub enum Waiting {
    Propose(Origin),
    Look(Origin, Query),
    /// A task, in this run of it.
    Commit(TaskId, u64),
}

impl Host {
    pub fn new(name: usize) -> Self {
        Self {
            name,
            generation: 0,
            disk: SimDisk::new(),
            tables: Tables::default(),
            head: None,
            catalogue: Arc::default(),
            incarnation: 0,
            lives: 0,
            process: None,
            paused_until_us: 0,
            wall_ahead_ms: 0,
            slow_us: 0,
            damage: BTreeSet::new(),
            rotten: BTreeSet::new(),
            failing: false,
            armed: false,
            spared_until: None,
        }
    }

    pub fn key(&self) -> Vec<u8> {
        vec![self.name as u8 + 1, self.generation]
    }
    pub fn life(&self) -> u64 {
        self.lives
    }
    pub fn is_up(&self) -> bool {
        self.lives % 2 == 1
    }

    pub fn begin_life(&mut self) -> u64 {
        assert!(!self.is_up(), "only what rests can start");
        self.lives += 1;
        self.incarnation += 1;
        self.lives
    }

    /// The process ends, and with it everything that was in memory.
    pub fn end_life(&mut self) {
        assert!(self.is_up(), "only what runs can end");
        self.lives += 1;
        self.process = None;
        self.paused_until_us = 0;
    }
}

impl Process {
    pub fn slot(&mut self, shard: ShardId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(shard.0))?.as_mut()
    }
    pub fn replica(&self, shard: ShardId) -> Option<&Replica> {
        Some(&self.slots.get(usize::from(shard.0))?.as_ref()?.replica)
    }
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

/// The host that has this key now, if it is the generation's that is there.
pub fn host_of(key: &[u8], hosts: &[Host]) -> Option<usize> {
    let host = usize::from(*key.first()?).checked_sub(1)?;
    (hosts.get(host)?.key() == key).then_some(host)
}
