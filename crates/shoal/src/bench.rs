//! The benchmark: an open-loop load over the Kafka protocol while a keyed count runs, and what it costs.
//!
//! Promises that latency counts from the moment an event was meant to be sent, and that a run in which an event is
//! missing prints no figures. Never measures a peer's own word: visible is what another peer answers.

pub(crate) mod answers;
mod histogram;
mod load;
mod report;
mod target;
mod tick;
mod visible;
mod watch;
mod weight;

use crate::kafka_client::{Producer, Settings};
use crate::progress::Progress;
use crate::show::{self, Output};
use answers::Door;
use anyhow::Context;
use clap::Args as ClapArgs;
use door::http::{Consistency, ViewRow};
use load::{KEY_BYTES, Outcome, Plan};
use model::Problem;
use report::{Latency, Report, rounded};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use target::Target;

/// What the load is written to, what counts it and where the counts are kept.
pub const STREAM: &str = "bench";
pub const PIPELINE: &str = "bench";
pub const VIEW: &str = "bench_counts";
/// How long the counts may lag behind the last acknowledgement at the end.
const SETTLE: Duration = Duration::from_secs(30);

/// How often it is told how far it is where there is no terminal.
const TELL: Duration = Duration::from_secs(5);

/// What `shoal bench` takes.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// Events a second; 0 is as many as the window allows
    #[arg(long, default_value_t = 100_000)]
    pub rate: u64,
    /// How long the load runs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Peers of the testnet that it starts
    #[arg(short = 'n', long, default_value_t = 3)]
    pub peers: usize,
    /// Kafka door of a running mesh (started with `--demo-pipelines bench`) instead of a testnet; needs --http
    #[arg(long, value_name = "HOST:PORT", requires = "http")]
    pub bootstrap: Vec<String>,
    /// HTTP door of that mesh
    #[arg(long, value_name = "HOST:PORT", requires = "bootstrap")]
    pub http: Vec<String>,
    /// Folder of a running testnet (started with `--demo-pipelines bench`) to drive instead of a new one
    #[arg(long, value_name = "DIR", conflicts_with = "bootstrap")]
    pub testnet: Option<PathBuf>,
    /// Where a new testnet keeps its files
    #[arg(long, value_name = "DIR", conflicts_with_all = ["bootstrap", "testnet"])]
    pub dir: Option<PathBuf>,
    /// Different keys
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,
    /// Bytes of an event, 16 of them its key
    #[arg(long, default_value_t = 116, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub event_bytes: u32,
    /// How long events are gathered before they leave
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub linger_ms: u64,
    /// Events of a batch at most
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch_max: u32,
    /// Partitions of the stream, if the testnet is new
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: u32,
    /// Events in flight at `--rate 0`
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub window: u32,
    /// First seconds whose latencies are not counted
    #[arg(long, default_value_t = 1)]
    pub warm_up_s: u64,
    /// Seconds of rest before the load, on which the idle figures are measured
    #[arg(long, default_value_t = 3)]
    pub idle_s: u64,
    /// How the figures are shown
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// Runs the benchmark; blocks. A run with a missing event prints no figures and fails.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // The load has a thread and a runtime of its own, so that it works whoever calls.
    let report = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("bench".to_owned());
        let running = thread.spawn_scoped(scope, || measure(args))?;
        running.join().map_err(|_| anyhow::anyhow!("the load generator has panicked"))?
    })?;
    show::answer(args.output, &report.value()?, |_| report.table());
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args) -> anyhow::Result<Report> {
    let target = if let Some(dir) = &args.testnet {
        Target::testnet(dir)?
    } else if !args.bootstrap.is_empty() {
        Target::addresses(&args.bootstrap, &args.http)?
    } else {
        Target::up(args.dir.as_deref(), args.peers, args.partitions)?
    };
    drive(args, &target)
}

/// CPU and memory of the peers at rest.
struct Rest {
    cpu_percent: Option<f64>,
    rss_mb: Option<f64>,
}

