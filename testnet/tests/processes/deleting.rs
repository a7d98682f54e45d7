//! A pipeline that is deleted, and what its name means later.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use testnet::ask::Asker;
use testnet::binaries;
use testnet::hand::{Ended, Hand, Line};
use testnet::scene::{eventually, turn};

const SOON: Duration = Duration::from_secs(30);

/// A mesh of one peer, whose binary has the words' code or not.
fn start(folder: &Path, has_code: bool) -> Hand {
    let binary = if has_code { binaries::with_words() } else { binaries::shoal() };
    let mut peer = Line::start(&["--new"]).of(binary).begin_in(folder);
    peer.says("ready: ");
    peer
}

fn delete(peer: &Hand) -> Ended {
    let http = peer.address("http");
    Line::shoal(&["pipeline", "delete", "words", "--yes", "--peer", &http]).run()
}

/// Waits until a word has this count.
fn counts(asker: &Asker, peer: &Hand, word: &str, count: u64) {
    let path = format!("/v1/views/word_counts/rows/{word}?consistency=leader");
    eventually("the count", SOON, || {
        let (_, body) = asker.get(&peer.address("http"), &path).map_err(|e| e.to_string())?;
        if body["value"] == json!(count) { Ok(()) } else { Err(body.to_string()) }
    });
}

fn append(asker: &Asker, peer: &Hand, line: &str) {
    let body = json!({"events": [{ "value": line }]});
    let answer = asker.post(&peer.address("http"), "/v1/streams/lines/events", &body);
    assert_eq!(answer.expect("an answer").0, 200);
}

#[test]
fn a_deleted_pipeline_is_gone_after_restarts_too_and_begins_anew_when_its_code_comes_back() {
    let _turn = turn();
    let (folder, asker) = (TempDir::new().expect("a folder"), Asker::new(SOON));
    let mut peer = start(folder.path(), true);
    append(&asker, &peer, "fish fish");
    counts(&asker, &peer, "fish", 2);
    delete(&peer).fails(5, "SH0313", &["words"]);

    peer.kill();
    let mut peer = start(folder.path(), false);
    let said = delete(&peer);
    assert_eq!(said.code, Some(0), "{}", said.said);
    delete(&peer).fails(4, "SH0304", &["words"]);
    let (status, body) =
        asker.get(&peer.address("http"), "/v1/views/word_counts/rows/fish").expect("an answer");
    assert_eq!((status, &body["code"]), (404, &json!("SH0303")), "{body}");
    let (_, streams) = asker.get(&peer.address("http"), "/v1/streams").expect("an answer");
    let names: Vec<&Value> =
        streams["streams"].as_array().into_iter().flatten().map(|it| &it["name"]).collect();
    assert_eq!(names, [&json!("lines")], "what it read stays, what it wrote does not");

    peer.kill();
    let peer = start(folder.path(), true);
    append(&asker, &peer, "fish");
    counts(&asker, &peer, "fish", 3);
}
