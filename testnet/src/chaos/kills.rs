//! What one `kill -9` costs clients: requests over HTTP at a steady rate, spread over all peers, for the minute of the
//! kill, to a stream that has a partition in each shard. A refused connection is tried at the next address, as any
//! client does; one that is not made in time has failed, as has a request that was under way on the dead peer's
//! connection, and every answer but 200.

use super::ground::{self, Ground};
use super::http::{Answer, Caller, Failure, Request};
use super::peers::{COUNT, HTTP, Peers};
use super::{go_on, heal, load};
use anyhow::{Context, ensure};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const SHARDS: u16 = 64;
/// A partition in each shard.
const PARTITIONS: u32 = SHARDS as u32;
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
    /// The partitions whose shards the victim led when it was killed.
    pub led: BTreeSet<u32>,
    /// The longest time without an acknowledgement, by partition: up to the end of the minute.
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

/// Does it so many times, each time to the next peer. Fails when it is interrupted; its peers and their
/// disks are gone then.
pub fn run(folder: &Path, kills: usize, interrupted: &AtomicBool) -> anyhow::Result<Tally> {
    let binary = crate::binaries::with_chaos();
    let ground = Ground::lay(COUNT, 0)?;
    ground.enter()?;
    let mut peers = Peers::found(folder, &ground, binary, (SHARDS, PARTITIONS))?;
    let runtime = tokio::runtime::Runtime::new().context("a runtime for clients")?;
    let mut tally = Tally::default();
    for kill in 0..kills {
        heal::wait(&mut peers, WHOLE).with_context(|| format!("before kill {}", kill + 1))?;
        let minute = minute(&mut peers, &runtime, kill % COUNT + 1, interrupted)?;
        println!("{minute}");
        tally.0.push(minute);
    }
    Ok(tally)
}