fn rest(args: &Args, target: &Target) -> Rest {
    let mut progress = Progress::endless(TELL);
    progress.at(0, &format!("the peers at rest, for {} s", args.idle_s));
    let before: Vec<_> = target.pids.iter().map(|pid| weight::cpu_s(*pid)).collect();
    std::thread::sleep(Duration::from_secs(args.idle_s));
    let used = target.pids.iter().zip(before).filter_map(|(pid, before)| {
        Some(100.0 * (weight::cpu_s(*pid)? - before?) / args.idle_s as f64)
    });
    let cpu_percent = used.reduce(f64::max).filter(|_| args.idle_s > 0);
    Rest { cpu_percent, rss_mb: weight::rss_mb_of(&target.pids) }
}

fn drive(args: &Args, target: &Target) -> anyhow::Result<Report> {
    target.wait_for(PIPELINE, VIEW)?;
    let rest = rest(args, target);
    // Who leads what may have changed meanwhile.
    let tasks = target.wait_for(PIPELINE, VIEW)?;
    let watchable = target.watchable(&tasks)?;
    let before = Tally::read(target.door())?;
    let plan = Plan {
        rate: args.rate,
        duration: Duration::from_secs(args.seconds + args.warm_up_s),
        warm_up: Duration::from_secs(args.warm_up_s),
        keys: args.keys as usize,
        event_bytes: args.event_bytes as usize,
        linger: Duration::from_millis(args.linger_ms),
        window: args.window as usize,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cpu = || (weight::cpu_s_of(&target.pids), weight::cpu_s(std::process::id()));
    let (partitions, cpu_before, outcome) = runtime.block_on(async {
        let settings = Settings {
            bootstrap: target.bootstrap.clone(),
            stream: STREAM.to_owned(),
            batch_events_max: args.batch_max as usize,
        };
        let producer = Producer::connect(settings).await?;
        let partitions = producer.partitions();
        let (_watch, news) = match watchable.filter(|_| tasks.len() == partitions as usize) {
            Some((bucket, member)) => {
                let led = leads(target.door(), bucket, member.id);
                let (watch, news) = watch::start(&member.http, VIEW, bucket, led)?;
                (Some(watch), Some((bucket, news)))
            }
            None => (None, None),
        };
        let cpu_before = cpu();
        let outcome = load::drive(&plan, producer, Instant::now(), news).await?;
        anyhow::Ok((partitions, cpu_before, outcome))
    })?;
    let cpu_after = cpu();
    let rss_mb = weight::rss_mb_of(&target.pids);
    check(target.door(), &before, outcome.acknowledged)?;
    let millions = outcome.acknowledged as f64 / 1e6;
    let per_million = |before: Option<f64>, after: Option<f64>| {
        Some(rounded((after? - before?) / millions)).filter(|figure| figure.is_finite())
    };
    Ok(Report {
        cpu_s_per_million: per_million(cpu_before.0, cpu_after.0),
        driver_cpu_s_per_million: per_million(cpu_before.1, cpu_after.1),
        rss_mb: rss_mb.map(rounded),
        idle_rss_mb: rest.rss_mb.map(rounded),
        idle_cpu_percent: rest.cpu_percent.map(rounded),
        peers: target.doors.len(),
        partitions,
        hardware: weight::hardware(target.dir.as_deref()),
        ..figures(args, &outcome)
    })
}

/// Asks whether a peer leads a bucket of the benchmark's view.
fn leads(door: &Door, bucket: u32, peer: i32) -> impl FnMut() -> anyhow::Result<bool> + use<> {
    let door = Door::new(door.address());
    move || {
        let tasks = door.tasks(PIPELINE, VIEW)?;
        Ok(tasks.iter().any(|task| task.bucket == bucket && task.peer == Some(peer)))
    }
}

fn figures(args: &Args, outcome: &Outcome) -> Report {
    Report {
        rate: args.rate,
        seconds: rounded(outcome.seconds),
        events: outcome.acknowledged,
        events_per_s: (outcome.acknowledged as f64 / outcome.seconds).round(),
        ack_ms: Latency::of(&outcome.ack),
        visible_ms: Latency::of(&outcome.visible),
        cpu_s_per_million: None,
        driver_cpu_s_per_million: None,
        rss_mb: None,
        idle_rss_mb: None,
        idle_cpu_percent: None,
        peers: 0,
        partitions: 0,
        keys: args.keys as usize,
        event_bytes: (args.event_bytes as usize).max(KEY_BYTES),
        retries: outcome.retries,
        hardware: String::new(),
    }
}

/// What the mesh holds: events by their offsets, and events by the counts of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    offsets: u64,
    counted: u64,
}

