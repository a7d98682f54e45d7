//! User code that fails, survives and is not everywhere.

use crate::counting::same;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use testnet::ask::Asker;
use testnet::binaries;
use testnet::hand::{Hand, Line};
use testnet::scene::{Scene, Setting, eventually, turn};

#[test]
fn a_failing_event_is_a_dead_letter_and_a_pipeline_survives_the_restart_of_all_peers() {
    let mut scene = Scene::up(Setting::words(3));
    let lines = ["a b a", "boom in the chain", "b a"];
    let events: Vec<_> = lines.iter().map(|line| json!({"value": line})).collect();
    let body = json!({ "events": events });
    let (status, said) = scene.post(1, "/v1/streams/lines/events", &body).expect("an answer");
    assert_eq!(status, 200, "{said}");
    let wanted = BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 2)]);
    let check = |scene: &Scene, wanted: &BTreeMap<String, u64>| {
        scene.eventually("the counts", Duration::from_secs(30), || {
            let counts = scene.counts(2, "word_counts", "leader").map_err(|e| e.to_string())?;
            same(wanted, &counts)
        });
    };
    check(&scene, &wanted);
    scene.eventually("the dead letter", Duration::from_secs(10), || {
        let mut found = 0;
        for partition in 0..16 {
            let path = format!("/v1/streams/words.word_counts.dead/events?partition={partition}");
            let (_, body) = scene.get(3, &path).map_err(|e| e.to_string())?;
            found += body["events"].as_array().map_or(0, Vec::len);
        }
        if found == 1 { Ok(()) } else { Err(format!("{found} dead letters")) }
    });
    for peer in 1..=3 {
        scene.net.kill(peer).expect("it runs");
    }
    for peer in 1..=3 {
        scene.net.launch(peer).expect("it starts");
    }
    scene.net.ready(Duration::from_secs(30)).expect("the mesh is back");
    let body = json!({"events": [{"value": "c a"}]});
    scene.eventually("an append after the restart", Duration::from_secs(20), || {
        let answer = scene.post(2, "/v1/streams/lines/events", &body);
        let (status, said) = answer.map_err(|e| e.to_string())?;
        if status == 200 { Ok(()) } else { Err(said.to_string()) }
    });
    let wanted = BTreeMap::from([("a".to_owned(), 4), ("b".to_owned(), 2), ("c".to_owned(), 1)]);
    check(&scene, &wanted);
}

/// Three peers, of which the second holds no pipeline's code.
struct Mixed {
    peers: Vec<Hand>,
    asker: Asker,
    sent: BTreeMap<String, u64>,
}

impl Mixed {
    fn up() -> Self {
        let mut founder = Line::start(&["--new"]).of(binaries::with_words()).begin();
        let line = founder.join_line();
        let words: Vec<&str> = line.split_whitespace().skip(2).collect();
        let mut peers = vec![founder];
        for binary in [binaries::shoal(), binaries::with_words()] {
            let mut peer = Line::start(&words).of(binary).begin();
            peer.says("ready: ");
            peers.push(peer);
        }
        let mixed =
            Self { peers, asker: Asker::new(Duration::from_secs(30)), sent: BTreeMap::new() };
        eventually("a whole mesh", Duration::from_secs(20), || {
            mixed.asker.lacks(&mixed.http(1), 3)
        });
        mixed
    }

    fn http(&self, peer: usize) -> String {
        self.peers[peer - 1].address("http")
    }

    /// Sends lines of twenty words through one peer, and remembers what must be counted.
    fn send(&mut self, peer: usize, lines: u64) {
        let already: u64 = self.sent.values().sum::<u64>() / 20;
        let mut events = Vec::new();
        for line in already..already + lines {
            let words: Vec<String> =
                (0..20).map(|at| format!("word-{}", (line * 7 + at) % 300)).collect();
            events.push(json!({"value": words.join(" ")}));
            for word in words {
                *self.sent.entry(word).or_default() += 1;
            }
        }
        let http = self.http(peer);
        let sent = self.asker.post(&http, "/v1/streams/lines/events", &json!({"events": events}));
        let (status, said) = sent.expect("an answer");
        assert_eq!(status, 200, "{said}");
    }

    fn check_counts(&self, peers: &[usize]) {
        for peer in peers {
            for consistency in ["leader", "any"] {
                eventually("exact counts", Duration::from_secs(20), || {
                    let counts = self.asker.counts(&self.http(*peer), "word_counts", consistency);
                    same(&self.sent, &counts.map_err(|e| e.to_string())?)
                });
            }
        }
    }

    /// Waits until the tasks run at these peers and nowhere else, as one of them says.
    fn run_at(&self, asked: usize, wanted: &[i64], limit: Duration) {
        eventually("tasks where their code is", limit, || {
            let answer = self.asker.get(&self.http(asked), "/v1/pipelines/words");
            let (_, body) = answer.map_err(|e| e.to_string())?;
            let tasks = body["stages"][0]["tasks"].as_array().cloned().unwrap_or_default();
            let mut peers: Vec<_> = tasks.iter().map(|task| task["peer"].as_i64()).collect();
            peers.sort_unstable();
            peers.dedup();
            let same = peers.iter().copied().eq(wanted.iter().copied().map(Some));
            if same { Ok(()) } else { Err(format!("tasks run at {peers:?}")) }
        });
    }
}

#[test]
fn in_a_mesh_of_two_binaries_tasks_run_where_their_code_is() {
    let _turn = turn();
    let mut mesh = Mixed::up();
    mesh.send(2, 500);
    mesh.check_counts(&[1, 2, 3]);
    // The ring's owners get their shards after a while of health; p2 would be one of them.
    mesh.run_at(3, &[1, 3], Duration::from_secs(30));
    let (_, members) = mesh.asker.get(&mesh.http(3), "/v1/members").expect("an answer");
    let notes: Vec<&str> =
        members["members"].as_array().into_iter().flatten().filter_map(note).collect();
    assert_eq!(notes, ["", "without the code of words", ""], "{members}");
    let told = Line::shoal(&["members", "--peer", &mesh.http(2)]).run();
    assert!(told.said.contains("without the code of words"), "{}", told.said);

    // One of the two that have the code dies: all tasks run at the other, though p2 is a voter of every shard.
    mesh.peers[0].kill();
    mesh.run_at(3, &[3], Duration::from_secs(10));
    mesh.send(2, 500);
    mesh.check_counts(&[2, 3]);
}

fn note(member: &Value) -> Option<&str> {
    member["note"].as_str()
}
