//! The HTTP API: its document, what programs that read it find out, what comes by itself, and what strangers are refused.

use crate::tools;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use testnet::hand::Line;
use testnet::scene::{Scene, Setting, eventually};
use testnet::secrets;

/// What takes a peer out of the mesh, and what never ends, is not for a program that tries everything.
const LEFT_OUT: &str = "(leave|drain|remove|watch|tail)$";

#[test]
fn the_document_is_whole_and_a_program_that_tries_everything_it_says_finds_nothing() {
    let scene = Scene::up(Setting::words(3));
    let document: Value =
        serde_json::from_str(&scene.text(1, "/openapi.json")).expect("the document is JSON");
    assert_eq!(document["openapi"], "3.1.0");
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap_or_default();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is missing");
    }
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 40, "{:?}", paths.keys());
    for (path, _) in
        paths.iter().filter(|(path, item)| !item["get"].is_null() && !path.contains('{'))
    {
        if path.ends_with("watch") {
            continue;
        }
        assert!(!scene.text(2, path).is_empty(), "{path}");
    }
    assert!(scene.text(1, "/api").contains("/page/api.js"));
    let examples = std::env::var("SHOAL_EXAMPLES").unwrap_or_else(|_| "100".into());
    if !tools::has("python3") {
        return;
    }
    let bin = match tools::python(&tools::PYTHON) {
        Ok(bin) => bin,
        Err(why) => return println!("SKIPPED: schemathesis cannot be had: {why}"),
    };
    let event = json!({ "events": [{ "key": "a", "value": "b c" }] });
    assert_eq!(scene.post(1, "/v1/streams/lines/events", &event).expect("an answer").0, 200);
    let output = Command::new(bin.join("schemathesis"))
        .args(["run", &format!("http://{}/openapi.json", scene.http(1))])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"])
        .args(["--max-examples", &examples, "--seed", "7", "--phases", "examples,coverage,fuzzing"])
        .args(["--exclude-path-regex", LEFT_OUT, "--no-color", "--request-timeout", "40"])
        .envs([("SCHEMATHESIS_HOOKS", "names"), ("PYTHONDONTWRITEBYTECODE", "1")])
        .env("PYTHONPATH", tools::scripts())
        .current_dir(tools::folder("schemathesis"))
        .output()
        .expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let tail: Vec<&str> = said.lines().rev().take(120).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    assert!(
        output.status.success(),
        "{}\n{}",
        tail.join("\n"),
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{}", tail.iter().rev().take(8).rev().copied().collect::<Vec<_>>().join("\n"));
    for peer in 1..=3 {
        assert_eq!(scene.get(peer, "/v1/health").expect("an answer").0, 200, "p{peer} lives");
    }
}

/// What was decided: asked again while a disk stands still and leaders move for it. Anything else is an answer.
fn decided(mut ask: impl FnMut() -> anyhow::Result<(u16, Value)>) -> (u16, Value) {
    eventually("a decision", Duration::from_secs(20), || match ask().expect("an answer") {
        (503 | 504, body) => Err(body.to_string()),
        answer => Ok(answer),
    })
}

/// A peer learns a moment later what another one has made: whoever asks it in that moment is not told that it is not there.
#[test]
fn what_one_peer_has_made_is_there_at_all_others_at_once() {
    let scene = Scene::up(Setting::plain(3));
    for round in 0..150 {
        let (maker, other) = (round % 3 + 1, (round + 1 + round % 2) % 3 + 1);
        let name = format!("fresh-{round}");
        let new = json!({ "name": name, "partitions": 2 });
        let mut tries = 0;
        let (status, body) = decided(|| {
            tries += 1;
            match scene.post(maker, "/v1/streams", &new) {
                // The try before, of which nobody said in time what came of it, has made it.
                Ok((409, body)) if tries > 1 => Ok((201, body)),
                made => made,
            }
        });
        assert_eq!(status, 201, "{body}");
        let (status, body) = decided(|| match round % 5 {
            0 => scene.get(other, &format!("/v1/streams/{name}")),
            1 => scene.get(other, &format!("/v1/streams/{name}/settings")),
            2 => scene.get(other, &format!("/v1/streams/{name}/events?partition=0")),
            3 => scene.get(other, &format!("/v1/ring?key=a&stream={name}")),
            _ => {
                let event = json!({ "events": [{ "value": "x" }] });
                scene.post(other, &format!("/v1/streams/{name}/events"), &event)
            }
        });
        assert_eq!(status, 200, "p{other} does not know what p{maker} has made: {body}");
    }
    let (status, body) = scene.get(2, "/v1/streams/never").expect("an answer");
    assert_eq!((status, &body["code"]), (404, &json!("SH0301")), "{body}");
}

