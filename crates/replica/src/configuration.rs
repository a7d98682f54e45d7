//! Which replicas form the shard, and the steps by which that changes.
//!
//! Invariants: C1 replica ids are handed out by the log and never reused; C2 voters never become fewer than the
//! mesh's replication or, below that, than they were, unless the entry says that a person allowed it; C3 an entry aiming at an older epoch than the last changes
//! nothing, except that a joint state is always left; C4 one step at a time: nothing but leaving in a joint state.

use crate::limits::MEMBERS_MAX;
use model::{Epoch, PeerId, ReplicaId};
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The version of an encoded [`Change`].
pub const VERSION: u8 = 2;

/// One copy of the shard in its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub peer: PeerId,
    /// Counts for a quorum; in a joint state: for the one that is entered.
    pub voter: bool,
}

/// The replicas of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The ring's epoch that the last change aimed at.
    pub epoch: Epoch,
    /// The id the next learner gets.
    pub next_replica: u64,
    /// Everybody: voters, learners, and in a joint state those on their way out.
    pub members: BTreeMap<ReplicaId, Member>,
    /// In a joint state: the voters of the configuration that is left. Otherwise empty.
    pub outgoing: BTreeSet<ReplicaId>,
    /// Those of them that stay as learners.
    pub demoted: BTreeSet<ReplicaId>,
}

/// A configuration entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The ring's epoch it aims at.
    pub epoch: Epoch,
    pub step: Step,
}

/// One safe step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Adds a learner on a peer; its replica id is given at apply.
    Learner { peer: PeerId },
    /// Enters a joint state towards these voters; of those that go, `learners` stay to learn. A person has allowed
    /// that voters become as few as `least`.
    Enter { voters: BTreeSet<ReplicaId>, learners: BTreeSet<ReplicaId>, least: u8 },
    /// Leaves the joint state; who is neither voter nor learner any more is removed.
    Leave,
    /// Removes a learner.
    Remove { replica: ReplicaId },
}

impl Configuration {
    /// How every shard begins: one voter on the founder.
    pub fn genesis() -> Self {
        let founder = Member { peer: model::id::FOUNDER, voter: true };
        Self {
            epoch: Epoch(0),
            next_replica: 2,
            members: BTreeMap::from([(ReplicaId(1), founder)]),
            outgoing: BTreeSet::new(),
            demoted: BTreeSet::new(),
        }
    }

    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The voters, in a joint state those of the configuration that is entered.
    pub fn voters(&self) -> BTreeSet<ReplicaId> {
        self.members.iter().filter(|(_, member)| member.voter).map(|(id, _)| *id).collect()
    }

    /// The voters that one may count on: in a joint state a majority of each side decides, so those of the side with fewer.
    pub fn assured(&self) -> BTreeSet<ReplicaId> {
        let entered = self.voters();
        let leaves = self.is_joint() && self.outgoing.len() < entered.len();
        if leaves { self.outgoing.clone() } else { entered }
    }

    /// Neither voter nor on its way out.
    pub fn is_learner(&self, id: ReplicaId) -> bool {
        self.members.get(&id).is_some_and(|member| !member.voter) && !self.outgoing.contains(&id)
    }

    /// True if this id was handed out and is no member any more.
    pub fn has_removed(&self, id: ReplicaId) -> bool {
        id.0 < self.next_replica && !self.members.contains_key(&id)
    }

    /// True if this replica alone decides: it would win any election in the step it starts it.
    pub fn is_alone(&self, id: ReplicaId) -> bool {
        let me = BTreeSet::from([id]);
        self.voters() == me && (self.outgoing.is_empty() || self.outgoing == me)
    }

