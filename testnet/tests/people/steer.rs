//! Streams set and deleted over HTTP and by the command line; the mesh on a terminal; a row that is watched.

use crate::tools;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testnet::ask::Asker;
use testnet::binaries;
use testnet::hand::{Ended, Line};
use testnet::raw::{Raw, Reaction, request};
use testnet::scene::{Scene, Setting, eventually, turn};

const SOON: Duration = Duration::from_secs(20);

fn shoal(scene: &Scene, words: &[&str]) -> Ended {
    Line::shoal(words).and(&["--peer", scene.http(1)]).run()
}

fn done(scene: &Scene, words: &[&str]) -> String {
    let ended = shoal(scene, words);
    assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.said);
    ended.said
}

#[test]
fn streams_are_set_and_deleted_and_what_a_pipeline_reads_stays() {
    let scene = Scene::up(Setting::words(1));
    let asker = Asker::new(SOON);
    let http = scene.http(1);
    let path = "/v1/streams/notes/settings";
    done(&scene, &["stream", "create", "notes", "--partitions", "2"]);
    let usual = json!({"retention_ms": null, "retention_bytes": null, "batch_bytes_max": null});
    assert_eq!(scene.get(1, path).expect("an answer"), (200, usual));

    let set = json!({"retention_ms": 60_000, "batch_bytes_max": 200});
    let (status, answer) = asker.patch(http, path, &set).expect("an answer");
    let now = json!({"retention_ms": 60_000, "retention_bytes": null, "batch_bytes_max": 200});
    assert_eq!((status, &answer), (200, &now));
    let large = json!({"events": [{"value": "x".repeat(1_000)}]});
    let (status, body) = scene.post(1, "/v1/streams/notes/events", &large).expect("an answer");
    assert_eq!((status, &body["code"]), (413, &json!("SH0401")), "{body}");
    let words = ["stream", "configure", "notes", "--retention-ms=never", "--batch-bytes-max=usual"];
    let said = done(&scene, &words);
    assert!(said.contains("retention_ms     never"), "{said}");
    assert_eq!(scene.post(1, "/v1/streams/notes/events", &large).expect("an answer").0, 200);
    // Three times what a stream usually takes.
    let larger = json!({"events": [{"value": "x".repeat(3 << 20)}]});
    let (status, body) = scene.post(1, "/v1/streams/notes/events", &larger).expect("an answer");
    assert_eq!((status, &body["code"]), (413, &json!("SH0401")), "{body}");
    let fix = "shoal stream configure notes --batch-bytes-max";
    assert!(body["because"].to_string().contains("takes 1048588 bytes"), "{body}");
    assert!(body["try"].to_string().contains(fix), "{body}");
    done(&scene, &["stream", "configure", "notes", "--batch-bytes-max=4194304"]);
    assert_eq!(scene.post(1, "/v1/streams/notes/events", &larger).expect("an answer").0, 200);
    done(&scene, &["stream", "configure", "notes", "--batch-bytes-max=usual"]);
    let said = done(&scene, &["stream", "configure", "notes", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&said).expect("JSON")["retention_ms"], -1);
    for nonsense in [json!({"retention_ms": -2}), json!({"retention": 5}), json!([1])] {
        let (status, body) = asker.patch(http, path, &nonsense).expect("an answer");
        assert_eq!((status, &body["code"]), (400, &json!("SH0404")), "{body}");
    }

    let refused = shoal(&scene, &["stream", "delete", "notes"]);
    refused.fails(2, "SH0001", &["nobody is there to say yes", "shoal stream delete notes --yes"]);
    shoal(&scene, &["stream", "delete", "lines", "--yes"]).fails(5, "SH0309", &["lines"]);
    assert_eq!(asker.delete(http, "/v1/streams/lines").expect("an answer").0, 409);
    done(&scene, &["stream", "delete", "notes", "--yes"]);
    shoal(&scene, &["stream", "describe", "notes"]).fails(4, "SH0301", &["notes"]);
    assert_eq!(asker.delete(http, "/v1/streams/notes").expect("an answer").0, 404);

    let said = done(&scene, &["pipeline", "describe", "words"]);
    assert!(said.contains("none yet") && !said.contains("-9223372036854775808"), "{said}");
    let (_, detail) = scene.get(1, "/v1/pipelines/words").expect("an answer");
    assert_eq!(detail["stages"][0]["tasks"][0]["watermark_ms"], Value::Null, "{detail}");
}