#[test]
fn a_peer_tells_its_settings_and_where_they_come_from_and_no_secret() {
    let scene = Scene::up(Setting::plain(1));
    let (status, told) = scene.get(1, "/v1/settings").expect("an answer");
    assert_eq!(status, 200, "{told}");
    let of = |key: &str| {
        let mut all = told["settings"].as_array().into_iter().flatten();
        all.find(|it| it["setting"] == key).cloned().unwrap_or_else(|| panic!("{key}: {told}"))
    };
    let from = |key: &str| of(key)["from"].as_str().unwrap_or_default().to_owned();
    assert!(from("http.port").contains("p1/shoal.toml:"), "{told}");
    assert_eq!(scene.http(1).rsplit(':').next(), of("http.port")["value"].as_str());
    assert_eq!(
        (of("peer.weight")["value"].as_str(), &*from("peer.weight")),
        (Some("100"), "default")
    );
    assert_eq!(of("mesh.token")["value"], "(set, not shown)");
    assert!(secrets::of(&told.to_string()).is_empty(), "{told}");
    let words = ["config", "show", "--origin", "--running", "-o", "json", "--peer", scene.http(1)];
    let shown = Line::shoal(&words).run();
    assert_eq!(serde_json::from_str::<Value>(&shown.said).expect("JSON"), told["settings"]);
}

/// What users made, and how the mesh is set up.
fn state(scene: &Scene) -> Vec<Value> {
    let mut state: Vec<Value> = ["/v1/streams/lines", "/v1/pipelines", "/v1/dead", "/v1/groups"]
        .map(|path| scene.get(1, path).expect("an answer").1)
        .into();
    let (_, members) = scene.get(1, "/v1/members").expect("an answer");
    let list = members["members"].as_array().cloned().unwrap_or_default();
    state.extend(list.iter().map(|it| json!([it["id"], it["name"], it["weight"], it["note"]])));
    state.push(scene.get(1, "/v1/ring").expect("an answer").1["epoch"].clone());
    state
}

#[test]
fn a_get_changes_nothing_whatever_path_it_asks() {
    let scene = Scene::up(Setting::words(1));
    let event = json!({ "events": [{ "key": "a", "value": "boom in the chain" }] });
    assert_eq!(scene.post(1, "/v1/streams/lines/events", &event).expect("an answer").0, 200);
    scene.eventually("the event is given up", Duration::from_secs(20), || {
        let (_, dead) = scene.get(1, "/v1/dead").map_err(|error| error.to_string())?;
        (dead["stages"][0]["letters"] == 1).then_some(()).ok_or(dead.to_string())
    });
    let before = state(&scene);
    let document: Value =
        serde_json::from_str(&scene.text(1, "/openapi.json")).expect("the document is JSON");
    let (mut asked, mut refused) = (0, 0);
    for (path, item) in document["paths"].as_object().expect("paths") {
        if path.ends_with("/watch") || path.ends_with("/tail") {
            continue;
        }
        let name = match path.split('/').nth(2) {
            Some("views") => "word_counts",
            Some("pipelines") => "words",
            _ => "lines",
        };
        let path = path.replace("{name}", name).replace("{stage}", "words.word_counts");
        let path = path.replace("{key}", "a");
        let text = raw(scene.http(1), &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        asked += 1;
        if item["get"].is_null() {
            assert!(text.starts_with("HTTP/1.1 405"), "{path}: {text}");
            refused += 1;
        }
    }
    assert!(asked > 35 && refused >= 8, "{asked} paths, {refused} of them only change something");
    assert_eq!(state(&scene), before);
}

#[test]
fn events_and_rows_come_by_themselves_and_groups_are_told() {
    let scene = Scene::up(Setting::words(3));
    let (status, _) = scene.get(1, "/v1/groups/none").expect("an answer");
    assert_eq!(status, 404);
    assert_eq!(scene.get(1, "/v1/groups").expect("an answer").1, json!({ "groups": [] }));
    let mut rows = Sent::from(scene.http(3), "/v1/views/word_counts/watch?key=fish");
    let mut tail = Sent::from(scene.http(2), "/v1/streams/lines/events/tail");
    for count in 1..=3 {
        let event = json!({ "events": [{ "value": "fish" }] });
        assert_eq!(scene.post(1, "/v1/streams/lines/events", &event).expect("an answer").0, 200);
        assert_eq!(tail.next()["value"], "fish");
        assert_eq!(rows.next()["value"], count);
    }
    let mut again = Sent::from(scene.http(1), "/v1/streams/lines/events/tail?offset=0");
    assert_eq!(again.next()["value"], "fish");
    let refused =
        raw(scene.http(1), "GET /v1/streams/none/events/tail HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 404") && refused.contains("SH0301"), "{refused}");
}

