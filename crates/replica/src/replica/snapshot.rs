//! Snapshots: consensus carries a manifest, the content goes its own way.
//!
//! A leader asks for a manifest when a follower needs what the log has no more. A receiver withholds the snapshot
//! message until the driver has fetched what its manifest names, and says meanwhile that it is still at it. A
//! sender that hears nothing for long calls the snapshot failed and builds a newer one.

use super::Replica;
use crate::action::Action;
use crate::configuration::Configuration;
use crate::error::Error;
use crate::fold::Fold;
use crate::input::Now;
use crate::limits::*;
use crate::wire::{self, Body};
use bytes::Bytes;
use model::{PeerId, ReplicaId};
use raft::eraftpb::{Message, MessageType, Snapshot};
use raft::{SnapshotStatus, StateRole};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The snapshots of one replica: those it sends and the one it receives.
pub struct Snapshots {
    /// Configurations by the index from which they hold: a manifest is sent with the one of its index.
    configurations: VecDeque<(u64, Configuration)>,
    /// A manifest was asked for at this moment (µs).
    asked_us: Option<u64>,
    /// Followers that were sent one: its index, and the last sign of progress (µs).
    sent: BTreeMap<ReplicaId, (u64, u64)>,
    receiving: Option<Receiving>,
}

/// The snapshot that is being fetched here.
struct Receiving {
    from: ReplicaId,
    from_peer: PeerId,
    index: u64,
    term: u64,
    message: Bytes,
    manifest: Bytes,
    /// The last time the driver was asked to fetch (µs).
    asked_us: u64,
    /// The last time the sender was told that fetching goes on (µs).
    said_us: u64,
    /// What was fetched, until there is a leader to take it from.
    fetched: Option<(Message, Box<Fold>)>,
}

impl Receiving {
    fn fetch(&self) -> Action {
        Action::Fetch {
            from: self.from_peer,
            index: self.index,
            term: self.term,
            manifest: self.manifest.clone(),
            message: self.message.clone(),
        }
    }
}

impl Snapshots {
    pub fn new(fold: &Fold) -> Self {
        let configurations = VecDeque::from([(fold.index(), fold.configuration().clone())]);
        Self { configurations, asked_us: None, sent: BTreeMap::new(), receiving: None }
    }

    pub fn is_busy(&self) -> bool {
        self.asked_us.is_some() || !self.sent.is_empty() || self.receiving.is_some()
    }

    pub fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    /// The configuration changed by the entry at `index`.
    pub fn configured(&mut self, index: u64, configuration: &Configuration) {
        if self.configurations.len() >= CONFIGURATIONS_MAX {
            self.configurations.pop_front();
        }
        self.configurations.push_back((index, configuration.clone()));
    }

    /// The last configuration.
    pub fn configuration(&self) -> &Configuration {
        let (_, last) =
            self.configurations.back().expect("it starts with one and keeps the newest");
        last
    }

    /// If the last change left a joint state: where that was, and the voters of the side that was left.
    pub fn left(&self) -> Option<(u64, &BTreeSet<ReplicaId>)> {
        let mut newest = self.configurations.iter().rev();
        let ((at, last), (_, before)) = (newest.next()?, newest.next()?);
        (before.is_joint() && !last.is_joint()).then_some((*at, &before.outgoing))
    }

    /// Where the last configuration was committed, or an index above it.
    pub fn configured_at(&self) -> u64 {
        self.configurations.back().map_or(0, |(index, _)| *index)
    }

    fn configuration_at(&self, index: u64) -> Option<&Configuration> {
        let found = self.configurations.iter().rev().find(|(from, _)| *from <= index);
        found.map(|(_, configuration)| configuration)
    }

    pub fn sent(&mut self, now: Now, to: ReplicaId, index: u64) {
        self.sent.insert(to, (index, now.mono_us));
    }

    /// A follower says that it is still fetching.
    pub fn goes_on(&mut self, now: Now, from: ReplicaId, index: u64) {
        if let Some((sent, heard_us)) = self.sent.get_mut(&from)
            && *sent == index
        {
            *heard_us = now.mono_us;
        }
    }

