//! Streams set and deleted over HTTP and by the command line; the mesh on a terminal; a row that is watched.

use crate::tools;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testnet::ask::Asker;
use testnet::binaries;
use testnet::hand::{Ended, Line};
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
