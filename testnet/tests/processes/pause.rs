//! A leader that is stopped for 30 s and wakes: nothing it says then may be of the past.

use crate::counting::{KEYS, check_counts, load, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testnet::ask::Asker;
use testnet::clients::key;
use testnet::scene::{Scene, Setting};

const PAUSE: Duration = Duration::from_secs(30);
/// A read at the sleeper may wait as long as it sleeps, and for its answer.
const PATIENCE: Duration = Duration::from_secs(50);
/// Readers that always have a read under way at the sleeper: some are asked right before it stops.
const READERS: usize = 6;

/// One linearizable read that was answered.
#[derive(Clone, Debug)]
struct Read {
    key: String,
    asked: Instant,
    answered: Instant,
    term: u64,
    index: u64,
    count: u64,
}

/// A read of one key, linearizable, at one peer; none if it was refused.
fn read(asker: &Asker, http: &str, key: &str) -> Option<Read> {
    let asked = Instant::now();
    let path = format!("/v1/views/bench_counts/rows/{key}?consistency=leader");
    let (status, body) = asker.get(http, &path).ok()?;
    (status == 200).then(|| Read {
        key: key.to_owned(),
        asked,
        answered: Instant::now(),
        term: body["term"].as_u64().expect("a term"),
        index: body["position"]["index"].as_u64().expect("a position"),
        count: body["value"].as_u64().expect("a count"),
    })
}

/// Keys that a peer answers for itself: it leads their shards.
fn keys_led_by(scene: &Scene, peer: usize) -> Vec<String> {
    let mut led = Vec::new();
    for number in 0..KEYS.min(200) {
        let path = format!("/v1/views/bench_counts/rows/{}?consistency=leader", key(number));
        let (_, body) = scene.get(peer, &path).expect("an answer");
        if body["peer"].as_u64() == Some(peer as u64) {
            led.push(key(number));
        }
        if led.len() == READERS {
            return led;
        }
    }
    panic!("p{peer} leads too few keys: {led:?}")
}

/// What was read while the load ran.
#[derive(Default)]
struct Reads {
    over: AtomicBool,
    /// At the peer that was stopped.
    sleeper: Mutex<Vec<Read>>,
    /// At one that was not.
    awake: Mutex<Vec<Read>>,
}

impl Reads {
    fn go_on(&self, into: &Mutex<Vec<Read>>, http: &str, keys: &[String]) {
        let asker = Asker::new(PATIENCE);
        for key in keys.iter().cycle() {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            if let Some(read) = read(&asker, http, key) {
                into.lock().expect("no reader panics").push(read);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Ends the readers when it goes, also when that is because of a panic.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_paused_leader_is_replaced_and_wakes_without_harm() {
    let scene = Scene::up(Setting::counting(3));
    let reads = Reads::default();
    let (mut paused, mut woken) = (None, None);
    let history = std::thread::scope(|scope| {
        let _until = Until(&reads.over);
        run(load(&scene, 190_000, 5_000), |pushed| {
            if pushed > 15_000 && paused.is_none() {
                let peer = scene.busiest_leader(1, "bench").expect("a leader");
                let keys = keys_led_by(&scene, peer);
                let reads = &reads;
                let other = scene.http(peer % 3 + 1).to_owned();
                let all = keys.clone();
                scope.spawn(move || reads.go_on(&reads.awake, &other, &all));
                for key in keys.clone() {
                    let http = scene.http(peer).to_owned();
                    scope.spawn(move || reads.go_on(&reads.sleeper, &http, &[key]));
                }
                std::thread::sleep(Duration::from_millis(500));
                scene.net.pause(peer).expect("it runs");
                paused = Some((peer, Instant::now()));
                // And some that reach it while it sleeps.
                for key in keys {
                    let http = scene.http(peer).to_owned();
                    scope.spawn(move || {
                        std::thread::sleep(PAUSE / 2);
                        reads.go_on(&reads.sleeper, &http, &[key]);
                    });
                }
            }
            if let Some((peer, at)) = paused
                && at.elapsed() > PAUSE
                && woken.is_none()
            {
                scene.net.resume(peer).expect("it wakes");
                woken = Some(Instant::now());
            }
        })
    });
    let (_, paused) = paused.expect("it was paused");
    let woken = woken.expect("it woke");
    check_reads(&reads, paused, woken);
    check_counts(&scene, &history);
}

/// No answer of the sleeper may be older than what others had answered before it was asked, and after it woke
/// none may be of the term in which it slept in, whenever it was asked.
fn check_reads(reads: &Reads, paused: Instant, woken: Instant) {
    let sleeper = reads.sleeper.lock().expect("no reader panics").clone();
    let awake = reads.awake.lock().expect("no reader panics").clone();
    let before = sleeper.iter().filter(|read| read.answered < paused).count();
    let (mut late, mut asleep) = (0, 0);
    for read in sleeper.iter().filter(|read| read.answered > woken) {
        late += usize::from(read.asked < paused);
        asleep += usize::from(read.asked >= paused && read.asked < woken);
        let of_key = |other: &&Read| other.key == read.key;
        let old = sleeper.iter().filter(of_key).filter(|other| other.answered < paused);
        let term = old.map(|other| other.term).max().expect("every key was read before");
        assert!(read.term > term, "an answer of the term it slept in: {read:?}");
        for other in awake.iter().filter(of_key).filter(|other| other.answered <= read.asked) {
            let older = (read.term, read.index) < (other.term, other.index);
            assert!(!older && read.count >= other.count, "{read:?} is older than {other:?}");
        }
    }
    let meanwhile = awake.iter().filter(|read| read.answered > paused && read.answered < woken);
    let meanwhile = meanwhile.count();
    let after = sleeper.iter().filter(|read| read.asked > woken).count();
    println!(
        "reads at the sleeper: {before} before, {late} asked before and {asleep} asked while it slept \
         answered after, {after} after; {meanwhile} at another meanwhile"
    );
    assert!(before > 100 && asleep > 0 && after > 100 && meanwhile > 100, "too few reads");
}
