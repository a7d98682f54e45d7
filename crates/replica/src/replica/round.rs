//! The loop with consensus: what it says must be written, sent and applied.
//!
//! Consensus runs ahead of the disk. A leader's entries travel while they are being written; everybody's votes,
//! and a follower's acknowledgements, wait until what they promise is on disk. A replica that alone decides
//! becomes leader before its new term is on disk, so a leader's words also wait for that.

use super::{Fate, Replica};
use crate::action::Action;
use crate::error::Error;
use crate::input::Now;
use crate::limits::*;
use crate::log::{payload, to_journal};
use crate::wire::{self, Body, Packet};
use bytes::Bytes;
use model::planted::{self, Mutant};
use model::{HardState, LogEntry, PeerId, ReplicaId};
use raft::ProgressState;
use raft::eraftpb::{Entry, EntryType, Message, MessageType, Snapshot};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What was given to the journal, and what waits for it.
pub struct Journal {
    /// The hard state now, and as it was last given to be written.
    hard: HardState,
    given: HardState,
    /// The hard state that is on disk.
    durable: HardState,
    /// Up to here commits were looked at for configuration entries.
    seen: u64,
    /// Rounds that are not on disk yet, oldest first.
    rounds: VecDeque<Round>,
    /// The fold of the last checkpoint on disk.
    checkpoint: u64,
    /// Where the log begins, if the journal on disk ends below it: said with the first write.
    rebased: Option<(u64, u64)>,
    /// Bytes of the log kept below it: for nobody known, and for a live follower.
    pub keep: (usize, usize),
    acked: Acked,
}

/// What was last acknowledged to a leader, and when.
#[derive(Default)]
struct Acked {
    to: u64,
    term: u64,
    index: u64,
    mono_us: u64,
}

impl Acked {
    /// Whether an acknowledgement repeats the last one: each word of how far the log is committed asks for one. A leader
    /// that missed it asks again with its next heartbeat, and then it is said again.
    fn repeats(&mut self, m: &Message, now: Now) -> bool {
        if m.get_msg_type() != MessageType::MsgAppendResponse || m.reject {
            return false;
        }
        let same = (self.to, self.term, self.index) == (m.to, m.term, m.index);
        let soon = now.mono_us.saturating_sub(self.mono_us) < crate::TICK_MS * 1000;
        if !(same && soon) {
            *self = Self { to: m.to, term: m.term, index: m.index, mono_us: now.mono_us };
        }
        same && soon
    }
}

struct Round {
    number: u64,
    /// False if it has nothing of its own to write and only waits for those before it.
    writes: bool,
    /// The hard state that is on disk with it.
    hard: HardState,
    withheld: Vec<Message>,
}

impl Journal {
    pub fn new(hard: HardState, rebased: Option<(u64, u64)>) -> Self {
        Self {
            hard,
            given: hard,
            durable: hard,
            seen: hard.commit,
            rounds: VecDeque::new(),
            checkpoint: 0,
            rebased,
            keep: (LOG_TAIL_BYTES, LOG_FOLLOWER_BYTES),
            acked: Acked::default(),
        }
    }

    pub fn hard(&self) -> HardState {
        self.hard
    }

    pub fn durable(&self) -> HardState {
        self.durable
    }
}

impl Replica {
    /// A message of consensus. What it would stumble over is refused before, and a stumble stops the replica.
    pub(super) fn on_consensus(
        &mut self,
        now: Now,
        m: Message,
        from_peer: PeerId,
        bytes: &Bytes,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let kind = m.get_msg_type();
        let raft = &self.raw.raft;
        let leads = [MessageType::MsgAppend, MessageType::MsgHeartbeat, MessageType::MsgSnapshot];
        if leads.contains(&kind) && m.term >= raft.term {
            if raft.state == raft::StateRole::Leader && m.term == raft.term {
                return Err(Error::Doubt(format!("two leaders in term {}", m.term)));
            }
            self.election.calm();
        }
        let last = self.raw.raft.raft_log.last_index();
        if kind == MessageType::MsgHeartbeat && m.term >= self.raw.raft.term && m.commit > last {
            // The leader counts on entries that this replica acknowledged and has no more.
            return Err(Error::Doubt(format!(
                "the log ends at {last}, {} was acknowledged",
                m.commit
            )));
        }
        if kind == MessageType::MsgTimeoutNow && self.must_not_campaign() {
            return Ok(());
        }
        if kind == MessageType::MsgSnapshot && m.term >= self.raw.raft.term {
            return self.on_snapshot(now, m, from_peer, bytes, actions);
        }
        self.feed(m)
    }

    /// Steps consensus; it answers impossible input with a panic, which becomes a doubt about this replica alone.
    pub(super) fn feed(&mut self, m: Message) -> Result<(), Error> {
        let raw = &mut self.raw;
        match catch_unwind(AssertUnwindSafe(|| raw.step(m))) {
            // A refusal (an unknown sender, for one) is consensus's way to ignore a message.
            Ok(_) => {
                self.dice();
                Ok(())
            }
            Err(_) => Err(Error::Doubt("consensus met a message that cannot be".into())),
        }
    }

