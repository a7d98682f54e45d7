//! The machine of one replica: inputs in, actions out.
//!
//! Invariants: R1 no word leaves a replica before what it promises is on its disk, and none of a new term before
//! that term is; R2 nothing is answered before its entry is applied here; R3 a leader answers nothing before it has
//! applied the first entry of its term; R4 a request is answered once; R5 the log in memory holds everything above
//! the durable index; R6 no order of a hash map and no luck but the seed's reaches an action; R7 a removed replica
//! keeps its log and its vote until a quorum of those that remain have on disk that it is removed.
//! It never does I/O and never asks a clock.

mod clock;
mod contacts;
mod election;
mod plan;
mod propose;
mod read;
mod round;
mod snapshot;
mod walk;

use crate::action::{Action, Refusal};
use crate::checkpoint::{Checkpoint, Restored};
use crate::error::Error;
use crate::fold::Fold;
use crate::input::{Input, Now};
use crate::limits::*;
use crate::log::{Log, from_journal};
use crate::status::Status;
use clock::Clock;
use contacts::Contacts;
use election::Election;
use model::planted::{self, Mutant};
use model::{HardState, LogEntry, MeshId, PeerId, ReplicaId, ShardId};
use propose::Proposals;
use raft::{RawNode, StateRole};
use read::Reads;
use round::Journal;
use snapshot::Snapshots;
use std::collections::BTreeSet;
use walk::Walk;

/// What a replica is told once.
#[derive(Clone, Debug)]
pub struct Config {
    pub shard: ShardId,
    pub mesh: MeshId,
    /// The mesh's fixed number of shards.
    pub shards: u16,
    /// Copies a shard should have.
    pub replication: u8,
    /// The peer this replica is on.
    pub peer: PeerId,
    /// Where all its luck comes from.
    pub seed: u64,
}

/// One copy of a shard.
pub struct Replica {
    config: Config,
    id: ReplicaId,
    raw: RawNode<Log>,
    fold: Fold,
    journal: Journal,
    proposals: Proposals,
    reads: Reads,
    election: Election,
    walk: Walk,
    snapshots: Snapshots,
    contacts: Contacts,
    clock: Clock,
    /// This peer is strained: who is calm should lead in its place.
    strained: bool,
    /// What was last said by `Action::Role`.
    told: Role,
    fate: Fate,
}

/// Who leads, as this replica sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Role {
    term: u64,
    leader: Option<PeerId>,
    /// Leads, whether or not it may answer yet.
    elected: bool,
    leading: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Running,
    /// Removed: it takes part in nothing any more.
    Gone,
    /// It met something that cannot be: it must not be stepped.
    Broken,
}

impl Replica {
    /// The founder's copy of a new shard: replica 1 on peer 1, the sole voter.
    pub fn founded(config: &Config) -> Restored {
        Self::joining(config, ReplicaId(1))
    }

    /// A new copy that the shard's log gave this id: it knows only how every shard began, the rest comes by consensus.
    pub fn joining(config: &Config, replica: ReplicaId) -> Restored {
        let fold = Fold::genesis(config);
        let base = (fold.index(), fold.term());
        Restored { replica, fold, hard: Fold::genesis_hard(), entries: Vec::new(), base }
    }

    /// Starts a replica from what is founded, joining or restored from disk.
    pub fn new(config: Config, restored: Restored) -> Result<Self, Error> {
        let (restored, rebased) = restored.checked()?;
        let Restored { replica: id, fold, hard, entries, base } = restored;
        let settings = raft::Config {
            id: id.0,
            applied: fold.index(),
            election_tick: ELECTION_TICKS_MIN,
            min_election_tick: ELECTION_TICKS_MIN,
            max_election_tick: ELECTION_TICKS_WIDEST,
            heartbeat_tick: HEARTBEAT_TICKS,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: APPLIED_BYTES_MAX,
            check_quorum: true,
            pre_vote: true,
            // Batching would merge messages without a bound; an entry is a turn's batch already.
            batch_append: false,
            ..raft::Config::default()
        };
        let entries: Vec<_> = entries.into_iter().map(from_journal).collect();
        let log = Log::new(base, entries, words(hard), fold.configuration().state());
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut replica = Self {
            election: Election::new(config.seed, id),
            journal: Journal::new(hard, rebased.then_some(base)),
            snapshots: Snapshots::new(&fold),
            raw: RawNode::new(&settings, log, &logger)?,
            proposals: Proposals::default(),
            reads: Reads::default(),
            walk: Walk::default(),
            contacts: Contacts::default(),
            clock: Clock::default(),
            strained: false,
            told: Role::default(),
            fate: Fate::Running,
            config,
            id,
            fold,
        };
        replica.dice();
        // Nobody else can lead: waiting for silence would be idle.
        if replica.fold.configuration().is_alone(id) {
            replica.campaign();
        }
        Ok(replica)
    }

