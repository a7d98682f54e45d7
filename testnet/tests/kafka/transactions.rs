//! Transactions while the leader of what they write and their coordinator die: readers see all of one, or nothing.

use super::hand::{Client, Hand, end};
use model::hash::shard_of_group;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testnet::scene::{Scene, Setting};

const STREAM: &str = "moves";
const PARTITIONS: u32 = 4;
/// Events of each transaction in each partition, as the script has it.
const EVENTS: u32 = 3;
const WRITERS: u32 = 3;
/// Peers that die; `SHOAL_KILLS=20`: the long form.
const KILLS: u32 = 2;
/// One that was abandoned is open for its time-out, and ended soon after it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a transaction, as its writer was told.
#[derive(Debug, Deserialize)]
struct Told {
    c: u32,
    n: u64,
    outcome: String,
    took: f64,
}

/// An event that a reader was shown.
#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    p: u32,
    o: i64,
    c: u32,
    n: u64,
    e: u32,
}

/// The peer that leads the shard on which a writer's transactions are decided.
fn coordinator(scene: &Scene, asked: usize, writer: u32) -> Option<usize> {
    let (_, ring) = scene.get(asked, "/v1/ring").ok()?;
    let rows = ring["rows"].as_array()?;
    let shard = shard_of_group(&format!("writer-{writer}"), rows.len() as u16);
    let row = rows.iter().find(|row| row["shard"].as_u64() == Some(u64::from(shard.0)))?;
    row["leader"].as_u64().map(|peer| peer as usize)
}

fn kills() -> u32 {
    let wanted = std::env::var("SHOAL_KILLS").ok();
    wanted.map_or(KILLS, |wanted| wanted.parse().expect("a number of kills"))
}

#[test]
fn transactions_are_shown_whole_or_not_at_all_while_leaders_and_coordinators_die() {
    let Some(hand) = Hand::new("transactions_client.py", &["confluent-kafka==2.16.*"]) else {
        return;
    };
    let mut scene = Scene::up(Setting::plain(3));
    let new = json!({"name": STREAM, "partitions": PARTITIONS});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    let (boots, partitions) = (scene.kafka().join(","), PARTITIONS.to_string());
    let start = |role: &str, client: u32, history: &str| {
        let client = client.to_string();
        hand.start(&[role, &boots, STREAM, &partitions], history, &[&client, &client])
    };
    let live = start("read", 0, "live");
    let writers: Vec<Client> = (1..=WRITERS).map(|n| start("write", n, &format!("w{n}"))).collect();
    std::thread::sleep(Duration::from_secs(3));
    for kill in 0..kills() {
        let asked = kill as usize % 3 + 1;
        let victim = match kill % 2 {
            0 => scene.busiest_leader(asked, STREAM).ok(),
            _ => coordinator(&scene, asked, kill / 2 % WRITERS + 1),
        };
        let victim = victim.expect("somebody leads");
        scene.net.kill(victim).expect("it runs");
        std::thread::sleep(Duration::from_secs(3));
        scene.net.launch(victim).expect("it starts");
        std::thread::sleep(Duration::from_secs(2));
    }
    for (n, writer) in writers.into_iter().enumerate() {
        end(writer, &format!("writer {}", n + 1));
    }
    let told: Vec<Told> = (1..=WRITERS).flat_map(|n| hand.told(&format!("w{n}"))).collect();
    settled(&scene);
    end(live, "the live reader");
    end(start("read", 0, "late"), "the late reader");
    let mut live: Vec<Shown> = hand.told("live");
    let mut late: Vec<Shown> = hand.told("late");
    live.sort_unstable();
    late.sort_unstable();
    check(&told, &late);
    assert!(live == late, "a reader from the beginning sees other events than one that read along");
}

/// Waits until no transaction holds up readers: also one that was abandoned ends by its time.
fn settled(scene: &Scene) {
    scene.eventually("the end of all transactions", PATIENCE, || {
        let (_, body) =
            scene.get(1, &format!("/v1/streams/{STREAM}")).map_err(|e| e.to_string())?;
        let parts = body["parts"].as_array().cloned().unwrap_or_default();
        let mut left = 0;
        for (at, part) in parts.iter().enumerate() {
            let path = format!("/v1/streams/{STREAM}/events?partition={at}&offset=0&max=1");
            let (_, read) = scene.get(1, &path).map_err(|error| error.to_string())?;
            // What may be read ends at the first event whose fate is open.
            left += usize::from(read["high"].as_i64().is_none() || read["high"] != part["next"]);
        }
        if left == 0 { Ok(()) } else { Err(format!("{left} partitions have open ones")) }
    });
}

fn check(told: &[Told], shown: &[Shown]) {
    let places: BTreeSet<(u32, i64)> = shown.iter().map(|it| (it.p, it.o)).collect();
    assert_eq!(places.len(), shown.len(), "an offset was shown twice");
    let mut seen: BTreeMap<(u32, u64), BTreeMap<(u32, u32), u32>> = BTreeMap::new();
    for it in shown {
        *seen.entry((it.c, it.n)).or_default().entry((it.p, it.e)).or_default() += 1;
    }
    let whole = (PARTITIONS * EVENTS) as usize;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for told in told {
        let events = seen.remove(&(told.c, told.n)).unwrap_or_default();
        let name = format!("transaction {} of writer {}", told.n, told.c);
        assert!(events.values().all(|times| *times == 1), "{name} is shown twice: {events:?}");
        assert!([0, whole].contains(&events.len()), "{name} is torn: {events:?}");
        match told.outcome.as_str() {
            "committed" => assert_eq!(events.len(), whole, "{name} was committed and is lost"),
            "aborted" => assert_eq!(events.len(), 0, "{name} was given up and is shown"),
            _ => {}
        }
        *counts.entry(&told.outcome).or_default() += 1;
    }
    assert!(seen.is_empty(), "events of nobody's transaction: {:?}", seen.keys());
    let mut took: Vec<f64> = told.iter().map(|told| told.took).collect();
    took.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    println!("{} kills; {counts:?}; {} events shown", kills(), shown.len());
    println!(
        "a transaction took {:.3} s, p99 {:.3} s, at most {:.3} s",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    assert!(counts.get("committed").is_some_and(|count| *count > 100), "{counts:?}");
}