    /// Applies a change and returns it in consensus's words, or `None` if it is refused and nothing changed.
    pub fn apply(&mut self, change: &Change, replication: u8) -> Option<ConfChangeV2> {
        if change.step != Step::Leave && (change.epoch < self.epoch || self.is_joint()) {
            return None;
        }
        let mut words = ConfChangeV2::default();
        let changes = match &change.step {
            Step::Learner { peer } => vec![self.add_learner(*peer)?],
            Step::Enter { voters, learners, least } => {
                words.set_transition(ConfChangeTransition::Explicit);
                self.enter(voters, learners, replication.min(*least))?
            }
            Step::Leave => {
                self.leave()?;
                Vec::new()
            }
            Step::Remove { replica } => {
                if !self.is_learner(*replica) {
                    return None;
                }
                self.members.remove(replica);
                vec![single(*replica, ConfChangeType::RemoveNode)]
            }
        };
        self.epoch = self.epoch.max(change.epoch);
        words.set_changes(changes.into());
        Some(words)
    }

    fn add_learner(&mut self, peer: PeerId) -> Option<ConfChangeSingle> {
        let there = self.members.iter().any(|(id, m)| m.peer == peer && self.is_learner(*id));
        if there || self.members.len() >= MEMBERS_MAX {
            return None;
        }
        let id = ReplicaId(self.next_replica);
        self.next_replica += 1;
        self.members.insert(id, Member { peer, voter: false });
        Some(single(id, ConfChangeType::AddLearnerNode))
    }

    fn enter(
        &mut self,
        voters: &BTreeSet<ReplicaId>,
        learners: &BTreeSet<ReplicaId>,
        least: u8,
    ) -> Option<Vec<ConfChangeSingle>> {
        let current = self.voters();
        let known = voters.iter().all(|id| self.members.contains_key(id));
        let floor = current.len().min(usize::from(least)).max(1);
        let gone: BTreeSet<ReplicaId> = current.difference(voters).copied().collect();
        if !known || *voters == current || voters.len() < floor || !learners.is_subset(&gone) {
            return None;
        }
        let added = voters.difference(&current).map(|id| single(*id, ConfChangeType::AddNode));
        let gone = gone.iter().map(|id| match learners.contains(id) {
            true => single(*id, ConfChangeType::AddLearnerNode),
            false => single(*id, ConfChangeType::RemoveNode),
        });
        let changes = added.chain(gone).collect();
        for (id, member) in &mut self.members {
            member.voter = voters.contains(id);
        }
        self.outgoing = current;
        self.demoted.clone_from(learners);
        Some(changes)
    }

    fn leave(&mut self) -> Option<()> {
        if !self.is_joint() {
            return None;
        }
        let demoted = std::mem::take(&mut self.demoted);
        for id in std::mem::take(&mut self.outgoing) {
            let votes = self.members.get(&id).is_some_and(|member| member.voter);
            if !votes && !demoted.contains(&id) {
                self.members.remove(&id);
            }
        }
        Some(())
    }

    /// The configuration in consensus's words.
    pub fn state(&self) -> ConfState {
        let mut state = ConfState::default();
        let ids = |ids: Vec<ReplicaId>| ids.into_iter().map(|id| id.0).collect::<Vec<_>>();
        state.set_voters(ids(self.voters().into_iter().collect()));
        state.set_voters_outgoing(ids(self.outgoing.iter().copied().collect()));
        let learners = self.members.keys().filter(|id| self.is_learner(**id));
        state.set_learners(ids(learners.copied().collect()));
        state.set_learners_next(ids(self.demoted.iter().copied().collect()));
        state
    }
}

