//! The command line: `testnet chaos`, `testnet kills`, `testnet ledger`.

use crate::chaos::fault::Kind;
use crate::chaos::report::Report;
use crate::chaos::{self, Plan, kills};
use crate::ledger::{Entry, Ledger, Sum};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(name = "testnet", about = "Runs of real peers under faults (Linux, root)")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A load of several clients, faults drawn from a seed, and checkers that know only what clients saw.
    Chaos(ChaosArgs),
    /// What one kill -9 costs clients: 1,000 HTTP requests a second for the minute of the kill.
    Kills {
        /// How many minutes, with a kill each.
        #[arg(long, default_value_t = 10)]
        kills: usize,
        /// Add a line to the ledger.
        #[arg(long)]
        ledger: bool,
    },
    /// The committed file of what was run.
    #[command(subcommand)]
    Ledger(LedgerVerb),
}

#[derive(Debug, Args)]
struct ChaosArgs {
    /// Gives the kinds of faults, their times and their victims; drawn from the clock if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults go on.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Only these kinds, as kill,pause,power-all; `list` prints them all.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Where peers, logs and histories lie [default: a folder in target/chaos]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Keep the folder of a run that passed, too.
    #[arg(long)]
    keep: bool,
    /// Add a line to the ledger.
    #[arg(long)]
    ledger: bool,
}

#[derive(Debug, Subcommand)]
enum LedgerVerb {
    /// What all lines come to.
    Sum,
    /// Adds a line about a run of a simulator.
    Add {
        /// The command that was run.
        #[arg(long)]
        what: String,
        /// `passed`, or what broke.
        #[arg(long, default_value = "passed")]
        verdict: String,
        #[arg(long, default_value_t = 0)]
        group_seeds: u64,
        #[arg(long, default_value_t = 0)]
        mesh_seeds: u64,
        #[arg(long, default_value_t = 0.0)]
        simulated_hours: f64,
        #[arg(long, default_value = "")]
        note: String,
    },
}

pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Chaos(args) => run_chaos(&args),
        Command::Kills { kills, ledger } => run_kills(kills, ledger),
        Command::Ledger(verb) => ledger(verb),
    };
    done.unwrap_or_else(|error| {
        eprintln!("it could not be done: {error:#}");
        ExitCode::FAILURE
    })
}

fn code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says why runs under faults are impossible here, if they are.
fn impossible() -> Option<ExitCode> {
    chaos::lacks().map(|why| {
        eprintln!("runs under faults are not possible here: {why}");
        ExitCode::from(2)
    })
}

fn run_chaos(args: &ChaosArgs) -> anyhow::Result<ExitCode> {
    if args.faults.iter().any(|name| name == "list") {
        for kind in Kind::ALL {
            println!("{:12} {}", kind.name(), kind.lacks().unwrap_or_default());
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(code) = impossible() {
        return Ok(code);
    }
    let seed = args.seed.unwrap_or_else(crate::history::now);
    let plan = Plan {
        seed,
        length: Duration::from_secs_f64(args.minutes * 60.0),
        kinds: kinds(&args.faults)?,
        folder: args.folder.clone().unwrap_or_else(|| folder(&seed.to_string())),
    };
    let report = chaos::run(&plan, interrupts()?.as_ref());
    if let Ok(report) = &report {
        println!("{report}");
    }
    let passed = report.as_ref().is_ok_and(Report::passed);
    if args.ledger {
        let mut what = format!("chaos --seed {seed} --minutes {}", args.minutes);
        if !args.faults.is_empty() {
            what += &format!(" --faults {}", args.faults.join(","));
        }
        Ledger::own().add(entry(what, report.as_ref()))?;
    }
    leave(&plan.folder, passed && !args.keep)?;
    report.map(|_| code(passed))
}

/// The line of a run, whatever came of it.
fn entry(what: String, report: Result<&Report, &anyhow::Error>) -> Entry {
    match report {
        Err(error) => Entry { what, verdict: format!("not done: {error:#}"), ..Entry::default() },
        Ok(report) => {
            let broken: Vec<&str> = report.broken.iter().map(|(name, _)| name.as_str()).collect();
            let verdict = if broken.is_empty() { "passed".into() } else { broken.join("; ") };
            let figures = &report.figures;
            Entry {
                what,
                verdict,
                minutes: figures.minutes,
                faults: figures.faults.clone(),
                acknowledged: figures.acknowledged,
                all_power_cuts: u64::from(figures.times("power-all")),
                ..Entry::default()
            }
        }
    }
}

fn run_kills(kills: usize, ledger: bool) -> anyhow::Result<ExitCode> {
    if let Some(code) = impossible() {
        return Ok(code);
    }
    let folder = folder("kills");
    std::fs::create_dir_all(&folder)?;
    let tally = kills::run(&folder, kills)?;
    println!("{tally}");
    if ledger {
        let verdict = if tally.passed() { "passed" } else { "clients felt a kill too much" };
        Ledger::own().add(Entry {
            what: format!("kills --kills {kills}"),
            verdict: verdict.to_owned(),
            minutes: kills as f64,
            faults: [("kill".to_owned(), kills as u32)].into(),
            note: tally.to_string(),
            ..Entry::default()
        })?;
    }
    leave(&folder, tally.passed())?;
    Ok(code(tally.passed()))
}

fn ledger(verb: LedgerVerb) -> anyhow::Result<ExitCode> {
    let ledger = Ledger::own();
    match verb {
        LedgerVerb::Sum => println!("{}", Sum::of(&ledger.entries()?)),
        LedgerVerb::Add { what, verdict, group_seeds, mesh_seeds, simulated_hours, note } => {
            let entry = Entry {
                what,
                verdict,
                group_seeds,
                mesh_seeds,
                simulated_hours,
                note,
                ..Entry::default()
            };
            ledger.add(entry)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn kinds(names: &[String]) -> anyhow::Result<Option<Vec<Kind>>> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut kinds = Vec::new();
    for name in names {
        let Some(kind) = Kind::named(name) else {
            anyhow::bail!("there is no fault {name}; --faults list prints all");
        };
        if let Some(why) = kind.lacks() {
            anyhow::bail!("{name} is not possible here: {why}");
        }
        kinds.push(kind);
    }
    Ok(Some(kinds))
}

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/chaos");
    root.join(format!("{name}-{}", std::process::id()))
}

fn leave(folder: &Path, nothing: bool) -> anyhow::Result<()> {
    if nothing {
        std::fs::remove_dir_all(folder)?;
    } else {
        println!("logs, disks and histories are in {}", folder.display());
    }
    Ok(())
}

/// A switch that ^C and a wish to end set, so that a run takes its peers, disks and namespaces away.
fn interrupts() -> anyhow::Result<Arc<AtomicBool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let switch = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&switch);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let (Ok(mut end), Ok(mut stop)) =
                (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
            else {
                return;
            };
            tokio::select! {
                _ = end.recv() => {}
                _ = stop.recv() => {}
            }
            set.store(true, Ordering::Relaxed);
        });
    });
    Ok(switch)
}
