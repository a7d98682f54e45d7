//! How a mesh begins, and how its founder begins again.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testnet::ask::Asker;
use testnet::hand::{Hand, Line};
use testnet::scene::{eventually, turn};

const EVENTS: u64 = 400;

#[test]
fn a_start_on_an_empty_folder_refuses_and_names_both_ways() {
    let ended = Line::start(&[]).run();
    ended.fails(2, "SH0205", &["shoal start --new", "shoal start --join ADDR --token T"]);
    let ended = Line::start(&["--join", "127.0.0.1:1"]).run();
    ended.fails(2, "SH0001", &["needs the mesh's token", "--token T"]);
    let ended = Line::start(&["--new", "--join", "127.0.0.1:1"]).run();
    ended.fails(2, "SH0001", &["needs the mesh's token", "--token T"]);
}

#[test]
fn a_founder_alone_says_who_can_join_it_and_what_it_lacks() {
    let _turn = turn();
    let mut founder = Line::start(&["--new"]).begin();
    founder.says("ready: ");
    let said = founder.said();
    let told = [
        "others on this machine join with: shoal start --join 127.0.0.1:",
        "on loopback only",
        "--bind 0.0.0.0",
        "--advertise HOST",
    ];
    for words in told {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    let health = Line::shoal(&["health", "--peer", &founder.address("http")]).run();
    for words in ["64 of 64 led, 64 under-replicated", "64 shards have fewer than 3 live voters"] {
        assert!(health.said.contains(words), "{words:?} is not in\n{}", health.said);
    }
    assert_eq!(health.code, Some(0), "it serves all the same: {}", health.said);
}

/// A shard may be without a leader for longer than a request is held, right after one was killed.
const ELECTION: Duration = Duration::from_secs(10);

/// Appends each number once, as an honest client does: under its own key, again while no leader answers.
pub(super) fn append(asker: &Asker, http: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let event = json!({"events": [{"key": format!("{number}"), "value": number}]});
        let key = format!("append-{number}");
        eventually("an acknowledgement", ELECTION, || {
            let sent = asker.post_once(http, "/v1/streams/kept/events", (&key, &event));
            when_led(sent.expect("an answer"))
        });
    }
}

/// What was answered; an error only where no leader was found, which passes.
fn when_led((status, body): (u16, Value)) -> Result<Value, String> {
    if status == 503 && body["code"] == "SH0501" {
        return Err(body.to_string());
    }
    assert_eq!(status, 200, "{body}");
    Ok(body)
}

/// Every number that is in the stream, as one peer reads it, sorted.
pub(super) fn numbers(asker: &Asker, http: &str, partitions: u32) -> Vec<u64> {
    let mut found = Vec::new();
    for partition in 0..partitions {
        let path = format!("/v1/streams/kept/events?partition={partition}&offset=0&max=10000");
        let body = eventually("a leader", ELECTION, || {
            when_led(asker.get(http, &path).expect("an answer"))
        });
        let events = body["events"].as_array().cloned().unwrap_or_default();
        found
            .extend(events.iter().filter_map(|event| event["value"].as_str()?.parse::<u64>().ok()));
    }
    found.sort_unstable();
    found
}

fn members(asker: &Asker, http: &str) -> Vec<(i64, String)> {
    let (_, body) = asker.get(http, "/v1/members").expect("an answer");
    let list = body["members"].as_array().cloned().unwrap_or_default();
    let member =
        |member: &Value| Some((member["id"].as_i64()?, member["state"].as_str()?.to_owned()));
    list.iter().filter_map(member).collect()
}

#[test]
fn a_founder_whose_disk_is_lost_comes_back_through_another_peer() {
    let _turn = turn();
    let asker = Asker::new(Duration::from_secs(30));
    let mut founder = Line::start(&["--new"]).begin();
    let line = founder.join_line();
    let words: Vec<&str> = line.split_whitespace().skip(2).collect();
    let mut others: Vec<Hand> = (0..2).map(|_| Line::start(&words).begin()).collect();
    for other in &mut others {
        other.says("ready: ");
    }
    let through = others[0].address("mesh");
    let http = others[1].address("http");
    eventually("a whole mesh", Duration::from_secs(20), || asker.lacks(&http, 3));
    let new = json!({"name": "kept", "partitions": 64});
    assert_eq!(asker.post(&http, "/v1/streams", &new).expect("an answer").0, 201);
    append(&asker, &founder.address("http"), 0..EVENTS / 2);

    founder.kill();
    drop(founder);
    append(&asker, &http, EVENTS / 2..EVENTS);
    let token = *words.last().filter(|word| word.starts_with("shoal1-")).expect("the token");
    let mut back = Line::start(&["--join", &through, "--token", token]).begin();
    back.says("ready: ");
    eventually("a new id, and the old one gone", Duration::from_secs(10), || {
        let mut found = members(&asker, &http);
        found.sort_unstable();
        let wanted = [(1, "gone"), (2, "alive"), (3, "alive"), (4, "alive")];
        let same = found.iter().map(|(id, state)| (*id, state.as_str())).eq(wanted);
        if same { Ok(()) } else { Err(format!("{found:?}")) }
    });

    let removed = Line::shoal(&["remove", "1", "--yes", "--peer", &http]).run();
    assert_eq!(removed.code, Some(0), "{}", removed.said);
    eventually("three copies of each shard", Duration::from_secs(30), || asker.lacks(&http, 3));
    let all: Vec<u64> = (0..EVENTS).collect();
    for peer in [&others[0], &others[1], &back] {
        assert_eq!(numbers(&asker, &peer.address("http"), 64), all, "no event is lost");
    }
    // The two that had everything may now go, one after the other: the new copies are worth as much.
    others[0].kill();
    append(&asker, &back.address("http"), EVENTS..EVENTS + 50);
    let all: Vec<u64> = (0..EVENTS + 50).collect();
    assert_eq!(numbers(&asker, &back.address("http"), 64), all);
}

#[test]
fn a_founder_killed_at_any_moment_goes_on_where_it_was() {
    let _turn = turn();
    let asker = Asker::new(Duration::from_secs(10));
    let begin = |folder: &std::path::Path| {
        let has_head = folder.join("shoal-data/head").exists();
        Line::start(if has_head { &[] } else { &["--new"] }).begin_in(folder)
    };
    let check = |folder: &std::path::Path, when: &str| {
        let mut back = begin(folder);
        back.says("ready: ");
        let http = back.address("http");
        let new = json!({"name": "kept", "partitions": 4});
        assert_eq!(asker.post(&http, "/v1/streams", &new).expect("an answer").0, 201, "{when}");
        append(&asker, &http, 0..8);
        assert_eq!(numbers(&asker, &http, 4), (0..8).collect::<Vec<u64>>(), "{when}");
        back.kill();
    };
    // Its head was written, and nothing else: what a kill in that very moment leaves.
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let mut first = begin(folder.path());
    first.says("ready: ");
    first.kill();
    let data = folder.path().join("shoal-data");
    for gone in ["journal", "segments", "tables"] {
        std::fs::remove_dir_all(data.join(gone)).expect("it is there");
    }
    std::fs::remove_file(data.join("catalogue")).expect("it is there");
    check(folder.path(), "with a head alone");

    let start = Instant::now();
    for after in (0..240).step_by(20) {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let mut killed = begin(folder.path());
        std::thread::sleep(Duration::from_millis(after));
        killed.kill();
        check(folder.path(), &format!("killed after {after} ms"));
    }
    println!("{:?}", start.elapsed());
}
