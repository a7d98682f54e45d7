//! The demo: three peers as processes of their own, a month of real flights, answers as they change, and a verdict
//! against a count that shares nothing with what the peers compute.
//!
//! Promises to leave nothing behind unless told to, however it ends, and success only if every total is equal.

mod home;
mod oracle;
pub(crate) mod pipelines;
mod replay;
mod sample;
mod screen;
mod verdict;

pub use pipelines::pipelines;

use crate::bench::answers::Door;
use crate::kafka_client::{Producer, Settings};
use crate::show;
use anyhow::{Context, bail};
use clap::{Args as ClapArgs, ValueEnum};
use door::http::Consistency;
use home::Home;
use oracle::Expected;
use pipelines::{AIRPORTS, FLIGHTS, HOURS};
use replay::Progress;
use screen::{Answers, Screen};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use verdict::Verdict;

/// Between two questions to the views while the replay runs.
const LOOK: Duration = Duration::from_millis(400);
/// How long the views may take to have everything once all is acknowledged.
const SETTLE: Duration = Duration::from_secs(30);

/// The demos there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Story {
    /// The 27,004 flights that were to leave New York in January 2013
    Flights,
}

/// How fast the events are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times faster than life.
    Times(f64),
    /// As fast as they are taken.
    Max,
}

/// What `shoal demo` takes.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// Which demo to run
    #[arg(value_enum)]
    pub story: Story,
    /// How many times faster than life the events are sent, or `max`; the default takes about 20 seconds
    #[arg(long, default_value = "133000", value_parser = speed)]
    pub speed: Speed,
    /// Leave once the verdict is known
    #[arg(long)]
    pub exit: bool,
    /// Keep the folder of the peers
    #[arg(long)]
    pub keep: bool,
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse::<f64>() {
        Ok(times) if times.is_finite() && times > 0.0 => Ok(Speed::Times(times)),
        _ => Err("a positive number or `max` is wanted".to_owned()),
    }
}

/// Runs the demo; blocks. Succeeds only if every total is equal.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // A thread and a runtime of its own, so that it works whoever calls.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("demo".to_owned());
        let running = thread.spawn_scoped(scope, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(story(args))
        })?;
        running.join().map_err(|_| anyhow::anyhow!("the demo has panicked"))?
    })
}

async fn story(args: &Args) -> anyhow::Result<ExitCode> {
    let mut stop = Box::pin(home::interrupted());
    let home = Home::up(args.keep, stop.as_mut()).await?;
    let played = tokio::select! {
        played = play(args, &home) => played.map(Some),
        () = stop.as_mut() => Ok(None),
    };
    if matches!(played, Ok(Some(_))) && !args.exit {
        show::print(&format!("The peers stay up. Ctrl-C stops everything{}.", home.fate()));
        stop.await;
    }
    show::print(&format!("This stops everything{}.", home.fate()));
    home.down().await?;
    match played? {
        Some(verdict) if verdict.is_equal() => Ok(ExitCode::SUCCESS),
        Some(_) | None => Ok(ExitCode::FAILURE),
    }
}

/// Everything between the start of the peers and their end.
async fn play(args: &Args, home: &Home) -> anyhow::Result<Verdict> {
    let csv = sample::text()?;
    let expected = oracle::count(&csv)?;
    let flights = sample::flights(&csv)?;
    let doors: Arc<Vec<Door>> = Arc::new(home.http().iter().map(|at| Door::new(at)).collect());
    show::print(&format!("{}\n\n{}\n", home.table(), home.commands()?));

    let bootstrap = home.kafka();
    let stream = FLIGHTS.to_owned();
    let settings = Settings { bootstrap, stream, batch_events_max: 1000 };
    let mut producer = Producer::connect(settings).await?;
    let started = Instant::now();
    let progress = Arc::new(Progress::default());
    let mut screen = Screen::new()?;
    let looking = look(doors.clone(), progress.clone(), &mut screen);
    tokio::select! {
        sent = replay::replay(&flights, args.speed, &mut producer, &progress) => sent?,
        looked = looking => looked?,
    }
    let took = started.elapsed().as_secs_f64();
    let (verdict, answers) = settle(doors, expected, &progress).await?;
    screen.show_last(&progress, &answers);
    show::print(&format!("{} flights in {took:.1} s. {}", flights.len(), verdict.text()));
    Ok(verdict)
}

/// Shows the answers as they change, until the caller stops listening.
async fn look(
    doors: Arc<Vec<Door>>,
    progress: Arc<Progress>,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(LOOK).await;
        let clock_ms = progress.clock_ms.load(Ordering::Relaxed);
        let doors = doors.clone();
        let asked =
            tokio::task::spawn_blocking(move || first(&doors, |door| Answers::ask(door, clock_ms)));
        // A peer that was just killed is no reason to stop: the next look asks another.
        if let Ok(answers) = asked.await? {
            screen.show(&progress, &answers);
        }
    }
}

/// Asks one door after the other until one answers: any peer will do, and one may have been killed.
fn first<T>(doors: &[Door], ask: impl Fn(&Door) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut last = None;
    for door in doors {
        match ask(door) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("there is no peer")?)
}

/// Compares the views with what is expected until they are equal or it has taken too long.
async fn settle(
    doors: Arc<Vec<Door>>,
    expected: Expected,
    progress: &Progress,
) -> anyhow::Result<(Verdict, Answers)> {
    let clock_ms = progress.clock_ms.load(Ordering::Relaxed);
    let settled = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        loop {
            let asked = first(&doors, |door| {
                let hours = door.rows(HOURS, Consistency::Leader)?;
                let airports = door.rows(AIRPORTS, Consistency::Leader)?;
                Ok(Verdict::of(&expected, &hours, &airports))
            });
            match asked {
                Ok(verdict) if verdict.is_equal() || started.elapsed() > SETTLE => {
                    let answers = first(&doors, |door| Answers::ask(door, clock_ms));
                    return Ok((verdict, answers.unwrap_or_default()));
                }
                Err(error) if started.elapsed() > SETTLE => return Err(error),
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    });
    match settled.await {
        Ok(settled) => settled,
        Err(_) => bail!("the comparison has panicked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_positive_number_or_max() {
        assert_eq!(speed("max"), Ok(Speed::Max));
        assert_eq!(speed("1.5"), Ok(Speed::Times(1.5)));
        for bad in ["0", "-1", "nan", "inf", "fast"] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }
}
