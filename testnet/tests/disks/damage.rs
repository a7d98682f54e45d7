//! Files that rotted, were cut or are gone: the peer fetches from others what it lost, and says nothing false meanwhile.

use crate::{cut, data, files, written};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use testnet::ask::Asker;
use testnet::clients::{self, Load};
use testnet::scene::{Scene, Setting};

/// Partitions of the stream that damaged peers are asked for.
const PARTITIONS: u32 = 16;
/// Events by partition and offset.
type Events = BTreeMap<(u32, i64), Value>;

/// What a peer has of the stream, as far as it can be read.
fn events(asker: &Asker, http: &str) -> Result<Events, String> {
    let mut events = Events::new();
    for partition in 0..PARTITIONS {
        let path = format!("/v1/streams/bench/events?partition={partition}&max=10000");
        let (status, body) = asker.get(http, &path).map_err(|e| e.to_string())?;
        if status != 200 {
            return Err(body.to_string());
        }
        for event in body["events"].as_array().into_iter().flatten() {
            let offset = event["offset"].as_i64().expect("an event has an offset");
            events.insert((partition, offset), event.clone());
        }
    }
    Ok(events)
}

/// Two peers may know more or less of a stream; what both have is the same, at any time.
fn agree(name: &str, wanted: &Events, found: &Events) {
    for (place, event) in found {
        let differs = wanted.get(place).is_some_and(|wanted| wanted != event);
        assert!(!differs, "{name}: {event} at {place:?} instead of {:?}", wanted[place]);
    }
}

/// Asks a peer for what is known again and again until it is told to stop: how often it answered.
fn watch(name: &str, http: &str, known: Events) -> (Arc<AtomicBool>, JoinHandle<u32>) {
    let (name, http, stop) = (name.to_owned(), http.to_owned(), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let asker = Asker::new(Duration::from_secs(5));
        let mut answered = 0;
        while !told.load(Ordering::Relaxed) {
            if let Ok(found) = events(&asker, &http) {
                agree(&name, &known, &found);
                answered += 1;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        answered
    });
    (stop, thread)
}

/// Three peers with a stream of 1000 events, counted; then what `spoil` does to the files of the second, which is down.
/// It must come back as it was, by itself, and say nothing false meanwhile.
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
    let asker = Asker::new(Duration::from_secs(30));
    let known = events(&asker, scene.http(1)).expect("all is read");
    scene.net.kill(2).expect("it runs");
    spoil(&data(&scene, 2));
    scene.net.launch(2).expect("it starts");
    let (stop, watch) = watch(name, scene.http(2), known);
    scene.net.ready(Duration::from_secs(60)).unwrap_or_else(|why| panic!("{name}: {why}"));
    run(&scene, 200);
    for peer in 1..=3 {
        scene.eventually(name, Duration::from_secs(30), || {
            let counts = scene.counts(peer, "bench_counts", "any").map_err(|e| e.to_string())?;
            let most = counts.values().max().copied().unwrap_or_default();
            assert!(most <= 12, "{name}: p{peer} counted an event twice: {counts:?}");
            let all = counts.len() == 100 && counts.values().all(|count| *count == 12);
            if all { Ok(()) } else { Err(format!("p{peer} has {counts:?}")) }
        });
    }
    // What the spoilt peer has of the events is what the others have.
    scene.eventually(name, Duration::from_secs(20), || {
        let (wanted, found) = (events(&asker, scene.http(1))?, events(&asker, scene.http(2))?);
        agree(name, &wanted, &found);
        (wanted.len() == found.len()).then_some(()).ok_or("it has not all of them".to_owned())
    });
    stop.store(true, Ordering::Relaxed);
    let answered = watch.join().unwrap_or_else(|_| panic!("{name}: a bad answer"));
    assert!(answered > 0, "{name}: it was never asked while it came back");
}

/// Flips a bit at a part of what a file holds.
fn flip(path: &Path, part: f64) {
    let mut bytes = fs::read(path).expect("it is readable");
    let at = (written(path) as f64 * part) as usize;
    bytes[at] ^= 4;
    fs::write(path, bytes).expect("it is writable");
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
    comes_back("a cut journal", |data| {
        let mut journals = files(&data.join("journal"));
        journals.retain(|path| written(path) > 0);
        let newest = journals.iter().max().expect("there are some");
        cut(newest, written(newest) * 2 / 3);
    });
    comes_back("a segment is missing", |data| {
        fs::remove_file(&files(&data.join("segments"))[0]).expect("it is there");
    });
    comes_back("a file of the journal is missing", |data| {
        fs::remove_file(&files(&data.join("journal"))[0]).expect("it is there");
    });
    comes_back("the journal is missing", |data| {
        fs::remove_dir_all(data.join("journal")).expect("it is there");
    });
    comes_back("the tables are missing", |data| {
        fs::remove_dir_all(data.join("tables")).expect("they are there");
    });
}

/// What nobody of ours has written is in nobody's way.
#[test]
fn stray_files_inside_a_folder_are_in_nobodys_way() {
    let strays = |data: &Path| {
        let segment = files(&data.join("segments")).remove(0);
        let partition = segment.parent().expect("a partition's folder").to_owned();
        [data.join("journal/x.txt"), partition.join("x"), partition.with_file_name("x")]
    };
    comes_back("stray files", |data| {
        for stray in strays(data) {
            fs::write(&stray, "not a word of shoal's").expect("it is writable");
        }
    });
}
