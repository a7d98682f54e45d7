//! The walk of `testnet/README.md`, run as it stands; and secrets, which must not be in anything that it left behind.

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use testnet::scene::turn;
use testnet::{binaries, power};

/// What is said where a command's answer must hold these words.
const MUST: &str = "#=>";

#[test]
fn the_walk_of_the_paper_goes_as_it_is_written() {
    let _turn = turn();
    let home = tempfile::tempdir().expect("a temporary folder");
    let end = Down(home.path());
    let mut said = String::new();
    let mut token = String::new();
    for line in lines() {
        let (command, must) = line.split_once(MUST).unwrap_or((&line, ""));
        let answer = run(home.path(), command);
        println!("$ {}\n{answer}", command.trim());
        assert!(answer.contains(must.trim()), "{command:?} does not say {must:?}:\n{answer}");
        said.push_str(&answer);
        if token.is_empty() {
            token = secret(home.path());
        }
        for peer in 1..=3 {
            let log = home.path().join(format!("testnet-data/p{peer}/log"));
            said.push_str(&std::fs::read_to_string(log).unwrap_or_default());
        }
    }
    let bundle = run(home.path(), "zcat shoal-bundle.json.gz");
    assert!(
        bundle.contains("/v1/overview") && bundle.contains("shoal_events_in_total"),
        "{bundle}"
    );
    assert!(token.len() > 60, "no token was found: {token}");
    assert!(
        !said.contains(&token) && !bundle.contains(&token),
        "the token is in a log or a bundle"
    );
    drop(end);
}

/// The commands of all blocks that are to be run. Those that want root are left out where this is not root.
fn lines() -> Vec<String> {
    let paper = include_str!("../../README.md");
    let refused = power::root().err();
    let mut lines = Vec::new();
    for block in paper.split("```sh walk").skip(1).filter_map(|rest| rest.split("```").next()) {
        let (kind, commands) = block.split_once('\n').expect("a block has lines");
        match (kind, &refused) {
            ("", _) | (" as root", None) => lines.extend(commands.lines().map(str::to_owned)),
            (" as root", Some(why)) => println!("SKIPPED: {why}:\n{commands}"),
            (other, _) => panic!("a block is for {other:?}"),
        }
    }
    assert!(lines.len() > 40, "the paper has {} lines to run", lines.len());
    lines
}

fn run(home: &Path, command: &str) -> String {
    let bins = binaries::with_words();
    let bins = bins.parent().expect("binaries lie in a folder").display();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(home)
        .env("PATH", format!("{bins}:{path}"))
        .env("SHOAL_PEER", first(home))
        .output()
        .expect("sh runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let answer = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{command:?} left with {}:\n{answer}", output.status);
    answer
}

/// The HTTP address of p1: another one than usual where its port is taken.
fn first(home: &Path) -> String {
    let list = std::fs::read_to_string(home.join("testnet-data/testnet.json")).unwrap_or_default();
    let list: Value = serde_json::from_str(&list).unwrap_or_default();
    let http = list["peers"][0]["http"].as_str().or(list[0]["http"].as_str());
    format!("http://{}", http.unwrap_or("127.0.0.1:8080"))
}

fn secret(home: &Path) -> String {
    let settings = std::fs::read_to_string(home.join("testnet-data/p1/shoal.toml"));
    let settings = settings.unwrap_or_default();
    let token = settings.split('"').find(|word| word.starts_with("shoal1-"));
    token.unwrap_or_default().to_owned()
}

/// Ends whatever is left when a line fails.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        if self.0.join("testnet-data").exists() {
            // The small disk of p2, if it is still there: whoever uses it keeps it until it ends.
            let disk = self.0.join("testnet-data/p2/data");
            let _ = Command::new("umount").arg("-l").arg(disk).output();
            let down = Command::new(binaries::shoal())
                .args(["testnet", "down", "--purge"])
                .current_dir(self.0)
                .output();
            println!("{down:?}");
        }
    }
}
