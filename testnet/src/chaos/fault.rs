//! The kinds of faults, and the plan that a seed draws of them.

use super::clock;
use super::dice::Dice;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// kill -9 of one peer.
    Kill,
    KillAll,
    /// SIGSTOP for some seconds.
    Pause,
    /// Many short pauses.
    Stutter,
    /// One peer on one side, the others on the other.
    Split,
    /// What one peer sends to another is lost.
    OneWay,
    /// One peer hears nothing, or is heard by nobody.
    Deaf,
    /// Loss, delay, jitter, doubles and overtaking on all links.
    Lossy,
    /// One peer loses power: what it had not synced is gone.
    Power,
    PowerAll,
    DiskFull,
    /// Every write waits.
    DiskFrozen,
    /// Every sync takes much longer.
    SlowSync,
    /// Some syncs fail; the disk goes on.
    SyncError,
    /// Everything asked of the disk fails while the process lives.
    DiskDead,
    /// A bit of a stopped peer's files flips.
    Rot,
    /// The wall clock jumps by ten minutes.
    Clock,
    /// No new file and no new socket.
    Descriptors,
    /// Too little memory: the system ends the process.
    Memory,
}

/// A fault that will happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Strike {
    /// After the beginning of the run.
    pub at: Duration,
    pub kind: Kind,
    /// At the leader of the busiest partition; else at any peer.
    pub aimed: bool,
    pub lasts: Duration,
    /// For what else the fault has to choose.
    pub dice: Dice,
}

