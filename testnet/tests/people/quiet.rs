//! What is not said: colours where nobody sees them, and secrets, however much is told.

use std::process::Command;
use testnet::hand::Line;
use testnet::scene::{Scene, Setting, turn};

const ESCAPE: char = '\u{1b}';

#[test]
fn no_colour_leaves_a_command_whose_output_is_no_terminal() {
    let scene = Scene::up(Setting::plain(1));
    for words in [
        &["--help"][..],
        &["stream", "--help"],
        &["stream", "craete"],
        &["stream", "describe", "none"],
        &["members"],
        &["ring"],
        &["health"],
        &["recent"],
        &["why-slow"],
        &["explain", "SH0501"],
        &["config", "show", "--origin"],
        &["debug", "bundle"],
        &["top", "-o", "yaml"],
    ] {
        let said = Line::shoal(words).by(&["env", "TERM=xterm-256color"]);
        let said = said.and(&asks(words, scene.http(1))).run().said;
        assert!(!said.is_empty() && !said.contains(ESCAPE), "{words:?} says {said:?}");
    }
    assert!(!scene.said(1).contains(ESCAPE), "{}", scene.said(1));
    drop(scene);
    let _turn = turn();
    let bench = Line::shoal(&["bench", "-n", "1", "--rate", "2000", "--seconds", "6"]).run();
    assert_eq!(bench.code, Some(0), "{}", bench.said);
    assert!(!bench.said.contains(ESCAPE), "{}", bench.said);
    let told = |line: &str| line.contains(" of 7 s: ") && line.contains("events acknowledged");
    assert!(bench.said.lines().any(told), "it says how far it is: {}", bench.said);
}

/// Verbs that ask a peer are told which.
fn asks<'a>(words: &[&str], http: &'a str) -> Vec<&'a str> {
    let alone = ["--help", "craete", "explain", "config"];
    if words.iter().any(|word| alone.contains(word)) { Vec::new() } else { vec!["--peer", http] }
}

#[test]
fn a_token_is_in_nothing_that_is_told_even_when_all_is() {
    let _turn = turn();
    let token = format!("shoal1-1-{}", "5a".repeat(32));
    let loud = ["env", "SHOAL_LOG=trace"];
    let mut founder = Line::start(&["--new", "--token", &token]).by(&loud).begin();
    founder.says("ready: ");
    let (mesh, http) = (founder.address("mesh"), founder.address("http"));
    let given = format!("SHOAL_MESH__TOKEN={token}");
    let second = Line::start(&["--join", &mesh, "--name", "second"]);
    let mut second = second.by(&["env", "SHOAL_LOG=trace", &given]).begin();
    second.says("ready: ");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bundle = folder.path().join("bundle.json.gz").display().to_string();
    let logs = [&founder, &second].map(|peer| peer.folder().join("said").display().to_string());
    let line = Line::shoal(&["debug", "bundle", "--peer", &http, "--file", &bundle]);
    let ended = line.and(&["--log", &logs[0], "--log", &logs[1]]).run();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let unpacked = Command::new("zcat").arg(&bundle).output().expect("zcat runs").stdout;
    let bundle = String::from_utf8_lossy(&unpacked).into_owned();
    assert!(bundle.contains("/v1/settings") && bundle.contains("(set, not shown)"), "{bundle}");
    for (whose, said) in
        [("the founder", founder.said()), ("the second", second.said()), ("the bundle", bundle)]
    {
        assert!(said.contains("libp2p"), "{whose} tells all");
        // As it is written, as bytes are shown, and as they are packed into text.
        for secret in ["5a".repeat(32), "90, 90, 90, 90".to_owned(), "WlpaWlpaWlpa".to_owned()] {
            let line =
                said.lines().find(|line| line.to_lowercase().contains(&secret.to_lowercase()));
            assert!(line.is_none(), "{whose} gives the secret away: {line:?}");
        }
    }
}
