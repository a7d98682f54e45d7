//! What goes wrong: each run draws its own menu, so that some runs have few kinds of fault and some have all.

mod disks;

use super::host::Host;
use super::network::Network;
use super::trace::note;
use super::world::{Event, Of, SHARDS, TROUBLE_US, World};
use crate::sim::dice::Dice;
use model::ShardId;
use model::catalogue::{Away, Change};

/// What may happen in this run, and how large things are.
#[derive(Clone, Debug)]
pub struct Menu {
    pub hosts: usize,
    /// When each host starts for the first time, µs.
    pub arrivals: Vec<u64>,
    loss_per_mille: u64,
    double_per_mille: u64,
    jitter_us: u64,
    /// The longest pause between two faults, µs.
    pause_us: u64,
    kinds: Vec<Fault>,
    /// Bytes of a log kept in memory below the durable index: for nobody known, and for a live follower.
    pub log_bytes: (usize, usize),
    pub journal: store::journal::Limits,
    /// Journal bytes above which it is cut.
    pub journal_bytes: u64,
    pub segments: store::segments::Limits,
    pub task_bytes: usize,
    pub chunk_bytes: usize,
    pub read_bytes: usize,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    KillLeader,
    PowerOff,
    PowerOffAll,
    Cut,
    Isolate,
    Pause,
    SlowDisk,
    Clock,
    HandOver,
    FalseAlarm,
    Drain,
    Leave,
    FailSync,
    FailWrites,
    Torn,
    Wipe,
    Rot,
    LoseWrite,
    TaskDies,
}

impl Fault {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 20] = [
        Self::Kill,
        Self::KillLeader,
        Self::PowerOff,
        Self::PowerOffAll,
        Self::Cut,
        Self::Isolate,
        Self::Pause,
        Self::SlowDisk,
        Self::Clock,
        Self::HandOver,
        Self::FalseAlarm,
        Self::Drain,
        Self::Leave,
        Self::FailSync,
        Self::FailWrites,
        Self::Torn,
        Self::Wipe,
        Self::Rot,
        Self::LoseWrite,
        Self::TaskDies,
    ];
}

impl Menu {
    pub fn draw(dice: &mut Dice) -> Self {
        let hosts = if dice.chance(250) { 6 } else { 5 };
        let late = dice.chance(400);
        let arrivals = (0..hosts as u64).map(|host| match host {
            0 => 0,
            4.. if late => dice.range(5_000_000, 30_000_000),
            _ => dice.range(50_000, 1_500_000),
        });
        let arrivals = arrivals.collect();
        let mut kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|_| dice.chance(500)).collect();
        kinds.push(Fault::Kill);
        let log_bytes = *dice.pick(&[4 << 10, 64 << 10, 2 << 20]);
        let journal_file = *dice.pick(&[64 << 10, 256 << 10]);
        Self {
            hosts,
            arrivals,
            loss_per_mille: *dice.pick(&[0, 0, 10, 80]),
            double_per_mille: *dice.pick(&[0, 20, 100]),
            jitter_us: *dice.pick(&[0, 3_000, 50_000]),
            pause_us: *dice.pick(&[800_000, 2_000_000, 5_000_000]),
            kinds,
            log_bytes: (log_bytes, 2 * log_bytes),
            journal: store::journal::Limits {
                segment_bytes: journal_file,
                journal_bytes_max: 16 * journal_file,
            },
            journal_bytes: *dice.pick(&[2, 6]) * journal_file,
            segments: store::segments::Limits {
                segment_bytes: *dice.pick(&[4 << 10, 64 << 10]),
                tail_bytes: *dice.pick(&[0, 4 << 10]) as usize,
                tail_bytes_total: 64 << 10,
                open_files: 16,
            },
            task_bytes: *dice.pick(&[500, 1 << 20]),
            chunk_bytes: *dice.pick(&[1, 500, 256 << 10]),
            read_bytes: *dice.pick(&[1, 2_000, 1 << 20]),
        }
    }

    pub fn apply(&self, network: &mut Network) {
        network.loss_per_mille = self.loss_per_mille;
        network.double_per_mille = self.double_per_mille;
        network.jitter_us = self.jitter_us;
    }
}