impl Kind {
    pub const ALL: [Self; 19] = [
        Self::Kill,
        Self::KillAll,
        Self::Pause,
        Self::Stutter,
        Self::Split,
        Self::OneWay,
        Self::Deaf,
        Self::Lossy,
        Self::Power,
        Self::PowerAll,
        Self::DiskFull,
        Self::DiskFrozen,
        Self::SlowSync,
        Self::SyncError,
        Self::DiskDead,
        Self::Rot,
        Self::Clock,
        Self::Descriptors,
        Self::Memory,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Pause => "pause",
            Self::Stutter => "stutter",
            Self::Split => "split",
            Self::OneWay => "one-way",
            Self::Deaf => "deaf",
            Self::Lossy => "lossy",
            Self::Power => "power",
            Self::PowerAll => "power-all",
            Self::DiskFull => "disk-full",
            Self::DiskFrozen => "disk-frozen",
            Self::SlowSync => "slow-sync",
            Self::SyncError => "sync-error",
            Self::DiskDead => "disk-dead",
            Self::Rot => "rot",
            Self::Clock => "clock",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Why this machine cannot do it.
    pub fn lacks(self) -> Option<String> {
        let tool = match self {
            Self::SlowSync | Self::SyncError => "strace",
            Self::DiskFrozen => "fsfreeze",
            Self::DiskFull => "fallocate",
            Self::Clock if clock::library().is_none() => {
                return Some("it needs libfaketime".into());
            }
            Self::Memory if super::limits::group().is_none() => {
                return Some("it needs a control group for memory".into());
            }
            _ => return None,
        };
        (!has(tool)).then(|| format!("it needs {tool}"))
    }

    /// It may cost a peer's copies: another peer's must be whole before, and it must be whole before the next.
    pub fn costs_a_copy(self) -> bool {
        matches!(self, Self::Rot | Self::SyncError)
    }

    /// A peer to which it is done may end over it: its disk takes nothing, or lies, or the system has no more for it.
    pub fn may_end(self) -> bool {
        matches!(
            self,
            Self::DiskFull | Self::SyncError | Self::DiskDead | Self::Descriptors | Self::Memory
        )
    }

    /// How long it lasts, in milliseconds, at least and at most.
    fn lasts_ms(self) -> (u64, u64) {
        match self {
            Self::Kill | Self::Power => (0, 4_000),
            Self::KillAll | Self::PowerAll | Self::Rot => (0, 500),
            Self::Pause => (300, 9_000),
            Self::Stutter => (1_000, 3_000),
            Self::Split | Self::OneWay | Self::Deaf => (1_000, 9_000),
            Self::Lossy => (3_000, 10_000),
            Self::DiskFull | Self::Descriptors => (2_000, 6_000),
            Self::DiskFrozen => (200, 4_000),
            Self::SlowSync => (2_000, 6_000),
            Self::SyncError | Self::DiskDead => (1_000, 3_000),
            Self::Clock => (3_000, 12_000),
            Self::Memory => (2_000, 4_000),
        }
    }
}

/// Whether a program is on this machine.
pub fn has(tool: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(Path::new).map(Path::to_owned);
    std::env::split_paths(&folders).chain(system).any(|folder| folder.join(tool).is_file())
}

/// A run begins with so much quiet.
const QUIET: Duration = Duration::from_secs(3);
/// Between the beginnings of two faults, in milliseconds: some overlap.
const GAP_MS: (u64, u64) = (2_000, 7_500);
/// How many kinds a run draws, if nobody says which.
const KINDS: (u64, u64) = (8, 12);

/// The kinds of a run: a subset of those that are possible, so that runs differ; the loss of all power is in each.
pub fn kinds(seed: u64) -> Vec<Kind> {
    let mut dice = Dice::new(seed ^ 0x6b69);
    let mut kinds: Vec<Kind> =
        Kind::ALL.into_iter().filter(|kind| kind.lacks().is_none()).collect();
    kinds.retain(|kind| *kind != Kind::PowerAll);
    dice.shuffle(&mut kinds);
    kinds.truncate(dice.between(KINDS.0, KINDS.1) as usize - 1);
    kinds.push(Kind::PowerAll);
    kinds.sort();
    kinds
}

/// The faults of a run: each kind once, in any order, then each once again, and so on until its end.
pub fn plan(seed: u64, kinds: &[Kind], length: Duration) -> Vec<Strike> {
    let mut dice = Dice::new(seed ^ 0x706c);
    let mut strikes = Vec::new();
    let mut bag = Vec::new();
    let mut at = QUIET;
    while at < length && !kinds.is_empty() {
        if bag.is_empty() {
            bag = kinds.to_vec();
            dice.shuffle(&mut bag);
        }
        let Some(kind) = bag.pop() else { break };
        let (least, most) = kind.lasts_ms();
        let lasts = Duration::from_millis(dice.between(least, most));
        let (aimed, own) = (dice.percent(60.0), Dice::new(dice.draw()));
        strikes.push(Strike { at, kind, aimed, lasts, dice: own });
        at += Duration::from_millis(dice.between(GAP_MS.0, GAP_MS.1));
    }
    strikes
}

/// A run of this length, whose kinds were drawn, proves something only with so many faults of so many kinds.
const LONG: Duration = Duration::from_secs(120);
const FAULTS_MIN: u32 = 12;
const KINDS_MIN: usize = 6;

/// Whether what really happened in a run was enough, by kind; else what was missing.
pub fn enough(length: Duration, happened: &BTreeMap<String, u32>) -> Result<(), String> {
    let (faults, kinds) = (happened.values().sum::<u32>(), happened.len());
    if length < LONG {
        return Ok(());
    }
    if faults < FAULTS_MIN || kinds < KINDS_MIN {
        return Err(format!(
            "{faults} faults of {kinds} kinds, and {FAULTS_MIN} of {KINDS_MIN} are wanted"
        ));
    }
    match happened.contains_key(Kind::PowerAll.name()) {
        true => Ok(()),
        false => Err("the power of all was never cut".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_with_too_few_faults_or_kinds_or_without_a_power_cut_of_all_is_not_enough() {
        let happened = |kinds: &[(&str, u32)]| {
            let kinds = kinds.iter().map(|(kind, times)| ((*kind).to_owned(), *times));
            enough(LONG, &kinds.collect())
        };
        let five = [("kill", 2), ("pause", 2), ("split", 2), ("rot", 2), ("clock", 2)];
        assert_eq!(happened(&[&five[..], &[("power-all", 2)]].concat()), Ok(()));
        let eleven = happened(&[&five[..], &[("power-all", 1)]].concat());
        assert!(eleven.is_err_and(|why| why.starts_with("11 faults of 6 kinds")));
        let few_kinds = happened(&[&five[..4], &[("power-all", 9)]].concat());
        assert!(few_kinds.is_err_and(|why| why.starts_with("17 faults of 5 kinds")));
        let powered = happened(&[&five[..], &[("power", 9)]].concat());
        assert!(powered.is_err_and(|why| why.contains("power of all")));
        assert_eq!(enough(LONG / 2, &BTreeMap::new()), Ok(()), "a short run claims less");
    }

    #[test]
    fn a_seed_gives_the_same_plan_and_every_kind_has_its_turn() {
        let two = Duration::from_secs(120);
        let strikes = plan(7, &Kind::ALL, two);
        assert_eq!(strikes, plan(7, &Kind::ALL, two));
        assert_ne!(strikes, plan(8, &Kind::ALL, two));
        let first: std::collections::BTreeSet<Kind> =
            strikes.iter().take(Kind::ALL.len()).map(|strike| strike.kind).collect();
        assert_eq!(first.len(), Kind::ALL.len());
    }

    #[test]
    fn two_minutes_have_at_least_twelve_faults_of_at_least_six_kinds_and_all_power_is_cut() {
        for seed in 0..200 {
            let kinds = kinds(seed);
            let strikes = plan(seed, &kinds, Duration::from_secs(115));
            assert!(strikes.len() >= 12, "seed {seed}: {}", strikes.len());
            assert!(kinds.len() >= 6 && kinds.contains(&Kind::PowerAll), "seed {seed}");
            assert!(strikes.iter().any(|strike| strike.kind == Kind::PowerAll), "seed {seed}");
        }
    }

    #[test]
    fn kinds_are_found_by_their_names() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::named(kind.name()) == Some(kind)));
        assert_eq!(Kind::named("flood"), None);
    }
}
