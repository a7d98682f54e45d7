//! Runs many seeds of a simulator and tells what they came to: the long form of the tests.
//!
//! `cargo run -p tests --bin simulate -- mesh 1000 7000` runs 1,000 seeds of the mesh from 7,000 on; `group` for one
//! shard's group. Goes on after a failure and tells each; exits 1 if there was one. With `--ledger` it adds a line to
//! the ledger, whatever came of it.

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::Instant;
use tests::mesh::{Outcome, Tracing};
use tests::{mesh, seeds, sim};

/// What is asked for.
struct Asked {
    is_mesh: bool,
    count: u64,
    first: u64,
    ledger: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let Some(asked) = asked() else {
        eprintln!("simulate group|mesh [SEEDS] [FIRST] [--ledger]");
        return Ok(ExitCode::from(2));
    };
    // A failure is told in one line; where a machine panicked is in the trace of its seed.
    std::panic::set_hook(Box::new(|_| {}));
    // Asked before the run: what is changed meanwhile was not tried.
    let tried = asked.ledger.then(|| ledger(&["tried"])).transpose()?;
    let failures = Mutex::new(Vec::new());
    let began = Instant::now();
    let one = |seed| match asked.is_mesh {
        true => mesh::run(seed, Tracing::Off),
        false => sim::run(seed, false).map(of_group),
    };
    let range = asked.first..asked.first.saturating_add(asked.count);
    let outcomes = seeds::run(range, |seed| match one(seed) {
        Ok(outcome) => Ok(Some(outcome)),
        Err(why) => {
            println!("{why}");
            failures.lock().expect("no panics").push(seed);
            Ok(None)
        }
    });
    let outcomes: Vec<_> = outcomes.unwrap_or_default().into_iter().flatten().collect();
    let failed = failures.into_inner().expect("no panics");
    let note = told(&outcomes);
    let (what, last) = (name(&asked), asked.first + asked.count);
    let took = began.elapsed();
    println!("{what} seeds {}..{last} in {took:?}: {} failed; {note}", asked.first, failed.len());
    if let Some(tried) = tried {
        write_ledger(&asked, tried.trim(), (&outcomes, &failed), &note)?;
    }
    Ok(ExitCode::from(u8::from(!failed.is_empty())))
}

fn asked() -> Option<Asked> {
    let (flags, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let is_mesh = match words.first()?.as_str() {
        "mesh" => true,
        "group" => false,
        _ => return None,
    };
    let number = |at: usize, or: u64| words.get(at).map_or(Some(or), |word| word.parse().ok());
    let ledger = flags.iter().any(|flag| flag == "--ledger");
    Some(Asked { is_mesh, count: number(1, 100)?, first: number(2, 0)?, ledger })
}

fn name(asked: &Asked) -> &'static str {
    if asked.is_mesh { "mesh" } else { "group" }
}

fn sum(outcomes: &[Outcome], of: fn(&Outcome) -> u64) -> u64 {
    outcomes.iter().map(of).sum()
}

fn hours(outcomes: &[Outcome]) -> f64 {
    sum(outcomes, |o| o.simulated_ms) as f64 / 3.6e6
}

fn told(outcomes: &[Outcome]) -> String {
    format!(
        "{:.1} simulated hours, {} steps, {} faults, {} crashes, {} simulated power cuts of all, {} acknowledged, \
         {} commits, {} snapshots, {} terms, {} doubts, {} peers left, healed within {} ms",
        hours(outcomes),
        sum(outcomes, |o| o.steps),
        sum(outcomes, |o| o.faults),
        sum(outcomes, |o| o.crashes),
        sum(outcomes, |o| o.power_cuts),
        sum(outcomes, |o| o.acknowledged),
        sum(outcomes, |o| o.commits),
        sum(outcomes, |o| o.snapshots),
        sum(outcomes, |o| o.terms),
        sum(outcomes, |o| o.doubts),
        sum(outcomes, |o| o.left),
        outcomes.iter().map(|o| o.healed_ms).max().unwrap_or(0),
    )
}

/// Asks the ledger's own command, and returns what it printed.
fn ledger(words: &[&str]) -> anyhow::Result<String> {
    let cargo = ["run", "--release", "--quiet", "-p", "testnet", "--", "ledger"];
    let output = Command::new("cargo").args(cargo).args(words).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "the ledger: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn write_ledger(
    asked: &Asked,
    tried: &str,
    (outcomes, failed): (&[Outcome], &[u64]),
    note: &str,
) -> anyhow::Result<()> {
    let Asked { count, first, .. } = asked;
    let what = format!("simulate {} {count} {first}", name(asked));
    let verdict = match failed {
        [] => "passed".to_owned(),
        some => format!("seeds {some:?} failed"),
    };
    let seeds = if asked.is_mesh { "--mesh-seeds" } else { "--group-seeds" };
    let (count, hours) = (count.to_string(), format!("{:.2}", hours(outcomes)));
    let run = ["add", "--tried", tried, "--what", &what, "--verdict", &verdict, "--note", note];
    let figures = [seeds, &count, "--simulated-hours", &hours];
    ledger(&[run.as_slice(), &figures].concat()).map(drop)
}

/// What a group's run tells, in the words of the mesh's.
fn of_group(outcome: sim::Outcome) -> Outcome {
    Outcome {
        trace: outcome.trace,
        steps: outcome.events,
        simulated_ms: outcome.simulated_ms,
        acknowledged: outcome.acknowledged,
        crashes: outcome.crashes,
        faults: outcome.kinds.iter().sum(),
        snapshots: outcome.snapshots,
        terms: outcome.terms,
        healed_ms: outcome.healed_ms,
        ..Outcome::default()
    }
}
