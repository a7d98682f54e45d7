//! Testnets of stand-in processes: what is started, recognised, signalled and cleaned up.

use super::*;
use std::os::unix::fs::PermissionsExt;

/// A binary that does as a peer would as far as a testnet looks from outside, without listening.
fn stand_in(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("stand-in");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a temporary folder");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("our own file");
    path
}

#[test]
fn a_peer_that_fails_to_start_is_quoted_with_its_own_code() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = "echo 'error[SH0206]: the disk is read-only' >&2; exit 1";
    let mut plan = Plan::new(folder.path().join("net"), 3);
    plan.binary = Some(stand_in(folder.path(), script));
    let Err(problem) = Testnet::up(&plan) else { panic!("up") };
    assert_eq!(problem.code, "SH0206");
    assert!(problem.because.contains("the disk is read-only"), "{problem}");
    assert!(Testnet::open(&plan.folder).is_err(), "nothing runs, nothing is listed");
}

#[test]
fn peers_are_listed_recognised_paused_and_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Plan {
        binary: Some(stand_in(folder.path(), "while :; do sleep 0.1; done")),
        ..Plan::new(folder.path().join("net"), 2)
    };
    let files = Files::create(&plan.folder).expect("a new folder");
    let ports = ports::free(2, 15_000).expect("free ports");
    let mut testnet = Testnet::found(&plan, &files, &ports).expect("written");
    assert_eq!(testnet.state(2), State::Down);
    testnet.launch(2).expect("it runs");
    assert_eq!(testnet.launch(2).expect_err("twice").code, "SH0001");
    assert_eq!((testnet.number("p2"), testnet.number("2")), (Ok(2), Ok(2)));
    assert_eq!(testnet.number("3").expect_err("only two").code, "SH0305");

    let list = std::fs::read_to_string(plan.folder.join("testnet.json")).expect("listed");
    let list: Vec<BTreeMap<String, serde_json::Value>> =
        serde_json::from_str(&list).expect("a list of peers");
    for peer in &list {
        let keys: Vec<&str> = peer.keys().map(String::as_str).collect();
        assert_eq!(keys, ["http", "kafka", "mesh", "name", "pid"], "what other programs read");
    }
    assert_eq!(list.len(), 2);

    // Another process knows it by the list alone.
    let other = Testnet::open(&plan.folder).expect("listed");
    assert_eq!(other.peers(), testnet.peers());
    other.pause(2).expect("it runs");
    let within = |wanted| {
        (0..400).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            other.state(2) == wanted
        })
    };
    assert!(within(State::Paused));
    other.resume(2).expect("it is there");
    assert!(within(State::Running));
    testnet.kill(2).expect("it runs");
    assert_eq!(other.state(2), State::Down);
    assert_eq!(testnet.kill(2).expect_err("it is gone").code, "SH0305");

    testnet.launch(1).expect("it runs");
    testnet.down(true).expect("all ours");
    assert_eq!(testnet.state(1), State::Down);
    assert!(!plan.folder.exists());
}

#[test]
fn a_folder_of_other_things_is_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("thesis.tex"), "years of work").expect("a file");
    let Err(problem) = Testnet::up(&Plan::new(folder.path(), 3)) else { panic!("up") };
    assert_eq!(problem.code, "SH0001");
    assert!(folder.path().join("thesis.tex").exists());
}
