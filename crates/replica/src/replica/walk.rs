//! How a leader walks its group towards the ring's target: when it plans, and what it does about the plan.

use super::Replica;
use super::plan::{Plan, View};
use crate::configuration::{Change, Configuration, Step, VERSION};
use crate::input::Now;
use crate::limits::*;
use model::{Epoch, PeerId, ReplicaId};
use raft::ProgressState;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};
use std::collections::BTreeSet;

/// The target and what stands between it and the configuration.
#[derive(Default)]
pub struct Walk {
    epoch: Epoch,
    target: Vec<PeerId>,
    /// Replicas whose peers say that they lost their log.
    lost: BTreeSet<ReplicaId>,
    /// Something happened that may allow the next step.
    due: bool,
    /// Ticks for which the ring's owner could have had the lead.
    steady: u64,
    /// Replicas that were live and caught up at the last tick, the leader among them.
    caught_up: BTreeSet<ReplicaId>,
    /// What was committed at the last tick: who has it is caught up.
    committed: u64,
}

impl Walk {
    /// The ring's target changed; an older one than is known is no news.
    pub fn aim(&mut self, epoch: Epoch, peers: Vec<PeerId>) {
        if epoch < self.epoch {
            return;
        }
        if self.target != peers {
            self.steady = 0;
        }
        (self.epoch, self.target, self.due) = (epoch, peers, true);
    }

    pub fn replace(&mut self, replica: ReplicaId) {
        if self.lost.len() < MEMBERS_MAX {
            self.lost.insert(replica);
            self.due = true;
        }
    }

    pub fn target(&self) -> &[PeerId] {
        &self.target
    }
    pub fn is_due(&self) -> bool {
        self.due
    }
    /// The configuration moved.
    pub fn moved(&mut self) {
        self.due = true;
    }
    pub fn depose(&mut self) {
        self.caught_up.clear();
        self.steady = 0;
    }
    pub fn crown(&mut self, committed: u64) {
        self.committed = committed;
        self.steady = 0;
        self.due = true;
    }

    /// The voter that should lead next, if one is able to.
    pub fn successor(&self, me: ReplicaId, configuration: &Configuration) -> Option<ReplicaId> {
        let place = |id: &ReplicaId| {
            let peer = configuration.members.get(id).map(|member| member.peer);
            let place = self.target.iter().position(|target| Some(*target) == peer);
            (place.unwrap_or(usize::MAX), *id)
        };
        let voters = configuration.voters();
        let able = voters.into_iter().filter(|id| *id != me && self.caught_up.contains(id));
        able.filter(|id| !self.lost.contains(id)).min_by_key(place)
    }
}

impl Replica {
    pub(super) fn tick_walk(&mut self, now: Now) {
        if !self.is_elected() {
            return;
        }
        self.walk.caught_up = self.caught_up(now);
        self.walk.committed = self.raw.raft.raft_log.committed;
        self.walk.due = true;
        self.shorten(now);
        self.favour_owner();
    }

    /// Live replicas that have what was committed a tick ago, and this one.
    fn caught_up(&self, now: Now) -> BTreeSet<ReplicaId> {
        let is_caught_up = |id: &&ReplicaId| {
            **id == self.id
                // After a snapshot consensus goes on probing until something new is written: that is close enough.
                || self.raw.raft.prs().get(id.0).is_some_and(|progress| {
                    progress.state != ProgressState::Snapshot
                        && progress.matched >= self.walk.committed
                        && self.contacts.is_live(**id, now)
                })
        };
        self.fold.members().keys().filter(is_caught_up).copied().collect()
    }

    /// Gives the lead to the ring's owner after a while of health.
    fn favour_owner(&mut self) {
        let configuration = self.fold.configuration();
        let owner = self.walk.target.first().copied();
        let successor = configuration.members.iter().find(|(id, member)| {
            member.voter
                && Some(member.peer) == owner
                && **id != self.id
                && self.walk.caught_up.contains(id)
                && !self.walk.lost.contains(id)
        });
        let free = !configuration.is_joint()
            && owner != Some(self.config.peer)
            && self.is_leading()
            && self.raw.raft.lead_transferee.is_none();
        let Some((successor, _)) = successor.filter(|_| free) else {
            self.walk.steady = 0;
            return;
        };
        let successor = successor.0;
        self.walk.steady += 1;
        let stagger = u64::from(self.config.shard.0) * 7 % STEADY_SPREAD_TICKS;
        if self.walk.steady >= STEADY_TICKS + stagger {
            self.walk.steady = 0;
            self.raw.transfer_leader(successor);
            self.dice();
        }
    }

    /// Takes the next step if there is one and nothing is under way.
    pub(super) fn walk_on(&mut self, now: Now) {
        if !std::mem::take(&mut self.walk.due) || !self.is_leading() {
            return;
        }
        let raft = &self.raw.raft;
        if raft.has_pending_conf() || raft.lead_transferee.is_some() {
            return;
        }
        let configuration = self.fold.configuration();
        let joint = configuration.is_joint();
        if !joint && self.walk.epoch < configuration.epoch {
            return;
        }
        self.walk.lost.retain(|id| configuration.members.contains_key(id) && *id != self.id);
        self.walk.caught_up = self.caught_up(now);
        let configuration = self.fold.configuration();
        let view = View {
            configuration,
            me: self.id,
            replication: usize::from(self.fold.replication()),
            target: &self.walk.target,
            caught_up: &self.walk.caught_up,
            lost: &self.walk.lost,
        };
        match view.plan() {
            None => {}
            Some(Plan::Transfer(to)) => {
                self.raw.transfer_leader(to.0);
                self.dice();
            }
            Some(Plan::Propose(step)) => {
                let epoch = if joint { configuration.epoch } else { self.walk.epoch };
                self.propose_step(Change { epoch, step });
            }
        }
    }

    /// Proposes a configuration entry. If consensus drops it, the next tick plans again.
    fn propose_step(&mut self, change: Change) {
        // Consensus only looks whether a change enters, leaves or is simple; what it means is decided at apply.
        let mut words = ConfChangeV2::default();
        if change.step != Step::Leave {
            let mut single = ConfChangeSingle { node_id: 0, ..ConfChangeSingle::default() };
            single.set_change_type(ConfChangeType::AddLearnerNode);
            words.set_changes(vec![single].into());
        }
        if matches!(change.step, Step::Enter { .. }) {
            words.set_transition(ConfChangeTransition::Explicit);
        }
        let context = model::codec::encode(VERSION, &change);
        let _ = self.raw.propose_conf_change(context, words);
    }
}