#[test]
fn strangers_pages_odd_hosts_and_broken_requests_are_refused() {
    let scene = Scene::up(Setting::plain(1));
    let http = scene.http(1);
    let ask = |head: &str| raw(http, &format!("GET /v1/health HTTP/1.1\r\n{head}\r\n\r\n"));
    let post = |head: &str, body: &str| {
        let size = body.len();
        raw(
            http,
            &format!("POST /v1/streams HTTP/1.1\r\n{head}\r\nContent-Length: {size}\r\n\r\n{body}"),
        )
    };
    let own = format!("Host: {http}");
    assert!(ask(&own).starts_with("HTTP/1.1 200"));
    assert!(ask(&format!("{own}\r\nOrigin: http://{http}")).starts_with("HTTP/1.1 200"));
    for (head, status) in [
        ("Host: evil.example".to_owned(), "421"),
        (format!("{own}\r\nHost: {http}"), "400"),
        (format!("{own}\r\nOrigin: http://evil.example"), "403"),
        (format!("{own}\r\nOrigin: http://localhost:3000"), "403"),
        (format!("{own}\r\nOrigin: null"), "403"),
    ] {
        let said = ask(&head);
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {said}");
        assert!(said.contains("application/problem+json") && said.contains("\"try\""), "{said}");
    }
    let form = format!("{own}\r\nContent-Type: text/plain");
    assert!(post(&form, "{\"name\":\"x\"}").starts_with("HTTP/1.1 415"));
    let json_head = format!("{own}\r\nContent-Type: application/json");
    let deep = format!("{{\"name\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(post(&json_head, &deep).starts_with("HTTP/1.1 400"));
    let none = raw(http, "GET /v1/health HTTP/1.1\r\n\r\n");
    assert!(none.starts_with("HTTP/1.1 400"), "{none}");
    for (what, head) in [
        ("a header of 1 MiB", format!("X: {}", "x".repeat(1 << 20))),
        ("10,000 headers", "X: y\r\n".repeat(10_000).trim_end().to_owned()),
    ] {
        let said = ask(&format!("{own}\r\n{head}"));
        assert!(said.starts_with("HTTP/1.1 431") || said.is_empty(), "{what}: {said}");
    }
    let both = format!("{json_head}\r\nTransfer-Encoding: chunked");
    let said = post(&both, "0\r\n\r\n");
    assert!(!said.starts_with("HTTP/1.1 20"), "{said}");
    let twice = raw(
        http,
        &format!(
            "POST /v1/streams HTTP/1.1\r\n{json_head}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}"
        ),
    );
    assert!(twice.starts_with("HTTP/1.1 400"), "{twice}");
    assert_eq!(scene.get(1, "/v1/streams").expect("an answer").1, json!({ "streams": [] }));
    for path in ["/page/..%2f..%2fCargo.toml", "/page/%2e%2e/main.js", "/page/none.js"] {
        let (status, body) = scene.get(1, path).expect("an answer");
        assert!([400, 404].contains(&status), "{path}: {status} {body}");
    }
    let head = raw(http, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.contains("frame-ancestors 'none'"), "{}", &head[..head.len().min(600)]);
}

/// Sends bytes and reads what comes until the other end says no more for a while.
fn raw(http: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(http).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a socket");
    // What is refused early may be closed before all of it was sent.
    let _ = stream.write_all(request.as_bytes());
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(size) = stream.read(&mut piece) {
        said.extend_from_slice(&piece[..size]);
        let text = String::from_utf8_lossy(&said);
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
        let whole = length.and_then(|length| length.parse::<usize>().ok()).zip(body);
        if size == 0 || whole.is_some_and(|(length, body)| body >= length) {
            break;
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// Server-sent events of one path.
struct Sent(BufReader<TcpStream>);

impl Sent {
    fn from(http: &str, path: &str) -> Self {
        let mut stream = TcpStream::connect(http).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {http}\r\n\r\n").expect("it can be sent");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).expect("an answer");
        assert!(line.contains(" 200 "), "{path}: {line}");
        Self(reader)
    }

    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).expect("an event comes within 20 s");
            assert!(read > 0, "the stream has ended");
            if let Some(event) = line.strip_prefix("data: ") {
                return serde_json::from_str(event).expect("an event is JSON");
            }
        }
    }
}