fn minute(
    peers: &mut Peers,
    runtime: &tokio::runtime::Runtime,
    victim: usize,
    interrupted: &AtomicBool,
) -> anyhow::Result<Minute> {
    leaders(peers, victim)?;
    let book = Arc::new(Mutex::new(Book::default()));
    let began = Instant::now();
    let mut led = BTreeSet::new();
    let sending = runtime.spawn(send(Arc::clone(&book)));
    let (mut killed, mut started) = (false, false);
    while !sending.is_finished() {
        go_on(interrupted)?;
        if !killed && began.elapsed() >= KILL {
            let leaders = leaders(peers, victim)?.into_iter();
            led = leaders.filter(|(_, leader)| *leader == victim).map(|(part, _)| part).collect();
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
    let mut book = lock(&book);
    book.close(began);
    Ok(Minute { victim, led, ..std::mem::take(&mut book.minute) })
}

/// Who leads each partition of the stream, which must lie in every shard.
fn leaders(peers: &Peers, asked: usize) -> anyhow::Result<BTreeMap<u32, usize>> {
    let body = peers.get(asked, &format!("/v1/streams/{}", load::EVENTS))?;
    let (mut leaders, mut shards) = (BTreeMap::new(), BTreeSet::new());
    for part in body["parts"].as_array().into_iter().flatten() {
        shards.extend(part["shard"].as_u64());
        if let (Some(partition), Some(leader)) =
            (part["partition"].as_u64(), part["leader"].as_u64())
        {
            leaders.insert(partition as u32, leader as usize);
        }
    }
    ensure!(
        shards.len() == usize::from(SHARDS),
        "the stream lies in {} of {SHARDS} shards",
        shards.len()
    );
    Ok(leaders)
}

/// Sends at the rate, whether answers come or not, and then waits for the last of them.
async fn send(book: Arc<Mutex<Book>>) {
    let doors: Vec<SocketAddr> =
        (1..=COUNT).map(|peer| SocketAddr::from((ground::address(peer), HTTP))).collect();
    let idle: Vec<Arc<Mutex<Vec<Caller>>>> = doors.iter().map(|_| Arc::default()).collect();
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let mut number: u32 = 0;
    while began.elapsed() < MINUTE {
        let due = (began.elapsed().as_secs_f64() * f64::from(RATE)) as u32;
        while number < due {
            let (home, partition) = (number as usize % COUNT, number / COUNT as u32 % PARTITIONS);
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

    /// A gap that lasts to the end of the minute is one, too.
    fn close(&mut self, began: Instant) {
        let end = began + MINUTE;
        for partition in 0..PARTITIONS {
            let before = self.told.get(&partition).copied().unwrap_or(began);
            let gap = self.minute.gaps.entry(partition).or_default();
            *gap = (*gap).max(end.saturating_duration_since(before));
        }
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
            Err(Failure::Refused) => self.fail("no peer takes connections"),
            Err(Failure::Unreached(why)) => self.fail(&format!("not reached: {why}")),
            Err(Failure::Unanswered(why)) => self.fail(&format!("no answer: {why}")),
        }
    }
}

impl Minute {
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Failures of a hundred thousand requests.
    fn failed_of_many(&self) -> f64 {
        self.failures() as f64 * 100_000.0 / self.sent.max(1) as f64
    }

    /// The gaps of the shards that the victim led.
    fn gaps_led(&self) -> impl Iterator<Item = Duration> + '_ {
        self.gaps.iter().filter(|(partition, _)| self.led.contains(partition)).map(|(_, gap)| *gap)
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
        let mut gaps_led: Vec<Duration> = self.gaps_led().collect();
        let mut latencies = self.latencies.clone();
        write!(
            f,
            "p{} killed, who led {} shards: {} of {} requests failed; latency p50 {:.1?} p99 {:.1?}; write \
             gap p99 {:.2?} max {:.2?}, of those it led p50 {:.2?} p99 {:.2?}",
            self.victim,
            self.led.len(),
            self.failures(),
            self.sent,
            percentile(&mut latencies, 50),
            percentile(&mut latencies, 99),
            percentile(&mut gaps, 99),
            percentile(&mut gaps, 100),
            percentile(&mut gaps_led, 50),
            percentile(&mut gaps_led, 99)
        )?;
        self.failed.iter().try_for_each(|(why, times)| write!(f, "\n    {times} × {why}"))
    }
}

impl Tally {
    fn gaps(&self) -> Vec<Duration> {
        self.0.iter().flat_map(|minute| minute.gaps.values().copied()).collect()
    }

    /// Of the shards that the victims led: the others need not notice a kill.
    fn gaps_led(&self) -> Vec<Duration> {
        self.0.iter().flat_map(Minute::gaps_led).collect()
    }

    /// Failures of a hundred thousand requests.
    fn failed(&self) -> f64 {
        let sent: u64 = self.0.iter().map(|minute| minute.sent).sum();
        let failed: u64 = self.0.iter().map(Minute::failures).sum();
        failed as f64 * 100_000.0 / sent.max(1) as f64
    }

    /// The same, in the minute in which most failed.
    fn failed_worst(&self) -> f64 {
        self.0.iter().map(Minute::failed_of_many).fold(0.0, f64::max)
    }

    pub fn acknowledged(&self) -> u64 {
        self.0.iter().map(|minute| minute.latencies.len() as u64).sum()
    }

    /// A kill of somebody who led nothing proves nothing.
    pub fn passed(&self) -> bool {
        self.failed_worst() < FAILED_MAX
            && percentile(&mut self.gaps(), 99) <= GAP_MAX
            && percentile(&mut self.gaps_led(), 99) <= GAP_MAX
            && self.0.iter().all(|minute| !minute.led.is_empty())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut gaps, mut gaps_led) = (self.gaps(), self.gaps_led());
        write!(
            f,
            "{} kills: {:.4} % failed, {:.4} % in the worst minute (less than 0.1 wanted in each); write gap of a \
             shard p50 {:.2?} p99 {:.2?} max {:.2?}, of the {} that victims led p50 {:.2?} p99 {:.2?} max {:.2?} \
             (p99 of 2 s at most wanted of both)",
            self.0.len(),
            self.failed() / 1000.0,
            self.failed_worst() / 1000.0,
            percentile(&mut gaps, 50),
            percentile(&mut gaps, 99),
            percentile(&mut gaps, 100),
            gaps_led.len(),
            percentile(&mut gaps_led, 50),
            percentile(&mut gaps_led, 99),
            percentile(&mut gaps_led, 100)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(failed: u64, gap: Duration) -> Minute {
        let failed = BTreeMap::from([("503 SH0501".to_owned(), failed)]);
        let gaps = BTreeMap::from([(0, Duration::from_millis(20)), (1, gap)]);
        let (victim, led) = (1, BTreeSet::from([1]));
        Minute { victim, sent: 60_000, failed, led, gaps, latencies: Vec::new() }
    }

    #[test]
    fn one_in_a_thousand_is_too_many_and_so_is_a_gap_of_three_seconds() {
        let tally = |failed, gap| Tally(vec![minute(failed, Duration::from_secs(gap))]);
        assert!(tally(59, 1).passed());
        assert!(!tally(60, 1).passed());
        assert!(!tally(0, 3).passed());
    }

    #[test]
    fn each_minute_must_do_and_shards_that_nobody_missed_do_not_hide_those_of_the_victim() {
        let quiet = || minute(0, Duration::from_secs(1));
        let mut tally = Tally(vec![quiet(), quiet(), minute(60, Duration::from_secs(1))]);
        assert!(tally.failed() < FAILED_MAX && !tally.passed(), "the others make up for it");
        tally.0.pop();
        assert!(tally.passed());
        tally.0[0].gaps.extend((2..400).map(|at| (at, Duration::ZERO)));
        tally.0[0].gaps.insert(1, Duration::from_secs(3));
        assert!(percentile(&mut tally.gaps(), 99) <= GAP_MAX && !tally.passed());
        tally.0[0].led.clear();
        assert!(!tally.passed(), "it led nothing");
    }

    #[test]
    fn a_gap_that_lasts_to_the_end_of_the_minute_is_one() {
        let began = Instant::now();
        let mut book = Book::default();
        book.told.insert(0, began + MINUTE - Duration::from_millis(60));
        book.told.insert(1, began + Duration::from_secs(10));
        book.minute.gaps.insert(0, Duration::from_secs(1));
        book.close(began);
        let gaps = &book.minute.gaps;
        assert_eq!((gaps[&0], gaps[&1]), (Duration::from_secs(1), Duration::from_secs(50)));
        assert_eq!((gaps[&2], gaps.len()), (MINUTE, PARTITIONS as usize), "it was never served");
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
