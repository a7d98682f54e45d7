//! What strangers send to a Kafka port: other protocols, lies about lengths, endless patience, broken batches.

use model::BatchBuilder;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testnet::raw::{Raw, Reaction, framed, request};
use testnet::scene::{Scene, Setting};
use testnet::weight;

/// What all that nonsense may cost in memory.
const GROWTH_MAX: u64 = 8 << 20;
const MOMENT: Duration = Duration::from_secs(5);

/// The first bytes of a TLS client, as OpenSSL sends them.
const CLIENT_HELLO: &[u8] = &[
    0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a,
];

/// What is sent, what the peer must say of it, and whether more bytes follow the first.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let asked = |api: i16, version: i16, rest: &[u8]| {
        let mut bytes = Vec::new();
        bytes.extend(api.to_be_bytes());
        bytes.extend(version.to_be_bytes());
        bytes.extend(1i32.to_be_bytes());
        bytes.extend(rest);
        framed(&bytes)
    };
    vec![
        ("looks like TLS", CLIENT_HELLO.to_vec()),
        ("looks like HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("looks like SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("frame length 2147483647 exceeds", [&i32::MAX.to_be_bytes()[..], &[7; 64]].concat()),
        ("frame length -1 is negative", [&(-1i32).to_be_bytes()[..], &[7; 64]].concat()),
        ("frame length 3 is shorter", [&3i32.to_be_bytes()[..], &[7; 64]].concat()),
        ("API 30000", asked(30_000, 0, &[])),
        // Metadata that claims 2^31-1 topics.
        ("is malformed", asked(3, 1, &[0xff, 0xff, 0x7f, 0xff, 0xff, 0xff])),
    ]
}

/// Sets a flag when it goes, also when that is because of a panic: threads that run until then must end.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client that minds its own business, and whether it was ever kept waiting.
fn mind_business(scene: &Scene, over: &AtomicBool, slowest_ms: &AtomicU64) -> u64 {
    let mut served = 0;
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let mut raw = Raw::connect(&scene.kafka()[0]).expect("the port is open");
        assert!(raw.is_served(Duration::from_secs(20)), "an honest client was not served");
        let event = json!({"events": [{"value": served}]});
        let (status, said) = scene.post(1, "/v1/streams/own/events", &event).expect("an answer");
        assert_eq!(status, 200, "{said}");
        slowest_ms.fetch_max(began.elapsed().as_millis() as u64, Ordering::Relaxed);
        served += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    served
}

#[test]
fn nonsense_on_the_kafka_port_costs_nothing_and_disturbs_nobody() {
    let scene = Scene::up(Setting::plain(1));
    let Some(_) = weight::memory(scene.pid(1)) else {
        println!("SKIPPED: it needs /proc");
        return;
    };
    let new = json!({"name": "own", "partitions": 1});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    let (over, slowest) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let honest = scope.spawn(|| mind_business(&scene, &over, &slowest));
        // A second of ordinary life comes first: what it costs is not the strangers' doing.
        std::thread::sleep(Duration::from_secs(1));
        let before = weight::memory(scene.pid(1)).expect("it runs");
        let (scene, over) = (&scene, &over);
        let watch = scope.spawn(move || {
            let mut most = before;
            while !over.load(Ordering::Relaxed) {
                most = most.max(weight::memory(scene.pid(1)).expect("it runs"));
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let until = Until(over);
        send_nonsense(scene);
        hold_places(scene);
        drop(until);
        let grown = watch.join().expect("the peer runs") - before;
        let served = honest.join().expect("the honest client was served");
        let slowest = slowest.load(Ordering::Relaxed);
        println!("{grown} bytes more at most; {served} honest rounds, the slowest {slowest} ms");
        assert!(grown < GROWTH_MAX, "{grown} bytes more");
        assert!(served > 100 && slowest < 2_000, "{served} rounds, the slowest {slowest} ms");
    });
}

/// Each kind many times; the peer closes every connection and says why, once in a while.
fn send_nonsense(scene: &Scene) {
    for (told, bytes) in nonsense() {
        for _ in 0..100 {
            let mut raw = Raw::connect(&scene.kafka()[0]).expect("the port is open");
            // It may be closed before all is sent.
            let _ = raw.send(&bytes);
            assert_eq!(raw.reaction(MOMENT), Reaction::Closed, "after {told:?}");
        }
        let said = scene.said(1);
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(told)).collect();
        assert!((1..10).contains(&lines.len()), "{told:?} is said {} times", lines.len());
        assert!(lines[0].contains("a Kafka connection is closed"), "{}", lines[0]);
        assert!(lines[0].contains("127.0.0.1:"), "{}", lines[0]);
    }
}

