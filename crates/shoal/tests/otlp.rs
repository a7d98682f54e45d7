//! Spans in a collector: those of a request that names its trace, from the door to the commit.
//! Tests of this crate are built with the feature; what is released is not.
#![cfg(feature = "otlp")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const ABOVE: &str = "b7ad6b7169203331";
const KAFKA_ABOVE: &str = "c8be7c827a314442";
const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_request_is_followed_from_the_door_to_the_commit_in_the_trace_that_it_names() {
    let (collector, told) = collector();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let mut peer = Peer::start(&folder, &collector);
    let http = peer.address();
    let made = ask(&http, "POST /v1/streams", &[], &json!({ "name": "traced", "partitions": 2 }));
    assert!(made.contains(" 201 "), "{made}");
    let named = format!("traceparent: 00-{TRACE}-{ABOVE}-01");
    let event = |number| json!({ "key": format!("key {number}"), "value": number });
    let events = json!({ "events": (0..20).map(event).collect::<Vec<_>>() });
    let sent = ask(&http, "POST /v1/streams/traced/events", &[&named], &events);
    assert!(sent.contains(" 200 "), "{sent}");
    let by_kafka = produce(&peer.listens("kafka"));
    peer.stop();

    let spans = spans(&told);
    let of = |name: &str| -> Vec<&Value> {
        spans.iter().filter(|span| span["traceId"] == TRACE && span["name"] == name).collect()
    };
    let [door] = of("append over HTTP")[..] else { panic!("no span of the request: {spans:?}") };
    assert_eq!(door["parentSpanId"], ABOVE);
    assert!(attribute(door, "stream").to_string().contains("traced"), "{door}");
    let below = |above: &Value| -> Vec<&Value> {
        of("commit").into_iter().filter(|part| part["parentSpanId"] == above["spanId"]).collect()
    };
    let parts = below(door);
    assert_eq!(parts.len(), 2, "one a partition: {spans:?}");
    let number = |span: &Value, key| -> i64 {
        let value = attribute(span, key)["intValue"].clone();
        value.as_i64().or(value.as_str().and_then(|it| it.parse().ok())).expect("a number")
    };
    assert_eq!(parts.iter().map(|part| number(part, "events")).sum::<i64>(), 20);
    for part in parts {
        assert_eq!(number(part, "offset"), 0);
    }
    if by_kafka {
        let [door] = of("append over Kafka")[..] else { panic!("no span of it: {spans:?}") };
        assert_eq!(door["parentSpanId"], KAFKA_ABOVE);
        let [part] = below(door)[..] else { panic!("no commit of it: {spans:?}") };
        assert_eq!(number(part, "events"), 1);
    }
}

/// Sends an event whose header names the trace, if kcat is there to do so.
fn produce(kafka: &str) -> bool {
    let header = format!("traceparent=00-{TRACE}-{KAFKA_ABOVE}-01");
    let kcat = Command::new("kcat")
        .args(["-P", "-b", kafka, "-t", "traced", "-p", "0", "-H", &header])
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut kcat) = kcat else {
        println!("SKIPPED: kcat is not installed (.ci/run installs it on Debian)");
        return false;
    };
    kcat.stdin.take().expect("piped").write_all(b"by kafka\n").expect("it reads");
    assert!(kcat.wait().expect("our child").success());
    true
}

fn attribute(span: &Value, key: &str) -> Value {
    let all = span["attributes"].as_array().into_iter().flatten();
    all.into_iter().find(|it| it["key"] == key).map_or(Value::Null, |it| it["value"].clone())
}

/// All spans that have come, after the peer has ended and sent its last.
fn spans(told: &Receiver<Value>) -> Vec<Value> {
    let mut spans = Vec::new();
    let end = Instant::now() + SOON;
    while spans.is_empty() && Instant::now() < end {
        while let Ok(export) = told.recv_timeout(Duration::from_millis(500)) {
            for resource in export["resourceSpans"].as_array().into_iter().flatten() {
                for scope in resource["scopeSpans"].as_array().into_iter().flatten() {
                    spans.extend(scope["spans"].as_array().into_iter().flatten().cloned());
                }
            }
        }
    }
    spans
}

/// Takes exports and hands on their JSON.
fn collector() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let (to, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let to = to.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                while let Some(body) = body(&mut reader) {
                    if let Ok(export) = serde_json::from_slice(&body) {
                        // Nobody listens any more when the test has ended.
                        let _ = to.send(export);
                    }
                    let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
                    if (&stream).write_all(ok.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, told)
}

fn body(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length?];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn ask(http: &str, what: &str, headers: &[&str], body: &Value) -> String {
    let mut stream = TcpStream::connect(http).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    let body = body.to_string();
    let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!(
        "{what} HTTP/1.1\r\nhost: {http}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    );
    write!(stream, "{head}{more}content-length: {}\r\n\r\n{body}", body.len()).expect("sent");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an answer");
    said
}

struct Peer {
    child: Child,
    folder: std::path::PathBuf,
}

impl Peer {
    fn start(folder: &tempfile::TempDir, collector: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_shoal"))
            .args(["start", "--new", "--kafka-port=0", "--http-port=0", "--mesh-port=0"])
            .current_dir(folder.path())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        Self { child, folder: folder.path().to_owned() }
    }

    /// Where it listens for something; nowhere yet while it starts.
    fn listens(&self, of: &str) -> String {
        let text = std::fs::read_to_string(self.folder.join("shoal-data/ports.json"));
        let ports: Value = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
        ports[of].as_str().unwrap_or_default().to_owned()
    }

    /// Its HTTP address, once it is ready.
    fn address(&self) -> String {
        let end = Instant::now() + SOON;
        loop {
            let http = self.listens("http");
            if TcpStream::connect(&http).is_ok()
                && ask(&http, "GET /readyz", &[], &Value::Null).contains(" 200 ")
            {
                return http;
            }
            assert!(Instant::now() < end, "it is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks it to end, and waits.
    fn stop(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().expect("kill runs").success());
        self.child.wait().expect("our child");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // One that has ended is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
