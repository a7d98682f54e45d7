//! A quorum is lost for good: one peer goes on with what it has, by hand.

use super::founding::{append, numbers};
use super::odd::copied;
use serde_json::json;
use std::time::Duration;
use testnet::ask::Asker;
use testnet::hand::{Hand, Line};
use testnet::scene::{eventually, turn};

const SOON: Duration = Duration::from_secs(30);
const EVENTS: u64 = 400;

#[test]
fn the_last_of_three_goes_on_alone_takes_new_peers_and_refuses_an_old_one() {
    let _turn = turn();
    let asker = Asker::new(SOON);
    let mut founder = Line::start(&["--new", "--name", "p1"]).begin();
    let line = founder.join_line();
    let words: Vec<&str> = line.split_whitespace().skip(2).collect();
    let mut second = Line::start(&words).and(&["--name", "p2"]).begin();
    // Where the others will look for it: it listens there again when it comes back.
    let port = format!("--mesh-port={}", super::agreeing::mesh_ports(1)[0]);
    let home = tempfile::TempDir::new().expect("a temporary folder");
    let at = ["start", "--kafka-port=0", "--http-port=0", &port];
    let third = Line::shoal(&at).and(&words).and(&["--name", "p3"]);
    let mut third = third.begin_in(home.path());
    second.says("ready: ");
    third.says("ready: ");
    let http = third.address("http");
    eventually("a whole mesh", SOON, || asker.lacks(&http, 3));
    let new = json!({"name": "kept", "partitions": 64});
    assert_eq!(asker.post(&http, "/v1/streams", &new).expect("an answer").0, 201);
    append(&asker, &founder.address("http"), 0..EVENTS);
    // What two have acknowledged the third gets a moment later.
    std::thread::sleep(Duration::from_secs(1));

    let data = home.path().join("shoal-data").display().to_string();
    let recover = |words: &[&str]| Line::shoal(&["recover", "--data", &data]).and(words).run();
    recover(&[]).fails(2, "SH0001", &["start them instead", "recover --unsafe"]);
    recover(&["--unsafe", "--yes"]).fails(5, "SH0202", &["in use"]);
    let old = tempfile::TempDir::new().expect("a temporary folder");
    founder.kill();
    second.kill();
    copied(&founder.folder().join("shoal-data"), old.path());
    drop((founder, second));
    third.kill();
    drop(third);

    let unasked = recover(&["--unsafe"]);
    unasked.fails(2, "SH0001", &["nobody is there to say yes"]);
    for told in ["64 of its shards have a copy here", "p1 (127.0.0.1:", "p2 (127.0.0.1:"] {
        assert!(unasked.said.contains(told), "{told:?} is not in\n{}", unasked.said);
    }
    let done = recover(&["--unsafe", "--yes"]);
    assert_eq!(done.code, Some(0), "{}", done.said);
    assert!(done.said.contains("p3 is its whole mesh now, by recovery 1"), "{}", done.said);

    let mut third = Line::shoal(&at).begin_in(home.path());
    third.says("ready: ");
    let http = third.address("http");
    has_all(&asker, &http, EVENTS);
    append(&asker, &http, EVENTS..EVENTS + 50);

    // One of the lost comes back after all.
    let back = Line::start(&[]).begin_in(old.path());
    back.ends(SOON).fails(5, "SH0107", &["was recovered without this peer", "--data EMPTY"]);

    let token = *words.last().filter(|word| word.starts_with("shoal1-")).expect("the token");
    let join = ["--join", &third.address("mesh"), "--token", token];
    let mut others: Vec<Hand> = (0..2).map(|_| Line::start(&join).begin()).collect();
    for other in &mut others {
        other.says("ready: ");
    }
    eventually("three copies of each shard", SOON, || asker.lacks(&http, 3));
    third.kill();
    has_all(&asker, &others[0].address("http"), EVENTS + 50);
}

fn has_all(asker: &Asker, http: &str, count: u64) {
    let all: Vec<u64> = (0..count).collect();
    eventually("all that was acknowledged", SOON, || {
        let found = numbers(asker, http, 64);
        if found == all { Ok(()) } else { Err(format!("{} of {count}", found.len())) }
    });
}
