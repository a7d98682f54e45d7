//! What goes wrong: each run draws its own menu, so that some runs have few kinds of fault and some have all.

use super::dice::Dice;
use super::network::Network;
use super::world::{Event, World};
use model::{PeerId, ReplicaId};
use replica::{Input, Replica};
use std::collections::BTreeSet;

/// What may happen in this run.
#[derive(Clone, Debug)]
pub struct Menu {
    pub peers: i32,
    /// Peers in the ring so far, and the most there will be.
    pub joined: i32,
    joins: i32,
    /// Bytes of the log kept in memory below the durable index.
    pub log_bytes: usize,
    loss_per_mille: u64,
    double_per_mille: u64,
    jitter_us: u64,
    kinds: Vec<Fault>,
    /// Replicas whose disk was wiped.
    wiped: BTreeSet<ReplicaId>,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Crash,
    PowerCut,
    Cut,
    Isolate,
    Pause,
    SlowDisk,
    Wipe,
    Clock,
    HandOver,
    Retarget,
    Shrink,
    Strain,
    FalseAlarm,
}

impl Fault {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Crash,
        Self::PowerCut,
        Self::Cut,
        Self::Isolate,
        Self::Pause,
        Self::SlowDisk,
        Self::Wipe,
        Self::Clock,
        Self::HandOver,
        Self::Retarget,
        Self::Shrink,
        Self::Strain,
        Self::FalseAlarm,
    ];
}

impl Menu {
    pub fn draw(dice: &mut Dice) -> Self {
        let peers = dice.range(3, 6) as i32;
        let joins = match dice.range(0, 20) {
            0 => 1,
            1 | 2 => 2,
            _ => peers,
        };
        let mut kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|_| dice.chance(600)).collect();
        kinds.push(Fault::Crash);
        Self {
            peers,
            joined: 1,
            joins,
            log_bytes: *dice.pick(&[1 << 10, 8 << 10, 2 << 20]),
            loss_per_mille: *dice.pick(&[0, 0, 10, 100]),
            double_per_mille: *dice.pick(&[0, 20, 100]),
            jitter_us: *dice.pick(&[0, 3_000, 60_000]),
            kinds,
            wiped: BTreeSet::new(),
        }
    }

    pub fn apply(&self, network: &mut Network) {
        network.loss_per_mille = self.loss_per_mille;
        network.double_per_mille = self.double_per_mille;
        network.jitter_us = self.jitter_us;
    }
}

impl World {
    /// One fault now, and the next one later; growth comes first.
    pub(super) fn fault(&mut self) -> Result<(), String> {
        if self.healing {
            return Ok(());
        }
        let next = self.dice.range(30_000, 900_000);
        self.after(next, Event::Fault);
        if self.menu.joined < self.menu.joins && self.dice.chance(500) {
            self.menu.joined += 1;
            self.seat(3);
            return Ok(());
        }
        let kind = *self.dice.pick(&self.menu.kinds.clone());
        let peer = self.dice.range(1, self.menu.peers as u64 + 1) as i32;
        if self.befalls(peer, kind)? {
            self.kinds[kind as usize] += 1;
        }
        Ok(())
    }

    /// A fault of this kind; false if there was nothing that it could do.
    fn befalls(&mut self, peer: i32, kind: Fault) -> Result<bool, String> {
        Ok(match kind {
            Fault::Crash => self.crash(peer),
            Fault::PowerCut => self.dice.chance(300) && self.power_cut(),
            Fault::Cut => {
                let other = self.dice.range(1, self.menu.peers as u64 + 1) as i32;
                self.cut(peer, other)
            }
            Fault::Isolate => self.isolate(peer),
            Fault::Pause => {
                let until = self.now_us() + self.dice.range(50_000, 3_000_000);
                self.note(format_args!("p{peer} stops until {until}"));
                self.peer(peer).paused_until_us = until;
                true
            }
            Fault::SlowDisk => {
                let slow_us =
                    if self.dice.chance(400) { 0 } else { self.dice.range(10_000, 300_000) };
                self.peer(peer).slow_us = slow_us;
                slow_us > 0
            }
            Fault::Wipe => self.wipe(peer),
            Fault::Clock => {
                let ahead = self.dice.range(0, 60_000) as i64 - 30_000;
                let ahead = if self.dice.chance(400) { 0 } else { ahead };
                self.note(format_args!("p{peer} has its clock ahead by {ahead} ms"));
                self.peer(peer).wall_ahead_ms = ahead;
                ahead != 0
            }
            Fault::HandOver => {
                let leader = self.leader();
                if let Some(leader) = leader {
                    self.note(format_args!("p{leader} hands over"));
                    self.input(leader, Input::HandOver)?;
                }
                leader.is_some()
            }
            Fault::Retarget => {
                self.seat(3);
                true
            }
            Fault::Shrink => {
                let seats = self.dice.range(1, 4) as usize;
                let may = seats >= 3 || !self.may_miss_one();
                if may {
                    self.seat(seats);
                }
                may && seats < 3
            }
            Fault::Strain => {
                let strained = self.dice.chance(500);
                self.strain(peer, strained)?;
                strained
            }
            Fault::FalseAlarm => {
                let other = self.dice.range(1, self.menu.peers as u64 + 1) as i32;
                let life = self.peers[&peer].life_number();
                self.after(0, Event::Lost { peer, life, other });
                other != peer
            }
        })
    }

