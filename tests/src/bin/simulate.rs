//! Runs many seeds of a simulator and tells what they came to: the long form of the tests.
//!
//! `cargo run -p tests --bin simulate -- mesh 1000 7000` runs 1,000 seeds of the mesh from 7,000 on; `group` for one
//! shard's group. Goes on after a failure and tells each; exits 1 if there was one.

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;
use tests::mesh::Tracing;
use tests::{mesh, seeds, sim};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (what, count, first) = (args.next(), args.next(), args.next());
    let number = |arg: Option<String>, or: u64| arg.map_or(Some(or), |arg| arg.parse().ok());
    let (Some(what), Some(count), Some(first)) = (what, number(count, 100), number(first, 0))
    else {
        eprintln!("simulate group|mesh [SEEDS] [FIRST]");
        return ExitCode::from(2);
    };
    // A failure is told in one line; where a machine panicked is in the trace of its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let failures = Mutex::new(Vec::new());
    let began = Instant::now();
    let keep = |result: Result<mesh::Outcome, String>| match result {
        Ok(outcome) => Ok(Some(outcome)),
        Err(why) => {
            println!("{why}");
            failures.lock().expect("no panics").push(why);
            Ok(None)
        }
    };
    let range = first..first.saturating_add(count);
    let outcomes = match what.as_str() {
        "mesh" => seeds::run(range, |seed| keep(mesh::run(seed, Tracing::Off))),
        "group" => seeds::run(range, |seed| keep(sim::run(seed, false).map(of_group))),
        other => {
            eprintln!("there is no simulator {other:?}: group or mesh");
            return ExitCode::from(2);
        }
    };
    let outcomes: Vec<_> = outcomes.unwrap_or_default().into_iter().flatten().collect();
    let sum = |of: fn(&mesh::Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let failed = failures.into_inner().expect("no panics").len();
    println!(
        "{what} seeds {first}..{}: {failed} failed; {:.1} simulated hours in {:?}, {} steps, {} faults, {} crashes, \
         {} power cuts of all, {} acknowledged, {} commits, {} snapshots, {} terms, {} doubts, healed within {} ms",
        first + count,
        sum(|o| o.simulated_ms) as f64 / 3.6e6,
        began.elapsed(),
        sum(|o| o.steps),
        sum(|o| o.faults),
        sum(|o| o.crashes),
        sum(|o| o.power_cuts),
        sum(|o| o.acknowledged),
        sum(|o| o.commits),
        sum(|o| o.snapshots),
        sum(|o| o.terms),
        sum(|o| o.doubts),
        outcomes.iter().map(|o| o.healed_ms).max().unwrap_or(0),
    );
    ExitCode::from(u8::from(failed > 0))
}

/// What a group's run tells, in the words of the mesh's.
fn of_group(outcome: sim::Outcome) -> mesh::Outcome {
    mesh::Outcome {
        trace: outcome.trace,
        steps: outcome.events,
        simulated_ms: outcome.simulated_ms,
        acknowledged: outcome.acknowledged,
        crashes: outcome.crashes,
        snapshots: outcome.snapshots,
        terms: outcome.terms,
        healed_ms: outcome.healed_ms,
        ..mesh::Outcome::default()
    }
}
