//! Peers on machines of their own, as network namespaces make them.

use serde_json::Value;
use std::time::Duration;
use testnet::hand::{Hand, Line};
use testnet::scene::{eventually, turn};
use testnet::space::{Space, Star, possible};

/// What a verb answers when it is asked in a namespace, as JSON.
fn ask(space: &Space, words: &[&str]) -> Result<Value, String> {
    let ended = Line::shoal(words).and(&["-o", "json"]).by(&space.inside()).run();
    serde_json::from_str(&ended.said).map_err(|error| format!("{error}: {}", ended.said))
}

#[test]
fn peers_on_other_machines_join_by_the_printed_line() {
    if let Err(why) = possible() {
        println!("SKIPPED: {why}");
        return;
    }
    let _turn = turn();
    let star = Star::make(2);
    let (host, inside) = ("10.77.1.1", star.middle.inside());
    let mut founder = Line::shoal(&["start", "--new", "--bind", "0.0.0.0", "--advertise", host])
        .by(&inside)
        .begin();
    let line = founder.join_line();
    assert!(line.contains(&format!("--join {host}:7946")), "{line}");
    let mut joined: Vec<Hand> =
        star.around.iter().map(|space| Line::printed(&line).by(&space.inside()).begin()).collect();
    for peer in &mut joined {
        peer.says("ready: ");
    }
    for (peer, space) in joined.iter().zip(&star.around) {
        assert_eq!(peer.address("kafka"), format!("{}:9092", space.address));
    }
    let asked = &star.around[1];
    eventually("a whole mesh", Duration::from_secs(20), || {
        let health = ask(asked, &["health"])?;
        let whole = health["healthy"] == true && health["peers"]["alive"] == 3;
        if whole { Ok(()) } else { Err(health.to_string()) }
    });
    let at = |space: &Space| format!("http://{}:8080", space.address);
    let other = at(&star.around[0]);
    ask(asked, &["stream", "create", "far", "--peer", &other]).expect("made at the other");
    ask(asked, &["stream", "append", "far", "hello"]).expect("appended at this one");

    // Without the founder the two must do alone: they reach each other by what they told of themselves.
    founder.kill();
    eventually("the event at the other", Duration::from_secs(20), || {
        let read = ask(asked, &["stream", "read", "far", "--peer", &other])?;
        if read.to_string().contains("hello") { Ok(()) } else { Err(read.to_string()) }
    });
    eventually("an append without the founder", Duration::from_secs(20), || {
        ask(asked, &["stream", "append", "far", "again", "--peer", &other]).map(drop)
    });
}
