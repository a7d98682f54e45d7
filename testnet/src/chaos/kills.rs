//! What one `kill -9` costs clients: requests over HTTP at a steady rate, spread over all peers, for the minute of the
//! kill. A refused connection is tried at the next address, as any client does; a request that was under way on the
//! dead peer's connection has failed, and so has every answer but 200.

use super::ground::{self, Ground};
use super::http::{Answer, Caller, Failure, Request};
use super::peers::{COUNT, HTTP, Peers};
use super::{heal, load};
use anyhow::{Context, ensure};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests a second.
const RATE: u32 = 1000;
const MINUTE: Duration = Duration::from_secs(60);
/// When in its minute a peer is killed, and started again.
const KILL: Duration = Duration::from_secs(10);
const START: Duration = Duration::from_secs(20);
/// Requests under way at once; more are not sent, and have failed.
const UNDER_WAY_MAX: usize = 4000;
const PATIENCE: Duration = Duration::from_secs(10);
/// Of a hundred thousand requests so many may fail.
const FAILED_MAX: f64 = 100.0;
/// How long a shard may take no write, for 99 of 100 shards.
const GAP_MAX: Duration = Duration::from_secs(2);
const WHOLE: Duration = Duration::from_secs(30);

/// What one minute came to.
#[derive(Clone, Debug, Default)]
pub struct Minute {
    pub victim: usize,
    pub sent: u64,
    /// How many failed, by the reason.
    pub failed: BTreeMap<String, u64>,
    /// The longest time without an acknowledgement, by partition.
    pub gaps: BTreeMap<u32, Duration>,
    pub latencies: Vec<Duration>,
}

/// What all minutes came to.
#[derive(Clone, Debug, Default)]
pub struct Tally(pub Vec<Minute>);

#[derive(Default)]
struct Book {
    minute: Minute,
    told: BTreeMap<u32, Instant>,
    under_way: usize,
}

/// Does it so many times, each time to the next peer.
pub fn run(folder: &Path, kills: usize) -> anyhow::Result<Tally> {
    let binary = crate::binaries::with_chaos();
    let ground = Ground::lay(COUNT, 0)?;
    ground.enter()?;
    let mut peers = Peers::found(folder, &ground, binary, 64)?;
    let runtime = tokio::runtime::Runtime::new().context("a runtime for clients")?;
    let mut tally = Tally::default();
    for kill in 0..kills {
        heal::wait(&mut peers, WHOLE).with_context(|| format!("before kill {}", kill + 1))?;
        let minute = minute(&mut peers, &runtime, kill % COUNT + 1)?;
        println!("{minute}");
        tally.0.push(minute);
    }
    Ok(tally)
}

