//! When a replica campaigns: the dice, lost connections, and handing the lead over.

use super::Replica;
use crate::input::Now;
use crate::limits::*;
use model::{PeerId, ReplicaId, hash};
use raft::StateRole;

/// The dice of one replica and what it waits for before it campaigns out of turn.
pub struct Election {
    seed: u64,
    id: ReplicaId,
    /// Elections that silence has started: each has a throw of its own.
    rounds: u64,
    /// The throw in force and what it was made for.
    thrown: Option<((u64, u64, u64), usize)>,
    /// Campaign at this moment (µs) unless a leader is heard of before.
    campaign_us: Option<u64>,
    campaigns: u32,
    /// Places before this one in the line of successors of a lost leader.
    place: u64,
    /// Ticks for which this replica campaigns last.
    shy_ticks: u64,
    /// Ticks for which its peer was strained.
    strained_ticks: u64,
}

impl Election {
    pub fn new(seed: u64, id: ReplicaId) -> Self {
        Self {
            seed,
            id,
            rounds: 0,
            thrown: None,
            campaign_us: None,
            campaigns: 0,
            place: 0,
            shy_ticks: 0,
            strained_ticks: 0,
        }
    }

    /// The ticks of silence before the next election: the same for the same term and round.
    fn throw(&mut self, term: u64) -> usize {
        let extra = if self.shy_ticks > 0 {
            SHY_TICKS
        } else if self.campaign_us.is_some() {
            // Silence must not overtake the line of successors.
            ELECTION_TICKS_MIN + (self.place as usize).min(SHY_TICKS - ELECTION_TICKS_MIN)
        } else {
            0
        };
        let made_for = (term, self.rounds, extra as u64);
        if let Some((same, ticks)) = self.thrown
            && same == made_for
        {
            return ticks;
        }
        let mut bytes = [0; 40];
        let parts = [self.seed, self.id.0, term, self.rounds, extra as u64];
        for (place, part) in bytes.chunks_exact_mut(8).zip(parts) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        let span = (ELECTION_TICKS_MAX - ELECTION_TICKS_MIN) as u64;
        let ticks = ELECTION_TICKS_MIN + (hash::hash64(&bytes) % span) as usize + extra;
        self.thrown = Some((made_for, ticks));
        ticks
    }

    /// A leader was heard of: nobody is campaigned against.
    pub fn calm(&mut self) {
        self.campaign_us = None;
    }
}

impl Replica {
    /// Overwrites consensus's own throw; called after everything that may have made it throw.
    pub(super) fn dice(&mut self) {
        let ticks = self.election.throw(self.raw.raft.term);
        self.raw.raft.set_randomized_election_timeout(ticks);
    }

    /// Consensus would lead at once if this replica alone decides, but not before its log is on disk; and it would
    /// stumble over a snapshot that is not on disk yet.
    pub(super) fn must_not_campaign(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        let unwritten = log.persisted < log.last_index();
        let installing = log.applied < self.raw.store().base().0;
        installing || (unwritten && self.fold.configuration().is_alone(self.id))
    }

    pub(super) fn campaign(&mut self) {
        if self.must_not_campaign() || !self.raw.raft.promotable() {
            return;
        }
        // Refused only where a configuration change must be applied first; the timers try again.
        let _ = self.raw.campaign();
        self.dice();
    }

    pub(super) fn tick_election(&mut self, now: Now, beat: bool) {
        self.election.shy_ticks = self.election.shy_ticks.saturating_sub(1);
        self.tick_strain(now);
        if !self.must_not_campaign() {
            let raft = &self.raw.raft;
            let silent = raft.election_elapsed + 1 >= raft.randomized_election_timeout();
            if raft.state != StateRole::Leader && raft.promotable() && silent {
                self.election.rounds += 1;
            }
            if self.is_in_step(beat) {
                self.raw.tick();
            }
        }
        self.dice();
        self.campaign_if_due(now);
    }

