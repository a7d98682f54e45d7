//! Programs that stand beside a mesh in production, real ones from Debian, with the files that `shoal gen` makes.

use crate::tools;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testnet::ask::Asker;
use testnet::hand::Line;
use testnet::scene::{Scene, Setting};

/// Requests a second that HAProxy and three peers of this machine must carry; an unoptimised build carries less.
const RATE: f64 = 10_000.0;
/// Connections that are kept open.
const CLIENTS: usize = 32;

#[test]
fn a_real_prometheus_scrapes_the_mesh_and_every_query_of_dashboard_and_alerts_is_answered() {
    if !tools::has("prometheus") {
        return;
    }
    let scene = Scene::up(Setting::words(3));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = |words: &[&str]| Line::shoal(words).and(&[]).run();
    let alerts = made(&["gen", "alerts"]);
    std::fs::write(folder.path().join("alerts.yml"), &alerts.said).expect("it can be written");
    let scrape = made(&["gen", "prometheus", "--rules", "alerts.yml", "--peer", scene.http(2)]);
    let scrape = scrape.said.replace("interval: 5s", "interval: 1s");
    std::fs::write(folder.path().join("prometheus.yml"), scrape).expect("it can be written");
    let port = free_port();
    let _prometheus = Program::start(
        Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}")),
        folder.path(),
    );
    let asker = Asker::new(Duration::from_secs(5));
    let ask = |query: &str| -> Result<Value, String> {
        let path = format!("/api/v1/query?query={}", escaped(query));
        let (status, answer) =
            asker.get(&format!("127.0.0.1:{port}"), &path).map_err(|e| e.to_string())?;
        if status != 200 || answer["status"] != "success" {
            return Err(format!("{query}: {answer}"));
        }
        Ok(answer["data"]["result"].clone())
    };
    let number = |query: &str| -> Result<f64, String> {
        let result = ask(query)?;
        let text = result[0]["value"][1].as_str().unwrap_or("nothing").to_owned();
        text.parse().map_err(|_| format!("{query}: {text}"))
    };
    scene.eventually("all three are scraped", Duration::from_secs(30), || {
        let up = number("sum(up{job=\"shoal\"})")?;
        let led = number("sum(shoal_shards_led)")?;
        (up == 3.0 && led == 64.0).then_some(()).ok_or(format!("{up} up, {led} led"))
    });
    let before = number("sum(shoal_events_in_total)").expect("it was scraped");
    let event = serde_json::json!({ "events": [{ "value": "a b" }, { "value": "c" }] });
    assert_eq!(scene.post(1, "/v1/streams/lines/events", &event).expect("an answer").0, 200);
    scene.eventually("what was appended is counted", Duration::from_secs(10), || {
        let now = number("sum(shoal_events_in_total)")?;
        (now == before + 2.0).then_some(()).ok_or(format!("{now}"))
    });
    let grafana: Value =
        serde_json::from_str(&made(&["gen", "grafana"]).said).expect("a dashboard is JSON");
    let panels = grafana["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut asked = 0;
    for query in targets.filter_map(|target| target["expr"].as_str()) {
        // Rates need two scrapes; that the name is known is what a slip would break.
        let found = ask(query).expect("a valid query");
        let name = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let name = name.into_iter().find(|word| word.starts_with("shoal_")).expect("a metric");
        let known = ask(name).expect("a name");
        assert!(known[0].is_object(), "{name} of {query} is no metric: {found}");
        asked += 1;
    }
    assert!(asked > 15, "{asked} queries");
    let (_, rules) = asker.get(&format!("127.0.0.1:{port}"), "/api/v1/rules").expect("an answer");
    let rules = rules["data"]["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
    assert!(rules.len() >= 8, "{rules:?}");
    for rule in &rules {
        assert!(matches!(rule["health"].as_str(), Some("ok" | "unknown")), "{rule}");
        let name = rule["query"].as_str().unwrap_or_default();
        let name = name.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let name = name.into_iter().find(|word| word.starts_with("shoal_") || *word == "up");
        assert!(ask(name.expect("a metric")).expect("a name")[0].is_object(), "{rule}");
    }
}

#[test]
fn a_real_haproxy_spreads_reads_evenly_and_a_killed_peer_costs_hardly_an_error() {
    if !tools::has("haproxy") {
        return;
    }
    let mut scene = Scene::up(Setting::words(3));
    let event = serde_json::json!({ "events": [{ "value": "word word word" }] });
    assert_eq!(scene.post(1, "/v1/streams/lines/events", &event).expect("an answer").0, 200);
    scene.eventually("the word is counted at all peers", Duration::from_secs(20), || {
        for peer in 1..=3 {
            let counts = scene.counts(peer, "word_counts", "any").map_err(|e| e.to_string())?;
            if counts.get("word") != Some(&3) {
                return Err(format!("p{peer}: {counts:?}"));
            }
        }
        Ok(())
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (port, stats) = (free_port(), free_port());
    let listen = format!("127.0.0.1:{port}");
    let file = Line::shoal(&["gen", "haproxy", "--listen", &listen, "--peer", scene.http(1)]).run();
    let file = format!(
        "{}\nfrontend stats\n    bind 127.0.0.1:{stats}\n    stats enable\n    stats uri /stats\n",
        file.said
    );
    let path = folder.path().join("haproxy.cfg");
    std::fs::write(&path, &file).expect("it can be written");
    let program = tools::find("haproxy").expect("just found");
    let _proxy =
        Program::start(Command::new(program).arg("-db").arg("-f").arg(&path), folder.path());
    let asker = Asker::new(Duration::from_secs(5));
    let path = "/v1/views/word_counts/rows/word?consistency=any";
    scene.eventually("the proxy serves", Duration::from_secs(10), || {
        let (status, body) = asker.get(&listen, path).map_err(|e| e.to_string())?;
        (status == 200).then_some(()).ok_or(body.to_string())
    });
    scene.eventually("all peers are in rotation", Duration::from_secs(10), || {
        let up = servers(&asker, stats)?.values().filter(|it| it.up).count();
        (up == 3).then_some(()).ok_or(format!("{up} up"))
    });
    let calm = hammer(&listen, path, Duration::from_secs(5), || {});
    let rate = calm.done as f64 / 5.0;
    let total = servers(&asker, stats).expect("stats");
    let shares: Vec<f64> = total.values().map(|it| it.sessions as f64).collect();
    let mean = shares.iter().sum::<f64>() / 3.0;
    println!(
        "{rate:.0} requests/s over HAProxy and 3 peers, {shares:?} at each, {} failed",
        calm.failed
    );
    assert_eq!(calm.failed, 0, "{:?}", calm.first);
    assert!(shares.iter().all(|share| (share / mean - 1.0).abs() < 0.05), "{shares:?}");
    if !cfg!(debug_assertions) || std::env::var_os("SHOAL_BINARIES").is_none() {
        assert!(rate >= RATE, "{rate:.0} requests/s");
    }
    let out = Mutex::new(None);
    let through = hammer(&listen, path, Duration::from_secs(6), || {
        std::thread::sleep(Duration::from_secs(1));
        let killed = Instant::now();
        scene.net.kill(3).expect("p3 runs");
        while servers(&asker, stats).is_ok_and(|it| it["p3"].up) {
            std::thread::sleep(Duration::from_millis(20));
        }
        *out.lock().expect("nobody panics with it") = Some(killed.elapsed());
    });
    let out = out.into_inner().expect("nobody panics with it").expect("it was killed");
    let errors = through.failed as f64 / (through.done + through.failed) as f64;
    println!(
        "killed: out of rotation after {out:?}, {} of {} failed",
        through.failed, through.done
    );
    // Two checks, half a second apart, and what a refused connection takes.
    assert!(out < Duration::from_millis(1_600), "{out:?}");
    assert!(
        errors < 0.001,
        "{} of {} failed, first {:?}",
        through.failed,
        through.done,
        through.first
    );
}

/// What came of many requests.
struct Hammered {
    done: u64,
    failed: u64,
    first: Option<String>,
}

/// Asks over kept connections, as fast as answers come, while something else happens.
fn hammer(address: &str, path: &str, time: Duration, meanwhile: impl FnOnce()) -> Hammered {
    let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let first = Mutex::new(None);
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = None;
                while !stop.load(Ordering::Relaxed) {
                    match one(&mut connection, address, path) {
                        Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                        Err(why) => {
                            connection = None;
                            failed.fetch_add(1, Ordering::Relaxed);
                            first.lock().expect("nobody panics with it").get_or_insert(why);
                        }
                    }
                }
            });
        }
        meanwhile();
        std::thread::sleep(time.saturating_sub(began.elapsed()));
        stop.store(true, Ordering::Relaxed);
    });
    Hammered {
        done: done.into_inner(),
        failed: failed.into_inner(),
        first: first.into_inner().expect("nobody panics with it"),
    }
}

