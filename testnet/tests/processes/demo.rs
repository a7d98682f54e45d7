//! The demo as a person runs it: what it prints, how it ends, and what it leaves behind.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use testnet::binaries;
use testnet::hand::{Ended, Hand, Line};
use testnet::scene::turn;

const FIRST_ANSWERS: Duration = Duration::from_secs(30);
const ALL: Duration = Duration::from_secs(90);

/// A demo whose temporary folders lie in one of ours.
struct Demo {
    hand: Hand,
    temporary: tempfile::TempDir,
    began: Instant,
}

impl Demo {
    fn begin(words: &[&str]) -> Self {
        let temporary = tempfile::TempDir::new().expect("a temporary folder");
        let place = format!("TMPDIR={}", temporary.path().display());
        let line = Line::shoal(&["demo", "flights"]).and(words).by(&["env", &place]);
        Self { hand: line.begin(), temporary, began: Instant::now() }
    }

    /// Waits for the first answers, which must come soon.
    fn answers(&mut self) {
        // `1234/27004 flights, 2013-01-02T10:00:00Z: EWR 17   JFK …`
        self.hand.says("Z: EWR ");
        let took = self.began.elapsed();
        println!("first answers after {took:?}");
        assert!(took < FIRST_ANSWERS, "first answers after {took:?}");
    }

    /// Waits for its end; what it left in the temporary folder.
    fn ends(self) -> (Ended, Vec<PathBuf>, tempfile::TempDir) {
        let ended = self.hand.ends(ALL);
        let entries = std::fs::read_dir(self.temporary.path()).expect("our folder");
        let left = entries.map(|entry| entry.expect("our folder").path()).collect();
        (ended, left, self.temporary)
    }
}

/// The table's rows: name, pid and three addresses.
fn peers(said: &str) -> Vec<Vec<&str>> {
    let rows = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() == 5 && ["p1", "p2", "p3"].contains(&row[0])).collect()
}

fn runs(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).output().expect("kill runs").status.success()
}

#[test]
fn the_demo_shows_addresses_and_commands_leaves_with_a_verdict_and_keeps_what_it_was_told_to() {
    let _turn = turn();
    let mut demo = Demo::begin(&["--exit", "--speed", "max", "--keep"]);
    demo.answers();
    let (ended, left, _folder) = demo.ends();
    let said = &ended.said;
    assert_eq!(ended.code, Some(0), "{said}");
    assert!(said.contains("totals are equal to those computed from the events alone"), "{said}");
    let peers = peers(said);
    assert_eq!(peers.len(), 3, "{said}");
    assert!(peers.iter().flat_map(|row| &row[2..]).all(|at| at.starts_with("127.0.0.1:")));
    let binary = std::fs::canonicalize(binaries::shoal()).expect("it is there");
    for command in [
        format!("curl -s 'http://{}/v1/views/", peers[2][3]),
        format!("KafkaProducer as P; p = P(bootstrap_servers='{}')", peers[0][2]),
        format!("{} testnet kill p2 --dir ", binary.display()),
    ] {
        assert!(said.contains(&command), "{command:?} is not in\n{said}");
    }
    assert!(!peers.iter().any(|row| runs(row[1])), "{peers:?}");
    let [kept] = left.as_slice() else { panic!("{left:?} is left:\n{said}") };
    assert!(said.contains(&format!("and keeps {}", kept.display())), "{said}");
    for peer in ["p1", "p2", "p3"] {
        assert!(kept.join(peer).join("data/head").exists(), "{peer} in {kept:?}");
    }
}

#[test]
fn an_interrupt_ends_the_demo_with_its_peers_and_their_folder() {
    let _turn = turn();
    let mut demo = Demo::begin(&[]);
    demo.answers();
    let pid = demo.hand.pid().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
    assert!(sent.success());
    let (ended, left, _folder) = demo.ends();
    assert_eq!(ended.code, Some(1), "no verdict was reached: {}", ended.said);
    let peers = peers(&ended.said);
    assert_eq!(peers.len(), 3, "{}", ended.said);
    assert!(!peers.iter().any(|row| runs(row[1])), "{peers:?}");
    assert!(left.is_empty(), "{left:?}");
    assert!(!ended.said.contains("error["), "{}", ended.said);
}

#[test]
fn a_demo_stopped_while_it_starts_leaves_nothing_and_is_no_error() {
    let _turn = turn();
    let mut demo = Demo::begin(&[]);
    demo.hand.says("Starting 3 peers in ");
    let pid = demo.hand.pid().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
    assert!(sent.success());
    let (ended, left, _folder) = demo.ends();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("Stopped before the peers were ready"), "{}", ended.said);
    assert!(!ended.said.contains("error["), "{}", ended.said);
    assert!(left.is_empty(), "{left:?}");
}
