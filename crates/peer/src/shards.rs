//! The one actor that steps all replicas of this peer's journal, in turns.
//!
//! A turn goes on with all that is under way, begins what has gathered if its pace allows that ([`pace`]), writes one
//! journal frame and sends one frame to each neighbour. Promises that
//! an answer leaves only after its entry is applied here, and that whatever is readable from a segment was
//! applied. Never waits for the disk, the wire or user code.
//!
//! # Supervision
//! Child of `peer::Peer`. It does not fail on others' input; a replica that cannot go on is dropped alone and
//! asks to be replaced. A journal that cannot be written stops the peer: [`Msg::Fenced`].

mod actions;
mod bulk;
mod frame;
mod moves;
mod pace;
mod queries;
mod strain;

pub use frame::Outgoing;
pub use queries::{Found, Query, Standing};

use crate::board::Board;
use crate::call::{Calls, Place, ShardStatus};
use crate::keeper::{self, Keeper};
use crate::limits;
use crate::snapshot::{Exports, Fetcher, Tenure};
use crate::space::Space;
use crate::throttle::Throttle;
use crate::wall_ms;
use crate::writer::Writer;
use bytes::Bytes;
use model::{MeshId, Op, PartitionId, PeerId, ReplicaId, ShardId};
use net::Net;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use replica::{Answer, Fold, Input, Now, Refusal, Replica};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Aside, Record, Segments, Tables};
use tokio::sync::{Semaphore, oneshot};

/// Steps all replicas of this peer.
pub struct Shards;

/// What the actor is given once.
pub struct Args {
    pub board: Arc<Board>,
    pub net: Net,
    pub mesh: MeshId,
    pub replication: u8,
    pub seed: u64,
    pub segments: Arc<Segments>,
    pub tables: Arc<Tables>,
    pub replicas: Vec<(ShardId, Replica)>,
    /// Highest removed replica id of each shard.
    pub tombstones: BTreeMap<ShardId, ReplicaId>,
    pub journal: store::Journal,
    pub space: Arc<Space>,
    pub aside: Arc<Aside>,
    /// Indexes up to which the tables hold each fold.
    pub durable: BTreeMap<ShardId, u64>,
    pub exports: Arc<Exports>,
    pub calls: Arc<Calls>,
    pub throttle: Arc<Throttle>,
    pub fatal: tokio::sync::mpsc::UnboundedSender<String>,
}

/// What can be said to it.
pub enum Msg {
    /// A consensus frame of a neighbour.
    Frame { from: PeerId, bytes: Bytes },
    /// Put an operation into a shard's log.
    Propose { shard: ShardId, op: Op, reply: Reply },
    /// Look something up, linearizably or not.
    Ask {
        shard: ShardId,
        query: Query,
        linear: bool,
        reply: oneshot::Sender<Option<(Found, Place)>>,
    },
    /// A turn is due.
    Turn,
    /// What has gathered has waited for the pace.
    Paced,
    /// What waited for company has waited long enough.
    ComeBack,
    /// [`replica::TICK_MS`] have passed.
    Tick,
    /// A journal frame is on disk.
    Written { persists: Vec<(ShardId, ReplicaId, u64)> },
    /// The journal failed: this peer acknowledges nothing any more.
    Fenced(String),
    /// The ring changed.
    Targets,
    /// The connection to a peer broke.
    Lost(PeerId),
    /// Time for a checkpoint.
    Checkpoint,
    /// Checkpoints are on disk.
    Checkpointed { kept: Vec<keeper::Kept>, exports: Vec<keeper::Exported> },
    /// A snapshot's content lies in the store.
    Fetched { shard: ShardId, replica: ReplicaId, message: Bytes, fold: Box<Fold> },
    /// A snapshot could not be fetched; consensus will offer it again.
    FetchFailed { shard: ShardId, replica: ReplicaId },
    /// A follower told how its installation ended.
    Installed { shard: ShardId, replica: ReplicaId, installed: bool },
    /// A peer's replica is in doubt and wants to be replaced.
    Replace { shard: ShardId, replica: ReplicaId },
    /// What the replicas here know.
    Status(oneshot::Sender<Vec<ShardStatus>>),
    /// Hand all leaderships over; this peer stops.
    HandOver,
    /// Checkpoint everything and say when it is done.
    Flush(oneshot::Sender<()>),
}