    pub(super) fn on_turn(&mut self, now: Now, actions: &mut Vec<Action>) -> Result<(), Error> {
        self.install_if_possible()?;
        self.propose(now);
        self.ask(now);
        self.walk_on(now);
        self.rounds(now, actions)
    }

    /// Goes on with what is under way, and proposes nothing.
    pub(super) fn on_round(&mut self, now: Now, actions: &mut Vec<Action>) -> Result<(), Error> {
        self.install_if_possible()?;
        self.rounds(now, actions)
    }

    fn rounds(&mut self, now: Now, actions: &mut Vec<Action>) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            if !self.raw.has_ready() || self.fate != Fate::Running {
                break;
            }
            self.round(now, actions)?;
            self.ask(now);
        }
        self.want_manifest(now, actions);
        Ok(())
    }

    /// One round: consensus tells what is new, and it is carried out in the order that safety asks for.
    fn round(&mut self, now: Now, actions: &mut Vec<Action>) -> Result<(), Error> {
        let mut ready = self.raw.ready();
        let number = ready.number();
        let states = ready.take_read_states();
        let mut messages = ready.take_messages();
        let mut withheld = ready.take_persisted_messages();
        let snapshot = (!ready.snapshot().is_empty()).then(|| ready.snapshot().clone());
        let entries = ready.take_entries();
        let committed = ready.take_committed_entries();
        if let Some(hard) = ready.hs() {
            self.journal.hard = HardState { term: hard.term, vote: hard.vote, commit: hard.commit };
        }
        let hard = self.journal.hard;
        if hard.term != self.journal.durable.term {
            // R1: nothing of a term before that term is on disk.
            withheld.append(&mut messages);
        }
        self.send(now, messages, actions);
        let writes = self.persist(number, snapshot, entries, actions);
        self.raw.advance_append_async(ready);
        self.journal.rounds.push_back(Round { number, writes, hard, withheld });
        let written = if planted::is(Mutant::AckBeforeSync) { number } else { 0 };
        self.release(now, written, actions);
        self.confirm(states, actions);
        self.apply(committed, actions)
    }

    /// Hands a round's news to the log in memory and, if there are any, to the journal.
    fn persist(
        &mut self,
        number: u64,
        snapshot: Option<Snapshot>,
        entries: Vec<Entry>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let snapshot = snapshot.map(|snapshot| {
            let about = snapshot.get_metadata();
            let at = (about.index, about.term);
            self.raw.mut_store().install(at.0, at.1);
            self.replace_fold(at, actions);
            at
        });
        self.raw.mut_store().append(&entries);
        let (hard, given) = (self.journal.hard, self.journal.given);
        let voted =
            (hard.term, hard.vote) != (given.term, given.vote) && !planted::is(Mutant::VoteNotKept);
        let configured = self.commits_configuration();
        if snapshot.is_none() && entries.is_empty() && !voted && !configured {
            // A commit index alone is not worth a write: the leader says it again.
            return false;
        }
        let entries: Vec<LogEntry> = entries.iter().map(to_journal).collect();
        let rebased = self.journal.rebased.take();
        let hard = (hard != given || rebased.is_some()).then_some(hard);
        let snapshot = snapshot.or(rebased);
        self.journal.given = self.journal.hard;
        actions.push(Action::Persist { number, snapshot, entries, hard });
        true
    }

    /// R7: that a configuration is committed must outlive a crash of all, since those it removed are not asked again.
    fn commits_configuration(&mut self) -> bool {
        let (from, to) = (self.journal.seen, self.journal.hard.commit);
        self.journal.seen = to;
        self.raw.store().has_configuration(from + 1, to) && !planted::is(Mutant::RemovalNotKept)
    }

    pub(super) fn on_persisted(&mut self, now: Now, number: u64, actions: &mut Vec<Action>) {
        self.release(now, number, actions);
        if planted::is(Mutant::AckAtLeaderAlone) && self.is_elected() {
            self.acknowledge_for_all();
        }
        let raft = &self.raw.raft;
        let (applied, log) = (self.fold.index(), &raft.raft_log);
        if log.applied < applied && applied <= log.persisted.min(log.committed) {
            self.raw.advance_apply_to(applied);
        }
    }

    /// A planted bug: what the leader has on its own disk counts as acknowledged by every follower.
    fn acknowledge_for_all(&mut self) {
        let (id, term) = (self.id.0, self.raw.raft.term);
        let index = self.raw.raft.raft_log.persisted;
        let others: Vec<u64> = self.raw.raft.prs().iter().map(|(other, _)| *other).collect();
        for from in others.into_iter().filter(|other| *other != id) {
            let mut m = Message { from, to: id, term, index, commit: index, ..Message::default() };
            m.set_msg_type(MessageType::MsgAppendResponse);
            self.raw.step(m).ok();
        }
    }

    /// Everything up to round `number` is on disk: what waited for it may be said.
    fn release(&mut self, now: Now, number: u64, actions: &mut Vec<Action>) {
        while let Some(round) = self.journal.rounds.front()
            && (round.number <= number || !round.writes)
            && let Some(round) = self.journal.rounds.pop_front()
        {
            if round.writes {
                self.journal.durable = round.hard;
            }
            self.raw.on_persist_ready(round.number);
            self.send(now, round.withheld, actions);
        }
    }

    fn send(&mut self, now: Now, mut messages: Vec<Message>, actions: &mut Vec<Action>) {
        // Consensus walks a hash map; the order of receivers must not depend on it.
        messages.sort_by_key(|m| m.to);
        for m in messages {
            let to = ReplicaId(m.to);
            let Some(peer) = self.peer_of(to) else { continue };
            if self.journal.acked.repeats(&m, now) {
                continue;
            }
            if m.get_msg_type() == MessageType::MsgSnapshot {
                self.snapshots.sent(now, to, m.get_snapshot().get_metadata().index);
            }
            let progress = self.raw.raft.prs().get(m.to);
            let fresh = self.is_elected()
                && self.fold.configuration().is_learner(to)
                && progress.is_some_and(|progress| progress.matched == 0);
            let patience = m.get_msg_type() == MessageType::MsgAppend
                && m.entries.is_empty()
                && progress.is_some_and(|progress| progress.state == ProgressState::Replicate);
            let body = Body::Consensus(Box::new(m));
            let (from, strained, wall_ms) = (self.id, self.strained, now.wall_ms);
            let packet = Packet { from, to, fresh, strained, wall_ms, body };
            let message = wire::encode(&packet);
            actions.push(Action::Send { to: peer, to_replica: to, message, patience });
        }
    }

    /// Applies committed entries, which are on this replica's disk as well.
    fn apply(&mut self, committed: Vec<Entry>, actions: &mut Vec<Action>) -> Result<(), Error> {
        if committed.is_empty() {
            return Ok(());
        }
        let mut outcomes = Vec::new();
        for entry in committed {
            let (index, term) = (entry.index, entry.term);
            if entry.get_entry_type() == EntryType::EntryNormal {
                self.fold.apply(index, term, &entry.data, &mut outcomes, actions)?;
            } else {
                self.apply_configuration(&entry)?;
            }
            self.proposals.applied(index, term, &mut outcomes, actions);
        }
        let applied = self.fold.index();
        self.raw.advance_apply_to(applied);
        actions.push(Action::Applied { index: applied });
        self.answer_reads(actions);
        Ok(())
    }

    fn apply_configuration(&mut self, entry: &Entry) -> Result<(), Error> {
        let (index, term) = (entry.index, entry.term);
        let change = self.fold.configure(index, term, payload(entry))?;
        if let Some(change) = change {
            let state = self.raw.apply_conf_change(&change)?;
            let expected = self.fold.configuration().state();
            let same = raft_proto::conf_state_eq(&state, &expected);
            assert!(same, "consensus and fold have different configurations");
            if self.is_elected() && !self.raw.raft.promotable() {
                // It was elected with the entry that removes it in its log; consensus cannot lead from outside.
                let term = self.raw.raft.term;
                self.raw.raft.become_follower(term, 0);
                self.dice();
            }
            let before = self.snapshots.configuration();
            let after = self.fold.configuration();
            let removed = before.members.iter().filter(|(id, _)| !after.members.contains_key(id));
            self.contacts.part(removed.map(|(id, member)| (*id, member.peer)));
            self.snapshots.configured(index, after);
        }
        self.walk.moved();
        Ok(())
    }

    pub(super) fn on_checkpointed(&mut self, now: Now, index: u64) {
        self.journal.checkpoint = self.journal.checkpoint.max(index);
        self.shorten(now);
    }

    /// Forgets entries that the fold on disk covers, but not all that a live follower still needs.
    pub(super) fn shorten(&mut self, now: Now) {
        let limit = self.journal.checkpoint.min(self.raw.raft.raft_log.applied);
        let needed = if self.is_elected() { self.needed_above(now) } else { limit };
        let (tail, follower) = self.journal.keep;
        let log = self.raw.mut_store();
        log.shorten(limit.min(needed), tail);
        log.shorten(limit, follower);
    }

    /// Every live follower has the log up to here.
    fn needed_above(&self, now: Now) -> u64 {
        let live = self.fold.members().keys().filter(|id| self.contacts.is_live(**id, now));
        let matched = live.filter_map(|id| self.raw.raft.prs().get(id.0));
        matched.map(|progress| progress.matched).min().unwrap_or(u64::MAX)
    }
}