impl Tally {
    fn read(door: &Door) -> anyhow::Result<Self> {
        let offsets = door.next_offsets(STREAM)?.iter().sum::<i64>();
        let rows = door.rows(VIEW, Consistency::Leader)?;
        let counted = rows.iter().map(count).sum::<anyhow::Result<u64>>()?;
        Ok(Self { offsets: u64::try_from(offsets)?, counted })
    }
}

fn count(row: &ViewRow) -> anyhow::Result<u64> {
    let value = row.value.parsed().as_u64();
    value.with_context(|| format!("the row of {:?} is not a count", row.key))
}

/// Fails unless every acknowledged event has an offset and is counted, once.
fn check(door: &Door, before: &Tally, acknowledged: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut progress = Progress::endless(TELL);
    loop {
        progress.at(0, "waiting until the view has counted every event");
        let in_time = started.elapsed() < SETTLE;
        let found = match Tally::read(door) {
            Ok(found) => found,
            // A leader may just be changing.
            Err(_) if in_time => *before,
            Err(error) => return Err(error),
        };
        match compare(before, &found, acknowledged) {
            Ok(()) => return Ok(()),
            // The count comes a moment later.
            Err(_) if in_time && found.counted < before.counted + acknowledged => {}
            Err(problem) => return Err(problem.into()),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether what the mesh holds now is what it held before, and all that was acknowledged, once.
fn compare(before: &Tally, found: &Tally, acknowledged: u64) -> Result<(), Problem> {
    let expected =
        Tally { offsets: before.offsets + acknowledged, counted: before.counted + acknowledged };
    if *found == expected {
        return Ok(());
    }
    let offsets = found.offsets.saturating_sub(before.offsets);
    let counted = found.counted.saturating_sub(before.counted);
    Err(Problem::new(
        "SH0602",
        format!(
            "{acknowledged} events are acknowledged, {offsets} have offsets, {counted} are counted"
        ),
        "these must be equal, or figures mean nothing",
        "run it again while nobody else writes; if it stays, this is a bug",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_defaults_are_the_benchmark_of_the_readme() {
        let args = Line::parse_from(["bench"]).args;
        assert_eq!((args.rate, args.keys, args.event_bytes), (100_000, 10_000, 116));
        assert_eq!((args.linger_ms, args.batch_max, args.partitions), (1, 1000, 16));
        assert_eq!((args.peers, args.output), (3, Output::Table));
    }

    #[test]
    fn a_run_with_a_missing_or_a_doubled_event_is_an_error_and_no_figure() {
        let before = Tally { offsets: 10, counted: 9 };
        let with = |offsets, counted| compare(&before, &Tally { offsets, counted }, 5);
        assert_eq!(with(15, 14), Ok(()));
        for (offsets, counted, told) in [
            (14, 14, "5 events are acknowledged, 4 have offsets, 5 are counted"),
            (15, 13, "5 events are acknowledged, 5 have offsets, 4 are counted"),
            (15, 15, "5 events are acknowledged, 5 have offsets, 6 are counted"),
            (0, 0, "5 events are acknowledged, 0 have offsets, 0 are counted"),
        ] {
            let problem = with(offsets, counted).expect_err("it is wrong");
            assert_eq!((problem.code.as_str(), problem.what.as_str()), ("SH0602", told));
        }
    }

    #[test]
    fn addresses_of_a_mesh_come_in_pairs() {
        assert!(Line::try_parse_from(["bench", "--bootstrap", "a:1"]).is_err());
        assert!(Line::try_parse_from(["bench", "--bootstrap", "a:1", "--http", "a:2"]).is_ok());
    }
}
