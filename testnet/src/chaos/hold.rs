//! What the nemesis has done to somebody, how that is taken back, and whether anybody felt it.

use super::clock;
use super::ground::Ground;
use super::limits::{Cage, Crowd};
use super::peers::Peers;
use super::tracer::Tracer;
use super::wire::Traffic;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A peer whose clock jumped must tell a time that differs by as much, give or take this.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// And within this time: the picture of the mesh that has it is a little old.
const CLOCK_TOLD: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// What a fault needs to be taken back.
pub enum Hold {
    Nothing,
    /// The peers that it ended, and must start again.
    Down(Vec<usize>),
    /// As `Down`, and their disks are dead.
    Unpowered(Vec<usize>),
    Paused(usize),
    /// What the wire had done before.
    Wire(Traffic),
    Full(usize),
    Frozen(usize),
    Traced(Tracer),
    Clock {
        victim: usize,
        file: PathBuf,
        seconds: i64,
    },
    Descriptors(usize, Crowd),
    Caged(Cage),
}

/// What was done to somebody.
pub struct Begun {
    pub hold: Hold,
    /// What else is to be told about it.
    pub more: String,
    /// One that had no effect is taken back like any other, and not counted.
    pub had_effect: bool,
}

impl Begun {
    pub fn of(hold: Hold) -> Self {
        Self { hold, more: String::new(), had_effect: true }
    }

    pub fn told(self, more: String) -> Self {
        Self { more, ..self }
    }

    pub fn in_vain(hold: Hold, why: &str) -> Self {
        Self { hold, more: format!("{why}, which does not count"), had_effect: false }
    }
}

impl Hold {
    /// Takes it back. The answer is whether it was felt, as far as that shows only now.
    pub fn undo(self, ground: &Ground, peers: &mut Peers) -> anyhow::Result<bool> {
        match self {
            Self::Nothing => Ok(true),
            Self::Down(victims) => start(peers, &victims),
            Self::Unpowered(victims) => {
                for victim in &victims {
                    let peer = &mut peers.all[victim - 1];
                    peer.kill()?;
                    peer.disk.unmount()?;
                    peer.disk.mount()?;
                }
                start(peers, &victims)
            }
            Self::Paused(victim) => {
                peers.all[victim - 1].resume();
                Ok(true)
            }
            Self::Wire(before) => {
                ground.wire.heal();
                Ok(ground.wire.traffic().suffered_since(before))
            }
            Self::Full(victim) => peers.all[victim - 1].disk.relieve().map(|()| true),
            Self::Frozen(victim) => peers.all[victim - 1].disk.thaw().map(|()| true),
            Self::Traced(tracer) => tracer.let_go().map(|struck| struck > 0),
            Self::Clock { victim, file, seconds } => {
                let felt = is_ahead(peers, victim, seconds);
                clock::set(&file, 0)?;
                Ok(felt)
            }
            Self::Descriptors(victim, crowd) => {
                // If it ended over it, its next process has never had the limit.
                if peers.all[victim - 1].pid() == Some(crowd.pid()) {
                    crowd.disperse()?;
                }
                Ok(true)
            }
            Self::Caged(cage) => Ok(cage.was_felt()),
        }
    }
}

/// Whether a peer's own word for the time is so far from ours.
fn is_ahead(peers: &Peers, victim: usize, seconds: i64) -> bool {
    let end = Instant::now() + CLOCK_TOLD;
    loop {
        let told = peers.seconds_ahead(victim);
        if told.is_ok_and(|told| told.abs_diff(seconds) < CLOCK_SLACK.as_secs()) {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

fn start(peers: &mut Peers, victims: &[usize]) -> anyhow::Result<bool> {
    victims.iter().try_for_each(|victim| peers.start(*victim)).map(|()| true)
}
