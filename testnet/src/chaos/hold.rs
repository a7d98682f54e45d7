//! What the nemesis has done to somebody, and what it needs to take it back.

use super::limits::Cage;
use super::tracer::Tracer;
use rustix::process::{Pid, Rlimit};
use std::path::PathBuf;

/// What a fault needs to be taken back.
pub enum Hold {
    Nothing,
    /// The peers that it ended, and must start again.
    Down(Vec<usize>),
    /// As `Down`, and their disks are dead.
    Unpowered(Vec<usize>),
    Paused(usize),
    Wire,
    Full(usize),
    Frozen(usize),
    Traced(Tracer),
    Clock(PathBuf),
    Descriptors(usize, Pid, Rlimit),
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