fn single(id: ReplicaId, kind: ConfChangeType) -> ConfChangeSingle {
    let mut change = ConfChangeSingle { node_id: id.0, ..ConfChangeSingle::default() };
    change.set_change_type(kind);
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learner(peer: i32) -> Step {
        Step::Learner { peer: PeerId(peer) }
    }

    fn step(configuration: &mut Configuration, epoch: u64, step: Step) -> bool {
        configuration.apply(&Change { epoch: Epoch(epoch), step }, 3).is_some()
    }

    fn ids(ids: &[u64]) -> BTreeSet<ReplicaId> {
        ids.iter().map(|id| ReplicaId(*id)).collect()
    }

    fn enter(voters: &[u64]) -> Step {
        Step::Enter { voters: ids(voters), learners: ids(&[]), least: 3 }
    }

    fn three() -> Configuration {
        let mut it = Configuration::genesis();
        assert!(step(&mut it, 2, learner(2)));
        assert!(step(&mut it, 3, learner(3)));
        assert!(step(&mut it, 3, enter(&[1, 2, 3])));
        assert!(step(&mut it, 3, Step::Leave));
        it
    }

    #[test]
    fn a_shard_grows_from_one_voter_to_three_in_one_joint_step() {
        let it = three();
        assert_eq!(it.voters(), ids(&[1, 2, 3]));
        assert_eq!((it.next_replica, it.epoch, it.is_joint()), (4, Epoch(3), false));
    }

    #[test]
    fn an_entry_of_an_older_epoch_changes_nothing() {
        let mut it = three();
        let before = it.clone();
        assert!(!step(&mut it, 2, learner(4)));
        assert_eq!(it, before);
    }

    #[test]
    fn a_joint_state_allows_only_leaving_and_leaving_asks_no_epoch() {
        let mut it = three();
        assert!(step(&mut it, 4, learner(4)));
        assert!(step(&mut it, 4, enter(&[1, 2, 4])));
        assert!(!step(&mut it, 5, learner(5)));
        assert!(!step(&mut it, 5, Step::Remove { replica: ReplicaId(3) }));
        assert!(step(&mut it, 0, Step::Leave));
        assert_eq!((it.voters(), it.epoch), (ids(&[1, 2, 4]), Epoch(4)));
        assert!(it.has_removed(ReplicaId(3)) && !it.has_removed(ReplicaId(5)));
        assert!(!step(&mut it, 9, Step::Leave));
    }

    #[test]
    fn voters_never_fall_below_replication_or_what_was_reached() {
        let mut it = three();
        assert!(!step(&mut it, 4, enter(&[1, 2])));
        assert!(step(&mut it, 4, learner(4)) && step(&mut it, 4, learner(5)));
        assert!(step(&mut it, 4, enter(&[1, 2, 3, 4, 5])));
        assert!(step(&mut it, 4, Step::Leave));
        assert!(step(&mut it, 5, enter(&[1, 2, 3])));
    }

    #[test]
    fn a_persons_word_allows_fewer_voters_and_who_goes_may_stay_as_a_learner() {
        let mut it = three();
        let shrink = |learners: &[u64], least| Step::Enter {
            voters: ids(&[1]),
            learners: ids(learners),
            least,
        };
        assert!(!step(&mut it, 4, shrink(&[2], 2)));
        assert!(!step(&mut it, 4, shrink(&[1], 1)), "a voter is no learner");
        assert!(!step(&mut it, 4, shrink(&[9], 1)), "nobody has this id");
        assert!(step(&mut it, 4, shrink(&[2], 1)));
        assert_eq!(it.state().learners_next, [2]);
        assert!(step(&mut it, 4, Step::Leave));
        assert_eq!(it.voters(), ids(&[1]));
        assert!(it.is_learner(ReplicaId(2)) && it.has_removed(ReplicaId(3)));
        assert_eq!((it.state().learners, it.state().learners_next), (vec![2], vec![]));
    }

    #[test]
    fn replica_ids_are_never_reused() {
        let mut it = three();
        assert!(step(&mut it, 4, learner(4)));
        assert!(step(&mut it, 4, Step::Remove { replica: ReplicaId(4) }));
        assert!(step(&mut it, 4, learner(4)));
        assert!(it.has_removed(ReplicaId(4)) && it.is_learner(ReplicaId(5)));
        assert!(!step(&mut it, 4, learner(4)), "one learner a peer");
        assert!(
            !step(&mut it, 4, Step::Remove { replica: ReplicaId(1) }),
            "voters are not removed"
        );
    }
}