    fn strain(&mut self, peer: i32, strained: bool) -> Result<(), String> {
        self.note(format_args!("p{peer} strained: {strained}"));
        self.peer(peer).strained = strained;
        self.input(peer, Input::Strained { strained })
    }

    /// Every process ends at once.
    pub(super) fn power_cut(&mut self) -> bool {
        (1..=self.menu.peers).filter(|peer| self.crash(*peer)).count() > 0
    }

    /// The group's configuration moved: the worst moment for the power to go.
    pub(super) fn configuration_moved(&mut self) {
        self.configured_us = self.now_us();
        if self.menu.kinds.contains(&Fault::PowerCut) && self.dice.chance(100) {
            let delay = self.dice.range(0, 40_000);
            self.after(delay, Event::PowerCut);
        }
    }

    /// A process that has just started ends again.
    pub(super) fn relapse(&mut self, id: i32) {
        if !self.healing && self.now_us() > 0 && self.dice.chance(100) {
            let life = self.peers[&id].life_number();
            let delay = self.dice.range(0, 5_000);
            self.after(delay, Event::Crash { peer: id, life });
        }
    }

    /// Nobody hears a peer, and it hears nobody; half of the time the leader, and half of the time all notice at
    /// once that their connections broke. Clients reach everybody.
    fn isolate(&mut self, peer: i32) -> bool {
        let leader = self.leader().filter(|_| self.dice.chance(500));
        let peer = leader.unwrap_or(peer);
        let noticed = self.dice.chance(500);
        for other in 1..=self.menu.peers {
            self.cut(peer, other);
            self.cut(other, peer);
            if noticed && other != peer {
                let life = self.peers[&other].life_number();
                self.after(1_000, Event::Lost { peer: other, life, other: peer });
            }
        }
        true
    }

    pub(super) fn crash(&mut self, id: i32) -> bool {
        if !self.peers[&id].is_up() || self.healing {
            return false;
        }
        self.crashes += 1;
        let unsynced = self.peers[&id].disk.unsynced() as u64;
        let kept = self.dice.range(0, unsynced + 1) as usize;
        self.note(format_args!(
            "p{id} dies, {kept} of {unsynced} unsynced writes happen to be kept"
        ));
        let peer = self.peer(id);
        peer.disk.cut(kept);
        peer.end();
        let life = peer.life_number();
        let down = self.dice.range(50_000, 2_500_000);
        self.after(down, Event::Start { peer: id, life });
        if self.dice.chance(800) {
            for other in 1..=self.menu.peers {
                let life = self.peers[&other].life_number();
                if other != id && self.network.hears(id, other) {
                    let delay = self.dice.range(50, 3_000);
                    self.after(delay, Event::Lost { peer: other, life, other: id });
                }
            }
        }
        true
    }

    fn cut(&mut self, from: i32, to: i32) -> bool {
        if from == to {
            return false;
        }
        let lasts = self.dice.range(50_000, 2_500_000);
        self.note(format_args!("p{to} does not hear p{from} for {lasts} us"));
        self.network.cut(from, to);
        self.after(lasts, Event::Join { from, to });
        true
    }

    /// Whether a member's disk was lost and it is not replaced yet. Who alone is to have everything must not lose it
    /// in that moment: no protocol survives that.
    fn may_miss_one(&self) -> bool {
        let leader = self.leader().and_then(|leader| self.peers[&leader].replica.as_ref());
        leader.is_none_or(|leader| {
            let mut members = leader.fold().configuration().members.keys();
            members.any(|id| self.menu.wiped.contains(id))
        })
    }