    pub fn depose(&mut self) {
        self.asked_us = None;
        self.sent.clear();
    }
}

impl Replica {
    /// Asks for a manifest if consensus wanted a snapshot and there is none.
    pub(super) fn want_manifest(&mut self, now: Now, actions: &mut Vec<Action>) {
        if !self.raw.store().take_wanted() || !self.is_elected() {
            return;
        }
        let asked = self.snapshots.asked_us;
        if asked.is_some_and(|at| now.mono_us.saturating_sub(at) < MANIFEST_WAIT_US) {
            return;
        }
        self.snapshots.asked_us = Some(now.mono_us);
        actions.push(Action::WantManifest { index: self.raw.store().base().0 });
    }

    pub(super) fn on_manifest(&mut self, index: u64, term: u64, bytes: Bytes) -> Result<(), Error> {
        self.snapshots.asked_us = None;
        let known = self.snapshots.configuration_at(index).filter(|_| index <= self.fold.index());
        let Some(configuration) = known else {
            return Err(Error::Unasked("a manifest of an index whose configuration is forgotten"));
        };
        let mut manifest = Snapshot { data: bytes, ..Snapshot::default() };
        let about = manifest.mut_metadata();
        (about.index, about.term) = (index, term);
        about.set_conf_state(configuration.state());
        if !self.raw.mut_store().offer(manifest) {
            return Err(Error::Unasked("a manifest that the log no longer reaches down to"));
        }
        Ok(())
    }