/// One request over a connection that is kept; anything but 200 is a failure.
fn one(kept: &mut Option<BufReader<TcpStream>>, address: &str, path: &str) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    if kept.is_none() {
        let stream = TcpStream::connect(address).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(text)?;
        *kept = Some(BufReader::new(stream));
    }
    let connection = kept.as_mut().ok_or("no connection")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes()).map_err(text)?;
    let (mut line, mut length, mut closes) = (String::new(), 0usize, false);
    connection.read_line(&mut line).map_err(text)?;
    let status = line.split(' ').nth(1).unwrap_or("no answer").to_owned();
    loop {
        line.clear();
        connection.read_line(&mut line).map_err(text)?;
        let header = line.trim_end().to_ascii_lowercase();
        match header.split_once(": ") {
            Some(("content-length", size)) => length = size.parse().unwrap_or(0),
            Some(("connection", how)) => closes = how == "close",
            _ if header.is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).map_err(text)?;
    if closes {
        *kept = None;
    }
    (status == "200").then_some(()).ok_or(format!("{status} {}", String::from_utf8_lossy(&body)))
}

/// A server as HAProxy counts it.
struct Counted {
    up: bool,
    sessions: u64,
}

fn servers(asker: &Asker, port: u16) -> Result<BTreeMap<String, Counted>, String> {
    let text = asker.text(&format!("127.0.0.1:{port}"), "/stats;csv").map_err(|e| e.to_string())?;
    let mut lines = text.lines();
    let heads: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let at = |name| heads.iter().position(|head| *head == name).ok_or(format!("no {name}"));
    let (status, requests) = (at("status")?, at("hrsp_2xx")?);
    let mut found = BTreeMap::new();
    for line in lines.filter(|line| line.starts_with("peers,p")) {
        let cells: Vec<&str> = line.split(',').collect();
        let sessions = cells[requests].parse().unwrap_or(0);
        found
            .insert(cells[1].to_owned(), Counted { up: cells[status].starts_with("UP"), sessions });
    }
    Ok(found)
}

/// A program that is ended with this.
struct Program(Child);

impl Program {
    fn start(command: &mut Command, folder: &Path) -> Self {
        let log = std::fs::File::create(folder.join("said")).expect("a file for what is said");
        let second = log.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(log).stderr(second);
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