fn minute(
    peers: &mut Peers,
    runtime: &tokio::runtime::Runtime,
    victim: usize,
) -> anyhow::Result<Minute> {
    let path = format!("/v1/streams/{}", load::EVENTS);
    let parts = peers.get(1, &path)?["parts"].as_array().map_or(0, Vec::len) as u32;
    ensure!(parts > 0, "the stream has no partitions");
    let book = Arc::new(Mutex::new(Book::default()));
    let began = Instant::now();
    let sending = runtime.spawn(send(Arc::clone(&book), parts));
    let (mut killed, mut started) = (false, false);
    while !sending.is_finished() {
        if !killed && began.elapsed() >= KILL {
            peers.all[victim - 1].kill()?;
            killed = true;
        }
        if !started && began.elapsed() >= START {
            peers.start(victim)?;
            started = true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    runtime.block_on(sending).context("the senders")?;
    let mut minute = std::mem::take(&mut lock(&book).minute);
    minute.victim = victim;
    Ok(minute)
}

/// Sends at the rate, whether answers come or not, and then waits for the last of them.
async fn send(book: Arc<Mutex<Book>>, parts: u32) {
    let doors: Vec<SocketAddr> =
        (1..=COUNT).map(|peer| SocketAddr::from((ground::address(peer), HTTP))).collect();
    let idle: Vec<Arc<Mutex<Vec<Caller>>>> = doors.iter().map(|_| Arc::default()).collect();
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let mut number: u32 = 0;
    while began.elapsed() < MINUTE {
        let due = (began.elapsed().as_secs_f64() * f64::from(RATE)) as u32;
        while number < due {
            let (home, partition) = (number as usize % COUNT, number / COUNT as u32 % parts);
            let at = began + MINUTE.mul_f64(f64::from(number) / (f64::from(RATE) * 60.0));
            number += 1;
            let mut open = lock(&book);
            open.minute.sent += 1;
            if open.under_way >= UNDER_WAY_MAX {
                open.fail("too many under way");
                continue;
            }
            open.under_way += 1;
            drop(open);
            let caller = lock(&idle[home]).pop();
            let caller = caller.unwrap_or_else(|| Caller::new(doors.clone(), home, PATIENCE));
            let (book, idle) = (Arc::clone(&book), Arc::clone(&idle[home]));
            tasks.spawn(one(caller, (home, partition), at, (book, idle)));
        }
        while tasks.try_join_next().is_some() {}
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tasks.join_all().await;
}

type Shelves = (Arc<Mutex<Book>>, Arc<Mutex<Vec<Caller>>>);

async fn one(
    mut caller: Caller,
    (home, partition): (usize, u32),
    at: Instant,
    (book, idle): Shelves,
) {
    let value = json!({"c": 1, "n": 0, "k": partition, "t": 0});
    let body = json!({"events": [{"value": value}], "partition": partition});
    let request = Request::post(format!("/v1/streams/{}/events", load::EVENTS), body);
    let answer = caller.call_any(&request).await;
    lock(&book).note(partition, at, answer);
    caller.turn_to(home);
    lock(&idle).push(caller);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Book {
    fn fail(&mut self, why: &str) {
        *self.minute.failed.entry(why.to_owned()).or_default() += 1;
    }

    fn note(&mut self, partition: u32, at: Instant, answer: Result<Answer, Failure>) {
        self.under_way -= 1;
        match answer {
            Ok(Answer { status: 200, .. }) => {
                let now = Instant::now();
                let before = self.told.insert(partition, now).unwrap_or(at);
                let gap = self.minute.gaps.entry(partition).or_default();
                *gap = (*gap).max(now - before.min(now));
                self.minute.latencies.push(now - at.min(now));
            }
            Ok(Answer { status, body }) => {
                self.fail(&format!("{status} {}", body["code"].as_str().unwrap_or_default()));
            }
            Err(Failure::Unreached(_)) => self.fail("no peer could be reached"),
            Err(Failure::Unanswered(why)) => self.fail(&format!("no answer: {why}")),
        }
    }
}

impl Minute {
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// The value below which so many of a hundred are.
fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(at).copied().unwrap_or_default()
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gaps: Vec<Duration> = self.gaps.values().copied().collect();
        let mut latencies = self.latencies.clone();
        write!(
            f,
            "p{} killed: {} of {} requests failed; latency p50 {:?} p99 {:?}; longest write gap of a \
             partition {:?}",
            self.victim,
            self.failures(),
            self.sent,
            percentile(&mut latencies, 50),
            percentile(&mut latencies, 99),
            percentile(&mut gaps, 100)
        )?;
        self.failed.iter().try_for_each(|(why, times)| write!(f, "\n    {times} × {why}"))
    }
}

impl Tally {
    fn gaps(&self) -> Vec<Duration> {
        self.0.iter().flat_map(|minute| minute.gaps.values().copied()).collect()
    }

    /// Failures of a hundred thousand requests.
    fn failed(&self) -> f64 {
        let sent: u64 = self.0.iter().map(|minute| minute.sent).sum();
        let failed: u64 = self.0.iter().map(Minute::failures).sum();
        failed as f64 * 100_000.0 / sent.max(1) as f64
    }

    pub fn passed(&self) -> bool {
        self.failed() < FAILED_MAX && percentile(&mut self.gaps(), 99) <= GAP_MAX
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gaps = self.gaps();
        write!(
            f,
            "{} kills: {:.4} % failed (less than 0.1 wanted); write gap p50 {:.2?} p99 {:.2?} max {:.2?} \
             (p99 of 2 s at most wanted)",
            self.0.len(),
            self.failed() / 1000.0,
            percentile(&mut gaps, 50),
            percentile(&mut gaps, 99),
            percentile(&mut gaps, 100)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(failed: u64, gap: Duration) -> Tally {
        let failed = BTreeMap::from([("503 SH0501".to_owned(), failed)]);
        let gaps = BTreeMap::from([(0, Duration::from_millis(20)), (1, gap)]);
        Tally(vec![Minute { victim: 1, sent: 60_000, failed, gaps, latencies: Vec::new() }])
    }

    #[test]
    fn one_in_a_thousand_is_too_many_and_so_is_a_gap_of_three_seconds() {
        assert!(tally(59, Duration::from_secs(1)).passed());
        assert!(!tally(60, Duration::from_secs(1)).passed());
        assert!(!tally(0, Duration::from_secs(3)).passed());
    }

    #[test]
    fn percentiles_are_of_the_values_that_there_are() {
        let mut values: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut values, 50), Duration::from_millis(100));
        assert_eq!(percentile(&mut values, 99), Duration::from_millis(198));
        assert_eq!(percentile(&mut values, 100), Duration::from_millis(200));
        assert_eq!(percentile(&mut [], 99), Duration::ZERO);
    }
}
