//! What strangers send to an HTTP port: ambiguous requests, endless patience, pages of other origins, and the same
//! request twice.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use testnet::ask::Asker;
use testnet::raw::{Raw, Reaction};
use testnet::scene::{Scene, Setting};
use testnet::weight;

/// What all that nonsense may cost in memory.
const GROWTH_MAX: u64 = 8 << 20;
/// As many requests of each kind.
const TIMES: usize = 50;

/// Sends bytes and reads until the other end closes; nothing if it says nothing within `limit`.
fn answer(http: &str, bytes: &[u8], limit: Duration) -> Option<String> {
    let mut stream = TcpStream::connect(http).expect("the port is open");
    stream.set_read_timeout(Some(limit)).expect("not zero");
    // It may be closed before all is sent.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => said.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && said.is_empty() => {
                return None;
            }
            Err(_) => break,
        }
        if said.len() > 12 {
            break;
        }
    }
    Some(String::from_utf8_lossy(&said).into_owned())
}

fn status(said: &str) -> Option<u16> {
    said.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// What is sent, and which statuses are right; none: the connection may be closed without a word.
fn nonsense() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let get = |head: &str| format!("GET /v1/streams HTTP/1.1\r\n{head}\r\n").into_bytes();
    let post = |head: &str, body: &str| {
        let head = format!("Host: 127.0.0.1\r\nContent-Type: application/json\r\n{head}");
        format!("POST /v1/streams HTTP/1.1\r\n{head}\r\n{body}").into_bytes()
    };
    let large = format!("Host: a\r\nX: {}\r\n", "a".repeat(1 << 20));
    let many = format!("Host: a\r\n{}", "a: b\r\n".repeat(10_000));
    let deep = "[".repeat(100_000);
    vec![
        ("no Host", get(""), &[400]),
        ("a foreign Host", get("Host: evil.example\r\n"), &[421]),
        ("two Hosts", get("Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n"), &[400]),
        ("two lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), &[400]),
        (
            "a length and chunks",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "x"),
            &[400],
        ),
        ("a length of 2^63", post("Content-Length: 9223372036854775807\r\n", ""), &[400, 413]),
        ("a length of -1", post("Content-Length: -1\r\n", ""), &[400]),
        ("a header of 1 MiB", get(&large), &[431]),
        ("10,000 headers", get(&many), &[431]),
        ("JSON 100,000 deep", post("Content-Length: 100000\r\n", &deep), &[400]),
        ("a TLS hello", b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\r\n\r\n".to_vec(), &[400]),
        (
            "noise",
            (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
            &[400],
        ),
    ]
}

#[test]
fn nonsense_on_the_http_port_costs_nothing_and_slow_clients_lose_their_place() {
    let scene = Scene::up(Setting::plain(1));
    let http = scene.http(1).to_owned();
    let Some(_) = weight::memory(scene.pid(1)) else {
        println!("SKIPPED: it needs /proc");
        return;
    };
    let new = json!({"name": "own", "partitions": 1});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    pages_of_others(&http);
    let before = weight::memory(scene.pid(1)).expect("it runs");
    for (what, bytes, right) in nonsense() {
        for _ in 0..TIMES {
            let said = answer(&http, &bytes, Duration::from_secs(5));
            let said = said.unwrap_or_else(|| panic!("after {what:?} nothing is said for 5 s"));
            match status(&said) {
                Some(status) => assert!(right.contains(&status), "{what:?} is answered {said}"),
                None => assert!(said.is_empty(), "{what:?} is answered {said}"),
            }
        }
    }
    let grown = weight::memory(scene.pid(1)).expect("it runs").saturating_sub(before);
    println!("{grown} bytes more after {TIMES} of each");
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
    slow(&http);
    let event = json!({"events": [{"value": 1}]});
    assert_eq!(scene.post(1, "/v1/streams/own/events", &event).expect("an answer").0, 200);
}

/// A page may ask only who served it: not from another port of the same machine.
fn pages_of_others(http: &str) {
    let get = |origin: &str| {
        let head = format!("Host: {http}\r\nOrigin: {origin}\r\nConnection: close\r\n");
        let said = answer(
            http,
            format!("GET /v1/streams HTTP/1.1\r\n{head}\r\n").as_bytes(),
            Duration::from_secs(5),
        );
        status(&said.expect("an answer"))
    };
    assert_eq!(get(&format!("http://{http}")), Some(200));
    for foreign in ["http://127.0.0.1:1", "http://localhost:3000", "http://evil.example", "null"] {
        assert_eq!(get(foreign), Some(403), "{foreign}");
    }
}

/// Half a head and half a body, also in chunks: each is waited for, but not for ever, and others are served meanwhile.
fn slow(http: &str) {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let head = scope.spawn(|| {
            let said = answer(http, b"GET / HTTP/1.1\r\nHost: ", Duration::from_secs(50));
            (said.expect("it is closed"), began.elapsed().as_secs())
        });
        let head_of = "Host: 127.0.0.1\r\nContent-Type: application/json\r\n";
        let bodies = [
            "Content-Length: 99\r\n\r\n{\"na",
            // A chunk whose length no memory has.
            "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nx",
        ];
        let bodies = bodies.map(|body| {
            scope.spawn(move || {
                let half = format!("POST /v1/streams HTTP/1.1\r\n{head_of}{body}");
                let said = answer(http, half.as_bytes(), Duration::from_secs(50));
                (said.expect("it is closed"), began.elapsed().as_secs())
            })
        });
        for body in bodies {
            let (said, after_s) = body.join().expect("no panic");
            assert_eq!(status(&said), Some(408), "{said}");
            assert!((9..16).contains(&after_s), "half a body was waited for {after_s} s");
        }
        let (said, after_s) = head.join().expect("no panic");
        assert!(matches!(status(&said), None | Some(408)), "{said}");
        assert!((28..40).contains(&after_s), "half a head was waited for {after_s} s");
    });
}

