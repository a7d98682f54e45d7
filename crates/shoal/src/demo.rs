//! The demos: three peers as processes of their own, a month of real flights or what people do with advertisements,
//! answers as they change, and a verdict against a count that shares nothing with what the peers compute.
//!
//! Promises to leave nothing behind unless told to, however it ends, and success only if every total is equal.

mod ads;
mod home;
mod oracle;
pub(crate) mod pipelines;
mod replay;
mod run;
mod sample;
mod screen;
mod verdict;

pub use pipelines::pipelines;

use crate::bench::answers::Door;
use crate::show;
use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use door::http::Consistency;
use home::Home;
use oracle::Expected;
use pipelines::{AIRPORTS, FLIGHTS, HOURS};
use replay::Progress;
use sample::FLIGHTS as FLIGHT_COUNT;
use screen::{Answers, Screen};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use verdict::Verdict;

/// Between two questions to the views while the replay runs.
const LOOK: Duration = Duration::from_millis(400);

/// The demos there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Story {
    /// The 27,004 flights that were to leave New York in January 2013
    Flights,
    /// 100,000 things that people do with ads: views by campaign and ten seconds
    Ads,
}

impl Story {
    /// The name of its pipelines.
    fn pipelines(self) -> &'static str {
        match self {
            Self::Flights => "flights",
            Self::Ads => "ads",
        }
    }

    /// The view that is shown to try.
    fn view(self) -> &'static str {
        match self {
            Self::Flights => AIRPORTS,
            Self::Ads => ads::VIEW,
        }
    }

    /// About 20 seconds for all of it.
    fn usual_speed(self) -> Speed {
        match self {
            Self::Flights => Speed::Times(133_000.0),
            Self::Ads => Speed::Times(5.0),
        }
    }
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
    #[arg(long, value_parser = speed)]
    pub speed: Option<Speed>,
    /// Leave once the verdict is known
    #[arg(long)]
    pub exit: bool,
    /// Kill a peer on the way, start it again, and leave once the verdict is known
    #[arg(long)]
    pub check: bool,
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
    let up = Home::up((args.keep, args.story.pipelines()), stop.as_mut()).await?;
    let Some(mut home) = up else { return Ok(exit_of(None)) };
    show::print(&format!("{}\n\n{}\n", home.table(), home.commands(args.story.view())?));
    let played = tokio::select! {
        played = play(args, &mut home) => played.map(Some),
        () = stop.as_mut() => Ok(None),
    };
    if matches!(played, Ok(Some(_))) && !args.exit && !args.check {
        show::print(&format!("The peers stay up. Ctrl-C stops everything{}.", home.fate()));
        stop.await;
    }
    show::print(&format!("This stops everything{}.", home.fate()));
    home.down().await?;
    Ok(exit_of(played?.as_ref()))
}

/// Success is a verdict that every total is equal; none was reached where the user stopped the demo before.
fn exit_of(verdict: Option<&Verdict>) -> ExitCode {
    match verdict {
        Some(verdict) if verdict.is_equal() => ExitCode::SUCCESS,
        Some(_) | None => ExitCode::FAILURE,
    }
}

/// Everything between the start of the peers and their end.
async fn play(args: &Args, home: &mut Home) -> anyhow::Result<Verdict> {
    match args.story {
        Story::Flights => flights(args, home).await,
        Story::Ads => run::ads(args, home).await,
    }
}

async fn flights(args: &Args, home: &mut Home) -> anyhow::Result<Verdict> {
    let csv = sample::text()?;
    let expected = oracle::count(&csv)?;
    let flights = sample::flights(&csv)?;
    let doors: Arc<Vec<Door>> = Arc::new(home.http().iter().map(|at| Door::new(at)).collect());
    let mut producer = run::producer(home, FLIGHTS).await?;
    let due = replay::due(&flights, producer.partitions())?;
    let speed = args.speed.unwrap_or(args.story.usual_speed());
    let started = Instant::now();
    let progress = Arc::new(Progress::default());
    let mut screen = Screen::new()?;
    let looking = look(doors.clone(), progress.clone(), &mut screen);
    tokio::select! {
        sent = replay::replay(&due, speed, &mut producer, &progress) => sent?,
        looked = looking => looked?,
        killed = run::kill(args.check, home, &progress, FLIGHT_COUNT) => killed?,
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
    let compare = move |door: &Door| {
        let hours = door.rows(HOURS, Consistency::Leader)?;
        let airports = door.rows(AIRPORTS, Consistency::Leader)?;
        Ok(Verdict::of(&expected, &hours, &airports))
    };
    let verdict = run::settle(doors.clone(), compare).await?;
    let asked =
        tokio::task::spawn_blocking(move || first(&doors, |door| Answers::ask(door, clock_ms)));
    Ok((verdict, asked.await?.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verdict_without_a_difference_is_success() {
        let mut verdict = Verdict::new("departures", 3);
        assert_eq!(exit_of(Some(&verdict)), ExitCode::SUCCESS);
        verdict.compare("airports", &[("EWR".to_owned(), 3)].into(), &[], |_, _| true);
        assert!(verdict.text().contains("EWR is missing"), "{}", verdict.text());
        assert_eq!(exit_of(Some(&verdict)), ExitCode::FAILURE);
        assert_eq!(exit_of(None), ExitCode::FAILURE);
    }

    #[test]
    fn a_speed_is_a_positive_number_or_max() {
        assert_eq!(speed("max"), Ok(Speed::Max));
        assert_eq!(speed("1.5"), Ok(Speed::Times(1.5)));
        for bad in ["0", "-1", "nan", "inf", "fast"] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }
}