/// A consumer without a group's membership says how far it is: OffsetCommit of version 2.
fn commit(kafka: &str, group: &str, stream: &str, offset: i64) {
    let text = |text: &str| [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat();
    let mut body = text(group);
    body.extend((-1i32).to_be_bytes());
    body.extend(text(""));
    body.extend((-1i64).to_be_bytes());
    body.extend(1i32.to_be_bytes());
    body.extend(text(stream));
    body.extend(1i32.to_be_bytes());
    body.extend(0i32.to_be_bytes());
    body.extend(offset.to_be_bytes());
    body.extend(text(""));
    eventually("a commit", SOON, || {
        let mut door = Raw::connect(kafka).map_err(|error| error.to_string())?;
        door.send(&request((8, 2), &body)).map_err(|error| error.to_string())?;
        match door.reaction(SOON) {
            Reaction::Answer(answer) if answer.ends_with(&[0, 0]) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_group_is_moved_and_forgotten_by_a_person() {
    let scene = Scene::up(Setting::plain(3));
    let numbers: Vec<Value> = (0..10).map(|number| json!({"value": number})).collect();
    let new = json!({"name": "orders", "partitions": 1});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    let events = json!({"events": numbers});
    assert_eq!(scene.post(1, "/v1/streams/orders/events", &events).expect("an answer").0, 200);
    shoal(&scene, &["group", "seek", "billing", "orders", "--to", "3"]).fails(4, "SH0310", &[]);
    commit(&scene.kafka()[1], "billing", "orders", 7);
    let at = |peer: usize| {
        let (_, group) = scene.get(peer, "/v1/groups/billing").expect("an answer");
        group["offsets"][0]["offset"].as_i64().unwrap_or(-1)
    };
    assert_eq!(at(2), 7);
    let seek = |words: &[&str]| {
        shoal(&scene, &[&["group", "seek", "billing", "orders"][..], words].concat())
    };
    let dry = seek(&["--to=earliest", "--dry-run"]);
    assert_eq!((dry.code, at(3)), (Some(0), 7), "{}", dry.said);
    seek(&["--to=3"]).fails(2, "SH0001", &["--yes"]);
    assert_eq!(at(1), 7, "nobody said yes");
    for (to, offset) in [("3", 3), ("latest", 10), ("earliest", 0), ("2100-01-01T00:00:00Z", 10)] {
        let moved = seek(&["--to", to, "--yes"]);
        assert_eq!((moved.code, at(3)), (Some(0), offset), "{to}: {}", moved.said);
    }
    seek(&["--to=11", "--yes"]).fails(1, "SH0403", &["0 to 10"]);
    seek(&["--to=1", "--partition=4", "--yes"]).fails(4, "SH0306", &["partition 4"]);
    shoal(&scene, &["group", "delete", "billing"]).fails(2, "SH0001", &["--yes"]);
    done(&scene, &["group", "delete", "billing", "--yes"]);
    shoal(&scene, &["group", "describe", "billing"]).fails(4, "SH0310", &["billing"]);
}

#[test]
fn a_row_is_remembered_for_who_allows_it_an_age_and_for_nobody_else() {
    let scene = Scene::up(Setting::words(3));
    let say = |times: usize| {
        let lines: Vec<Value> = (0..times).map(|_| json!({"value": "fish"})).collect();
        let body = json!({"events": lines});
        assert_eq!(scene.post(1, "/v1/streams/lines/events", &body).expect("an answer").0, 200);
    };
    let ask = |query: &str| {
        let path = format!("/v1/views/word_counts/rows/fish?{query}");
        scene.get(2, &path).expect("an answer")
    };
    say(1);
    scene.eventually("a count", SOON, || match ask("consistency=leader") {
        (200, row) if row["value"] == 1 || row["value"] == "1" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let began = Instant::now();
    let (_, first) = ask("consistency=any&max_age_ms=60000");
    say(1);
    let fresh = scene.eventually("a new count", SOON, || match ask("consistency=leader") {
        (200, row) if row["value"] != first["value"] => Ok(row),
        other => Err(format!("{other:?}")),
    });
    let (_, kept) = ask("consistency=any&max_age_ms=60000");
    assert_eq!(kept["value"], first["value"], "it was asked for within the minute");
    let age = kept["age_ms"].as_u64().expect("an age");
    let since = began.elapsed().as_millis() as u64;
    assert!(age > 0 && age <= since + 1, "{age} ms, {since} ms after the question");
    let (_, none) = ask("consistency=any&max_age_ms=0");
    assert_eq!(none["value"], fresh["value"], "no age is allowed");
    let (status, body) = ask("consistency=leader&max_age_ms=5");
    assert_eq!((status, &body["code"]), (400, &json!("SH0404")), "{body}");
    let said = scene.text(2, "/metrics");
    let hits = said.lines().find_map(|line| line.strip_prefix("shoal_view_cache_hits_total "));
    assert!(hits.is_some_and(|hits| hits.trim() != "0"), "{hits:?}");
}

#[test]
fn the_mesh_is_drawn_on_a_terminal_and_told_once_elsewhere() {
    let scene = Scene::up(Setting::words(1));
    shoal(&scene, &["top"]).fails(2, "SH0001", &["terminal", "shoal top -o json"]);
    let said = done(&scene, &["top", "-o", "json"]);
    let picture: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(picture["health"]["shards"]["led"], 64, "{said}");
    if !tools::has("script") {
        return;
    }
    let mut drawn = Drawn::begin(&format!("shoal top --peer {}", scene.http(1)));
    drawn.shows("64 of 64 shards led");
    drawn.shows("word_counts running");
    drawn.types("q");
    assert_eq!(drawn.ends(), Some(0), "q quits");
}

#[test]
fn the_keys_that_get_the_most_events_are_told_at_any_peer() {
    let scene = Scene::up(Setting::words(3));
    for n in 0..40 {
        let line = |k: usize| json!({"value": format!("hot hot hot w{}", n * 50 + k)});
        let events: Vec<Value> = (0..50).map(line).collect();
        let body = json!({ "events": events });
        assert_eq!(scene.post(1, "/v1/streams/lines/events", &body).expect("an answer").0, 200);
    }
    for peer in [1, 3] {
        let look = Line::shoal(&["top", "keys", "words"]).and(&["--peer", scene.http(peer)]);
        eventually("the hot key", SOON, || {
            let said = Line::shoal(&["top", "keys", "-o", "json"]);
            let said = said.and(&["--peer", scene.http(peer)]).run().said;
            let told: Value = serde_json::from_str(&said).map_err(|_| said.clone())?;
            let hot = &told["keys"][0];
            // Three of four words, by an estimate.
            let is_share = hot["share"].as_f64().is_some_and(|share| (0.6..0.9).contains(&share));
            let is_it = hot["key"] == "hot" && hot["stage"] == "word_counts" && is_share;
            let others = told["keys"].as_array().map_or(0, Vec::len);
            if is_it && others > 1 && told["silent"] == json!([]) { Ok(()) } else { Err(said) }
        });
        let said = look.run().said;
        let row: Vec<&str> = said.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        assert_eq!(row.first_chunk(), Some(&["words", "word_counts", "hot"]), "{said}");
    }
    let none = Line::shoal(&["top", "keys", "none"]).and(&["--peer", scene.http(2)]).run();
    none.fails(4, "SH0304", &["none"]);
}

#[test]
fn lists_that_are_watched_come_again_and_tell_what_is_new() {
    let scene = Scene::up(Setting::plain(1));
    let look = |words: &[&str]| Line::shoal(words).and(&["--watch", "--peer", scene.http(1)]);
    let mut members = look(&["members"]).begin();
    let mut streams = look(&["stream", "list", "-o", "json"]).begin();
    eventually("the list again", SOON, || {
        let said = members.said();
        let lists = said.lines().filter(|line| line.starts_with("ID ")).count();
        if lists >= 2 && said.contains("p1") { Ok(()) } else { Err(said) }
    });
    done(&scene, &["stream", "create", "news"]);
    streams.says("\"news\"");
    members.kill();
    streams.kill();
}

#[test]
fn whoever_waits_on_a_terminal_sees_how_far_it_is() {
    if !tools::has("script") {
        return;
    }
    let _turn = turn();
    let mut bench = Drawn::begin("shoal bench -n 1 --rate 2000 --seconds 3 --idle-s 0");
    bench.shows("waiting for");
    bench.shows("events acknowledged");
    bench.shows("asked for 2000/s");
    assert_eq!(bench.ends(), Some(0));
    assert!(bench.text.contains("█"), "a bar is drawn: {}", bench.text);
}

#[test]
fn a_watched_row_is_told_whenever_it_changes() {
    let scene = Scene::up(Setting::words(1));
    let mut watch =
        Line::shoal(&["view", "watch", "word_counts", "fish", "--peer", scene.http(1)]).begin();
    for count in 1..=3 {
        let event = json!({ "events": [{ "value": "fish" }] });
        assert_eq!(scene.post(1, "/v1/streams/lines/events", &event).expect("an answer").0, 200);
        let wanted: Vec<String> = (1..=count).map(|it: u32| it.to_string()).collect();
        eventually("the row", SOON, || {
            let said = watch.said();
            if said.lines().eq(wanted.iter()) { Ok(()) } else { Err(said) }
        });
    }
    watch.kill();
    let none = shoal(&scene, &["view", "watch", "no_such_view", "fish"]);
    none.fails(4, "SH0303", &["no_such_view"]);
}

/// A command on a terminal of its own, which `script` makes.
struct Drawn {
    child: Child,
    shown: std::sync::mpsc::Receiver<Vec<u8>>,
    text: String,
}

impl Drawn {
    fn begin(command: &str) -> Self {
        let bins = binaries::shoal();
        let bins = bins.parent().expect("binaries lie in a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new("script")
            .args(["-qec", &format!("stty rows 40 cols 150; {command}"), "/dev/null"])
            .env("PATH", format!("{bins}:{path}"))
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        let mut out = child.stdout.take().expect("piped");
        let (to, shown) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(size @ 1..) = out.read(&mut piece) {
                if to.send(piece[..size].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, shown, text: String::new() }
    }

    /// Waits until these words were drawn one after the other.
    fn shows(&mut self, words: &str) {
        eventually(words, SOON, || {
            while let Ok(piece) = self.shown.try_recv() {
                self.text.push_str(&String::from_utf8_lossy(&piece));
            }
            if drawn(&self.text).contains(words) { Ok(()) } else { Err(self.text.clone()) }
        });
    }

    fn types(&mut self, keys: &str) {
        let to = self.child.stdin.as_mut().expect("piped");
        to.write_all(keys.as_bytes()).and_then(|()| to.flush()).expect("it listens");
    }

    fn ends(&mut self) -> Option<i32> {
        eventually("its end", SOON, || {
            let status = self.child.try_wait().map_err(|error| error.to_string())?;
            status.map(|status| status.code()).ok_or_else(|| self.text.clone())
        })
    }
}

/// What was written on a terminal, a move of the cursor being a space: blanks that were there already are not drawn.
fn drawn(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| c.is_ascii_alphabetic()).map_or(piece.len(), |at| at + 1);
        let (control, rest) = piece.split_at(end);
        if control.ends_with('H') {
            plain.push(' ');
        }
        plain.push_str(rest);
    }
    plain
}

impl Drop for Drawn {
    fn drop(&mut self) {
        // One that has ended is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
