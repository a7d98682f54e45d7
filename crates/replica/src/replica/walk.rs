//! How a leader walks its group towards the ring's target: when it plans, and what it does about the plan.

use super::Replica;
use super::plan::{Plan, View};
use crate::configuration::{Change, Configuration, Step, VERSION};
use crate::input::Now;
use crate::limits::*;
use model::{Epoch, PeerId, ReplicaId};
use raft::ProgressState;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};
use std::collections::{BTreeMap, BTreeSet};

/// The target and what stands between it and the configuration.
#[derive(Default)]
pub struct Walk {
    epoch: Epoch,
    target: Vec<PeerId>,
    /// The peers that can do this shard's work; nobody named means all.
    able: BTreeSet<PeerId>,
    least: u8,
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
    /// When this leader first saw each learner (µs).
    learners: BTreeMap<ReplicaId, u64>,
    /// The next step is a new learner, and whether it may be taken.
    wants: bool,
    granted: bool,
}

impl Walk {
    /// The ring's target changed; an older one than is known is no news.
    pub fn aim(&mut self, epoch: Epoch, peers: Vec<PeerId>, least: u8) {
        if epoch < self.epoch {
            return;
        }
        if self.target != peers {
            self.steady = 0;
        }
        (self.epoch, self.target, self.least, self.due) = (epoch, peers, least, true);
    }

    /// One more replica may begin to move.
    pub fn may_move(&mut self) {
        (self.granted, self.due) = (true, true);
    }
    pub fn wants_move(&self) -> bool {
        self.wants
    }

    /// Other peers can do the shard's work.
    pub fn enable(&mut self, peers: BTreeSet<PeerId>) {
        if self.able != peers {
            (self.able, self.steady) = (peers, 0);
        }
    }

    fn is_able(&self, peer: PeerId) -> bool {
        self.able.is_empty() || self.able.contains(&peer)
    }

    /// Who should lead: the first of the target that can do the shard's work, else the first.
    fn owner(&self) -> Option<PeerId> {
        let able = self.target.iter().copied().find(|peer| self.is_able(*peer));
        able.or(self.target.first().copied())
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
        self.learners.clear();
        (self.wants, self.granted) = (false, false);
        self.steady = 0;
    }
    pub fn crown(&mut self, committed: u64) {
        self.committed = committed;
        self.steady = 0;
        self.due = true;
    }

    /// How far behind others a replica stands when somebody must lead: who can do the work first, then by place in
    /// the target, then by id.
    pub fn place(&self, id: ReplicaId, configuration: &Configuration) -> (bool, usize, ReplicaId) {
        let peer = configuration.members.get(&id).map(|member| member.peer);
        let place = self.target.iter().position(|target| Some(*target) == peer);
        (!peer.is_some_and(|peer| self.is_able(peer)), place.unwrap_or(usize::MAX), id)
    }