    /// Takes one input. An error means that the input was refused and nothing changed, unless it is fatal.
    pub fn step(&mut self, now: Now, input: Input, actions: &mut Vec<Action>) -> Result<(), Error> {
        match self.fate {
            Fate::Running => {}
            Fate::Gone => return self.step_gone(input, actions),
            Fate::Broken => return Err(Error::Doubt("the replica was stopped before".into())),
        }
        let stepped = self.dispatch(now, input, actions);
        if stepped.as_ref().is_err_and(Error::is_fatal) {
            self.fate = Fate::Broken;
        } else if self.fate == Fate::Running {
            self.settle(now, actions);
        }
        stepped
    }

    fn dispatch(&mut self, now: Now, input: Input, actions: &mut Vec<Action>) -> Result<(), Error> {
        match input {
            Input::Tick { beat } => self.on_tick(now, beat, actions),
            Input::Message { from, from_peer, message } => {
                self.on_message(now, (from, from_peer), &message, actions)?;
            }
            Input::Propose { request, op } => self.on_propose(request, op, actions),
            Input::Read { request } => self.on_read(now, request, actions),
            Input::Turn => self.on_turn(now, actions)?,
            Input::Round => self.on_round(now, actions)?,
            Input::Persisted { number } => self.on_persisted(now, number, actions),
            Input::Target { epoch, peers, least } => self.walk.aim(epoch, peers, least),
            Input::Able { peers } => self.walk.enable(peers),
            Input::Lost { peer } => self.on_lost(now, peer),
            Input::Checkpointed { index } => self.on_checkpointed(now, index),
            Input::Manifest { index, term, bytes } => self.on_manifest(index, term, bytes)?,
            Input::Fetched { message, fold } => self.on_fetched(&message, fold)?,
            Input::SnapshotOutcome { to, installed } => self.on_snapshot_outcome(to, installed),
            Input::Replace { replica } => self.walk.replace(replica),
            Input::HandOver => self.hand_over(now),
            Input::Strained { strained } => self.on_strained(now, strained),
            Input::MayMove => self.walk.may_move(),
        }
        Ok(())
    }

    /// A replica that is no more still answers, so that nobody waits for it.
    fn step_gone(&mut self, input: Input, actions: &mut Vec<Action>) -> Result<(), Error> {
        if let Input::Propose { request, .. } | Input::Read { request } = input {
            let result = Err(Refusal::NotLeader { leader: None });
            actions.push(Action::Answer { request, result });
        }
        Ok(())
    }

    fn on_tick(&mut self, now: Now, beat: bool, actions: &mut Vec<Action>) {
        self.tick_election(now, beat);
        self.tick_reads(now, actions);
        self.tick_proposals(now, actions);
        self.tick_snapshots(now, actions);
        self.tick_contacts(now, actions);
        self.tick_clock(now);
        self.tick_walk(now);
    }

    pub fn id(&self) -> ReplicaId {
        self.id
    }
    /// Leads, and has applied the first entry of its term: it may answer.
    pub fn is_leading(&self) -> bool {
        let began = self.fold.term() == self.raw.raft.term;
        let began = began || planted::is(Mutant::ServedBeforeFirstEntry);
        self.fate == Fate::Running && self.is_elected() && began
    }
    /// True if `Input::Turn` would do something.
    pub fn needs_turn(&self) -> bool {
        let walks = self.fate == Fate::Running && self.walk.is_due();
        self.needs_round() || self.has_gathered() || walks
    }
    /// True if operations or reads have gathered for the next turn.
    pub fn has_gathered(&self) -> bool {
        self.fate == Fate::Running && (self.can_propose() || self.can_ask())
    }
    /// True if `Input::Round` would do something: others wait for it.
    pub fn needs_round(&self) -> bool {
        self.fate == Fate::Running && (self.raw.has_ready() || self.can_install())
    }
    pub fn fold(&self) -> &Fold {
        &self.fold
    }
    /// Whether what is applied here is about all there is: it leads, or it is a voter that hears its leader and waits for
    /// no snapshot. A replica that is not may be far behind without knowing it.
    pub fn is_current(&self) -> bool {
        let is_voter = self.fold.members().get(&self.id).is_some_and(|member| member.voter);
        let hears = self.raw.raft.leader_id != 0 && is_voter && !self.snapshots.is_receiving();
        self.is_leading() || (self.fate == Fate::Running && hears)
    }
    /// True if the next step is a new replica that must be fetched: it waits for `Input::MayMove`.
    pub fn wants_move(&self) -> bool {
        self.is_leading() && self.walk.wants_move()
    }
    /// True while a replica of this shard that this leader knows of is being fetched, or voters change.
    pub fn is_moving(&self, now: Now) -> bool {
        self.is_leading() && self.moves_on(now)
    }

    /// Term and vote that this replica has said, and how far it knows the log to be committed.
    pub fn hard(&self) -> HardState {
        self.journal.hard()
    }

    /// The entries it has handed to the journal above an index, as the journal keeps them.
    pub fn entries_above(&self, index: u64) -> Vec<LogEntry> {
        self.raw.store().above(index)
    }