/// Clients that claim the largest request and send no more of it, and some that send byte by byte: more than enough to
/// use up all credit, if a claim took any. Each loses its place.
fn hold_places(scene: &Scene) {
    let claim = |size: i32| {
        let mut raw = Raw::connect(&scene.kafka()[0]).expect("the port is open");
        raw.send(&size.to_be_bytes()).expect("it is taken");
        raw.send(&[0; 10]).expect("it is taken");
        raw
    };
    let mut stalled: Vec<Raw> = (0..60).map(|_| claim(100 << 20)).collect();
    let trickling: Mutex<Vec<Raw>> = Mutex::new((0..60).map(|_| claim(60_000)).collect());
    let began = Instant::now();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _until = Until(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for raw in trickling.lock().expect("nobody panics").iter_mut() {
                    // One that is closed takes nothing: that is what is waited for.
                    let _ = raw.send(&[0]);
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        for raw in &mut stalled {
            assert_eq!(raw.reaction(Duration::from_secs(20)), Reaction::Closed);
        }
        let stalled_s = began.elapsed().as_secs();
        assert!((9..16).contains(&stalled_s), "stalled ones were closed after {stalled_s} s");
        for raw in trickling.lock().expect("nobody panics").iter_mut() {
            assert_eq!(raw.reaction(Duration::from_secs(40)), Reaction::Closed);
        }
    });
    println!("the last that sent byte by byte was closed after {:?}", began.elapsed());
}

/// A batch of three events.
fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for value in ["one", "two", "three"] {
        builder.push(1_700_000_000_000, None, Some(value.as_bytes()), &[]);
    }
    builder.build().expect("three events").bytes().to_vec()
}

/// The batch with other bytes at a place, and a checksum that fits them.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A batch of an idempotent producer of this id.
fn by(producer: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new().producer(producer, 0, 0);
    builder.push(1_700_000_000_000, None, Some(b"one"), &[]);
    builder.build().expect("an event").bytes().to_vec()
}