/// Twenty events, some with a time and some without.
fn request() -> Value {
    let event = |n: i64| match n % 2 {
        0 => json!({"key": format!("k{n}"), "value": n, "time_ms": 1_700_000_000_000i64 + n}),
        _ => json!({"key": format!("k{n}"), "value": n}),
    };
    json!({"events": (0..20).map(event).collect::<Vec<_>>()})
}

#[test]
fn a_keyed_request_is_the_same_after_its_stream_grew_and_whenever_it_comes() {
    let scene = Scene::up(Setting::plain(3));
    let new = json!({"name": "own", "partitions": 2});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    let asker = Asker::new(Duration::from_secs(30));
    let send = |peer: usize, key: &str, body: &Value| {
        let sent = asker.post_once(scene.http(peer), "/v1/streams/own/events", (key, body));
        sent.expect("an answer")
    };
    let first = send(1, "one", &request());
    assert_eq!(first.0, 200, "{}", first.1);
    assert_eq!(send(2, "one", &request()), first, "a moment later, at another peer");
    grow(&scene, "own", 64);
    scene.eventually("all peers know", Duration::from_secs(10), || {
        let grown = |peer| scene.get(peer, "/v1/streams/own").map(|(_, body)| body);
        let known = (1..=3).filter_map(|peer| grown(peer).ok());
        match known.filter(|body| body["parts"].as_array().map(Vec::len) == Some(64)).count() {
            3 => Ok(()),
            known => Err(format!("{known} do")),
        }
    });
    for peer in 1..=3 {
        assert_eq!(send(peer, "one", &request()), first, "after the stream grew, at peer {peer}");
    }
    let (status, fresh) = send(1, "two", &request());
    let spread = fresh["appended"].as_array().map_or(0, Vec::len);
    assert!(status == 200 && spread > 2, "a new key takes all partitions: {fresh}");
    assert_eq!(send(3, "two", &request()).1, fresh);
    let mut other = request();
    other["events"][0]["value"] = json!("another");
    let (status, refused) = send(2, "two", &other);
    assert_eq!((status, refused["code"].as_str()), (422, Some("SH0405")), "{refused}");
}

/// Kafka's CreatePartitions, by hand.
fn grow(scene: &Scene, stream: &str, partitions: i32) {
    let mut ask = Vec::new();
    ask.extend(1i32.to_be_bytes());
    ask.extend((stream.len() as i16).to_be_bytes());
    ask.extend(stream.as_bytes());
    ask.extend(partitions.to_be_bytes());
    ask.extend((-1i32).to_be_bytes());
    ask.extend(10_000i32.to_be_bytes());
    ask.push(0);
    let mut raw = Raw::connect(&scene.kafka()[0]).expect("the port is open");
    raw.send(&testnet::raw::request((37, 0), &ask)).expect("it is taken");
    let Reaction::Answer(answer) = raw.reaction(Duration::from_secs(10)) else {
        panic!("no answer")
    };
    // Correlation, throttle, one topic and its name: then the error.
    let at = 4 + 4 + 4 + 2 + stream.len();
    assert_eq!(answer[at..at + 2], [0, 0], "{answer:?}");
}

#[test]
fn a_mesh_refuses_more_partitions_than_it_may_have() {
    let setting = Setting::plain(1);
    let arguments = vec!["--partitions-max".to_owned(), "40".to_owned()];
    let scene = Scene::up(Setting { arguments, ..setting });
    let create = |name: &str, partitions: u32| {
        let new = json!({"name": name, "partitions": partitions});
        scene.post(1, "/v1/streams", &new).expect("an answer")
    };
    assert_eq!(create("a", 30).0, 201);
    let (status, body) = create("b", 11);
    assert_eq!((status, body["code"].as_str()), (409, Some("SH0311")), "{body}");
    let because = body["because"].as_str().unwrap_or_default();
    assert!(because.contains("30 partitions") && because.contains("above 40"), "{body}");
    assert!(body["try"].as_str().unwrap_or_default().contains("--partitions-max"), "{body}");
    assert_eq!(create("b", 10).0, 201);
}
