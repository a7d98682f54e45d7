//! The nemesis: does to the peers what the plan says, and takes it back.
//!
//! Promises that when it has ended nothing is left of its faults, and that at most one peer at a time may lose its
//! copies: before and after such a fault every shard has all its voters.

use super::disk;
use super::fault::{Kind, Strike};
use super::ground::Ground;
use super::heal;
use super::hold::{Begun, Hold};
use super::limits::{Cage, Crowd};
use super::peers::{KAFKA, Peers};
use super::tracer::Tracer;
use super::wire::Link;
use super::{clock, ground, load};
use crate::still::Still;
use anyhow::Context;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(20);
/// How long a fault that may cost copies waits for the mesh to be whole, before and after. It is left alone meanwhile,
/// so a mesh that is not whole then does not heal.
const WHOLE: Duration = Duration::from_secs(60);
/// A fault that takes longer than this to do is worth a word.
const SLOW: Duration = Duration::from_secs(1);
/// How far a clock jumps.
const JUMP_SECONDS: i64 = 600;

/// A fault that lasts.
struct Active {
    kind: Kind,
    victims: Vec<usize>,
    until: Instant,
    hold: Hold,
    /// It did something when it began; some show only at their end whether anybody felt them.
    had_effect: bool,
}

fn is_of_the_wire(kind: Kind) -> bool {
    matches!(kind, Kind::Split | Kind::OneWay | Kind::Deaf | Kind::Lossy)
}

/// Does all that.
pub struct Nemesis<'a> {
    ground: &'a Ground,
    peers: &'a mut Peers,
    active: Vec<Active>,
    began: Instant,
    /// How often each kind happened.
    pub tally: BTreeMap<&'static str, u32>,
    /// What was done to all peers at once, and when, at a time as histories have it.
    pub at_all: Vec<(&'static str, u64)>,
    /// A file each for the peers' clocks.
    clocks: Vec<PathBuf>,
    /// Why the mesh was not whole again between faults.
    pub unhealed: Vec<String>,
    /// What happened when, in words.
    pub told: Vec<String>,
}