/// What becomes of the files of a replica that is here no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Its shard took it out.
    Nothing,
    /// It is damaged, or another takes its place: they stay until that is whole.
    Aside,
}

/// Where an answer goes.
pub type Reply = oneshot::Sender<Result<Answer, Refusal>>;

/// What waits for a replica's answer.
enum Waiting {
    Reply(Reply),
    /// An append to this partition, and since when.
    Append(PartitionId, Instant, Reply),
    Query(ShardId, Query, oneshot::Sender<Option<(Found, Place)>>),
}

/// One replica and what this actor keeps about it.
struct Slot {
    replica: Replica,
    /// When its leader was last heard of.
    heard: Instant,
    /// The index of the last checkpoint that was taken.
    checkpointed: u64,
    /// A follower waits for a manifest.
    wants_manifest: bool,
    /// A snapshot is being fetched.
    fetching: bool,
    tenure: Tenure,
    /// It stands in [`State::ready`], or in [`State::dirty`].
    ready: bool,
    dirty: bool,
}

/// The actor's own.
pub struct State {
    args: Shared,
    me: ActorRef<Msg>,
    start: Instant,
    slots: Vec<Option<Slot>>,
    tombstones: BTreeMap<ShardId, ReplicaId>,
    /// Shards in which something under way goes on: others wait for it.
    ready: Vec<ShardId>,
    /// Shards in which something has gathered: it waits for the pace.
    dirty: Vec<ShardId>,
    /// A turn is on its way to here, or under way.
    turn_due: bool,
    /// Somebody comes back for what waits for the pace.
    paced_due: bool,
    /// The journal's thread took no more: its next word writes what is left.
    behind: bool,
    /// Every so many are the beat.
    ticks: u64,
    pace: pace::Pace,
    next_request: u64,
    waiting: HashMap<u64, Waiting>,
    outgoing: Outgoing,
    records: Vec<Record>,
    records_bytes: usize,
    persists: Vec<(ShardId, ReplicaId, u64)>,
    appends: actions::Appends,
    writer: Writer,
    keeper: Keeper,
    keeping: bool,
    /// Which part of the shards the next checkpoint is of.
    part: usize,
    /// Who waits for a checkpoint of everything, and for the one under way.
    flushes: Vec<oneshot::Sender<()>>,
    flushing: Vec<oneshot::Sender<()>>,
    fenced: bool,
    /// Indexes up to which the tables hold each fold.
    durable: BTreeMap<ShardId, u64>,
    /// When a missing replica was last reported.
    reported: BTreeMap<(ShardId, ReplicaId), Instant>,
    /// Replicas here that must be replaced: what their segments gave back is not what was written.
    rotten: BTreeMap<ShardId, ReplicaId>,
    strain: strain::Strain,
    /// Shards that are led here since the last tick, with their terms: all peers are told.
    crowned: Vec<(ShardId, u64)>,
    /// Partitions whose files go when a checkpoint holds the fold at this index.
    dropped: Vec<(ShardId, u64, PartitionId)>,
}

/// The parts of [`Args`] that outlive the start.
struct Shared {
    board: Arc<Board>,
    net: Net,
    mesh: MeshId,
    replication: u8,
    seed: u64,
    segments: Arc<Segments>,
    tables: Arc<Tables>,
    fetcher: Fetcher,
    space: Arc<Space>,
    aside: Arc<Aside>,
    fatal: tokio::sync::mpsc::UnboundedSender<String>,
}

