//! What a run came to: faults, figures, and a verdict.

use crate::check::{ALL, Witness};
use crate::history::{History, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// What does the same again.
    pub command: String,
    pub seed: u64,
    pub minutes: f64,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<String, u32>,
    pub acknowledged: u64,
    pub unknown: u64,
    /// Events that readers saw while faults went on.
    pub read: u64,
    pub register_steps: u64,
    pub fresh_answers: u64,
    /// Until every shard was led and had all its voters again.
    pub healed_seconds: f64,
    /// The longest time without an acknowledgement in a partition.
    pub longest_silence_seconds: f64,
    /// How often a peer ended by itself.
    pub ended_by_itself: u32,
    /// What happened to packets on the wire, in words.
    pub wire: String,
}

/// Peers are at work while acknowledgements are not older than this.
const AT_WORK: Duration = Duration::from_millis(500);
/// Faults over, every shard is led and has all its voters, in time.
pub const HEALS: &str = "the mesh heals";
/// Every client has its answer before it gives up, and all can be read at the end.
pub const SERVED: &str = "clients are served";
/// Views have read all that was acknowledged, soon after the last event.
pub const CAUGHT_UP: &str = "views catch up";
/// No stage gives an event up, but for one that is late for its window.
pub const GIVEN_UP: &str = "nothing is given up";

/// Promises that were broken, each with its witness, in the order in which that was noticed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Broken(pub Vec<(&'static str, Witness)>);

/// What a run proved, or what broke.
pub struct Report {
    pub figures: Figures,
    pub proven: Vec<(&'static str, u64)>,
    pub broken: Broken,
}

impl Broken {
    pub fn note(&mut self, promise: &'static str, witness: Witness) {
        self.0.push((promise, witness));
    }

    /// What was done in vain broke this promise.
    pub fn unless_done<T>(&mut self, promise: &'static str, done: anyhow::Result<T>) -> Option<T> {
        done.map_err(|why| self.note(promise, Witness::new(format!("{why:#}")))).ok()
    }

    /// The promises by name, each once.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for (name, _) in &self.0 {
            if !names.contains(name) {
                names.push(*name);
            }
        }
        names
    }
}

impl Figures {
    pub fn gather(&mut self, history: &History) {
        self.acknowledged = history.acked().count() as u64;
        let unknown = history.appends.iter().filter(|append| append.outcome == Outcome::Unknown);
        self.unknown = unknown.count() as u64;
        self.read = history.seen.len() as u64;
        self.register_steps = history.steps.len() as u64;
        self.fresh_answers = history.looks.iter().filter(|look| look.linear).count() as u64;
        self.longest_silence_seconds = silence(history).as_secs_f64();
    }

    /// What was done to all peers counts only if they were at work: clients had acknowledgements just before.
    pub fn count_at_work(&mut self, at_all: &[(&'static str, u64)], history: &History) {
        let returned: BTreeSet<u64> = history.acked().map(|append| append.returned).collect();
        for (kind, at) in at_all {
            let since = at.saturating_sub(AT_WORK.as_nanos() as u64);
            if returned.range(since..=*at).next().is_none()
                && let Some(times) = self.faults.get_mut(*kind)
            {
                println!("a {kind} found no peer at work: it does not count");
                *times = times.saturating_sub(1);
            }
        }
        self.faults.retain(|_, times| *times > 0);
    }

    pub fn strikes(&self) -> u32 {
        self.faults.values().sum()
    }

    pub fn times(&self, kind: &str) -> u32 {
        self.faults.get(kind).copied().unwrap_or_default()
    }
}

/// The longest time between two acknowledgements of one partition.
fn silence(history: &History) -> Duration {
    let mut told: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for append in history.acked() {
        if let Some((partition, _)) = append.place {
            told.entry(partition).or_default().push(append.returned);
        }
    }
    let mut longest = 0;
    for times in told.values_mut() {
        times.sort_unstable();
        longest = times.windows(2).map(|pair| pair[1] - pair[0]).fold(longest, u64::max);
    }
    Duration::from_nanos(longest)
}

impl Report {
    /// Runs every checker, whatever was broken before.
    pub fn of(figures: Figures, broken: Broken, history: &History) -> Self {
        let mut report = Self { figures, proven: Vec::new(), broken };
        for checker in &ALL {
            match (checker.check)(history) {
                Ok(0) => {
                    let why = "nothing was there to be looked at: nothing is proven";
                    report.broken.note(checker.name, Witness::new(why));
                }
                Ok(looked) => report.proven.push((checker.name, looked)),
                Err(witness) => report.broken.note(checker.name, witness),
            }
        }
        report
    }

    pub fn passed(&self) -> bool {
        self.broken.0.is_empty()
    }

    /// `passed`, or what broke.
    pub fn verdict(&self) -> String {
        if self.passed() { "passed".to_owned() } else { self.broken.names().join("; ") }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let kinds: Vec<String> =
            figures.faults.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
        writeln!(f, "\nfaults        {}: {}", figures.strikes(), kinds.join(", "))?;
        writeln!(
            f,
            "load          {} events acknowledged, {} of unknown outcome, {} read, {} fresh answers, \
             {} steps of registers",
            figures.acknowledged,
            figures.unknown,
            figures.read,
            figures.fresh_answers,
            figures.register_steps
        )?;
        writeln!(
            f,
            "times         whole again {:.1} s after the last fault; no partition silent longer than {:.1} s",
            figures.healed_seconds, figures.longest_silence_seconds
        )?;
        writeln!(f, "wire          {}", figures.wire)?;
        writeln!(f, "peers         ended by themselves {} times", figures.ended_by_itself)?;
        for (name, looked) in &self.proven {
            writeln!(f, "  holds       {name} ({looked} looked at)")?;
        }
        for (name, witness) in &self.broken.0 {
            writeln!(f, "  BROKEN      {name}: {witness}")?;
        }
        let seed = figures.seed;
        match self.passed() {
            true => write!(f, "verdict       seed {seed} passed"),
            false => {
                writeln!(f, "verdict       seed {seed} FAILED")?;
                write!(f, "again         cargo run --release -p testnet -- {}", figures.command)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_gave_up_is_a_verdict_with_figures_and_with_what_the_checkers_say() {
        let mut broken = Broken::default();
        let gave_up =
            || anyhow::Result::<()>::Err(anyhow::anyhow!("no answer").context("own client"));
        assert_eq!(broken.unless_done(SERVED, gave_up()), None);
        assert_eq!(broken.unless_done(SERVED, gave_up()), None);
        assert_eq!(broken.unless_done(CAUGHT_UP, Ok(1)), Some(1));
        let command = "chaos --seed 7 --minutes 2".to_owned();
        let figures = Figures { command, seed: 7, acknowledged: 3, ..Figures::default() };
        let report = Report::of(figures, broken, &History::default());
        assert!(!report.passed());
        assert!(report.verdict().starts_with("clients are served; no acknowledged event is lost"));
        assert_eq!(report.proven, [], "nothing is proven by an empty history");
        assert_eq!(report.broken.names().len(), 1 + ALL.len(), "each checker says so");
        let shown = report.to_string();
        assert!(shown.contains("BROKEN      clients are served: own client: no answer"), "{shown}");
        assert!(shown.contains("3 events acknowledged"), "{shown}");
        assert!(shown.contains("verdict       seed 7 FAILED"), "{shown}");
        assert!(shown.ends_with("-p testnet -- chaos --seed 7 --minutes 2"), "{shown}");
    }
}
