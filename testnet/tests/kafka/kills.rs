//! Kafka's clients as they come, while one peer after the other dies: nothing is lost or told twice, and consumers go on.

use super::hand::{Client, Hand, end};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testnet::scene::{Scene, Setting};

const STREAM: &str = "kills";
const PARTITIONS: u32 = 6;
const KILLS: usize = 6;
/// Events a second of each writer.
const RATE: &str = "300";
const WRITERS: [&str; 3] = ["python", "idempotent", "plain"];
/// Groups of two consumers each, and what they are made with.
const GROUPS: [(&str, &str); 2] = [("group", "readers"), ("python-group", "python-readers")];
/// A kill is over by then: what stalls later has another reason.
const AFTER: Duration = Duration::from_secs(10);
const STALL_P50: Duration = Duration::from_secs(2);
const STALL_MAX: Duration = Duration::from_secs(5);

/// A line of a writer's history.
#[derive(Debug, Deserialize)]
struct Told {
    w: String,
    n: i64,
    p: Option<u32>,
    error: Option<String>,
}

/// A line of a reader's history.
#[derive(Clone, Debug, Deserialize)]
struct Seen {
    p: u32,
    o: i64,
    w: String,
    n: i64,
    at: u64,
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[test]
#[ignore = "it takes 80 s: cargo test -p testnet --test kafka clients_lose -- --ignored --nocapture"]
fn clients_lose_and_double_nothing_and_consumers_go_on_while_peers_die() {
    let packages = ["confluent-kafka==2.16.*", "kafka-python==3.0.12"];
    let Some(hand) = Hand::new("kills_client.py", &packages) else { return };
    let mut scene = Scene::up(Setting::plain(3));
    let new = json!({"name": STREAM, "partitions": PARTITIONS});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    let boots = scene.kafka().join(",");
    let start = |role: &str, name: &str, history: &str| {
        hand.start(&[role, &boots, STREAM], history, &[name, RATE])
    };
    let mut readers = Vec::new();
    for (role, group) in GROUPS {
        for n in 0..2 {
            readers.push(start(role, group, &format!("{group}{n}")));
        }
    }
    let writers: Vec<Client> = WRITERS.iter().map(|role| start(role, role, role)).collect();
    std::thread::sleep(Duration::from_secs(6));
    let mut kills = Vec::new();
    for kill in 0..KILLS {
        let victim = kill % 3 + 1;
        kills.push(now_ns());
        scene.net.kill(victim).expect("it runs");
        std::thread::sleep(Duration::from_secs(5));
        scene.net.launch(victim).expect("it starts");
        std::thread::sleep(AFTER - Duration::from_secs(5));
    }
    for writer in writers {
        end(writer, "a writer");
    }
    std::thread::sleep(Duration::from_secs(5));
    for reader in readers {
        end(reader, "a reader");
    }
    let told: Vec<Told> = WRITERS.iter().flat_map(|name| hand.told(name)).collect();
    for (_, group) in GROUPS {
        let seen: Vec<Seen> = (0..2).flat_map(|n| hand.told(&format!("{group}{n}"))).collect();
        check_events(group, &told, &seen);
        check_stalls(group, &kills, &seen);
    }
}

/// No error was heard, nothing acknowledged is missing, nothing is there twice, and each writer's order is kept.
fn check_events(group: &str, told: &[Told], seen: &[Seen]) {
    let mut places: BTreeMap<(&str, i64), BTreeSet<(u32, i64)>> = BTreeMap::new();
    for it in seen {
        places.entry((&it.w, it.n)).or_default().insert((it.p, it.o));
    }
    for writer in WRITERS {
        let own = || told.iter().filter(|it| it.w == writer);
        let errors: Vec<_> = own().filter(|it| it.error.is_some()).collect();
        let acked: Vec<_> = own().filter(|it| it.error.is_none() && it.p.is_some()).collect();
        let lost = acked.iter().filter(|it| !places.contains_key(&(writer, it.n))).count();
        let doubled = places.iter().filter(|((w, _), at)| *w == writer && at.len() > 1).count();
        let disorder = disorder(writer, seen);
        println!(
            "{group}: {writer}: {} acknowledged, {} errors, {lost} lost, {doubled} doubled, \
             {disorder} out of order",
            acked.len(),
            errors.len()
        );
        assert!(acked.len() > 1_000, "{writer} hardly wrote");
        assert_eq!(lost, 0, "{writer}");
        if writer != "plain" {
            assert!(errors.is_empty(), "{writer} heard {:?}", errors.first());
            assert_eq!((doubled, disorder), (0, 0), "{writer}");
        }
    }
}

/// How many events of a writer lie behind a later one of the same partition.
fn disorder(writer: &str, seen: &[Seen]) -> usize {
    let mut by_place: BTreeMap<(u32, i64), i64> = BTreeMap::new();
    by_place.extend(seen.iter().filter(|it| it.w == writer).map(|it| ((it.p, it.o), it.n)));
    let mut last: BTreeMap<u32, i64> = BTreeMap::new();
    let mut behind = 0;
    for ((partition, _), number) in by_place {
        let last = last.entry(partition).or_insert(-1);
        behind += usize::from(number <= *last);
        *last = number.max(*last);
    }
    behind
}

/// For each kill, the longest time in which some partition gave its group nothing.
fn check_stalls(group: &str, kills: &[u64], seen: &[Seen]) {
    let mut stalls = Vec::new();
    for kill in kills {
        let until = kill + AFTER.as_nanos() as u64;
        let of = |partition: u32| {
            let mut at: Vec<u64> =
                seen.iter().filter(|it| it.p == partition).map(|it| it.at).collect();
            at.sort_unstable();
            let pairs = at.windows(2).filter(|pair| pair[1] > *kill && pair[0] < until);
            pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or(until - kill)
        };
        let worst = (0..PARTITIONS).map(of).max().expect("there are partitions");
        stalls.push(Duration::from_nanos(worst));
    }
    stalls.sort_unstable();
    let (p50, max) = (stalls[(stalls.len() - 1) / 2], stalls[stalls.len() - 1]);
    println!("{group}: the worst partition stalled {stalls:.2?} in {} kills", kills.len());
    assert!(p50 <= STALL_P50 && max <= STALL_MAX, "{group} stalled {p50:.2?}, {max:.2?} at most");
}
