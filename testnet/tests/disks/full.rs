//! Disks without room: events are refused in plain words, everything is still read, and nobody ends.

use crate::data;
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use testnet::clients::{self, Load};
use testnet::power::{self, Images};
use testnet::scene::{Scene, Setting};

/// A disk of a peer: more than its journal takes, and small enough to be filled at once.
const MEGABYTES: u32 = 700;

/// Peers with a disk each; none where that is impossible.
fn with_disks(setting: Setting) -> Option<(Scene, Images, tempfile::TempDir)> {
    if let Err(why) = power::possible() {
        println!("SKIPPED: {why}");
        return None;
    }
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let mut scene = Scene::up(setting);
    let peers = scene.net.peers().len();
    (1..=peers).for_each(|peer| scene.net.kill(peer).expect("it runs"));
    let folders: Vec<PathBuf> = (1..=peers).map(|peer| data(&scene, peer)).collect();
    let images = Images::make(folder.path(), &folders, MEGABYTES).expect("images are mounted");
    (1..=peers).for_each(|peer| scene.net.launch(peer).expect("it starts"));
    scene.net.ready(Duration::from_secs(60)).expect("the mesh is back");
    Some((scene, images, folder))
}

fn pids(scene: &Scene) -> Vec<i32> {
    scene.net.peers().iter().map(|peer| peer.pid).collect()
}

fn ends(mut scene: Scene, images: Images) {
    for peer in 1..=scene.net.peers().len() {
        scene.net.kill(peer).expect("it runs");
    }
    images.unmount().expect("the disks are let go");
}

/// One event from a Kafka client that does not try again: what it says on an error.
fn kcat(scene: &Scene, stream: &str) -> String {
    let command = format!(
        "echo x | kcat -P -b {} -t {stream} -p 0 -X retries=0 -X message.timeout.ms=4000",
        scene.kafka()[0]
    );
    let output = Command::new("sh").args(["-c", &command]).output().expect("sh runs");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a Kafka client reads of a partition, from its beginning to its end.
fn kcat_reads(scene: &Scene, stream: &str) -> String {
    let output = Command::new("timeout")
        .args(["20", "kcat", "-C", "-b", &scene.kafka()[0], "-t", stream, "-p", "0"])
        .args(["-o", "beginning", "-e", "-q"])
        .output()
        .expect("kcat runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn full_disks_refuse_events_and_serve_reads_and_recover_without_a_restart() {
    let Some((scene, images, _folder)) = with_disks(Setting::words(3)) else { return };
    let append = |peer: usize, word: &str| {
        let body = json!({"events": [{"key": "k", "value": word}], "partition": 0});
        scene.post(peer, "/v1/streams/lines/events", &body).expect("an answer")
    };
    assert_eq!(append(1, "before").0, 200);
    let counted = |word: &str, count: u64| {
        scene.eventually("the count", Duration::from_secs(20), || {
            let counts = scene.counts(2, "word_counts", "leader").map_err(|e| e.to_string())?;
            (counts.get(word) == Some(&count)).then_some(()).ok_or(format!("{counts:?}"))
        });
    };
    counted("before", 1);
    let running = pids(&scene);
    (1..=3).for_each(|peer| power::fill(&data(&scene, peer)).expect("it is full"));
    scene.eventually("a refusal", Duration::from_secs(5), || match append(2, "while") {
        (507, body) if body["code"] == "SH0502" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    if Command::new("kcat").arg("-V").output().is_ok() {
        let said = kcat(&scene, "lines");
        assert!(said.contains("Disk error"), "a Kafka client is told too: {said}");
    }
    let (status, body) = scene.get(3, "/v1/health").expect("an answer");
    assert!(body["verdict"].as_str().is_some_and(|v| v.contains("full")), "{status} {body}");
    let long = Instant::now();
    while long.elapsed() < Duration::from_secs(5) {
        let (status, body) =
            scene.get(1, "/v1/streams/lines/events?partition=0&offset=0").expect("an answer");
        assert_eq!((status, body["events"][0]["value"].as_str()), (200, Some("before")), "{body}");
        counted("before", 1);
        assert_eq!(append(3, "while").0, 507);
    }
    if Command::new("kcat").arg("-V").output().is_ok() {
        let read = kcat_reads(&scene, "lines");
        assert!(read.lines().any(|value| value == "before"), "a Kafka client reads: {read:?}");
    }
    (1..=3).for_each(|peer| power::relieve(&data(&scene, peer)).expect("there is room"));
    scene.eventually("events again", Duration::from_secs(10), || match append(1, "after") {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    counted("after", 1);
    assert_eq!(pids(&scene), running, "nobody was started again");
    ends(scene, images);
}

#[test]
fn one_full_disk_under_load_loses_and_doubles_nothing_and_ends_nobody() {
    fill_up_under_load(&[4_000]);
}

/// Some of these spells meet a checkpoint that is being written.
#[test]
fn a_disk_that_is_full_again_and_again_ends_nobody() {
    fill_up_under_load(&[4_000, 300, 900, 500, 700, 400, 800]);
}

#[test]
fn a_peer_that_starts_on_a_full_disk_says_so_and_starts_when_there_is_room() {
    let Some((mut scene, images, _folder)) = with_disks(Setting::counting(3)) else { return };
    scene.net.kill(2).expect("it runs");
    power::fill(&data(&scene, 2)).expect("it is full");
    let problem = scene.net.start(2).expect_err("there is no room for a journal");
    assert_eq!(problem.code, "SH0502", "{problem}");
    power::relieve(&data(&scene, 2)).expect("there is room");
    scene.net.start(2).expect("it starts");
    scene.net.ready(Duration::from_secs(30)).expect("all is well again");
    ends(scene, images);
}

/// Fills the second peer's disk under load, for so many milliseconds each time.
fn fill_up_under_load(spells: &[u64]) {
    let Some((scene, images, _folder)) = with_disks(Setting::counting(3)) else { return };
    let running = pids(&scene);
    let stream = "bench".to_owned();
    let bootstrap = scene.kafka();
    let load = Load { bootstrap, stream, events: 80_000, keys: 1000, per_second: 5_000 };
    let mut left = spells.iter().copied().map(Duration::from_millis);
    let (mut full, mut since) = (None, Instant::now());
    let mut times = 0;
    let run = clients::run(load, |pushed| match full {
        None if pushed > 15_000 && since.elapsed() > Duration::from_millis(600) => {
            full = left.next();
            if full.is_some() {
                power::fill(&data(&scene, 2)).expect("it is full");
                since = Instant::now();
            }
        }
        Some(spell) if since.elapsed() > spell => {
            power::relieve(&data(&scene, 2)).expect("there is room");
            (full, since) = (None, Instant::now());
            times += 1;
        }
        _ => {}
    });
    let history = clients::block_on(run).expect("every event is acknowledged");
    if full.is_some() {
        power::relieve(&data(&scene, 2)).expect("there is room");
    }
    assert!(times >= spells.len().min(3), "it was full {times} times");
    history.check_offsets().expect("offsets are a function");
    let expected = history.expected_counts(1000);
    for peer in 1..=3 {
        scene.eventually("exact counts", Duration::from_secs(30), || {
            let counts = scene.counts(peer, "bench_counts", "any").map_err(|e| e.to_string())?;
            (counts == expected).then_some(()).ok_or_else(|| "they differ".to_owned())
        });
    }
    assert_eq!(pids(&scene), running, "nobody ended");
    let told = scene.net.log_tail(2, 100_000);
    println!("full {times} times, in {} checkpoints", told.matches("for tables").count());
    ends(scene, images);
}