    /// The voter that should lead next, if there is one that is caught up and calm.
    pub fn successor(
        &self,
        me: ReplicaId,
        configuration: &Configuration,
        calm: impl Fn(ReplicaId) -> bool,
    ) -> Option<ReplicaId> {
        let place = |id: &ReplicaId| self.place(*id, configuration);
        let voters = configuration.voters();
        let ready = voters.into_iter().filter(|id| *id != me && self.caught_up.contains(id));
        ready.filter(|id| !self.lost.contains(id) && calm(*id)).min_by_key(place)
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
        self.see_learners(now);
        self.shorten(now);
        self.favour_owner(now);
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

    fn see_learners(&mut self, now: Now) {
        let configuration = self.fold.configuration();
        let known = &mut self.walk.learners;
        known.retain(|id, _| configuration.is_learner(*id));
        for id in configuration.members.keys().filter(|id| configuration.is_learner(**id)) {
            known.entry(*id).or_insert(now.mono_us);
        }
    }

    /// Learners that are heard of, or so new that they may yet be.
    fn awaited(&self, now: Now) -> BTreeSet<ReplicaId> {
        let new = |since: u64| now.mono_us.saturating_sub(since) < LEARNER_PATIENCE_US;
        let known = self.walk.learners.iter();
        let awaited = known.filter(|(id, since)| new(**since) || self.contacts.is_live(**id, now));
        awaited.map(|(id, _)| *id).collect()
    }

    /// A learner is on its way, or voters change.
    pub(super) fn moves_on(&self, now: Now) -> bool {
        if self.walk.learners.is_empty() {
            return self.fold.configuration().is_joint();
        }
        let behind = |id: &ReplicaId| !self.walk.caught_up.contains(id);
        self.awaited(now).iter().any(behind)
    }

    /// Gives the lead to the ring's owner after a while of health; soon to whoever can do the shard's work, if this
    /// peer cannot: its tasks stand still.
    fn favour_owner(&mut self, now: Now) {
        let configuration = self.fold.configuration();
        let free = !configuration.is_joint()
            && self.is_leading()
            && self.raw.raft.lead_transferee.is_none();
        let calm = |id| self.contacts.is_calm(id, now);
        let next = self.walk.successor(self.id, configuration, calm).filter(|_| free);
        let peer = next.and_then(|id| configuration.members.get(&id)).map(|member| member.peer);
        let (Some(next), Some(peer)) = (next, peer) else {
            self.walk.steady = 0;
            return;
        };
        let relieves = !self.walk.is_able(self.config.peer) && self.walk.is_able(peer);
        if !relieves && self.walk.owner() != Some(peer) {
            self.walk.steady = 0;
            return;
        }
        self.walk.steady += 1;
        let stagger = u64::from(self.config.shard.0) * 7 % STEADY_SPREAD_TICKS;
        let wait = if relieves { RELIEF_TICKS } else { STEADY_TICKS + stagger };
        if self.walk.steady >= wait {
            self.walk.steady = 0;
            self.raw.transfer_leader(next.0);
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
        self.see_learners(now);
        let awaited = self.awaited(now);
        let configuration = self.fold.configuration();
        let live = |id| id == self.id || self.contacts.is_live(id, now);
        let lost = replaceable(&self.walk.lost, &configuration.voters(), live);
        let view = View {
            configuration,
            me: self.id,
            replication: usize::from(self.fold.replication()),
            target: &self.walk.target,
            least: usize::from(self.walk.least),
            awaited: &awaited,
            caught_up: &self.walk.caught_up,
            lost: &lost,
        };
        let plan = view.plan();
        let begins = matches!(plan, Some(Plan::Propose(Step::Learner { .. })));
        self.walk.wants = begins && !std::mem::take(&mut self.walk.granted);
        match plan {
            Some(_) if self.walk.wants => {}
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

/// The lost replicas that may be replaced now. A voter that has damaged events and still votes is retired when its
/// successor begins: that waits until the other living voters are a quorum without it, so one after the other.
fn replaceable(
    lost: &BTreeSet<ReplicaId>,
    voters: &BTreeSet<ReplicaId>,
    is_live: impl Fn(ReplicaId) -> bool,
) -> BTreeSet<ReplicaId> {
    let live: BTreeSet<ReplicaId> = voters.iter().copied().filter(|id| is_live(*id)).collect();
    let votes = |id: &&ReplicaId| live.contains(*id);
    let mut replaceable: BTreeSet<ReplicaId> =
        lost.iter().filter(|id| !votes(id)).copied().collect();
    let can_go = |_: &&ReplicaId| 2 * (live.len() - 1) > voters.len();
    replaceable.extend(lost.iter().filter(votes).find(can_go));
    replaceable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_that_still_votes_is_replaced_only_where_the_others_are_a_quorum() {
        let ids = |ids: &[u64]| ids.iter().map(|id| ReplicaId(*id)).collect::<BTreeSet<_>>();
        let told = |lost: &[u64], voters: &[u64], live: &[u64]| {
            let live = ids(live);
            replaceable(&ids(lost), &ids(voters), |id| live.contains(&id))
        };
        assert_eq!(told(&[2], &[1, 2, 3], &[1, 2, 3]), ids(&[2]));
        assert_eq!(told(&[2], &[1, 2, 3], &[2, 3]), ids(&[]), "1 is dead: 3 would be alone");
        assert_eq!(told(&[1, 2], &[1, 2, 3], &[2, 3]), ids(&[1]), "1 is gone anyway");
        assert_eq!(told(&[1, 2], &[1, 2, 3], &[1, 2, 3]), ids(&[1]), "one after the other");
        assert_eq!(told(&[4], &[1, 2, 3], &[3, 4]), ids(&[4]), "a learner has no vote");
        assert_eq!(told(&[1, 2], &[1, 2, 3, 4, 5], &[2, 3, 4, 5]), ids(&[1, 2]));
    }

    #[test]
    fn who_can_do_the_work_leads_before_the_rings_owner() {
        let mut configuration = Configuration::genesis();
        for peer in [2, 3] {
            let step = Step::Learner { peer: PeerId(peer) };
            assert!(configuration.apply(&Change { epoch: Epoch(1), step }, 3).is_some());
        }
        let voters = [1, 2, 3].map(ReplicaId).into();
        let enter = Change {
            epoch: Epoch(1),
            step: Step::Enter { voters, learners: BTreeSet::new(), least: 3 },
        };
        assert!(configuration.apply(&enter, 3).is_some());
        let leave = Change { epoch: Epoch(1), step: Step::Leave };
        assert!(configuration.apply(&leave, 3).is_some());
        let mut walk = Walk::default();
        walk.aim(Epoch(1), [2, 1, 3].map(PeerId).to_vec(), 3);
        walk.caught_up = [1, 2, 3].map(ReplicaId).into();
        let next = |walk: &Walk, me| walk.successor(ReplicaId(me), &configuration, |_| true);
        assert_eq!((walk.owner(), next(&walk, 1)), (Some(PeerId(2)), Some(ReplicaId(2))));
        walk.enable([PeerId(3)].into());
        assert_eq!((walk.owner(), next(&walk, 1)), (Some(PeerId(3)), Some(ReplicaId(3))));
        assert_eq!(next(&walk, 3), Some(ReplicaId(2)), "better one without the code than none");
        walk.enable([PeerId(9)].into());
        assert_eq!(walk.owner(), Some(PeerId(2)), "nobody here can: as if all could");
    }
}