    /// A leader's sign of life waits for the beat: once after it was elected, from then on they come together.
    fn is_in_step(&self, beat: bool) -> bool {
        let raft = &self.raw.raft;
        beat || !self.is_elected() || raft.heartbeat_elapsed() + 1 < HEARTBEAT_TICKS
    }

    /// The connection to a peer broke. If it leads, its lease lapses and the first of the line campaigns at once.
    pub(super) fn on_lost(&mut self, now: Now, peer: PeerId) {
        self.contacts.lose(peer);
        let leads = self.leader_peer() == Some(peer) && !self.is_elected();
        if !leads {
            return;
        }
        self.raw.raft.election_elapsed = self.raw.raft.election_timeout();
        if !self.raw.raft.promotable() {
            return;
        }
        let place = self.place_in_line();
        self.election.place = place;
        self.election.campaigns = 0;
        let last = if self.strained { STRAINED_WAIT_US } else { 0 };
        self.election.campaign_us = Some(now.mono_us + place * PLACE_WAIT_US + last);
        self.dice();
        self.campaign_if_due(now);
    }

    /// How many voters that may be alive stand before this replica.
    fn place_in_line(&self) -> u64 {
        let configuration = self.fold.configuration();
        let place = |id: ReplicaId| self.walk.place(id, configuration);
        let voters = configuration.voters();
        let line = voters.iter().filter(|id| **id != self.id && !self.contacts.is_lost(**id));
        line.filter(|id| place(**id) < place(self.id)).count() as u64
    }

    fn campaign_if_due(&mut self, now: Now) {
        let due = self.election.campaign_us.is_some_and(|at| now.mono_us >= at);
        if !due {
            return;
        }
        if self.is_elected() || self.election.campaigns >= CAMPAIGNS_MAX {
            self.election.calm();
            return;
        }
        if self.is_being_decided() {
            let left = ELECTION_TICKS_MIN.saturating_sub(self.raw.raft.election_elapsed) as u64;
            self.election.campaign_us = Some(now.mono_us + left * crate::TICK_MS * 1000);
            return;
        }
        self.election.campaigns += 1;
        let voters = self.fold.configuration().voters().len() as u64;
        self.election.campaign_us = Some(now.mono_us + voters.max(1) * PLACE_WAIT_US);
        self.campaign();
    }

    /// An election that this replica takes part in, as candidate or by its vote, is on its way to disks: a campaign now
    /// would throw it over.
    fn is_being_decided(&self) -> bool {
        let raft = &self.raw.raft;
        let takes_part = match raft.state {
            StateRole::Candidate => true,
            StateRole::Follower => raft.vote != 0 && raft.leader_id == 0,
            StateRole::PreCandidate | StateRole::Leader => false,
        };
        takes_part && raft.election_elapsed < ELECTION_TICKS_MIN
    }

    pub(super) fn on_strained(&mut self, now: Now, strained: bool) {
        let worse = strained && !self.strained;
        self.strained = strained;
        if worse {
            self.hand_over(now);
        }
    }

    /// A strained peer campaigns last, and goes on to look for a calm voter that leads in its place.
    fn tick_strain(&mut self, now: Now) {
        if !self.strained {
            return;
        }
        self.election.shy_ticks = SHY_FOR_TICKS;
        self.election.strained_ticks += 1;
        let free = self.raw.raft.lead_transferee.is_none();
        if free && self.election.strained_ticks.is_multiple_of(HAND_OVER_TICKS) {
            self.hand_over(now);
        }
    }

    /// Hands the lead to the best calm voter there is; where none is, it stays.
    pub(super) fn hand_over(&mut self, now: Now) {
        if !self.is_elected() {
            return;
        }
        let calm = |id| self.contacts.is_calm(id, now);
        let successor = self.walk.successor(self.id, self.fold.configuration(), calm);
        if let Some(successor) = successor {
            self.election.shy_ticks = SHY_FOR_TICKS;
            self.raw.transfer_leader(successor.0);
            self.dice();
        }
    }
}
