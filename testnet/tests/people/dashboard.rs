//! The dashboard in a real Chromium: it shows the whole mesh from one peer, live, and what a peer's death looks like.

use crate::tools;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use testnet::ask::Asker;
use testnet::power::{self, Images};
use testnet::scene::{Scene, Setting};

/// What happens is on the page before this has passed.
const FRESH_MS: i64 = 2_000;
/// A killed peer is red for people before this has passed.
const RED_MS: i64 = 3_000;

#[test]
fn the_dashboard_shows_the_mesh_live_and_a_killed_peer_turns_red_at_once() {
    let Some(mut browser) = Browser::start() else { return };
    let mut scene = Scene::up(Setting::words(3));
    let load = Load::start(scene.http(2));
    scene.eventually("words are counted", Duration::from_secs(20), || {
        let counts = scene.counts(1, "word_counts", "any").map_err(|e| e.to_string())?;
        (!counts.is_empty()).then_some(()).ok_or("none yet".to_owned())
    });
    let reads = read_as_a_group(&scene);
    let seen = browser.says(&format!("open http://{}/", scene.http(1)));
    println!("{seen}");
    assert_eq!((seen["peers"].as_u64(), seen["shards"].as_u64()), (Some(3), Some(64)), "{seen}");
    assert_eq!(seen["pulse"], "live");
    assert!(seen["sentence"].as_str().is_some_and(|it| it.starts_with("All 64 shards")), "{seen}");
    assert!(seen["pipelines"][0].as_str().is_some_and(|it| it.starts_with("words")), "{seen}");
    assert!(seen["rate"] != "0" && seen["rate"] != "–", "events come through another peer: {seen}");
    assert!(seen["streams"].as_u64() >= Some(2) && seen["recent"].as_u64() >= Some(1), "{seen}");
    assert!(seen["lines"].as_u64() >= Some(4), "the charts have lines: {seen}");
    for head in ["Zone", "CPU", "Behind", "Version"] {
        let heads = seen["heads"].as_array().expect("a list");
        assert!(heads.iter().any(|it| it == head), "{head} is not told of peers: {seen}");
    }
    if reads {
        let group = seen["groups"][0].as_str().unwrap_or_default();
        assert!(group.starts_with("readers") && group.contains("lines"), "{seen}");
    }
    for (at, peer) in [(0, 2), (1, 3), (2, 1)] {
        let name = format!("seen-at-once-{at}");
        let new = json!({ "name": name, "partitions": 1 });
        assert_eq!(scene.post(peer, "/v1/streams", &new).expect("an answer").0, 201);
        let fresh = browser.says(&format!("reads {name}"));
        println!("a new stream was on the page after {fresh} ms");
        assert!(fresh.as_i64().is_some_and(|ms| ms < FRESH_MS), "{fresh} ms");
    }
    let answer = browser.says("ask word3");
    assert!(answer.as_str().is_some_and(|it| it.contains("of shard")), "{answer}");
    let keys = browser.says("tab");
    for stop in ["Peers", "theme", "p2", "view", "key", "Ask"] {
        let stops = keys["seen"].as_array().expect("a list");
        assert!(stops.iter().any(|it| it == stop), "Tab never reaches {stop}: {keys}");
    }
    assert!(keys["shard"].as_str().is_some_and(|it| it.starts_with("Shard ")), "{keys}");
    for (look, name) in [("light", "light"), ("dark", "dark"), ("phone", "phone-dark")] {
        browser.says(look);
        let shot = browser.says(&format!("shot {name}"));
        assert!(shot["width"].as_i64() <= shot["window"].as_i64(), "{name} is too wide: {shot}");
    }
    browser.says("light");
    browser.says("shot phone-light");
    browser.says("wide");
    scene.net.kill(3).expect("p3 runs");
    let red = browser.says("gone p3");
    println!("a killed peer was red after {red} ms; pictures are in {:?}", tools::folder("shots"));
    browser.says("shot killed");
    assert!(red.as_i64().is_some_and(|ms| ms < RED_MS), "{red} ms");
    load.stop();
    let end = browser.says("done");
    assert_eq!(end, json!({ "errors": [], "foreign": [] }));
}

