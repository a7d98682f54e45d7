//! The command line: `testnet chaos`, `testnet kills`, `testnet ledger`.

use crate::chaos::fault::Kind;
use crate::chaos::kills::{self, Tally};
use crate::chaos::report::Report;
use crate::chaos::{self, Plan};
use crate::ledger::{self, Entry, Ledger, Sum, Tried};
use clap::{Args, Parser, Subcommand};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A run of fewer kills says too little to be kept.
const KILLS_MIN: usize = 10;

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
        /// Add a line to the ledger, which needs ten kills or more.
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
    /// What would be tried now: commit and tree, for a line that is added after a long run.
    Tried,
    /// Adds a line about a run that adds none by itself.
    Add(AddArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The command that was run.
    #[arg(long)]
    what: String,
    /// `passed`, or what broke.
    #[arg(long)]
    verdict: String,
    #[arg(long, default_value_t = 0)]
    group_seeds: u64,
    #[arg(long, default_value_t = 0)]
    mesh_seeds: u64,
    #[arg(long, default_value_t = 0.0)]
    simulated_hours: f64,
    /// Of real peers under faults.
    #[arg(long, default_value_t = 0.0)]
    minutes: f64,
    /// Real faults, as kill=3,power-all=2.
    #[arg(long, value_delimiter = ',', value_parser = times)]
    faults: Vec<(String, u32)>,
    #[arg(long, default_value_t = 0)]
    acknowledged: u64,
    /// Times that all peers lost their power at once, as --faults may say too.
    #[arg(long)]
    power_cuts: Option<u64>,
    #[arg(long, default_value = "")]
    note: String,
    /// What `ledger tried` printed before the run [default: what it prints now].
    #[arg(long, value_parser = was_tried)]
    tried: Option<Tried>,
}

/// Commit and tree, as they are printed.
fn was_tried(text: &str) -> Result<Tried, String> {
    let (commit, tree) = text.split_once(' ').ok_or("a commit and a tree")?;
    Ok((commit.to_owned(), tree.to_owned()))
}

/// A kind of fault and how often it happened: `kill=3`.
fn times(text: &str) -> Result<(String, u32), String> {
    let (kind, times) = text.split_once('=').ok_or("as kill=3, with how often it happened")?;
    let kind = Kind::named(kind).ok_or_else(|| format!("there is no fault {kind}"))?;
    let times = times.parse().map_err(|error| format!("{times}: {error}"))?;
    Ok((kind.name().to_owned(), times))
}

impl From<AddArgs> for Entry {
    fn from(args: AddArgs) -> Self {
        let faults: BTreeMap<String, u32> = args.faults.into_iter().collect();
        let cuts = faults.get(Kind::PowerAll.name()).copied().map(u64::from);
        Self {
            what: args.what,
            verdict: args.verdict,
            group_seeds: args.group_seeds,
            mesh_seeds: args.mesh_seeds,
            simulated_hours: args.simulated_hours,
            minutes: args.minutes,
            all_power_cuts: args.power_cuts.or(cuts).unwrap_or_default(),
            faults,
            acknowledged: args.acknowledged,
            note: args.note,
            ..Self::default()
        }
    }
}

pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Chaos(args) => run_chaos(&args),
        Command::Kills { kills, ledger } => run_kills(kills, ledger),
        Command::Ledger(verb) => of_ledger(verb),
    };
    done.unwrap_or_else(|error| {
        eprintln!("not done: {error:#}");
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
    let tried = args.ledger.then(ledger::tried).transpose()?;
    let report = chaos::run(&plan, interrupts()?.as_ref());
    if let Ok(report) = &report {
        println!("{report}");
    }
    let passed = report.as_ref().is_ok_and(Report::passed);
    if let Some(tried) = tried {
        Ledger::own().add(tried, entry(plan.command(), report.as_ref()))?;
    }
    leave(&plan.folder, passed && !args.keep)?;
    report.map(|_| code(passed))
}

/// The line of a run, whatever came of it.
fn entry(what: String, report: Result<&Report, &anyhow::Error>) -> Entry {
    match report {
        Err(error) => Entry { what, verdict: format!("not done: {error:#}"), ..Entry::default() },
        Ok(report) => {
            let figures = &report.figures;
            Entry {
                what,
                verdict: report.verdict(),
                minutes: figures.minutes,
                faults: figures.faults.clone(),
                acknowledged: figures.acknowledged,
                all_power_cuts: u64::from(figures.times("power-all")),
                note: figures.wire.clone(),
                ..Entry::default()
            }
        }
    }
}

fn run_kills(kills: usize, keep: bool) -> anyhow::Result<ExitCode> {
    if let Some(code) = impossible() {
        return Ok(code);
    }
    anyhow::ensure!(!keep || kills >= KILLS_MIN, "a line in the ledger needs {KILLS_MIN} kills");
    let folder = folder("kills");
    std::fs::create_dir_all(&folder)?;
    let tried = keep.then(ledger::tried).transpose()?;
    let ran = kills::run(&folder, kills, interrupts()?.as_ref());
    if let Ok(tally) = &ran {
        println!("{tally}");
    }
    let passed = ran.as_ref().is_ok_and(Tally::passed);
    if let Some(tried) = tried {
        Ledger::own().add(tried, entry_of_kills(kills, ran.as_ref()))?;
    }
    leave(&folder, passed)?;
    ran.map(|_| code(passed))
}

/// The line of a run, whatever came of it.
fn entry_of_kills(kills: usize, ran: Result<&Tally, &anyhow::Error>) -> Entry {
    let what = format!("kills --kills {kills}");
    match ran {
        Err(error) => Entry { what, verdict: format!("not done: {error:#}"), ..Entry::default() },
        Ok(tally) => {
            let verdict = if tally.passed() { "passed" } else { "clients felt a kill too much" };
            Entry {
                what,
                verdict: verdict.to_owned(),
                faults: [("kill".to_owned(), kills as u32)].into(),
                acknowledged: tally.acknowledged(),
                note: tally.to_string(),
                ..Entry::default()
            }
        }
    }
}

fn of_ledger(verb: LedgerVerb) -> anyhow::Result<ExitCode> {
    let own = Ledger::own();
    match verb {
        LedgerVerb::Sum => {
            let mut entries = own.entries()?;
            println!("{}", Sum::of(&entries));
            entries.retain(ledger::is_of_this_history);
            println!("\nof commits that can be checked out here:\n{}", Sum::of(&entries));
        }
        LedgerVerb::Tried => {
            let (commit, tree) = ledger::tried()?;
            println!("{commit} {tree}");
        }
        LedgerVerb::Add(mut args) => {
            let tried = args.tried.take().map_or_else(ledger::tried, Ok)?;
            own.add(tried, args.into())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_ledger_may_say_what_real_peers_went_through() {
        let words = "testnet ledger add --what by-hand --verdict passed --minutes 2.5 --acknowledged 9000 --faults";
        let of = |more: &[&str]| {
            Cli::try_parse_from(words.split(' ').chain(more.iter().copied())).map(|cli| {
                let Command::Ledger(LedgerVerb::Add(args)) = cli.command else {
                    panic!("another command")
                };
                Entry::from(args)
            })
        };
        let entry = of(&["kill=3,power-all=2"]).expect("it is understood");
        assert_eq!((entry.minutes, entry.acknowledged, entry.all_power_cuts), (2.5, 9000, 2));
        assert_eq!((entry.faults["kill"], entry.verdict.as_str()), (3, "passed"));
        let entry = of(&["kill=3", "--power-cuts", "7"]).expect("it is understood");
        assert_eq!(entry.all_power_cuts, 7);
        assert!(of(&["flood=3"]).is_err() && of(&["kill"]).is_err() && of(&["kill=x"]).is_err());
    }
}
