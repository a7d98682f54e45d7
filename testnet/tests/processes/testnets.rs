//! Testnets by the command line: how soon they are up, what outlives the shell, peers by number and by name, lists
//! for programs.

use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use testnet::hand::{Ended, Line};
use testnet::scene::turn;

/// A testnet that goes with the test.
struct Up {
    folder: tempfile::TempDir,
    peers: Vec<Value>,
}

impl Up {
    fn begin(peers: usize, limit: Duration) -> Self {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let mut up = Self { folder, peers: Vec::new() };
        let began = Instant::now();
        let ended = up.testnet(&["up", "-n", &peers.to_string()]);
        let took = began.elapsed();
        println!("{peers} peers are ready after {took:?}");
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        let list = std::fs::read_to_string(up.folder.path().join("net/testnet.json"));
        up.peers = serde_json::from_str(&list.expect("listed")).expect("a list of peers");
        assert_eq!(up.peers.len(), peers);
        assert!(took <= limit, "{peers} peers were ready after {took:?}");
        up
    }

    fn testnet(&self, words: &[&str]) -> Ended {
        let dir = self.folder.path().join("net");
        Line::shoal(&["testnet"]).and(words).and(&["--dir", &dir.display().to_string()]).run()
    }

    fn state(&self, peer: usize) -> String {
        let list = json(&self.testnet(&["status", "-o", "json"]));
        list[peer - 1]["state"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let ended = self.testnet(&["down", "--purge"]);
        if !std::thread::panicking() {
            assert_eq!(ended.code, Some(0), "{}", ended.said);
            assert!(!self.folder.path().join("net").exists(), "{}", ended.said);
        }
    }
}

fn json(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    serde_json::from_str(&ended.said).unwrap_or_else(|error| panic!("{error}:\n{}", ended.said))
}

/// The session a process belongs to; a peer leads its own, so that it outlives the shell that started it.
fn session(pid: i64) -> Option<i64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(3)?.parse().ok()
}

#[test]
fn testnets_of_three_and_five_are_soon_up_and_each_peer_leads_a_session_of_its_own() {
    let _turn = turn();
    for (peers, limit) in [(5, Duration::from_secs(12)), (3, Duration::from_secs(6))] {
        let up = Up::begin(peers, limit);
        if Path::new("/proc/self/stat").exists() {
            for peer in &up.peers {
                let pid = peer["pid"].as_i64().expect("a pid");
                assert_eq!(session(pid), Some(pid), "{peer}");
            }
        }
        if peers == 3 {
            peers_are_steered_by_number_and_by_name(&up);
            lists_are_told_as_json(up.peers[0]["http"].as_str().expect("an address"));
        }
    }
}

fn peers_are_steered_by_number_and_by_name(up: &Up) {
    assert_eq!(up.state(2), "ready");
    for (words, state) in [
        (["pause", "2"], "paused"),
        (["resume", "p2"], "ready"),
        (["pause", "p3"], "paused"),
        (["resume", "3"], "ready"),
        (["kill", "p2"], "down"),
        (["start", "2"], "ready"),
    ] {
        let ended = up.testnet(&words);
        assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.said);
        let end = Instant::now() + Duration::from_secs(5);
        while up.state(words[1].trim_start_matches('p').parse().expect("a number")) != state {
            assert!(Instant::now() < end, "{words:?}: {}", up.testnet(&["status"]).said);
        }
    }
    up.testnet(&["kill", "p9"]).fails(4, "SH0305", &["p9"]);
}

fn lists_are_told_as_json(http: &str) {
    let ask = |words: &[&str]| json(&Line::shoal(words).and(&["-o", "json", "--peer", http]).run());
    for name in ["first", "second"] {
        let made = Line::shoal(&["stream", "create", name, "--peer", http]).run();
        assert_eq!(made.code, Some(0), "{}", made.said);
    }
    for (words, list) in [
        (&["members"][..], "/members"),
        (&["ring"], "/rows"),
        (&["health"], "/reasons"),
        (&["stream", "list"], "/streams"),
        (&["view", "list"], "/views"),
        (&["pipeline", "list"], "/pipelines"),
    ] {
        let told = ask(words);
        assert!(told.pointer(list).is_some_and(Value::is_array), "{words:?}: {told}");
    }
    // A key without a stream lies somewhere in each of them.
    let places = ask(&["ring", "--key", "a"]);
    let places = places.as_array().expect("a list");
    for name in ["first", "second"] {
        let place = places.iter().find(|place| place["stream"] == name).expect("a place");
        let one = ask(&["ring", "--key", "a", "--stream", name]);
        assert_eq!(place["shard"], one["key"]["shard"], "{name}");
        assert!(place["leader"].is_i64(), "{place}");
    }
}
