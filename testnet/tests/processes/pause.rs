//! A leader that is stopped for 30 s and wakes: nothing it says then may be of the past.

use crate::counting::{KEYS, check_counts_by, check_log, load, run};
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testnet::ask::Asker;
use testnet::clients::key;
use testnet::raw::{self, Raw, Reaction};
use testnet::scene::{Scene, Setting};

const PAUSE: Duration = Duration::from_secs(30);
/// A read at the sleeper may wait as long as it sleeps, and for its answer.
const PATIENCE: Duration = Duration::from_secs(50);
/// Readers that always have a read under way at the sleeper: some are asked right before it stops.
const READERS: usize = 6;
/// Writers that do the same.
const WRITERS: usize = 3;
/// Once it is awake, so long until all views say the same.
const AGREEMENT: Duration = Duration::from_secs(10);

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

/// One event that the sleeper acknowledged.
#[derive(Clone, Debug)]
struct Write {
    partition: i64,
    offset: i64,
    value: String,
    asked: Instant,
    answered: Instant,
}

/// What was written at the peer that was stopped, into partitions that it led.
#[derive(Default)]
struct Writes(Mutex<Vec<Write>>);

impl Writes {
    /// Appends one value after the other, each of them unlike all others.
    fn go_on(&self, over: &AtomicBool, http: &str, (writer, partitions): (String, &[i64])) {
        let asker = Asker::new(PATIENCE);
        for (number, partition) in partitions.iter().cycle().enumerate() {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let (value, asked) = (format!("{writer}-{number}"), Instant::now());
            let body = json!({ "events": [{ "value": value }], "partition": partition });
            // Only what was acknowledged is a promise.
            if let Ok((200, said)) = asker.post(http, "/v1/streams/kept/events", &body) {
                let offset = said["appended"][0]["offset"].as_i64().expect("an offset");
                let (partition, answered) = (*partition, Instant::now());
                let write = Write { partition, offset, value, asked, answered };
                self.0.lock().expect("no writer panics").push(write);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Every acknowledged value lies where it was said to, as another peer reads it.
    fn check(&self, scene: &Scene, (sleeper, paused, woken): (usize, Instant, Instant)) {
        let writes = self.0.lock().expect("no writer panics").clone();
        for write in &writes {
            let Write { partition, offset, value, .. } = write;
            let path =
                format!("/v1/streams/kept/events?partition={partition}&offset={offset}&max=1");
            let (status, body) = scene.get(sleeper % 3 + 1, &path).expect("an answer");
            let found = body["events"][0]["value"].as_str();
            assert_eq!((status, found), (200, Some(value.as_str())), "{write:?}: {body}");
        }
        let before = writes.iter().filter(|write| write.answered < paused).count();
        let late = writes.iter().filter(|write| write.asked < woken && write.answered > woken);
        let (late, all) = (late.count(), writes.len());
        println!(
            "writes at the sleeper: {before} before, {late} answered when it woke, {all} in all"
        );
        assert!(before > 20 && late > 0 && all > before + late, "too few writes");
    }
}

/// Partitions of the second stream that a peer leads.
fn partitions_led_by(scene: &Scene, peer: usize) -> Vec<i64> {
    let (_, stream) = scene.get(peer, "/v1/streams/kept").expect("an answer");
    let parts = stream["parts"].as_array().into_iter().flatten();
    let led = parts.filter(|part| part["leader"].as_u64() == Some(peer as u64));
    let led: Vec<i64> = led.filter_map(|part| part["partition"].as_i64()).collect();
    assert!(!led.is_empty(), "p{peer} leads nothing: {stream}");
    led
}

/// Ends the readers and writers when it goes, also when that is because of a panic.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_paused_leader_is_replaced_and_wakes_without_harm() {
    let scene = Scene::up(Setting::counting(3));
    let new = json!({"name": "kept", "partitions": 16});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    let (reads, writes) = (Reads::default(), Writes::default());
    let (mut paused, mut woken) = (None, None);
    let history = std::thread::scope(|scope| {
        let _until = Until(&reads.over);
        run(load(&scene, 185_000, 5_000), |pushed| {
            if pushed > 15_000 && paused.is_none() {
                let peer = scene.busiest_leader(1, "bench").expect("a leader");
                let keys = keys_led_by(&scene, peer);
                let led = partitions_led_by(&scene, peer);
                let (reads, writes) = (&reads, &writes);
                let other = scene.http(peer % 3 + 1).to_owned();
                let all = keys.clone();
                scope.spawn(move || reads.go_on(&reads.awake, &other, &all));
                for key in keys.clone() {
                    let http = scene.http(peer).to_owned();
                    scope.spawn(move || reads.go_on(&reads.sleeper, &http, &[key]));
                }
                // Some begin while it sleeps.
                for (writer, wait) in
                    (0..2 * WRITERS).zip([Duration::ZERO, PAUSE / 2].into_iter().cycle())
                {
                    let (http, led) = (scene.http(peer).to_owned(), led.clone());
                    scope.spawn(move || {
                        std::thread::sleep(wait);
                        writes.go_on(&reads.over, &http, (format!("w{writer}"), &led));
                    });
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
    let (sleeper, paused) = paused.expect("it was paused");
    let woken = woken.expect("it woke");
    check_counts_by(&scene, &history, woken + AGREEMENT);
    check_reads(&reads, paused, woken);
    writes.check(&scene, (sleeper, paused, woken));
    check_log(&scene, &history);
}

/// Kafka's "out of range", upon which a consumer begins elsewhere.
const OUT_OF_RANGE: i16 = 1;
/// Consumers that ask the sleeper.
const CONSUMERS: usize = 8;

#[test]
fn a_leader_that_was_deposed_in_its_sleep_calls_no_offset_out_of_range() {
    let scene = Scene::up(Setting::plain(3));
    let new = json!({"name": "kept", "partitions": 64});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    let sleeper = 1;
    let led = partitions_led_by(&scene, sleeper);
    let append = |partition: i64, value: &str| {
        let body = json!({"events": [{"value": value}], "partition": partition});
        scene.eventually("an acknowledgement", Duration::from_secs(20), || {
            match scene.post(2, "/v1/streams/kept/events", &body) {
                Ok((200, said)) => Ok(said["appended"][0]["offset"].as_i64().expect("an offset")),
                other => Err(format!("{other:?}")),
            }
        })
    };
    led.iter().for_each(|partition| assert_eq!(append(*partition, "before"), 0));
    let connect = |_| Raw::connect(&scene.kafka()[sleeper - 1]).expect("it listens");
    let mut consumers: Vec<Raw> = (0..CONSUMERS).map(connect).collect();
    scene.net.pause(sleeper).expect("it runs");
    // Whoever leads now gives an offset of which the sleeper knows nothing, and a consumer may have read that.
    let ends = led.iter().map(|partition| (*partition as i32, append(*partition, "after") + 1));
    let ends: Vec<(i32, i64)> = ends.collect();
    for consumer in &mut consumers {
        consumer.send(&raw::fetch("kept", &ends)).expect("its machine takes it");
    }
    scene.net.resume(sleeper).expect("it wakes");
    for consumer in &mut consumers {
        let reaction = consumer.reaction(Duration::from_secs(20));
        let Reaction::Answer(answer) = reaction else { panic!("{reaction:?}") };
        let errors = raw::fetched(&answer).expect("an answer to a fetch");
        assert_eq!(errors.len(), ends.len(), "each partition is answered");
        let lies: Vec<_> = errors.iter().filter(|(_, error)| *error == OUT_OF_RANGE).collect();
        assert!(lies.is_empty(), "{lies:?} of {ends:?}");
    }
    // Of an end that is the present one it is said.
    scene.eventually("the refusal", Duration::from_secs(20), || {
        let said = |error: anyhow::Error| error.to_string();
        let leader = scene.busiest_leader(1, "kept").map_err(said)?;
        let partition = partitions_led_by(&scene, leader)[0] as i32;
        let mut consumer = Raw::connect(&scene.kafka()[leader - 1]).map_err(said)?;
        let ask = raw::fetch("kept", &[(partition, 1_000)]);
        consumer.send(&ask).map_err(|error| error.to_string())?;
        let reaction = consumer.reaction(Duration::from_secs(20));
        let Reaction::Answer(answer) = &reaction else { return Err(format!("{reaction:?}")) };
        let refused = raw::fetched(answer) == Some(vec![(partition, OUT_OF_RANGE)]);
        if refused { Ok(()) } else { Err(format!("{reaction:?}")) }
    });
}

/// No answer of the sleeper may be older than what others had answered before it was asked, and none to a question that
/// came while it slept or later may be of the term in which it fell asleep. (What was decided before, it may still say.)
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
        let is_new = read.term > term || read.asked < paused;
        assert!(is_new, "an answer of the term it slept in: {read:?}");
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
