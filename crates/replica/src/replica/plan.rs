//! The next safe step from a configuration towards the ring's target: a small pure problem.
//!
//! Invariants: P1 one step at a time, a joint state is left before anything else; P2 a replica becomes a voter only
//! when it is caught up; P3 a leader never leaves by its own hand, it transfers first; P4 voters never fall below
//! the mesh's replication or what was reached, unless a person allowed it; P5 two peers are one voter and one
//! learner; P6 a peer that does not answer holds up no step that can do without it.

use crate::configuration::{Configuration, Step};
use model::{PeerId, ReplicaId};
use std::collections::BTreeSet;

/// What a leader knows when it plans.
pub struct View<'a> {
    pub configuration: &'a Configuration,
    pub me: ReplicaId,
    pub replication: usize,
    /// Owner first.
    pub target: &'a [PeerId],
    /// The fewest voters that a person has allowed.
    pub least: usize,
    /// Live, and at the end of the log or nearly so; the leader itself is.
    pub caught_up: &'a BTreeSet<ReplicaId>,
    /// Heard of, or so new that they may yet be: worth waiting for.
    pub awaited: &'a BTreeSet<ReplicaId>,
    /// Replicas that have lost or doubt their log.
    pub lost: &'a BTreeSet<ReplicaId>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    Propose(Step),
    /// Hand the lead to this voter, which then goes on.
    Transfer(ReplicaId),
}