    pub(super) fn on_snapshot_outcome(&mut self, to: ReplicaId, installed: bool) {
        let Some((index, _)) = self.snapshots.sent.remove(&to) else { return };
        let status = if installed { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(to.0, status);
        if !installed {
            // Its files may be unpinned by now: the next try gets a manifest of its own.
            // A newer one is another's, who may still be fetching it.
            self.raw.mut_store().withdraw(index);
        }
    }

    pub(super) fn tick_snapshots(&mut self, now: Now, actions: &mut Vec<Action>) {
        let progress = |id: &ReplicaId| self.raw.raft.prs().get(id.0);
        let done = |id: &ReplicaId| progress(id).is_none_or(|p| p.pending_snapshot == 0);
        let silent = |at: u64| now.mono_us.saturating_sub(at) >= FETCH_SILENCE_US;
        let sent = self.snapshots.sent.iter();
        let ended: Vec<(ReplicaId, bool)> = sent
            .filter(|(id, (_, at))| done(id) || silent(*at))
            .map(|(id, _)| (*id, done(id)))
            .collect();
        for (id, done) in ended {
            if done {
                self.snapshots.sent.remove(&id);
            } else {
                self.on_snapshot_outcome(id, false);
            }
            if self.snapshots.sent.is_empty() {
                self.raw.mut_store().withdraw(u64::MAX);
            }
        }
        let led = self.raw.raft.leader_id;
        if let Some(receiving) = &mut self.snapshots.receiving
            && receiving.fetched.is_none()
            && now.mono_us.saturating_sub(receiving.asked_us) >= FETCH_AGAIN_US
        {
            receiving.asked_us = now.mono_us;
            actions.push(receiving.fetch());
        }
        if let Some(receiving) = &mut self.snapshots.receiving
            && now.mono_us.saturating_sub(receiving.said_us) >= FETCHING_US
        {
            receiving.said_us = now.mono_us;
            let to = if led == 0 { receiving.from } else { ReplicaId(led) };
            let body = Body::Fetching { index: receiving.index };
            self.say(now, to, body, actions);
        }
    }

    /// A snapshot message of the leader: withheld until its content is here, unless it tells nothing new.
    pub(super) fn on_snapshot(
        &mut self,
        now: Now,
        m: Message,
        from_peer: PeerId,
        bytes: &Bytes,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let about = m.get_snapshot().get_metadata();
        let (index, term) = (about.index, about.term);
        let log = &self.raw.raft.raft_log;
        if index <= log.committed || log.match_term(index, term) {
            return self.feed(m);
        }
        let state = about.get_conf_state();
        let mut ids = state.voters.iter().chain(&state.voters_outgoing).chain(&state.learners);
        if ids.all(|id| *id != self.id.0) {
            return Err(Error::Message("a snapshot of a configuration without its receiver"));
        }
        // Consensus learns at once who leads, though the snapshot itself must wait.
        let mut sign = Message { from: m.from, to: m.to, term: m.term, ..Message::default() };
        sign.set_msg_type(MessageType::MsgHeartbeat);
        self.feed(sign)?;
        let receiving = Receiving {
            from: ReplicaId(m.from),
            from_peer,
            index,
            term,
            message: bytes.clone(),
            manifest: m.get_snapshot().data.clone(),
            asked_us: now.mono_us,
            said_us: now.mono_us,
            fetched: None,
        };
        actions.push(receiving.fetch());
        self.snapshots.receiving = Some(receiving);
        Ok(())
    }

    pub(super) fn on_fetched(&mut self, message: &Bytes, fold: Box<Fold>) -> Result<(), Error> {
        let Body::Consensus(m) = wire::decode(message)?.body else {
            return Err(Error::Message("no snapshot message"));
        };
        let about = m.get_snapshot().get_metadata();
        let at = (about.index, about.term);
        let committed = self.raw.raft.raft_log.committed;
        let Some(receiving) = &mut self.snapshots.receiving else {
            return Err(Error::Unasked("a snapshot that nobody waits for"));
        };
        if at != (receiving.index, receiving.term) || at != (fold.index(), fold.term()) {
            return Err(Error::Unasked("another snapshot than the one waited for"));
        }
        if at.0 <= committed || !fold.members().contains_key(&self.id) {
            self.snapshots.receiving = None;
            return Err(Error::Unasked("a snapshot that tells nothing new"));
        }
        receiving.fetched = Some((*m, fold));
        Ok(())
    }

    pub(super) fn can_install(&self) -> bool {
        let fetched = self.snapshots.receiving.as_ref().is_some_and(|r| r.fetched.is_some());
        fetched && self.raw.raft.leader_id != 0 && self.raw.raft.state == StateRole::Follower
    }

    /// Gives a fetched snapshot to consensus, in the name of whoever leads now: what it holds is committed.
    pub(super) fn install_if_possible(&mut self) -> Result<(), Error> {
        if !self.can_install() {
            return Ok(());
        }
        let Some(mut receiving) = self.snapshots.receiving.take() else { return Ok(()) };
        let Some((mut m, fold)) = receiving.fetched.take() else { return Ok(()) };
        (m.from, m.term) = (self.raw.raft.leader_id, self.raw.raft.term);
        m.mut_snapshot().mut_metadata().set_conf_state(fold.configuration().state());
        self.feed(m.clone())?;
        if self.raw.snap().is_some_and(|s| s.get_metadata().index == receiving.index) {
            receiving.fetched = Some((m, fold));
            self.snapshots.receiving = Some(receiving);
        }
        Ok(())
    }

    /// Consensus took the snapshot: the fold that was fetched with it replaces this one.
    pub(super) fn replace_fold(&mut self, at: (u64, u64), actions: &mut Vec<Action>) {
        let receiving = self.snapshots.receiving.take();
        let (_, fold) = receiving
            .and_then(|receiving| receiving.fetched)
            .expect("a snapshot is given to consensus only with its fold");
        assert_eq!(at, (fold.index(), fold.term()), "the fold is the snapshot's");
        self.fold = fold.brought();
        self.snapshots.configured(at.0, self.fold.configuration());
        self.proposals.jumped(at.0, actions);
        self.walk.moved();
        if self.fold.catalogue().is_some() {
            actions.push(Action::Catalogue);
        }
        actions.push(Action::Applied { index: at.0 });
    }
}