impl World {
    /// One fault now, and the next one later.
    pub fn fault(&mut self) -> Result<(), String> {
        if self.healing {
            return Ok(());
        }
        let next = self.dice.range(50_000, self.menu.pause_us);
        self.after(next, Event::Fault);
        let kind = *self.dice.pick(&self.menu.kinds.clone());
        let h = self.any_host();
        if self.hosts[h].spared_until.is_some() || self.hosts[h].process.is_none() {
            return Ok(());
        }
        note!(self, "fault: {kind:?} at h{h}");
        if self.befalls(h, kind)? {
            self.befell(kind);
        }
        Ok(())
    }

    /// A fault has taken effect.
    pub fn befell(&mut self, kind: Fault) {
        self.outcome.faults += 1;
        self.outcome.kinds[kind as usize] += 1;
    }

    /// A fault of this kind at a host that runs; false if there was nothing that it could do, or if it waits for the disk to
    /// be used: then it befalls when it is ([`World::fenced`], [`World::spare_no_more`]).
    fn befalls(&mut self, h: usize, kind: Fault) -> Result<bool, String> {
        let took = match kind {
            Fault::Kill => self.kill(h),
            Fault::KillLeader => self.some_leader().is_some_and(|leader| self.kill(leader)),
            Fault::PowerOff => self.power_off(h),
            Fault::PowerOffAll => self.dice.chance(300) && self.power_cut(),
            Fault::Cut => {
                let other = self.any_host();
                self.cut_link(h, other)
            }
            Fault::Isolate => self.isolate(h),
            Fault::Pause => {
                let until = self.now_us() + self.dice.range(50_000, 4_000_000);
                self.hosts[h].paused_until_us = until;
                true
            }
            Fault::SlowDisk => {
                let slow_us = self.dice.range(10_000, 300_000);
                self.hosts[h].slow_us = if self.dice.chance(400) { 0 } else { slow_us };
                self.hosts[h].slow_us > 0
            }
            Fault::Clock => {
                let ahead = self.dice.range(0, 1_200_000) as i64 - 600_000;
                self.hosts[h].wall_ahead_ms = if self.dice.chance(400) { 0 } else { ahead };
                self.hosts[h].wall_ahead_ms != 0
            }
            Fault::HandOver => {
                let leads = (0..SHARDS).any(|shard| self.leader_of(ShardId(shard)) == Some(h));
                self.on_hand_over(h)?;
                leads
            }
            Fault::FalseAlarm => {
                let other = self.any_host();
                let key = self.hosts[other].key();
                self.soon(h, 0, Of::Down { key });
                other != h && self.hosts[other].process.is_some()
            }
            Fault::Drain => {
                let away = self.dice.chance(600).then_some(Away::Drained);
                self.send_away(h, away) && away.is_some()
            }
            Fault::Leave => self.send_away(h, Some(Away::Leaving)),
            Fault::FailSync => {
                self.fail(h, |faults| faults.fail_syncs = true);
                false
            }
            Fault::FailWrites => {
                self.fail(h, |faults| faults.fail_writes = true);
                false
            }
            Fault::Torn => {
                self.arm(h);
                false
            }
            Fault::Wipe => self.wipe(h),
            Fault::Rot => self.rot(h),
            Fault::LoseWrite => {
                self.lose_write(h);
                false
            }
            Fault::TaskDies => self.a_task_dies(h)?,
        };
        Ok(took)
    }

    pub fn any_host(&mut self) -> usize {
        self.dice.range(0, self.hosts.len() as u64) as usize
    }

    /// The host that leads some shard.
    fn some_leader(&mut self) -> Option<usize> {
        let shard = ShardId(self.dice.range(0, u64::from(SHARDS)) as u16);
        self.leader_of(shard).filter(|leader| self.may_end(*leader))
    }

    /// The host whose replica leads a shard, of the highest term.
    pub fn leader_of(&self, shard: ShardId) -> Option<usize> {
        let leads = |host: &&Host| {
            let process = host.process.as_deref();
            process.and_then(|p| p.replica(shard)).is_some_and(replica::Replica::is_leading)
        };
        let term = |host: &&Host| {
            let process = host.process.as_deref();
            process.and_then(|p| p.replica(shard)).map(|replica| replica.status().term)
        };
        self.hosts.iter().filter(leads).max_by_key(term).map(|host| host.name)
    }

    /// Whether a fault may end this host's process now.
    fn may_end(&self, h: usize) -> bool {
        !self.healing && self.hosts[h].is_up() && self.hosts[h].spared_until.is_none()
    }

