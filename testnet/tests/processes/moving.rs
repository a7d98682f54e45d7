//! How fast shards come to a peer that joins: no faster than it was allowed.

use serde_json::json;
use std::time::{Duration, Instant};
use testnet::ask::Asker;
use testnet::hand::Line;
use testnet::scene::{eventually, turn};

/// Two of these and what is around them are a batch of almost a MiB, the most that a stream takes.
const HALF: usize = (1 << 19) - 1024;
/// What is there before the peer joins.
const HELD_MIB: usize = 24;
/// What a leader keeps in its log at most, of all shards: that much may come as entries.
const LOGS_MIB: u64 = 4;
/// What a peer may take a second.
const RATE_MIB: u64 = 3;

#[test]
fn a_peer_that_joins_takes_no_more_bytes_a_second_than_it_may_and_a_plan_says_how_long() {
    let _turn = turn();
    let asker = Asker::new(Duration::from_secs(30));
    let rate = format!("--fetch-mib-s={RATE_MIB}");
    let mut founder = Line::start(&["--new", "--shards=2", &rate]).begin();
    let line = founder.join_line();
    founder.says("ready: ");
    let http = founder.address("http");
    let new = json!({"name": "kept", "partitions": 2});
    assert_eq!(asker.post(&http, "/v1/streams", &new).expect("an answer").0, 201);
    for partition in 0..HELD_MIB {
        let value = json!({"partition": partition % 2, "events": [
            {"value": "x".repeat(HALF)}, {"value": "y".repeat(HALF)}]});
        let (status, body) = asker.post(&http, "/v1/streams/kept/events", &value).expect("told");
        assert_eq!(status, 200, "{body}");
    }
    let (_, plan) = asker.get(&http, "/v1/mesh/plan?add=1").expect("an answer");
    let seconds = plan["seconds_about"].as_u64().expect("a plan says how long");
    assert!((2..=HELD_MIB as u64 / RATE_MIB + 1).contains(&seconds), "{seconds} s: {plan}");

    let words: Vec<&str> = line.split_whitespace().skip(2).collect();
    let began = Instant::now();
    // Of two peers one has the vote and the other a copy; three vote.
    let mut others = [0; 2].map(|_| Line::start(&words).and(&[&rate]).begin());
    for other in &mut others {
        other.says("ready: ");
    }
    eventually("three copies of each shard", Duration::from_secs(60), || asker.lacks(&http, 3));
    let took = began.elapsed();
    println!("{HELD_MIB} MiB came in {took:?}");
    // The last piece is waited for by nobody.
    let least =
        Duration::from_secs((HELD_MIB as u64 - LOGS_MIB) / RATE_MIB) - Duration::from_millis(800);
    assert!(took > least, "{HELD_MIB} MiB came in {took:?}");
}

#[test]
fn a_rate_of_nothing_is_refused() {
    let ended = Line::start(&["--new", "--fetch-mib-s=0"]).run();
    ended.fails(2, "SH0001", &["fetch-mib-s"]);
}
