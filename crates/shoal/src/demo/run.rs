//! How a story runs: what it sends, the kill on the way, and the wait for equal answers.

use super::home::Home;
use super::replay::{self, Progress};
use super::verdict::Verdict;
use super::{Args, ads, first};
use crate::bench::answers::Door;
use crate::kafka_client::{Producer, Settings};
use crate::show;
use anyhow::bail;
use door::http::Consistency;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the views may take to have everything once all is acknowledged.
const SETTLE: Duration = Duration::from_secs(30);
/// How long a killed peer stays away.
const AWAY: Duration = Duration::from_secs(3);
/// Between two looks at how far the events are.
const LOOK: Duration = Duration::from_millis(50);
/// The peer that is killed.
const VICTIM: usize = 2;

/// Writes to a stream of the demo's peers.
pub(super) async fn producer(home: &Home, stream: &str) -> anyhow::Result<Producer> {
    let (bootstrap, stream) = (home.kafka(), stream.to_owned());
    Producer::connect(Settings { bootstrap, stream, batch_events_max: 1000 }).await
}

/// Kills a peer when two of five events are held by a majority, starts it again, and never ends; does nothing where
/// no kill is wanted.
pub(super) async fn kill(
    wanted: bool,
    home: &mut Home,
    progress: &Progress,
    events: usize,
) -> anyhow::Result<()> {
    while !wanted || progress.sent.load(Ordering::Relaxed) < events * 2 / 5 {
        tokio::time::sleep(LOOK).await;
    }
    home.kill(VICTIM)?;
    let sent = progress.sent.load(Ordering::Relaxed);
    show::print(&format!("p{VICTIM} was killed after {sent} of {events} events."));
    tokio::time::sleep(AWAY).await;
    home.launch(VICTIM)?;
    show::print(&format!("p{VICTIM} starts again."));
    std::future::pending().await
}

/// Compares answers until they are equal or it has taken too long.
pub(super) async fn settle(
    doors: Arc<Vec<Door>>,
    compare: impl Fn(&Door) -> anyhow::Result<Verdict> + Send + 'static,
) -> anyhow::Result<Verdict> {
    let settled = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        loop {
            match first(&doors, &compare) {
                Ok(verdict) if verdict.is_equal() || started.elapsed() > SETTLE => {
                    return Ok(verdict);
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

/// The story of the ads, from their owners to the verdict.
pub(super) async fn ads(args: &Args, home: &mut Home) -> anyhow::Result<Verdict> {
    let doors = Arc::new(home.http().iter().map(|at| Door::new(at)).collect::<Vec<_>>());
    let progress = Progress::default();
    let mut owners = producer(home, ads::ADS).await?;
    let due = ads::ads(owners.partitions())?;
    replay::replay(&due, super::Speed::Max, &mut owners, &progress).await?;
    progress.sent.store(0, Ordering::Relaxed);

    let mut people = producer(home, ads::EVENTS).await?;
    let due = ads::events(people.partitions())?;
    let speed = args.speed.unwrap_or(args.story.usual_speed());
    let started = Instant::now();
    tokio::select! {
        sent = replay::replay(&due, speed, &mut people, &progress) => sent?,
        killed = kill(args.check, home, &progress, ads::COUNT) => killed?,
    }
    let took = started.elapsed().as_secs_f64();
    let expected = ads::expected();
    let compare =
        move |door: &Door| Ok(ads::verdict(&expected, &door.rows(ads::VIEW, Consistency::Leader)?));
    let verdict = settle(doors, compare).await?;
    show::print(&format!("{} events in {took:.1} s. {}", ads::COUNT, verdict.text()));
    Ok(verdict)
}
