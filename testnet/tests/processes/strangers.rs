//! Who does not know the secret gets nothing, and two meshes on one host stay two.

use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use testnet::hand::Line;
use testnet::scene::{Scene, Setting, eventually, turn};

/// What every peer of a mesh must go on to see: itself and the other two, and nobody else.
fn check_members(scene: &Scene, peers: &[usize]) {
    for peer in peers {
        let (_, body) = scene.get(*peer, "/v1/members").expect("an answer");
        let members = body["members"].as_array().cloned().unwrap_or_default();
        let mut found: Vec<&str> =
            members.iter().filter_map(|member| member["mesh"].as_str()).collect();
        found.sort_unstable();
        let mut wanted: Vec<&str> =
            scene.net.peers().iter().map(|peer| peer.mesh.as_str()).collect();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "p{peer} sees others");
    }
}

/// The lines of refusal that a peer has said, each with its reason.
fn refusals(said: &str) -> Vec<Value> {
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == "connection refused").collect()
}

fn append(scene: &Scene, peer: usize, value: &str) {
    let body = json!({"events": [{"value": value}]});
    let (status, said) = scene.post(peer, "/v1/streams/own/events", &body).expect("an answer");
    assert_eq!(status, 200, "{said}");
}

fn values(scene: &Scene, peer: usize) -> Vec<String> {
    let path = "/v1/streams/own/events?partition=0&offset=0";
    let (status, body) = scene.get(peer, path).expect("an answer");
    assert_eq!(status, 200, "{body}");
    let events = body["events"].as_array().cloned().unwrap_or_default();
    events.iter().filter_map(|event| event["value"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_stranger_without_the_secret_gets_nothing_and_both_sides_say_why() {
    let scene = Scene::up(Setting::plain(1));
    let mesh = scene.net.peers()[0].mesh.clone();
    let said_before = refusals(&scene.said(1)).len();
    let token = format!("shoal1-1-{}", "5a".repeat(32));
    let stranger = Line::start(&["--join", &mesh, "--token", &token]).begin();
    let folder = stranger.folder().to_owned();
    let ended = stranger.ends(Duration::from_secs(20));
    ended.fails(3, "SH0102", &[&mesh, "another mesh secret", "start --new"]);
    assert!(!folder.join("shoal-data/head").exists(), "a stranger belongs to nothing");
    let said = refusals(&scene.said(1));
    assert!(said.len() > said_before, "the peer says that it refused somebody");
    let why = said.last().expect("just counted")["why"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("another mesh secret"), "{why}");
    check_members(&scene, &[1]);

    // Not even the right words help without a handshake: bytes in the clear are answered by nothing of ours.
    let mut raw = TcpStream::connect(&mesh).expect("the port is open");
    raw.write_all(b"\x13/multistream/1.0.0\n").expect("it is taken");
    raw.write_all(&[0; 4096]).expect("it is taken");
    drop(raw);
    check_members(&scene, &[1]);
    let (status, _) = scene.get(1, "/readyz").expect("an answer");
    assert_eq!(status, 200);
}

#[test]
fn two_meshes_on_one_host_never_mix() {
    let _turn = turn();
    let mut ours = Scene::beside(Setting::plain(3));
    let theirs = Scene::beside(Setting::plain(3));
    for scene in [&ours, &theirs] {
        let new = json!({"name": "own", "partitions": 1});
        assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    }
    append(&ours, 1, "ours");
    append(&theirs, 1, "theirs");

    // A peer of theirs takes the address of a dead one of ours, and ours go on dialling it.
    ours.net.kill(3).expect("it runs");
    let place = ours.net.peers()[2].mesh.clone();
    let port = place.rsplit(':').next().expect("host:port");
    let their_token = token(&theirs);
    let their_mesh = theirs.net.peers()[0].mesh.clone();
    let mut newcomer = Line::shoal(&["start", "--kafka-port=0", "--http-port=0"])
        .and(&["--mesh-port", port, "--join", &their_mesh, "--token", &their_token])
        .begin();
    newcomer.says("ready: ");
    eventually("both sides say that they refused each other", Duration::from_secs(20), || {
        let of = |said: String| {
            let refused = refusals(&said).into_iter();
            refused.filter_map(|line| line["why"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let (dialler, listener) = (of(ours.said(1)), of(newcomer.said()));
        let named = |whys: &[String]| whys.iter().any(|why| why.contains("another mesh secret"));
        match (named(&dialler), named(&listener)) {
            (true, true) => Ok(()),
            _ => Err(format!("the dialler said {dialler:?}, the listener {listener:?}")),
        }
    });
    // The place has two ports, and either may be dialled first.
    eventually("the refused one's address", Duration::from_secs(20), || {
        let said = refusals(&ours.said(1));
        let named = said.iter().any(|line| line["address"] == *place);
        if named { Ok(()) } else { Err(format!("{said:?}")) }
    });
    check_members(&ours, &[1, 2]);
    let (_, body) = theirs.get(2, "/v1/members").expect("an answer");
    assert_eq!(body["members"].as_array().map(Vec::len), Some(4), "the newcomer is theirs: {body}");

    newcomer.kill();
    ours.net.launch(3).expect("its place is free");
    ours.net.ready(Duration::from_secs(30)).expect("ours are whole again");
    append(&ours, 3, "ours too");
    assert_eq!(values(&ours, 2), ["ours", "ours too"]);
    assert_eq!(values(&theirs, 2), ["theirs"]);
}

/// The token of a testnet, as its settings hold it.
fn token(scene: &Scene) -> String {
    let settings = std::fs::read_to_string(scene.folder().join("p1/shoal.toml")).expect("settings");
    let line = settings.lines().find(|line| line.starts_with("token")).expect("a token").to_owned();
    line.split('"').nth(1).expect("in quotes").to_owned()
}
