//! The ledger: a committed file, a line for each run that was done to prove something, whatever came of it.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub day: String,
    /// The commit that was tried, with a `+` if something was changed since.
    pub commit: String,
    /// The tree of that commit: it stays the same where commits are joined or told anew.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tree: String,
    /// The command.
    pub what: String,
    /// `passed`, or what broke.
    pub verdict: String,
    /// Seeds of the group simulator.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub group_seeds: u64,
    /// Seeds of the simulator of whole meshes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mesh_seeds: u64,
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub simulated_hours: f64,
    /// Minutes of real peers under faults.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub minutes: f64,
    /// Real faults by their kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, u32>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub acknowledged: u64,
    /// Times that all peers lost their power at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub all_power_cuts: u64,
    /// What else is worth knowing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_nothing(number: &f64) -> bool {
    *number == 0.0
}

/// The ledger's file.
pub struct Ledger(PathBuf);

impl Ledger {
    /// The one of this project.
    pub fn own() -> Self {
        Self(Path::new(env!("CARGO_MANIFEST_DIR")).join("LEDGER.jsonl"))
    }

    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Adds a line, with the day and what was tried.
    pub fn add(&self, (commit, tree): Tried, entry: Entry) -> anyhow::Result<()> {
        let entry = Entry { day: day()?, commit, tree, ..entry };
        let line = serde_json::to_string(&entry)?;
        let file = OpenOptions::new().create(true).append(true).open(&self.0);
        let mut file = file.with_context(|| format!("open {}", self.0.display()))?;
        writeln!(file, "{line}").context("write the ledger")
    }

    pub fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        let text = fs::read_to_string(&self.0);
        let text = text.with_context(|| format!("read {}", self.0.display()))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
        let read = |(at, line): (usize, &str)| {
            serde_json::from_str(line).with_context(|| format!("line {} of the ledger", at + 1))
        };
        lines.map(read).collect()
    }
}

/// What all lines come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    pub passed: Entry,
    pub runs: u64,
    pub failed: u64,
}

impl Sum {
    /// Figures of runs that failed are not counted: they proved nothing but that something was broken.
    pub fn of(entries: &[Entry]) -> Self {
        let mut sum = Self::default();
        for entry in entries {
            sum.runs += 1;
            if entry.verdict != "passed" {
                sum.failed += 1;
                continue;
            }
            let passed = &mut sum.passed;
            passed.group_seeds += entry.group_seeds;
            passed.mesh_seeds += entry.mesh_seeds;
            passed.simulated_hours += entry.simulated_hours;
            passed.minutes += entry.minutes;
            passed.acknowledged += entry.acknowledged;
            passed.all_power_cuts += entry.all_power_cuts;
            for (kind, times) in &entry.faults {
                *passed.faults.entry(kind.clone()).or_default() += times;
            }
        }
        sum
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = &self.passed;
        writeln!(f, "{} runs, {} of them failed; in those that passed:", self.runs, self.failed)?;
        writeln!(f, "{:>10}  seeds of the group simulator (200000 wanted)", passed.group_seeds)?;
        writeln!(f, "{:>10}  seeds of the mesh simulator (5000 wanted)", passed.mesh_seeds)?;
        writeln!(f, "{:>10.1}  simulated hours", passed.simulated_hours)?;
        writeln!(f, "{:>10.1}  minutes of real peers under faults (60 wanted)", passed.minutes)?;
        writeln!(f, "{:>10}  losses of all power (50 wanted)", passed.all_power_cuts)?;
        writeln!(f, "{:>10}  acknowledged events", passed.acknowledged)?;
        let faults: u32 = passed.faults.values().sum();
        let kinds = passed.faults.iter().map(|(kind, times)| format!("{kind} {times}"));
        write!(f, "{faults:>10}  faults: {}", kinds.collect::<Vec<_>>().join(", "))
    }
}

fn day() -> anyhow::Result<String> {
    said(Command::new("date").args(["-u", "+%Y-%m-%d"]))
}

/// A commit and its tree, as [`Entry`] has them.
pub type Tried = (String, String);

/// What lies here now: to be asked before a run, since work may go on while it lasts.
pub fn tried() -> anyhow::Result<Tried> {
    let git = |words: &[&str]| {
        said(Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(words))
    };
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    // The ledger itself may have grown: that changes nothing about what was tried.
    let changed = git(&["status", "--porcelain", "--", ":/", ":!LEDGER.jsonl"])?;
    let tree = git(&["rev-parse", "--short=10", "HEAD^{tree}"])?;
    Ok((if changed.is_empty() { commit } else { format!("{commit}+") }, tree))
}

/// Whether what was tried is a commit of this history, without changes.
pub fn is_of_this_history(entry: &Entry) -> bool {
    let mut git = Command::new("git");
    git.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::null());
    git.args(["merge-base", "--is-ancestor", &entry.commit, "HEAD"]);
    git.status().is_ok_and(|status| status.success())
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_read_and_summed_and_failed_runs_count_for_nothing() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let ledger = Ledger::at(folder.path().join("LEDGER.jsonl"));
        let faults = BTreeMap::from([("kill".to_owned(), 3)]);
        let run = |verdict: &str| Entry {
            what: "chaos --seed 1".into(),
            verdict: verdict.into(),
            minutes: 2.0,
            faults: faults.clone(),
            acknowledged: 1000,
            all_power_cuts: 2,
            ..Entry::default()
        };
        for verdict in ["passed", "no acknowledged event is lost", "passed"] {
            ledger.add(("c0ffee".into(), "7ree".into()), run(verdict)).expect("it is added");
        }
        let entries = ledger.entries().expect("it is read");
        assert!(entries.iter().all(|entry| !entry.day.is_empty() && entry.tree == "7ree"));
        let sum = Sum::of(&entries);
        assert_eq!((sum.runs, sum.failed, sum.passed.acknowledged), (3, 1, 2000));
        assert_eq!((sum.passed.faults["kill"], sum.passed.all_power_cuts), (6, 4));
    }

    #[test]
    fn the_ledger_of_this_project_can_be_read() {
        assert!(Ledger::own().entries().is_ok());
    }
}