impl Actor for Shards {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, me: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let keeper = Keeper::start(&args, me.clone())?;
        let writer = Writer::start(args.journal, me.clone(), args.board.meter.clone())?;
        let fetcher = Fetcher {
            meter: args.board.meter.clone(),
            calls: args.calls,
            segments: args.segments.clone(),
            tables: args.tables.clone(),
            shards: me.clone(),
            throttle: args.throttle,
            permits: Arc::new(Semaphore::new(limits::SNAPSHOTS)),
        };
        let slots = (0..args.board.shards()).map(|_| None).collect();
        let mut state = State {
            outgoing: Outgoing::new(args.mesh),
            args: Shared {
                board: args.board,
                net: args.net,
                mesh: args.mesh,
                replication: args.replication,
                seed: args.seed,
                segments: args.segments,
                tables: args.tables,
                fetcher,
                space: args.space,
                aside: args.aside,
                fatal: args.fatal,
            },
            me,
            start: Instant::now(),
            slots,
            tombstones: args.tombstones,
            ready: Vec::new(),
            dirty: Vec::new(),
            turn_due: false,
            paced_due: false,
            behind: false,
            ticks: 0,
            pace: pace::Pace::default(),
            next_request: 1,
            waiting: HashMap::new(),
            records: Vec::new(),
            records_bytes: 0,
            persists: Vec::new(),
            appends: actions::Appends::default(),
            writer,
            keeper,
            keeping: false,
            part: 0,
            flushes: Vec::new(),
            flushing: Vec::new(),
            fenced: false,
            durable: args.durable,
            reported: BTreeMap::new(),
            rotten: BTreeMap::new(),
            strain: strain::Strain::default(),
            crowned: Vec::new(),
            dropped: Vec::new(),
        };
        for (shard, replica) in args.replicas {
            state.seat(shard, replica);
        }
        state.on_targets();
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<Msg>,
        msg: Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Frame { from, bytes } => state.on_frame(from, &bytes),
            Msg::Propose { shard, op, reply } => state.on_propose(shard, op, reply),
            Msg::Ask { shard, query, linear, reply } => state.on_ask(shard, query, linear, reply),
            Msg::Turn => state.on_turn(),
            Msg::Paced => state.on_paced(),
            Msg::ComeBack => state.on_come_back(),
            Msg::Tick => state.on_tick(),
            Msg::Written { persists } => state.on_written(persists),
            Msg::Fenced(why) => state.on_fenced(why),
            Msg::Targets => state.on_targets(),
            Msg::Lost(peer) => state.on_lost(peer),
            Msg::Checkpoint => state.on_checkpoint(),
            Msg::Checkpointed { kept, exports } => state.on_checkpointed(kept, exports),
            Msg::Fetched { shard, replica, message, fold } => {
                state.on_fetched(shard, replica, message, fold)
            }
            Msg::FetchFailed { shard, replica } => state.on_fetch_failed(shard, replica),
            Msg::Installed { shard, replica, installed } => {
                state.on_installed(shard, replica, installed)
            }
            Msg::Replace { shard, replica } => state.on_replace(shard, replica),
            Msg::Status(reply) => state.on_status(reply),
            Msg::HandOver => state.on_hand_over(),
            Msg::Flush(reply) => state.on_flush(reply),
        }
        Ok(())
    }
}

impl State {
    fn now(&self) -> Now {
        Now { mono_us: self.start.elapsed().as_micros() as u64, wall_ms: wall_ms() }
    }