    /// The process ends; what it has written stays, synced or not.
    pub fn kill(&mut self, h: usize) -> bool {
        let may = self.hosts[h].is_up() && self.hosts[h].spared_until.is_none();
        if may {
            self.end(h);
            self.notice(h, 800);
        }
        may
    }

    /// The process ends, and starts again after a while.
    pub fn end(&mut self, h: usize) {
        note!(self, "h{h} ends");
        self.outcome.crashes += 1;
        self.hosts[h].end_life();
        self.after_power(h);
        let life = self.hosts[h].life();
        let down = self.dice.range(50_000, 3_000_000);
        self.after(down, Event::Start { host: h, life });
    }

    /// The power goes: what was not synced survives in part.
    fn power_off(&mut self, h: usize) -> bool {
        if !self.may_end(h) {
            return false;
        }
        self.end(h);
        let seed = self.dice.next();
        self.hosts[h].disk.cut(seed);
        let dice = &mut self.dice;
        self.hosts[h].tables.cut(dice);
        self.notice(h, 200);
        true
    }

    /// The power of all goes at once.
    pub fn power_cut(&mut self) -> bool {
        let up = (0..self.hosts.len()).filter(|h| self.hosts[*h].process.is_some());
        let up: Vec<usize> = up.collect();
        if self.healing || up.iter().any(|h| self.hosts[*h].spared_until.is_some()) {
            return false;
        }
        note!(self, "the power of all goes");
        self.outcome.power_cuts += 1;
        up.into_iter().for_each(|h| {
            self.power_off(h);
        });
        true
    }

    /// The others notice that their connections to a host broke, with some luck.
    fn notice(&mut self, h: usize, per_mille: u64) {
        if !self.dice.chance(per_mille) {
            return;
        }
        let key = self.hosts[h].key();
        for other in (0..self.hosts.len()).filter(|other| *other != h) {
            if self.network.hears(h, other) {
                let delay = self.dice.range(50, 3_000);
                self.soon(other, delay, Of::Down { key: key.clone() });
            }
        }
    }

    /// A shard's configuration moved: the worst moment for the power to go.
    pub fn configuration_moved(&mut self) {
        if self.menu.kinds.contains(&Fault::PowerOffAll) && self.dice.chance(30) {
            let delay = self.dice.range(0, 40_000);
            self.after(delay, Event::PowerCut);
        }
    }

    /// A process that has just started ends again.
    pub fn relapse(&mut self, h: usize) {
        if !self.healing && self.now_us() > 2_000_000 && self.dice.chance(100) {
            let delay = self.dice.range(0, 20_000);
            self.soon(h, delay, Of::Die);
        }
    }

    fn cut_link(&mut self, from: usize, to: usize) -> bool {
        if from == to {
            return false;
        }
        let lasts = self.dice.range(50_000, 4_000_000);
        note!(self, "h{to} does not hear h{from} for {lasts} us");
        self.network.cut(from, to);
        self.after(lasts, Event::Join { from, to });
        true
    }

    /// Nobody hears a host, and it hears nobody; sometimes all notice at once that their connections broke.
    fn isolate(&mut self, h: usize) -> bool {
        for other in 0..self.hosts.len() {
            self.cut_link(h, other);
            self.cut_link(other, h);
        }
        self.notice(h, 500);
        true
    }

    /// A task ends, also while its commit is under way, and is built again.
    fn a_task_dies(&mut self, h: usize) -> Result<bool, String> {
        let tasks =
            self.process(h).map(|process| process.tasks.keys().copied().collect::<Vec<_>>());
        let tasks = tasks.unwrap_or_default();
        if tasks.is_empty() {
            return Ok(false);
        }
        let task = *self.dice.pick(&tasks);
        self.task_failed(h, task, "it is made to end")?;
        Ok(true)
    }

    /// The operator takes load from a peer, or gives it back.
    fn send_away(&mut self, h: usize, away: Option<Away>) -> bool {
        let Some(peer) = self.hosts[h].head else { return false };
        self.clients.order(Change::Drain { peer, away, shrink: false });
        true
    }

    /// No faults from here on.
    pub fn calm_down(&mut self) {
        assert!(self.now_us() >= TROUBLE_US, "trouble has its time");
        note!(self, "no faults from here on");
        self.network.heal();
        for h in 0..self.hosts.len() {
            self.mend(h);
            let host = &mut self.hosts[h];
            (host.paused_until_us, host.slow_us, host.wall_ahead_ms) = (0, 0, 0);
        }
    }
}
