//! What a load leaves behind: files within a stated bound, and memory that does not grow with time.
//!
//! `SHOAL_LOAD_SECONDS=60` runs the long form.

use crate::counting::{KEYS, check_counts, run};
use std::time::{Duration, Instant};
use testnet::clients::Load;
use testnet::scene::{Scene, Setting};
use testnet::weight;

const SECONDS: u64 = 24;
const EVENTS_PER_S: u64 = 100_000;
/// Key and value as [`testnet::clients`] writes them, and what a batch adds to an event.
const EVENT_BYTES: u64 = 116 + 14;
/// The journal's limit, and a segment that is begun meanwhile.
const JOURNAL_BYTES: u64 = (256 + 64) << 20;
/// Everything else: tables of 1,000 rows with a journal of their own of at most 64 MiB, notes.
const REST_BYTES: u64 = (64 + 32) << 20;
/// How much more memory the last third may need than the second did.
const GROWTH: f64 = 0.25;

/// The largest of the peers' memories.
fn memory(scene: &Scene) -> Option<u64> {
    (1..=3).map(|peer| weight::memory(scene.pid(peer))).max().flatten()
}

#[test]
fn after_a_load_files_are_within_their_bound_and_memory_is_flat() {
    let scene = Scene::up(Setting::counting(3));
    if memory(&scene).is_none() {
        println!("SKIPPED: it needs /proc");
        return;
    }
    let seconds = std::env::var("SHOAL_LOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds: u64 = seconds.unwrap_or(SECONDS);
    let events = seconds * EVENTS_PER_S;
    let load = Load {
        bootstrap: scene.kafka(),
        stream: "bench".to_owned(),
        events,
        keys: KEYS,
        per_second: EVENTS_PER_S,
    };
    // The most that was in use in each third of the load.
    let mut thirds = [0u64; 3];
    let mut looked = Instant::now();
    let history = run(load, |pushed| {
        if looked.elapsed() > Duration::from_millis(200) {
            looked = Instant::now();
            let third = (pushed * 3 / events).min(2) as usize;
            thirds[third] = thirds[third].max(memory(&scene).expect("peers run"));
        }
    });
    check_counts(&scene, &history);
    let retained = events * EVENT_BYTES;
    let bound = retained + JOURNAL_BYTES + REST_BYTES;
    let folder = |peer: usize| scene.folder().join(format!("p{peer}/data"));
    let files = || (1..=3).map(|peer| weight::files(&folder(peer))).max().unwrap_or_default();
    // Two checkpoints after the last event everything is where it stays.
    let mib = |bytes: u64| bytes >> 20;
    scene.eventually("files within their bound", Duration::from_secs(15), || {
        let found = files();
        let part = |name: &str| mib(weight::files(&folder(1).join(name)));
        let parts = ["journal", "segments", "tables"].map(part);
        let told = || format!("{found} bytes of {bound}: journal, segments, tables {parts:?} MiB");
        if found <= bound { Ok(()) } else { Err(told()) }
    });
    println!(
        "{} MiB of files, of which the journal {}, segments {}, tables {}; {} MiB retained; memory by thirds {:?} MiB, \
         after it {} MiB",
        mib(files()),
        mib(weight::files(&folder(1).join("journal"))),
        mib(weight::files(&folder(1).join("segments"))),
        mib(weight::files(&folder(1).join("tables"))),
        mib(retained),
        thirds.map(mib),
        mib(memory(&scene).expect("peers run")),
    );
    let most = thirds[1] + (thirds[1] as f64 * GROWTH) as u64;
    assert!(thirds[2] <= most, "memory grows with time: {thirds:?}");
}