/// Metadata v1 that names one stream many times, and groups that would be waited for without end.
fn ask_for_much(scene: &Scene) {
    const TIMES: i32 = 20_000;
    let mut raw = Raw::connect(&scene.kafka()[0]).expect("the port is open");
    let name = [&3i16.to_be_bytes()[..], b"own"].concat();
    let names = [&TIMES.to_be_bytes()[..], &name.repeat(TIMES as usize)].concat();
    raw.send(&request((3, 1), &names)).expect("it is taken");
    let Reaction::Answer(answer) = raw.reaction(MOMENT) else { panic!("no answer") };
    assert!(answer.len() < 1_000, "a stream is told {} bytes", answer.len());
    for (session_ms, rebalance_ms, code) in
        [(10_000, -1, 26), (10_000, 0, 26), (1, 10_000, 26), (i32::MAX, 10_000, 26)]
    {
        let text = |text: &str| [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat();
        let ask = [
            text("g"),
            i32::to_be_bytes(session_ms).to_vec(),
            i32::to_be_bytes(rebalance_ms).to_vec(),
            text(""),
            text("consumer"),
            1i32.to_be_bytes().to_vec(),
            text("range"),
            0i32.to_be_bytes().to_vec(),
        ];
        raw.send(&request((11, 1), &ask.concat())).expect("it is taken");
        let Reaction::Answer(answer) = raw.reaction(MOMENT) else { panic!("no answer") };
        assert_eq!(answer[4..6], i16::to_be_bytes(code), "{session_ms} ms, {rebalance_ms} ms");
    }
}

#[test]
fn a_batch_that_lies_is_refused_with_kafkas_own_code_and_nothing_is_appended() {
    const CORRUPT: i16 = 2;
    const INVALID: i16 = 87;
    const TIME: i16 = 32;
    const UNKNOWN_PRODUCER: i16 = 59;
    let scene = Scene::up(Setting::plain(1));
    let new = json!({"name": "own", "partitions": 1});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    let mut raw = Raw::connect(&scene.kafka()[0]).expect("the port is open");
    let produce = |raw: &mut Raw, batch: &[u8]| raw.produce("own", 0, batch).expect("an answer");
    assert_eq!(produce(&mut raw, &batch()), (0, 0));

    let mut flipped = batch();
    *flipped.last_mut().expect("bytes") ^= 1;
    let size = batch().len() as i32 - 12;
    let lies = [
        ("a wrong checksum", flipped, CORRUPT),
        ("a length beyond the bytes", with(8, &(size + 1).to_be_bytes()), CORRUPT),
        ("a length of 2^31-1", with(8, &i32::MAX.to_be_bytes()), CORRUPT),
        ("a negative length", with(8, &(-1i32).to_be_bytes()), CORRUPT),
        ("a length shorter than a header", with(8, &20i32.to_be_bytes()), CORRUPT),
        ("half a header", batch()[..30].to_vec(), CORRUPT),
        ("no batch at all", Vec::new(), INVALID),
        ("an old format", with(16, &[1]), INVALID),
        ("2^31-1 events", with(57, &i32::MAX.to_be_bytes()), CORRUPT),
        ("no events", with(57, &0i32.to_be_bytes()), CORRUPT),
        ("four events instead of three", with(57, &4i32.to_be_bytes()), CORRUPT),
        ("two events instead of three", with(57, &2i32.to_be_bytes()), INVALID),
        ("offsets that do not fit", with(23, &9i32.to_be_bytes()), INVALID),
        ("an event longer than the batch", with(61, &[0x7e]), INVALID),
        ("an event of endless length", with(61, &[0xff; 6]), INVALID),
        ("a control batch", with(21, &[0, 0x20]), INVALID),
        ("a codec that there is not", with(21, &[0, 7]), 76),
        ("a time before 1970", with(27, &(-2i64).to_be_bytes()), TIME),
        ("a time in microseconds", with(27, &1_700_000_000_000_000i64.to_be_bytes()), TIME),
        ("the end of all times", with(35, &i64::MAX.to_be_bytes()), TIME),
        ("a producer id that was never issued", by(5 << 47 | 9), UNKNOWN_PRODUCER),
        ("a producer id of no shard", by(9_999 << 47 | 1), UNKNOWN_PRODUCER),
        ("a producer id of the future", by(1 << 40), UNKNOWN_PRODUCER),
        ("one good and one bad", [batch(), with(57, &2i32.to_be_bytes())].concat(), INVALID),
    ];
    for (lie, batch, code) in lies {
        assert_eq!(produce(&mut raw, &batch), (code, -1), "{lie}");
    }
    assert_eq!(produce(&mut raw, &batch()), (0, 3), "nothing of all that was appended");
    assert_eq!(raw.produce("none", 0, &batch()).expect("an answer").0, 3);
    assert_eq!(raw.produce("own", 9, &batch()).expect("an answer").0, 3);
    assert_eq!(raw.produce("../x", 0, &batch()).expect("an answer").0, 17);
    let (_, body) = scene.get(1, "/v1/streams/own").expect("an answer");
    assert_eq!(body["parts"][0]["next"].as_i64(), Some(6), "{body}");
    ask_for_much(&scene);
}