    fn slot(&mut self, shard: ShardId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(shard.0))?.as_mut()
    }

    /// Gives a replica its seat and publishes what it has applied.
    fn seat(&mut self, shard: ShardId, replica: Replica) {
        let fold = replica.fold();
        for (partition, found) in fold.partitions() {
            self.args.board.note(partition, found);
        }
        for (task, standing) in fold.tasks() {
            self.args.board.set_promise(task, (standing.watermark_ms, standing.is_idle));
        }
        if let Some(catalogue) = fold.catalogue() {
            self.args.board.learn(catalogue.clone());
        }
        self.args.board.set_here(shard, true);
        let slot = Slot {
            checkpointed: replica.fold().index(),
            replica,
            heard: Instant::now(),
            wants_manifest: false,
            fetching: false,
            tenure: Tenure::default(),
            ready: false,
            dirty: false,
        };
        self.slots[usize::from(shard.0)] = Some(slot);
    }

    /// Steps one replica, carries its actions out and sees to it that a turn follows; false if it refused.
    fn step(&mut self, shard: ShardId, input: Input) -> bool {
        if self.fenced {
            return false;
        }
        let now = self.now();
        let Some(slot) = self.slot(shard) else { return false };
        let mut actions = Vec::new();
        let stepped = slot.replica.step(now, input, &mut actions);
        let goes_on = slot.replica.needs_round();
        if goes_on && !std::mem::replace(&mut slot.ready, true) {
            self.ready.push(shard);
        } else if !goes_on && slot.replica.needs_turn() && !std::mem::replace(&mut slot.dirty, true)
        {
            self.dirty.push(shard);
        }
        self.carry_out(shard, actions);
        if let Err(error) = &stepped {
            self.on_step_failed(shard, error);
        }
        self.schedule_turn();
        stepped.is_ok()
    }

    fn schedule_turn(&mut self) {
        if self.turn_due {
            return;
        }
        let writable = !self.records.is_empty() && !self.behind;
        let urgent = !self.ready.is_empty() || self.outgoing.is_urgent() || writable;
        if !urgent && self.dirty.is_empty() {
            return;
        }
        let wait = if urgent { Duration::ZERO } else { self.pace.wait(Instant::now()) };
        if wait.is_zero() {
            self.turn_due = true;
            if self.me.cast(Msg::Turn).is_err() {
                // It would queue behind what has come in already: that is how a turn gathers.
                tracing::debug!("no turn: this actor stops");
            }
        } else if !std::mem::replace(&mut self.paced_due, true) {
            drop(self.me.send_after(wait, || Msg::Paced));
        }
    }

    fn on_paced(&mut self) {
        self.paced_due = false;
        self.schedule_turn();
    }

    fn on_step_failed(&mut self, shard: ShardId, error: &replica::Error) {
        if !error.is_fatal() {
            tracing::debug!(%shard, %error, "an input was refused");
            return;
        }
        tracing::error!(%shard, %error, "a replica cannot go on and falls silent");
        let alone = |slot: &mut Slot| {
            let replica = &slot.replica;
            replica.fold().configuration().is_alone(replica.id())
        };
        let stays = matches!(error, replica::Error::Entry { .. });
        if !stays && !self.slot(shard).is_some_and(alone) {
            self.remove(shard, Left::Aside);
            return;
        }
        // Its files stay, for a build that understands them or since nobody else has them; this one must not begin the
        // same replica again.
        if let Some(slot) = self.slots[usize::from(shard.0)].take() {
            slot.tenure.end();
            self.tombstones.insert(shard, slot.replica.id());
        }
        self.args.board.gone(shard);
    }

    fn on_turn(&mut self) {
        self.turn_due = true;
        for shard in std::mem::take(&mut self.ready) {
            if let Some(slot) = self.slot(shard) {
                slot.ready = false;
                self.step(shard, Input::Round);
            }
        }
        let now = Instant::now();
        if !self.dirty.is_empty() && self.pace.wait(now).is_zero() {
            let dirty = std::mem::take(&mut self.dirty);
            let slots = dirty.iter().filter_map(|shard| self.slots[usize::from(shard.0)].as_ref());
            let gathered = slots.filter(|slot| slot.replica.has_gathered()).count();
            self.pace.turned(now, gathered);
            for shard in dirty {
                if let Some(slot) = self.slot(shard) {
                    slot.dirty = false;
                    self.step(shard, Input::Turn);
                }
            }
        }
        self.turn_due = false;
        self.flush_appends();
        let full = self.args.space.is_full();
        self.outgoing.send(&self.args.net, &self.args.board, full);
        if self.outgoing.is_left() {
            drop(self.me.send_after(limits::PATIENCE, || Msg::ComeBack));
        }
        self.write();
        if !self.ready.is_empty() || !self.dirty.is_empty() {
            self.schedule_turn();
        }
    }

    fn on_come_back(&mut self) {
        self.outgoing.come_back();
        // A turn that is due takes it along.
        if !self.turn_due {
            self.on_turn();
        }
    }

    /// Hands the gathered records to the writer; if it is behind they wait here for its next word.
    fn write(&mut self) {
        if self.persists.is_empty() && self.records.is_empty() || self.fenced {
            return;
        }
        while !self.records.is_empty() || !self.persists.is_empty() {
            let rest = self.records.split_off(frame_end(&self.records));
            let records = std::mem::replace(&mut self.records, rest);
            // What waits for the disk waits for the last of them.
            let last = self.records.is_empty();
            let persists = if last { std::mem::take(&mut self.persists) } else { Vec::new() };
            let count = persists.len();
            if let Err(unwritten) = self.writer.write(records, persists) {
                self.behind = true;
                let rest = std::mem::replace(&mut self.records, unwritten.records);
                self.records.extend(rest);
                self.persists.extend(unwritten.persists);
                // Behind what the thread itself may have said before it ended.
                if unwritten.gone
                    && self.me.cast(Msg::Fenced("the journal's thread has ended".into())).is_err()
                {
                    tracing::debug!("the journal's thread has ended, and so does this actor");
                }
                return;
            }
            self.strain.began(count);
        }
        self.records_bytes = 0;
    }

    fn on_written(&mut self, persists: Vec<(ShardId, ReplicaId, u64)>) {
        self.strain.ended(persists.len());
        self.behind = false;
        for (shard, replica, number) in persists {
            if self.slot(shard).is_some_and(|slot| slot.replica.id() == replica) {
                self.step(shard, Input::Persisted { number });
            }
        }
        self.write();
    }

    fn on_fenced(&mut self, why: String) {
        if self.fenced {
            return;
        }
        self.fenced = true;
        tracing::error!(%why, "the journal failed: this peer acknowledges nothing any more");
        self.waiting.clear();
        if self.args.fatal.send(why).is_err() {
            tracing::debug!("the peer stops already");
        }
    }

    fn on_tick(&mut self) {
        // What found no room may find some now.
        self.flush_appends();
        self.tell_of_rot();
        self.tell_of_leads();
        self.ticks += 1;
        let beat = self.ticks.is_multiple_of(replica::BEAT_TICKS);
        for shard in 0..self.slots.len() as u16 {
            self.step(ShardId(shard), Input::Tick { beat });
            self.say_current(ShardId(shard));
        }
        self.tick_strain();
        self.grant_moves();
    }

    /// Whether tasks may take what this replica has for all there is.
    fn say_current(&mut self, shard: ShardId) {
        let is_rotten = self.rotten.contains_key(&shard);
        let current = self.slot(shard).is_some_and(|slot| slot.replica.is_current());
        self.args.board.set_current(shard, current && !is_rotten);
    }

    fn on_propose(&mut self, shard: ShardId, op: Op, reply: Reply) {
        let refusal = Err(Refusal::NotLeader { leader: self.args.board.leader(shard) });
        if self.slot(shard).is_none() || self.fenced {
            // The asker may have stopped waiting; then nobody needs the answer.
            let _ = reply.send(refusal);
            return;
        }
        if matches!(op, Op::Append { .. } | Op::Commit(_)) && self.lacks_room(shard) {
            let _ = reply.send(Err(Refusal::Full));
            return;
        }
        let waiting = match &op {
            Op::Append { partition, .. } => Waiting::Append(*partition, Instant::now(), reply),
            _ => Waiting::Reply(reply),
        };
        let request = self.request(waiting);
        self.step(shard, Input::Propose { request, op });
    }

    /// Whether a voter of a shard that is led here has a full disk.
    fn lacks_room(&self, shard: ShardId) -> bool {
        let slot = self.slots.get(usize::from(shard.0)).and_then(Option::as_ref);
        let Some(slot) = slot.filter(|slot| slot.replica.is_leading()) else { return false };
        let fold = slot.replica.fold();
        let voters: Vec<PeerId> =
            fold.members().values().filter(|member| member.voter).map(|m| m.peer).collect();
        self.args.space.is_any_full(&voters)
    }

    fn request(&mut self, waiting: Waiting) -> u64 {
        let request = self.next_request;
        self.next_request += 1;
        self.waiting.insert(request, waiting);
        request
    }

    fn on_targets(&mut self) {
        let able = ring::able(&self.args.board.catalogue(), &self.args.board.ring());
        for (index, able) in able.into_iter().enumerate() {
            self.aim(ShardId(index as u16), able);
        }
    }

    /// Tells a replica who should hold its shard, and who of them can do its work.
    fn aim(&mut self, shard: ShardId, able: BTreeSet<PeerId>) {
        let (epoch, least) = (self.args.board.catalogue().epoch, self.args.board.least());
        let peers = self.args.board.ring().target(shard).to_vec();
        if self.slot(shard).is_some() && !peers.is_empty() {
            self.step(shard, Input::Target { epoch, peers, least });
            self.step(shard, Input::Able { peers: able });
        }
    }

    fn on_lost(&mut self, peer: PeerId) {
        for shard in 0..self.slots.len() as u16 {
            self.step(ShardId(shard), Input::Lost { peer });
        }
    }

    fn on_hand_over(&mut self) {
        for shard in 0..self.slots.len() as u16 {
            self.step(ShardId(shard), Input::HandOver);
        }
    }

    fn on_replace(&mut self, shard: ShardId, replica: ReplicaId) {
        self.step(shard, Input::Replace { replica });
    }

    fn on_installed(&mut self, shard: ShardId, replica: ReplicaId, installed: bool) {
        self.step(shard, Input::SnapshotOutcome { to: replica, installed });
    }

    fn on_status(&mut self, reply: oneshot::Sender<Vec<ShardStatus>>) {
        let me = self.args.board.me();
        let status = |(index, slot): (usize, &Option<Slot>)| {
            let status = slot.as_ref()?.replica.status();
            Some(ShardStatus {
                shard: ShardId(index as u16),
                peer: me,
                term: status.term,
                leading: status.leading,
                leader: status.leader,
                voters: status.voters,
                learners: status.learners,
                applied: status.applied,
                under_replicated: status.under_replicated,
            })
        };
        let all = self.slots.iter().enumerate().filter_map(status).collect();
        // The asker may have stopped waiting; then nobody needs the answer.
        let _ = reply.send(all);
    }
}

/// Bytes of records, roughly: what a frame grows by.
pub(crate) fn record_bytes(record: &Record) -> usize {
    match record {
        Record::Entries { entries, .. } => entries.iter().map(|e| 32 + e.bytes.len()).sum(),
        _ => 64,
    }
}

/// How many of the records one frame takes: at least one.
fn frame_end(records: &[Record]) -> usize {
    let mut bytes = 0;
    let fits = |record: &&Record| {
        bytes += record_bytes(record);
        bytes <= limits::FRAME_BYTES
    };
    records.iter().take_while(fits).count().max(1).min(records.len())
}

/// True when the gathered frame is large enough to be written even though nobody asked.
fn frame_full(bytes: usize) -> bool {
    bytes >= limits::FRAME_BYTES
}