impl<'a> Nemesis<'a> {
    pub fn new(ground: &'a Ground, peers: &'a mut Peers, clocks: Vec<PathBuf>) -> Self {
        Self {
            ground,
            peers,
            active: Vec::new(),
            began: Instant::now(),
            tally: BTreeMap::new(),
            at_all: Vec::new(),
            clocks,
            unhealed: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Follows the plan to its end; `check` looks in now and then and may stop the run.
    pub fn follow(
        &mut self,
        plan: Vec<Strike>,
        length: Duration,
        mut check: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut plan = plan.into_iter().peekable();
        while self.began.elapsed() < length {
            while let Some(strike) = plan.next_if(|strike| strike.at <= self.began.elapsed()) {
                self.strike(strike)?;
            }
            self.excuse();
            self.take_back(|active| active.until <= Instant::now())?;
            self.peers.tend()?;
            check()?;
            std::thread::sleep(TICK);
        }
        self.take_back(|_| true)
    }

    /// Whoever ends over what is done to it at this moment has a reason.
    fn excuse(&mut self) {
        for active in self.active.iter().filter(|active| active.kind.may_end()) {
            active.victims.iter().for_each(|victim| self.peers.all[victim - 1].excuse());
        }
    }

    fn tell(&mut self, text: String) {
        let line = format!("{:7.1} s  {text}", self.began.elapsed().as_secs_f64());
        println!("{line}");
        self.told.push(line);
    }

    fn strike(&mut self, mut strike: Strike) -> anyhow::Result<()> {
        let kind = strike.kind;
        if matches!(kind, Kind::KillAll | Kind::PowerAll) {
            self.take_back(|_| true)?;
        }
        if is_of_the_wire(kind) {
            // One at a time: the new one takes the place of the old one.
            self.take_back(|active| matches!(active.hold, Hold::Wire(_)))?;
        }
        if kind.costs_a_copy() {
            self.take_back(|_| true)?;
            if let Err(why) = heal::wait(self.peers, WHOLE) {
                self.tell(format!("{} is left out: {why:#}", kind.name()));
                self.unhealed.push(format!("{why:#}"));
                return Ok(());
            }
        }
        let Some(victims) = self.choose(&mut strike) else {
            self.tell(format!("{} finds nobody", kind.name()));
            return Ok(());
        };
        let whom: Vec<String> = victims.iter().map(|victim| format!("p{victim}")).collect();
        let began = Instant::now();
        if matches!(kind, Kind::KillAll | Kind::PowerAll) {
            self.at_all.push((kind.name(), crate::history::now()));
        }
        let aim = if strike.aimed { ", who led the busiest partition" } else { "" };
        let Begun { hold, more, had_effect } = self.begin(&mut strike, &victims)?;
        let lasts = strike.lasts.as_secs_f64();
        let late = match began.elapsed() {
            took if took > SLOW => format!(", which took {:.1} s to do", took.as_secs_f64()),
            _ => String::new(),
        };
        self.tell(format!("{} {}{aim}, for {lasts:.1} s{more}{late}", kind.name(), whom.join(" ")));
        let until = Instant::now() + strike.lasts;
        self.active.push(Active { kind, victims, until, hold, had_effect });
        self.excuse();
        Ok(())
    }

    /// Whom it strikes: peers to which nothing else is done but through the wire.
    fn choose(&self, strike: &mut Strike) -> Option<Vec<usize>> {
        let all: Vec<usize> = (1..=self.peers.all.len()).collect();
        let wire = is_of_the_wire(strike.kind);
        if matches!(strike.kind, Kind::KillAll | Kind::PowerAll | Kind::Lossy) {
            strike.aimed = false;
            return Some(all);
        }
        let busy = |peer: &usize| {
            let mut others = self.active.iter().filter(|active| !is_of_the_wire(active.kind));
            others.any(|active| active.victims.contains(peer))
        };
        let runs = |peer: &usize| self.peers.all[peer - 1].runs();
        let free: Vec<usize> =
            all.into_iter().filter(|peer| wire || !busy(peer) && runs(peer)).collect();
        let leader = if strike.aimed { self.busiest_leader() } else { None };
        strike.aimed = leader.is_some_and(|leader| free.contains(&leader));
        match leader.filter(|_| strike.aimed) {
            Some(leader) => Some(vec![leader]),
            None if free.is_empty() => None,
            None => Some(vec![free[strike.dice.below(free.len() as u64) as usize]]),
        }
    }

    /// The leader of the partition with the most events, if anybody says.
    fn busiest_leader(&self) -> Option<usize> {
        let path = format!("/v1/streams/{}", load::EVENTS);
        let body = (1..=self.peers.all.len()).find_map(|peer| self.peers.get(peer, &path).ok())?;
        let parts = body["parts"].as_array()?;
        let busiest = parts.iter().max_by_key(|part| part["next"].as_i64())?;
        usize::try_from(busiest["leader"].as_u64()?).ok()
    }

    fn begin(&mut self, strike: &mut Strike, victims: &[usize]) -> anyhow::Result<Begun> {
        let first = victims[0];
        let hold = match strike.kind {
            Kind::Kill | Kind::KillAll => {
                self.kill(victims)?;
                Hold::Down(victims.to_vec())
            }
            Kind::Power | Kind::PowerAll => {
                let still = self.cut(victims)?;
                self.kill(victims)?;
                still.ended();
                Hold::Unpowered(victims.to_vec())
            }
            Kind::DiskDead => {
                drop(self.cut(victims)?);
                Hold::Unpowered(victims.to_vec())
            }
            Kind::Pause => {
                self.peers.all[first - 1].pause();
                Hold::Paused(first)
            }
            Kind::Stutter => return self.stutter(first, strike),
            Kind::Split | Kind::OneWay | Kind::Deaf | Kind::Lossy => {
                let before = self.ground.wire.traffic();
                return Ok(Begun::of(Hold::Wire(before)).told(self.spoil(strike, first)));
            }
            Kind::DiskFull => {
                self.peers.all[first - 1].disk.fill()?;
                Hold::Full(first)
            }
            Kind::DiskFrozen => {
                self.peers.all[first - 1].disk.freeze()?;
                Hold::Frozen(first)
            }
            Kind::SlowSync => return self.trace(first, "delay_enter=150000"),
            Kind::SyncError => return self.trace(first, "error=EIO:when=1..2"),
            Kind::Rot => return self.rot(first, strike),
            Kind::Clock => return self.jump(first, strike),
            Kind::Descriptors => {
                let pid = self.peers.all[first - 1].pid().context("it runs")?;
                let (crowd, met) = Crowd::before(pid, (ground::address(first), KAFKA).into())?;
                let hold = Hold::Descriptors(first, crowd);
                return Ok(if met {
                    Begun::of(hold)
                } else {
                    Begun::in_vain(hold, " (it has more)")
                });
            }
            Kind::Memory => {
                let pid = self.peers.all[first - 1].pid().context("it runs")?;
                Hold::Caged(Cage::around(pid)?)
            }
        };
        Ok(Begun::of(hold))
    }

    fn kill(&mut self, victims: &[usize]) -> anyhow::Result<()> {
        victims.iter().try_for_each(|victim| self.peers.all[victim - 1].kill())
    }

    /// Cuts the power of disks whose peers stand still, so that no false word of a sync is heard.
    fn cut(&self, victims: &[usize]) -> anyhow::Result<Still> {
        let peers: Vec<_> = victims.iter().map(|victim| &self.peers.all[victim - 1]).collect();
        let still = Still::hold(peers.iter().filter_map(|peer| peer.pid()))?;
        let disks: Vec<_> = peers.iter().map(|peer| &peer.disk).collect();
        disk::cut(&disks)?;
        Ok(still)
    }

    fn stutter(&mut self, victim: usize, strike: &mut Strike) -> anyhow::Result<Begun> {
        let end = Instant::now() + strike.lasts;
        let peer = &mut self.peers.all[victim - 1];
        let mut pauses = 0;
        while Instant::now() < end {
            peer.pause();
            std::thread::sleep(Duration::from_millis(strike.dice.between(20, 250)));
            peer.resume();
            std::thread::sleep(Duration::from_millis(strike.dice.between(10, 100)));
            pauses += 1;
        }
        strike.lasts = Duration::ZERO;
        Ok(Begun::of(Hold::Nothing).told(format!(" ({pauses} pauses)")))
    }

    /// Spoils the wire, and says how.
    fn spoil(&self, strike: &mut Strike, victim: usize) -> String {
        let all: Vec<usize> = (1..=self.peers.all.len()).collect();
        let others: Vec<usize> = all.iter().copied().filter(|peer| *peer != victim).collect();
        let cut = Link { cut: true, ..Link::default() };
        match strike.kind {
            Kind::Split => {
                for other in others {
                    self.ground.wire.set(victim, other, cut);
                    self.ground.wire.set(other, victim, cut);
                }
                String::new()
            }
            Kind::OneWay => {
                let other = others[strike.dice.below(others.len() as u64) as usize];
                self.ground.wire.set(victim, other, cut);
                format!(" (to p{other})")
            }
            Kind::Deaf => {
                let mute = strike.dice.percent(50.0);
                for other in others {
                    let (from, to) = if mute { (victim, other) } else { (other, victim) };
                    self.ground.wire.set(from, to, cut);
                }
                if mute { " (nobody hears it)" } else { " (it hears nobody)" }.to_owned()
            }
            _ => {
                let link = Link {
                    loss_percent: strike.dice.below(80) as f64 / 10.0,
                    double_percent: strike.dice.below(30) as f64 / 10.0,
                    overtaken_percent: strike.dice.below(100) as f64 / 10.0,
                    delay: Duration::from_millis(strike.dice.below(40)),
                    jitter: Duration::from_millis(strike.dice.below(20)),
                    cut: false,
                };
                for (from, to) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
                    self.ground.wire.set(from, to, link);
                }
                let Link { loss_percent: loss, delay, .. } = link;
                format!(" ({loss} % loss, {} ms)", delay.as_millis())
            }
        }
    }

    /// Does something to each sync of a peer.
    fn trace(&self, victim: usize, injection: &str) -> anyhow::Result<Begun> {
        let pid = self.peers.all[victim - 1].pid().context("it runs")?;
        Ok(match Tracer::take(pid, injection)? {
            Some(tracer) => Begun::of(Hold::Traced(tracer)),
            None => Begun::in_vain(Hold::Nothing, " (it ended before)"),
        })
    }

    fn rot(&mut self, victim: usize, strike: &mut Strike) -> anyhow::Result<Begun> {
        let parts = ["journal", "segments", "tables"];
        let part = parts[strike.dice.below(parts.len() as u64) as usize];
        self.kill(&[victim])?;
        let hold = Hold::Down(vec![victim]);
        Ok(match self.peers.all[victim - 1].disk.rot(part, &mut strike.dice)? {
            Some(what) => {
                self.peers.all[victim - 1].rots();
                Begun::of(hold).told(format!(" ({what})"))
            }
            None => Begun::in_vain(hold, &format!(" (nothing, there is no {part})")),
        })
    }

    fn jump(&mut self, victim: usize, strike: &mut Strike) -> anyhow::Result<Begun> {
        let seconds = if strike.dice.percent(50.0) { JUMP_SECONDS } else { -JUMP_SECONDS };
        let file = self.clocks.get(victim - 1).context("the peers have clocks of their own")?;
        clock::set(file, seconds)?;
        // From now on it makes pictures of the mesh, and these tell its time. One that does not answer has none.
        let _ = self.peers.seconds_ahead(victim);
        let hold = Hold::Clock { victim, file: file.clone(), seconds };
        Ok(Begun::of(hold).told(format!(" ({seconds:+} s)")))
    }

    /// Takes back what is chosen.
    fn take_back(&mut self, mut chosen: impl FnMut(&Active) -> bool) -> anyhow::Result<()> {
        let mut at = 0;
        while at < self.active.len() {
            if !chosen(&self.active[at]) {
                at += 1;
                continue;
            }
            let Active { kind, hold, had_effect, .. } = self.active.remove(at);
            let kind = kind.name();
            let felt = hold.undo(self.ground, self.peers);
            match felt.with_context(|| format!("take {kind} back"))? {
                true if had_effect => *self.tally.entry(kind).or_default() += 1,
                false if had_effect => self.tell(format!("{kind} was not felt: it does not count")),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Nemesis<'_> {
    /// When a run fails in the middle, disks must not stay frozen and nobody paused.
    fn drop(&mut self) {
        for active in std::mem::take(&mut self.active) {
            match active.hold {
                Hold::Paused(_) | Hold::Frozen(_) | Hold::Traced(_) => {
                    if let Err(error) = active.hold.undo(self.ground, self.peers) {
                        eprintln!("{} stays: {error:#}", active.kind.name());
                    }
                }
                _ => {}
            }
        }
    }
}
