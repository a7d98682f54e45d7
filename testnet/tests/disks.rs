//! Peers whose disks are full, or whose files are not what they left there.

use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
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

fn data(scene: &Scene, peer: usize) -> PathBuf {
    scene.folder().join(format!("p{peer}/data"))
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
    let Some((scene, images, _folder)) = with_disks(Setting::counting(3)) else { return };
    let running = pids(&scene);
    let stream = "bench".to_owned();
    let bootstrap = scene.kafka();
    let load = Load { bootstrap, stream, events: 60_000, keys: 1000, per_second: 5_000 };
    let mut full: Option<Instant> = None;
    let mut relieved = false;
    let run = clients::run(load, |pushed| match full {
        None if pushed > 15_000 => {
            power::fill(&data(&scene, 2)).expect("it is full");
            full = Some(Instant::now());
        }
        Some(since) if since.elapsed() > Duration::from_secs(4) && !relieved => {
            power::relieve(&data(&scene, 2)).expect("there is room");
            relieved = true;
        }
        _ => {}
    });
    let history = clients::block_on(run).expect("every event is acknowledged");
    assert!(relieved, "it was full in the middle");
    history.check_offsets().expect("offsets are a function");
    let expected = history.expected_counts(1000);
    for peer in 1..=3 {
        scene.eventually("exact counts", Duration::from_secs(30), || {
            let counts = scene.counts(peer, "bench_counts", "any").map_err(|e| e.to_string())?;
            (counts == expected).then_some(()).ok_or_else(|| "they differ".to_owned())
        });
    }
    assert_eq!(pids(&scene), running, "nobody ended");
    ends(scene, images);
}

/// Three peers with a stream of 600 events, counted; then what `spoil` does to the files of the second, which is down.
/// It must come back as it was, by itself.
fn comes_back(name: &str, spoil: impl FnOnce(&Path)) {
    let mut scene = Scene::up(Setting::counting(3));
    let run = |scene: &Scene, events: u64| {
        let (bootstrap, stream) = (scene.kafka(), "bench".to_owned());
        let load = Load { bootstrap, stream, events, keys: 100, per_second: 2_000 };
        clients::block_on(clients::run(load, |_| {})).expect("every event is acknowledged");
    };
    run(&scene, 600);
    // So long that a checkpoint has written segments and tables.
    std::thread::sleep(Duration::from_secs(4));
    run(&scene, 400);
    scene.net.kill(2).expect("it runs");
    spoil(&data(&scene, 2));
    scene.net.launch(2).expect("it starts");
    scene.net.ready(Duration::from_secs(60)).unwrap_or_else(|why| panic!("{name}: {why}"));
    run(&scene, 200);
    let all = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.len() == 100 && counts.values().all(|count| *count == 12)
    };
    for peer in 1..=3 {
        scene.eventually(name, Duration::from_secs(30), || {
            let counts = scene.counts(peer, "bench_counts", "any").map_err(|e| e.to_string())?;
            if all(&counts) { Ok(()) } else { Err(format!("p{peer} has {counts:?}")) }
        });
    }
    // What the spoilt peer has of the events is what the others have.
    for partition in 0..16 {
        let path = format!("/v1/streams/bench/events?partition={partition}&max=10000");
        let read = |peer| scene.get(peer, &path).map_err(|e| e.to_string());
        scene.eventually(name, Duration::from_secs(20), || {
            let ((_, wanted), (_, found)) = (read(1)?, read(2)?);
            (wanted["events"] == found["events"]).then_some(()).ok_or("events differ".to_owned())
        });
    }
}

/// Files below a folder, largest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort_by_key(|path| std::cmp::Reverse(written(path)));
    found
}

/// Up to where a file holds anything.
fn written(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("it is readable");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// Flips a bit at a part of what a file holds.
fn flip(path: &Path, part: f64) {
    let mut bytes = fs::read(path).expect("it is readable");
    let at = (written(path) as f64 * part) as usize;
    bytes[at] ^= 4;
    fs::write(path, bytes).expect("it is writable");
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("it opens");
    file.set_len(bytes).expect("it is cut");
}

#[test]
fn flipped_bits_of_the_journal_and_of_events_are_fetched_anew() {
    comes_back("a flipped bit in the journal", |data| {
        flip(&files(&data.join("journal"))[0], 0.3);
    });
    comes_back("a flipped bit in a segment", |data| {
        let segments = files(&data.join("segments"));
        let segment = segments.iter().find(|path| path.extension().is_some_and(|e| e == "seg"));
        flip(segment.unwrap_or(&segments[0]), 0.4);
    });
}

#[test]
fn flipped_bits_of_tables_are_fetched_anew() {
    for part in [0.1, 0.5, 0.9] {
        comes_back("flipped bits in tables", |data| {
            files(&data.join("tables")).iter().for_each(|path| {
                if written(path) > 0 {
                    flip(path, part);
                }
            });
        });
    }
}

#[test]
fn files_that_were_cut_or_are_missing_are_fetched_anew() {
    comes_back("a cut segment", |data| {
        let segment = &files(&data.join("segments"))[0];
        cut(segment, written(segment) / 2);
    });
    comes_back("all segments are missing", |data| {
        fs::remove_dir_all(data.join("segments")).expect("they are there");
    });
    comes_back("the journal is missing", |data| {
        fs::remove_dir_all(data.join("journal")).expect("it is there");
    });
    comes_back("the tables are missing", |data| {
        fs::remove_dir_all(data.join("tables")).expect("they are there");
    });
}

/// What the second peer says when it does not start with such a folder.
fn refuses(scene: &mut Scene, code: &str, spoil: impl FnOnce(&Path)) {
    scene.net.kill(2).expect("it runs");
    let data = data(scene, 2);
    let kept = data.with_extension("kept");
    let copied = Command::new("cp").arg("-aT").arg(&data).arg(&kept).status().expect("cp runs");
    assert!(copied.success());
    spoil(&data);
    let problem = scene.net.start(2).expect_err("it must not start");
    assert_eq!(problem.code, code, "{problem}");
    fs::remove_dir_all(&data).expect("it is there");
    fs::rename(&kept, &data).expect("it is put back");
    scene.net.start(2).expect("it starts with its own folder");
}

#[test]
fn a_newer_a_foreign_and_a_rotten_folder_are_refused_with_their_codes() {
    let mut scene = Scene::up(Setting::plain(3));
    let head = |data: &Path| fs::read_to_string(data.join("head")).expect("a head");
    refuses(&mut scene, "SH0204", |data| {
        let newer = head(data).replacen("shoal-data 1", "shoal-data 9", 1);
        fs::write(data.join("head"), newer).expect("it is writable");
    });
    refuses(&mut scene, "SH0207", |data| {
        let rotten = head(data).replacen("peer 2", "peer 3", 1);
        fs::write(data.join("head"), rotten).expect("it is writable");
    });
    refuses(&mut scene, "SH0203", |data| {
        fs::remove_file(data.join("head")).expect("it is there");
        fs::write(data.join("letters.txt"), "dear").expect("it is writable");
    });
    let other = data(&scene, 3);
    refuses(&mut scene, "SH0202", |data| {
        // Another peer's folder, which runs: its lock says so.
        fs::remove_dir_all(data).expect("it is there");
        std::os::unix::fs::symlink(other, data).expect("a link");
    });
    scene.net.ready(Duration::from_secs(30)).expect("all is well again");
}
