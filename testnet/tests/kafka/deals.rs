//! A group to which the coordinator deals, with librdkafka: three share, one is killed, then the coordinator is.

use super::hand::{Client, Hand, end};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testnet::scene::{Scene, Setting, eventually};

const STREAM: &str = "deals";
const GROUP: &str = "sharers";
const PARTITIONS: u32 = 6;
/// Events a second.
const RATE: &str = "300";
const READERS: usize = 3;
/// A consumer that says nothing is gone after this, and the others hear of it at their next sign of life.
const SILENCE: Duration = Duration::from_secs(45);
const TAKE_OVER: Duration = Duration::from_secs(6);
/// What was read after the last commit is read again: half a second of it, and what the killed one did not note.
const AGAIN_MAX: usize = 600;
const STALL_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
struct Told {
    n: i64,
    error: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Seen {
    p: u32,
    o: i64,
    n: i64,
    at: u64,
}

/// The group as an admin client sees it.
#[derive(Debug, Deserialize)]
struct Described {
    state: String,
    way: String,
    port: u16,
    shares: BTreeMap<String, Vec<u32>>,
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[test]
fn three_share_what_is_dealt_and_go_on_when_one_of_them_and_when_the_coordinator_dies() {
    let Some(hand) = Hand::new("kills_client.py", &["confluent-kafka==2.16.*"]) else { return };
    let mut scene = Scene::up(Setting::plain(3));
    let new = json!({"name": STREAM, "partitions": PARTITIONS});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    let boots = scene.kafka().join(",");
    let start = |role: &str, history: &str, name: &str| {
        hand.start(&[role, &boots, STREAM], history, &[name, RATE])
    };
    let readers = (0..READERS).map(|n| start("dealt", &format!("reader{n}"), GROUP));
    let mut readers: Vec<Client> = readers.collect();
    let pattern = start("dealt-pattern", "pattern", "by-pattern");
    let writer = start("idempotent", "writer", "writer");
    let described = settled(&hand, &start, READERS);
    let port = format!(":{}", described.port);
    let place = scene.kafka().iter().position(|it| it.ends_with(&port));
    let coordinator = 1 + place.expect("the coordinator is one of the peers");

    let died = now_ns();
    drop(readers.remove(0));
    std::thread::sleep(SILENCE + TAKE_OVER + Duration::from_secs(4));
    settled(&hand, &start, READERS - 1);
    let killed = now_ns();
    scene.net.kill(coordinator).expect("it runs");
    std::thread::sleep(Duration::from_secs(6));
    scene.net.launch(coordinator).expect("it starts");
    std::thread::sleep(Duration::from_secs(6));
    end(writer, "the writer");
    std::thread::sleep(Duration::from_secs(5));
    for reader in readers.into_iter().chain([pattern]) {
        end(reader, "a reader");
    }

    let told: Vec<Told> = hand.told("writer");
    let written: BTreeSet<i64> =
        told.iter().filter(|it| it.error.is_none()).map(|it| it.n).collect();
    assert!(
        written.len() > 10_000 && written.len() == told.len(),
        "{} of {}",
        written.len(),
        told.len()
    );
    let seen: Vec<Vec<Seen>> = (0..READERS).map(|n| hand.told(&format!("reader{n}"))).collect();
    check_events(&written, &seen);
    let of_pattern: Vec<Seen> = hand.told("pattern");
    check_events(&written, &[Vec::new(), of_pattern]);
    let left: Vec<&Seen> = seen.iter().flatten().collect();
    let taken_over = stall(&left, died, SILENCE + TAKE_OVER + Duration::from_secs(4));
    let stalled = stall(&left, killed, Duration::from_secs(10));
    println!(
        "a consumer's partitions stalled {taken_over:.2?}, with the coordinator {stalled:.2?}"
    );
    assert!(taken_over <= SILENCE + TAKE_OVER, "nobody took over for {taken_over:.2?}");
    assert!(stalled <= STALL_MAX, "all stalled {stalled:.2?} when the coordinator died");
}

/// Waits until so many share evenly, as an admin client sees it.
fn settled(hand: &Hand, start: &impl Fn(&str, &str, &str) -> Client, sharers: usize) -> Described {
    let what = format!("{sharers} share evenly");
    eventually(&what, Duration::from_secs(20), || {
        end(start("describe", "described", GROUP), "an admin client");
        let described = hand.told::<Described>("described").pop();
        let Some(described) = described else { return Err("it hears an error".into()) };
        let even = described.shares.values().all(|it| it.len() == PARTITIONS as usize / sharers);
        // Before anybody has joined there is no group, of any kind.
        let dealt = described.way == "CONSUMER" && described.state == "STABLE";
        let stable = described.shares.len() == sharers && even && dealt;
        if stable { Ok(described) } else { Err(format!("{described:?}")) }
    })
}

/// All that was written is seen; only what the first reader had, which was killed, is seen again by another.
fn check_events(written: &BTreeSet<i64>, seen: &[Vec<Seen>]) {
    let numbers: BTreeSet<i64> = seen.iter().flatten().map(|it| it.n).collect();
    assert_eq!(written.difference(&numbers).count(), 0, "acknowledged and never read");
    let killed: BTreeSet<(u32, i64)> = seen[0].iter().map(|it| (it.p, it.o)).collect();
    assert_eq!(killed.len(), seen[0].len(), "the first read something twice");
    let mut others = BTreeSet::new();
    let mut again = 0;
    for it in seen[1..].iter().flatten() {
        assert!(others.insert((it.p, it.o)), "{it:?} was read twice by those that live");
        again += usize::from(killed.contains(&(it.p, it.o)));
    }
    println!("{} written, {again} read again after the first reader's death", written.len());
    assert!(again <= AGAIN_MAX, "{again} were read again: they did not go on from commits");
}

/// The longest time around a moment and some time after it in which some partition gave nothing.
fn stall(seen: &[&Seen], from: u64, after: Duration) -> Duration {
    let until = from + after.as_nanos() as u64;
    let of = |partition: u32| {
        let mut at: Vec<u64> = seen.iter().filter(|it| it.p == partition).map(|it| it.at).collect();
        at.sort_unstable();
        let pairs = at.windows(2).filter(|pair| pair[1] > from && pair[0] < until);
        pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or(until - from)
    };
    Duration::from_nanos((0..PARTITIONS).map(of).max().expect("there are partitions"))
}