    /// Answers everything that waits here and takes part in nothing any more: for a driver that puts a newer replica
    /// of its peer in this one's place.
    pub fn retire(&mut self, actions: &mut Vec<Action>) {
        self.proposals.abandon(actions);
        self.reads.fail(Refusal::NotLeader { leader: None }, actions);
        self.fate = Fate::Gone;
    }

    /// Keeps less of the log in memory than usual below the durable index: `tail` bytes, or up to `follower` bytes
    /// while a live follower needs them. For peers with little memory, and for tests of snapshots.
    pub fn keep_log(&mut self, tail: usize, follower: usize) {
        self.journal.keep = (tail, follower);
    }

    fn is_elected(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Takes a checkpoint of the fold as it is now; the rows in it are not given again.
    pub fn fold_mut_checkpoint(&mut self) -> Checkpoint {
        let (index, term) = (self.fold.index(), self.fold.term());
        let mut hard = self.journal.hard();
        hard.commit = hard.commit.max(index);
        let mut rows = self.fold.take_changed();
        if planted::is(Mutant::RowsNotKept) {
            rows.pop();
        }
        Checkpoint { index, term, hard, small: self.fold.small(), rows }
    }

    /// Says who leads when that has changed, and lets go of what only a leader can answer.
    fn settle(&mut self, now: Now, actions: &mut Vec<Action>) {
        let raft = &self.raw.raft;
        let role = Role {
            term: raft.term,
            leader: self.leader_peer(),
            elected: self.is_elected(),
            leading: self.is_leading(),
        };
        if role == self.told {
            return;
        }
        let deposed = self.told.elected && (!role.elected || role.term != self.told.term);
        if deposed {
            self.depose(now, role.leader, actions);
        }
        if role.elected && (deposed || !self.told.elected) {
            self.crown(actions);
        }
        self.told = role;
        let Role { term, leader, leading, .. } = role;
        actions.push(Action::Role { term, leader, leading });
    }

    /// Leadership was lost: what waits here is answered, what is in the log is waited for a little longer.
    fn depose(&mut self, now: Now, leader: Option<PeerId>, actions: &mut Vec<Action>) {
        self.proposals.depose(now, leader, actions);
        self.reads.fail(Refusal::NotLeader { leader }, actions);
        self.walk.depose();
        self.snapshots.depose();
    }

    /// Leadership was won: entries that are not in this log can be in no later one.
    fn crown(&mut self, actions: &mut Vec<Action>) {
        let last = self.raw.raft.raft_log.last_index();
        self.proposals.forget_above(last, actions);
        self.clock.crown(self.fold.time_ms());
        self.walk.crown(self.raw.raft.raft_log.committed);
    }

    fn leader_peer(&self) -> Option<PeerId> {
        match self.raw.raft.leader_id {
            0 => None,
            id => self.peer_of(ReplicaId(id)),
        }
    }

    /// Who should be asked instead of this replica: never itself, since it cannot answer yet.
    fn elsewhere(&self) -> Refusal {
        let leader = self.leader_peer().filter(|peer| *peer != self.config.peer);
        Refusal::NotLeader { leader }
    }

    /// The voters that one may count on. Who has not heard that a joint state was left asks both of its sides still, so
    /// it is left when a majority knows.
    fn assured(&self) -> BTreeSet<ReplicaId> {
        let assured = self.fold.configuration().assured();
        let Some((at, left)) = self.snapshots.left().filter(|_| self.is_elected()) else {
            return assured;
        };
        let progress = |id: &&ReplicaId| self.raw.raft.prs().get(id.0);
        let knows = |id: &&ReplicaId| progress(id).is_some_and(|it| it.committed_index >= at);
        let known = 2 * assured.iter().filter(knows).count() > assured.len();
        if known || left.len() >= assured.len() { assured } else { left.clone() }
    }

    pub fn status(&self) -> Status {
        let configuration = self.fold.configuration();
        let raft = &self.raw.raft;
        let assured = self.assured();
        let peers = |voter: bool| {
            let some = configuration.members.iter().filter(|(id, _)| assured.contains(id) == voter);
            some.map(|(_, member)| member.peer).collect::<Vec<_>>()
        };
        let matched = configuration.members.iter().filter(|_| self.is_elected());
        let matched = matched.filter_map(|(id, member)| {
            raft.prs().get(id.0).map(|progress| (*id, member.peer, progress.matched))
        });
        let voters = peers(true);
        Status {
            id: self.id,
            leading: self.is_leading(),
            term: raft.term,
            leader: self.leader_peer(),
            last: raft.raft_log.last_index(),
            applied: self.fold.index(),
            committed: raft.raft_log.committed,
            under_replicated: voters.len() < usize::from(self.config.replication),
            voters,
            learners: peers(false),
            joint: configuration.is_joint(),
            epoch: configuration.epoch,
            matched: matched.collect(),
            snapshot: self.snapshots.is_busy(),
            skewed: self.clock.is_skewed(),
            log_bytes: self.raw.store().bytes(),
        }
    }
}

fn words(hard: HardState) -> raft::eraftpb::HardState {
    let HardState { term, vote, commit } = hard;
    raft::eraftpb::HardState { term, vote, commit, ..Default::default() }
}