impl View<'_> {
    /// The next step, or `None` if the configuration is the target or must wait.
    pub fn plan(&self) -> Option<Plan> {
        let now = self.configuration;
        if now.is_joint() {
            if now.members.get(&self.me).is_some_and(|me| me.voter) {
                return Some(Plan::Propose(Step::Leave));
            }
            return self.successor(&now.voters()).map(Plan::Transfer);
        }
        if self.target.is_empty() {
            return None;
        }
        if let Some(replica) = self.needless_learner() {
            return Some(Plan::Propose(Step::Remove { replica }));
        }
        if let Some(peer) = self.target.iter().copied().find(|peer| self.good_on(*peer).is_none()) {
            return Some(Plan::Propose(Step::Learner { peer }));
        }
        self.enter()
    }

    fn enter(&self) -> Option<Plan> {
        let current = self.configuration.voters();
        let wanted = self.wanted(&current)?;
        let able = wanted.iter().filter(|id| self.caught_up.contains(id)).count();
        if wanted == current || able * 2 <= wanted.len() {
            return None;
        }
        if !wanted.contains(&self.me) {
            let staying = wanted.intersection(&current).copied().collect();
            if let Some(successor) = self.successor(&staying) {
                return Some(Plan::Transfer(successor));
            }
        }
        let stays = |id: &&ReplicaId| {
            let peer = self.configuration.members.get(id).map(|member| member.peer);
            self.is_good(**id) && peer.is_some_and(|peer| self.target.contains(&peer))
        };
        let learners = current.difference(&wanted).filter(stays).copied().collect();
        let least = u8::try_from(self.least).unwrap_or(u8::MAX);
        Some(Plan::Propose(Step::Enter { voters: wanted, learners, least }))
    }

    /// The voters to have; `None` while one that is on its way is waited for.
    fn wanted(&self, current: &BTreeSet<ReplicaId>) -> Option<BTreeSet<ReplicaId>> {
        let floor = current.len().min(self.replication).min(self.least);
        let count = if self.target.len() >= 3 { self.target.len() } else { 1 }.max(floor);
        let mut wanted = BTreeSet::new();
        if self.target.len() < 3 {
            // The voter that has the data stays the voter: this leader before all others.
            let on_target = |id: &&ReplicaId| {
                let peer = self.configuration.members.get(id).map(|member| member.peer);
                self.is_good(**id) && peer.is_some_and(|peer| self.target.contains(&peer))
            };
            let mut staying: Vec<ReplicaId> = current.iter().filter(on_target).copied().collect();
            staying.sort_by_key(|id| (*id != self.me, !self.caught_up.contains(id), *id));
            wanted.extend(staying.into_iter().take(count));
        }
        for peer in self.target {
            let id = self.good_on(*peer)?;
            let ready = current.contains(&id) || self.caught_up.contains(&id);
            if wanted.len() < count && ready {
                wanted.insert(id);
            } else if wanted.len() < count && self.awaited.contains(&id) {
                return None;
            }
        }
        let mut others: Vec<ReplicaId> = current.difference(&wanted).copied().collect();
        others.sort_by_key(|id| (!self.is_good(*id), !self.caught_up.contains(id), *id));
        wanted.extend(others.into_iter().take(count - wanted.len()));
        (wanted.len() == count).then_some(wanted)
    }

    /// The replica of a peer that can be relied on.
    fn good_on(&self, peer: PeerId) -> Option<ReplicaId> {
        let here = self.configuration.members.iter().filter(|(_, member)| member.peer == peer);
        here.map(|(id, _)| *id).find(|id| self.is_good(*id))
    }

    /// Not lost. A peer gets a second replica only when its first is lost, so an older one beside a newer one is,
    /// even if this leader was never told.
    fn is_good(&self, id: ReplicaId) -> bool {
        let peer = |id| self.configuration.members.get(&id).map(|member| member.peer);
        let newer = self.configuration.members.range(id..).skip(1);
        !self.lost.contains(&id) && newer.into_iter().all(|(_, it)| Some(it.peer) != peer(id))
    }

    /// A learner that is lost, on no target peer, or beside a good replica of the same peer.
    fn needless_learner(&self) -> Option<ReplicaId> {
        let members = self.configuration.members.iter();
        let mut learners = members.filter(|(id, _)| self.configuration.is_learner(**id));
        let needless = learners.find(|(id, member)| {
            !self.target.contains(&member.peer) || self.good_on(member.peer) != Some(**id)
        });
        needless.map(|(id, _)| *id)
    }

    /// Who of these should lead next: caught up, first in the target.
    fn successor(&self, of: &BTreeSet<ReplicaId>) -> Option<ReplicaId> {
        let able = of.iter().filter(|id| **id != self.me && self.caught_up.contains(id));
        able.min_by_key(|id| self.place(**id)).copied()
    }

    fn place(&self, id: ReplicaId) -> (usize, ReplicaId) {
        let peer = self.configuration.members.get(&id).map(|member| member.peer);
        let place = self.target.iter().position(|target| Some(*target) == peer);
        (place.unwrap_or(usize::MAX), id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Change;
    use model::Epoch;

    struct Walk {
        configuration: Configuration,
        me: u64,
        target: Vec<i32>,
        least: usize,
        behind: Vec<u64>,
        /// Behind, and not heard of.
        dead: Vec<u64>,
        lost: Vec<u64>,
    }

    impl Walk {
        fn plan(&self) -> Option<Plan> {
            let ids = |ids: &[u64]| ids.iter().map(|id| ReplicaId(*id)).collect::<BTreeSet<_>>();
            let target: Vec<PeerId> = self.target.iter().map(|peer| PeerId(*peer)).collect();
            let (behind, dead) = (ids(&self.behind), ids(&self.dead));
            let members = || self.configuration.members.keys().copied();
            let awaited = members().filter(|id| !dead.contains(id)).collect::<BTreeSet<_>>();
            let caught_up = awaited.iter().copied().filter(|id| !behind.contains(id)).collect();
            let view = View {
                configuration: &self.configuration,
                me: ReplicaId(self.me),
                replication: 3,
                target: &target,
                least: self.least,
                awaited: &awaited,
                caught_up: &caught_up,
                lost: &ids(&self.lost),
            };
            view.plan()
        }

        /// Walks until nothing is left to do and tells the steps.
        fn walk(&mut self) -> String {
            let mut story = Vec::new();
            while let Some(plan) = self.plan() {
                assert!(story.len() < 20, "walks in circles: {story:?}");
                match plan {
                    Plan::Transfer(to) => {
                        self.me = to.0;
                        story.push(format!("lead {to}"));
                    }
                    Plan::Propose(step) => {
                        story.push(match &step {
                            Step::Learner { peer } => format!("learner {peer}"),
                            Step::Enter { voters, learners, .. } if learners.is_empty() => {
                                format!("enter {voters:?}")
                            }
                            Step::Enter { voters, learners, .. } => {
                                format!("enter {voters:?} keeping {learners:?}")
                            }
                            Step::Leave => "leave".into(),
                            Step::Remove { replica } => format!("remove {replica}"),
                        });
                        let change = Change { epoch: Epoch(9), step };
                        assert!(self.configuration.apply(&change, 3).is_some(), "{story:?}");
                    }
                }
            }
            story.join(", ")
        }
    }

    fn walk(target: &[i32]) -> Walk {
        let configuration = Configuration::genesis();
        Walk {
            configuration,
            me: 1,
            target: target.to_vec(),
            least: 3,
            behind: vec![],
            dead: vec![],
            lost: vec![],
        }
    }

    fn three() -> Walk {
        let mut it = walk(&[1, 2, 3]);
        it.walk();
        it
    }

    #[test]
    fn one_peer_needs_nothing_and_two_are_a_voter_and_a_learner() {
        assert_eq!(walk(&[1]).walk(), "");
        assert_eq!(walk(&[2, 1]).walk(), "learner p2");
    }

    #[test]
    fn three_peers_become_voters_in_one_joint_step() {
        let story = walk(&[2, 3, 1]).walk();
        assert_eq!(story, "learner p2, learner p3, enter {r1, r2, r3}, leave");
    }

    #[test]
    fn a_learner_that_is_behind_is_waited_for() {
        let mut it = walk(&[1, 2, 3]);
        it.behind = vec![3];
        assert_eq!(it.walk(), "learner p2, learner p3");
        it.behind = vec![];
        assert_eq!(it.walk(), "enter {r1, r2, r3}, leave");
    }

    #[test]
    fn a_leader_whose_peer_leaves_the_target_hands_over_first() {
        let mut it = three();
        it.target = vec![2, 3, 4];
        assert_eq!(it.walk(), "learner p4, lead r2, enter {r2, r3, r4}, leave");
    }

    #[test]
    fn a_sole_voter_moves_through_a_joint_state_that_its_successor_leaves() {
        let mut it = walk(&[2]);
        assert_eq!(it.walk(), "learner p2, enter {r2}, lead r2, leave");
    }

    #[test]
    fn a_lost_voter_is_replaced_by_a_new_learner_on_its_peer() {
        let mut it = three();
        it.lost = vec![3];
        it.behind = vec![3];
        assert_eq!(it.walk(), "learner p3, enter {r1, r2, r4}, leave");
    }

    #[test]
    fn the_newer_replica_of_a_peer_replaces_the_older_even_if_nobody_says_why() {
        let mut it = three();
        (it.lost, it.behind) = (vec![3], vec![3, 4]);
        assert_eq!(it.walk(), "learner p3");
        (it.lost, it.behind) = (vec![], vec![3]);
        assert_eq!(it.walk(), "enter {r1, r2, r4}, leave");
    }

    #[test]
    fn a_lost_learner_is_removed_before_its_peer_gets_another() {
        let mut it = walk(&[1, 2]);
        it.walk();
        it.lost = vec![2];
        assert_eq!(it.walk(), "remove r2, learner p2");
    }

    #[test]
    fn a_target_that_shrinks_takes_no_voter_away() {
        let mut it = three();
        it.target = vec![1, 2];
        assert_eq!(it.walk(), "");
        it.target = vec![1];
        assert_eq!(it.walk(), "");
        it.target = vec![4, 2];
        assert_eq!(it.walk(), "learner p4, enter {r1, r2, r4}, leave");
    }

    #[test]
    fn a_persons_word_shrinks_a_group_to_one_voter_that_has_everything_and_a_learner() {
        let mut it = three();
        (it.target, it.least, it.me, it.dead) = (vec![1, 2], 1, 2, vec![3]);
        assert_eq!(it.walk(), "enter {r2} keeping {r1}, leave");
        it.target = vec![1];
        it.behind = vec![1];
        assert_eq!(it.walk(), "", "the peer that is to have it all is behind");
        it.behind = vec![];
        assert_eq!(it.walk(), "enter {r1}, lead r1, leave");
        (it.target, it.least, it.dead) = (vec![1, 4, 5], 3, vec![]);
        assert_eq!(it.walk(), "learner p4, learner p5, enter {r1, r4, r5}, leave");
    }

    #[test]
    fn a_voter_that_is_behind_does_not_become_the_only_one() {
        let mut it = three();
        (it.target, it.least, it.me, it.behind) = (vec![2], 1, 1, vec![2]);
        assert_eq!(it.walk(), "");
    }

    #[test]
    fn a_peer_that_does_not_answer_holds_up_no_other_step() {
        let mut it = three();
        (it.target, it.dead) = (vec![4, 5, 1], vec![4]);
        assert_eq!(it.walk(), "learner p4, learner p5, enter {r1, r2, r5}, leave");
        it.dead = vec![];
        assert_eq!(it.walk(), "enter {r1, r4, r5}, leave");
    }

    #[test]
    fn the_catalogues_shard_steps_from_five_to_three_by_itself() {
        let mut it = walk(&[1, 2, 3, 4, 5]);
        it.walk();
        assert_eq!(it.configuration.voters().len(), 5);
        it.target = vec![1, 2, 3];
        assert_eq!(it.walk(), "enter {r1, r2, r3}, leave");
    }

    #[test]
    fn a_target_that_changes_before_a_learner_is_promoted_takes_it_back() {
        let mut it = walk(&[1, 2, 3]);
        it.behind = vec![2, 3];
        it.walk();
        it.target = vec![1, 2, 4];
        it.behind = vec![];
        assert_eq!(it.walk(), "remove r3, learner p4, enter {r1, r2, r4}, leave");
    }
}