/// Reads as a group of consumers, if kcat is there to do so.
fn read_as_a_group(scene: &Scene) -> bool {
    if !tools::has("kcat") {
        return false;
    }
    let brokers = scene.kafka().join(",");
    let read = Command::new("timeout")
        .args(["20", "kcat", "-b", &brokers, "-G", "readers", "-c", "5", "lines"])
        .args(["-X", "auto.offset.reset=earliest"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    read.is_ok_and(|status| status.success())
}

/// Shards that move are marked while they do.
#[test]
fn the_page_marks_what_moves() {
    let Some(mut browser) = Browser::start() else { return };
    let mut scene = Scene::up(Setting::plain(3));
    browser.says(&format!("open http://{}/", scene.http(1)));
    scene.net.add(&[]).expect("a fourth peer joins");
    browser.says("reads All 64 shards are led and replicated on 4 peers");
    // To a peer that rests nothing gets.
    let fourth = |verb: &str| {
        let (path, body) = (format!("/v1/mesh/{verb}"), json!({ "peer": 4, "shrink": false }));
        // Who rests may have led the catalogue.
        scene.eventually(verb, Duration::from_secs(20), || match scene.post(1, &path, &body) {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    scene.net.pause(3).expect("p3 runs");
    fourth("drain");
    assert!(browser.says("sees #ring .edge.move").as_u64() >= Some(1));
    scene.net.resume(3).expect("p3 rests");
    fourth("undrain");
    browser.says("reads All 64 shards are led and replicated on 4 peers");
    let end = browser.says("done");
    assert_eq!(end, json!({ "errors": [], "foreign": [] }));
}

/// What somebody sees who looks at the page of a peer that has nothing to do with it.
#[test]
fn the_page_tells_why_something_fails() {
    let Some(mut browser) = Browser::start() else { return };
    let mut scene = Scene::up(Setting::words(3));
    browser.says(&format!("open http://{}/", scene.http(1)));
    browser.says("reads All 64 shards are led");
    // p2 tells an address where nobody is, and p3 begins a pipeline whose tasks cannot begin.
    scene.net.kill(2).expect("p2 runs");
    let settings = scene.folder().join("p2/shoal.toml");
    let text = std::fs::read_to_string(&settings).expect("settings");
    let advertised = text.replace("[kafka]\n", "[kafka]\nadvertise = \"127.0.0.1:9\"\n");
    assert_ne!(advertised, text);
    std::fs::write(&settings, advertised).expect("they can be written");
    scene.net.start(2).expect("p2 starts");
    browser.says("reads Kafka clients are told 127.0.0.1:9, where nobody answers");

    scene.net.kill(3).expect("p3 runs");
    std::fs::write(scene.folder().join("p3/moody"), "").expect("a file");
    scene.net.start(3).expect("p3 starts");
    browser.says("reads Pipelines that are parked: moody");
    browser.says("reads what it needs is not there");
    browser.says("shot failures");
    full_disk(&mut browser, &mut scene);
    let end = browser.says("done");
    assert_eq!(end, json!({ "errors": [], "foreign": [] }));
}

/// p2's data moves to a small disk, and something else takes all its room.
fn full_disk(browser: &mut Browser, scene: &mut Scene) {
    if let Err(why) = power::possible() {
        return println!("SKIPPED: {why}");
    }
    scene.net.kill(2).expect("p2 runs");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = scene.folder().join("p2/data");
    let disk = Images::make(folder.path(), std::slice::from_ref(&data), 700).expect("a disk");
    scene.net.start(2).expect("p2 starts");
    power::fill(&data).expect("it is full");
    browser.says("reads eers whose disk is full: p2");
    browser.says("shot full");
    scene.net.kill(2).expect("p2 runs");
    disk.unmount().expect("the disk is let go");
}

/// A browser that does what it is told by lines.
struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Browser {
    fn start() -> Option<Self> {
        if !tools::has("chromium") || !tools::has("npm") {
            return None;
        }
        let packages = match tools::npm(&["playwright-core@1.65.1"]) {
            Ok(packages) => packages,
            Err(why) => {
                println!("SKIPPED: playwright-core cannot be had: {why}");
                return None;
            }
        };
        let chromium = tools::find("chromium").expect("just found");
        let mut child = Command::new("node")
            .arg(tools::scripts().join("dashboard.mjs"))
            .args([packages, chromium, tools::folder("shots")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        Some(Self { child, to, from })
    }

    fn says(&mut self, line: &str) -> Value {
        self.hears(line);
        self.answers(line)
    }

    fn hears(&mut self, line: &str) {
        writeln!(self.to, "{line}").expect("the browser listens");
    }

    fn answers(&mut self, line: &str) -> Value {
        let mut answer = String::new();
        self.from.read_line(&mut answer).expect("the browser answers");
        let answer: Value =
            serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{line}: {answer:?}"));
        assert!(answer["failed"].is_null(), "{line}: {answer}");
        answer["said"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends by itself when nobody speaks to it any more; a failed test does not wait for that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Some hundred events a second through one peer.
struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Load {
    fn start(http: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, http) = (stop.clone(), http.to_owned());
        let thread = std::thread::spawn(move || {
            let asker = Asker::new(Duration::from_secs(5));
            let mut number = 0u64;
            while !told.load(Ordering::Relaxed) {
                let line = |i| json!({ "value": format!("word{} and word{}", i % 7, i % 11) });
                let events: Vec<Value> = (number..number + 20).map(line).collect();
                // Through a kill some are refused: that is what the page shows then.
                let _ = asker.post(&http, "/v1/streams/lines/events", &json!({ "events": events }));
                number += 20;
                std::thread::sleep(Duration::from_millis(40));
            }
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic");
    }
}