    /// A disk is replaced by an empty one: allowed for one voter of three at a time, and for learners.
    fn wipe(&mut self, id: i32) -> bool {
        // Only a leader knows who votes.
        let leader = self.leader().and_then(|leader| self.peers[&leader].replica.as_ref());
        let Some(leader) = leader else { return false };
        let configuration = leader.fold().configuration().clone();
        let Some(mine) = self.peers[&id].replica.as_ref().map(Replica::id) else { return false };
        let healing = configuration.members.keys().any(|id| self.menu.wiped.contains(id));
        // The others know the configuration: who was removed by it is not needed any more.
        let told = configuration.members.keys().filter(|member| **member != mine).all(|member| {
            let there = self.peers.values().filter_map(|peer| peer.replica.as_ref());
            let mut there = there.filter(|replica| replica.id() == *member);
            there.any(|replica| *replica.fold().configuration() == configuration)
        });
        let settled = told && self.now_us() > self.configured_us + 1_000_000;
        let shrinking = self.target.1.len() < 3 && self.menu.kinds.contains(&Fault::Shrink);
        let sole = configuration.voters().len() < 3 && !configuration.is_learner(mine);
        if !self.peers[&id].is_up()
            || configuration.is_joint()
            || healing
            || sole
            || shrinking
            || !settled
        {
            return false;
        }
        self.note(format_args!("p{id} loses its disk and {mine}"));
        self.crashes += 1;
        self.menu.wiped.insert(mine);
        let peer = self.peer(id);
        peer.disk = super::disk::Disk::default();
        peer.end();
        let life = peer.life_number();
        let down = self.dice.range(1_500_000, 3_000_000);
        self.after(down, Event::Start { peer: id, life });
        true
    }

    /// The ring moves: a new epoch, other peers or another owner; a person lets so many have seats at most.
    fn seat(&mut self, seats: usize) {
        let mut peers: Vec<PeerId> = (1..=self.menu.joined).map(PeerId).collect();
        self.dice.shuffle(&mut peers);
        peers.truncate(seats);
        let least = if peers.len() < 3 { 1 } else { 3 };
        self.target = (self.target.0 + 1, peers, least);
        self.note(format_args!("the target is {:?}", self.target.clone()));
        for peer in 1..=self.menu.peers {
            let life = self.peers[&peer].life_number();
            let delay = self.dice.range(0, 60_000);
            self.after(delay, Event::Target { peer, life });
        }
    }

    /// No faults from here on.
    pub(super) fn calm_down(&mut self) -> Result<(), String> {
        self.note(format_args!("no faults from here on"));
        self.network.heal();
        self.menu.joined = self.menu.joins;
        for peer in self.peers.values_mut() {
            (peer.paused_until_us, peer.slow_us, peer.wall_ahead_ms) = (0, 0, 0);
        }
        for peer in 1..=self.menu.peers {
            self.strain(peer, false)?;
        }
        let may_shrink = self.menu.kinds.contains(&Fault::Shrink) && !self.may_miss_one();
        let shrunk = may_shrink && self.dice.chance(300);
        let seats = if shrunk { self.dice.range(1, 3) as usize } else { 3 };
        self.seat(seats);
        Ok(())
    }

    pub(super) fn leader(&self) -> Option<i32> {
        let leads = |peer: &&super::driver::Peer| {
            peer.replica.as_ref().is_some_and(|replica| replica.is_leading())
        };
        let term = |peer: &&super::driver::Peer| peer.replica.as_ref().map(|r| r.status().term);
        self.peers.values().filter(leads).max_by_key(term).map(|peer| peer.id)
    }

    /// What is still missing for health; nothing if the group is whole and idle.
    pub(super) fn is_healthy(&self) -> Result<(), String> {
        let leader = self.leader().ok_or("nobody leads")?;
        let first = self.peers[&leader].replica.as_ref().ok_or("the leader is gone")?;
        let status = first.status();
        let (target, mut voters) = (&self.target.1, status.voters.clone());
        let mut wanted = target.clone();
        voters.sort();
        wanted.sort();
        if status.joint {
            return Err(format!("p{leader} is in a joint state"));
        }
        if target.len() >= 3 && (voters != wanted || !status.learners.is_empty()) {
            return Err(format!("{voters:?} vote, {:?} learn, target {wanted:?}", status.learners));
        }
        if target.len() >= 3 && target[0] != PeerId(leader) {
            return Err(format!("p{leader} leads, not the owner of {target:?}"));
        }
        let few = target.len() < 3;
        if few && (voters.len() != 1 || status.learners.len() != target.len() - 1) {
            return Err(format!("{target:?} are {voters:?} and {:?}", status.learners));
        }
        self.clients.is_done()?;
        let whole = (first.fold().index(), first.fold().digest());
        for (id, peer) in &self.peers {
            let Some(replica) = &peer.replica else {
                if target.contains(&PeerId(*id)) {
                    return Err(format!("p{id} has no replica"));
                }
                continue;
            };
            if !target.contains(&PeerId(*id)) {
                return Err(format!("p{id} still has {}", replica.id()));
            }
            if (replica.fold().index(), replica.fold().digest()) != whole {
                return Err(format!(
                    "p{id} is at {}, p{leader} at {}",
                    replica.fold().index(),
                    whole.0
                ));
            }
            if let Some((request, _)) = peer.asked.iter().next() {
                return Err(format!("p{id} has not answered {request}"));
            }
        }
        Ok(())
    }
}
