//! Events that a pipeline gave up, from the command line: looked at, tried again, dropped; and a pipeline that pauses.

use crate::counting::same;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use testnet::ask::Asker;
use testnet::binaries;
use testnet::hand::{Hand, Line};
use testnet::scene::{eventually, turn};

const SOON: Duration = Duration::from_secs(20);
const POISON: &str = "boom in the chain";

struct Words {
    peer: Hand,
    asker: Asker,
}

impl Words {
    fn up() -> Self {
        Self::begin(Line::start(&["--new"]).of(binaries::with_words()))
    }

    fn begin(line: Line) -> Self {
        let mut peer = line.begin();
        peer.says("ready: ");
        Self { peer, asker: Asker::new(Duration::from_secs(30)) }
    }

    fn http(&self) -> String {
        self.peer.address("http")
    }

    fn send(&self, lines: &[&str]) {
        let events: Vec<_> = lines.iter().map(|line| json!({"value": line})).collect();
        let body = json!({ "events": events });
        let sent = self.asker.post(&self.http(), "/v1/streams/lines/events", &body);
        let (status, said) = sent.expect("an answer");
        assert_eq!(status, 200, "{said}");
    }

    /// What a command line says, which must succeed.
    fn shoal(&self, words: &[&str]) -> String {
        let ended = Line::shoal(words).and(&["--peer", &self.http()]).run();
        assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.said);
        ended.said
    }

    fn counts(&self, wanted: &[(&str, u64)]) {
        self.rows("word_counts", wanted);
    }

    fn rows(&self, view: &str, wanted: &[(&str, u64)]) {
        let wanted: BTreeMap<String, u64> =
            wanted.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect();
        eventually("the counts", SOON, || {
            let counts = self.asker.counts(&self.http(), view, "leader");
            same(&wanted, &counts.map_err(|e| e.to_string())?)
        });
    }

    fn letters(&self, wanted: &str) {
        self.letters_of(["words", "word_counts"], wanted);
    }

    fn letters_of(&self, [pipeline, stage]: [&str; 2], wanted: &str) {
        eventually("so many letters", SOON, || {
            let said = self.shoal(&["dead", "list"]);
            let row = said.lines().find(|line| line.starts_with(pipeline)).unwrap_or_default();
            let found: Vec<&str> = row.split_whitespace().collect();
            let stream = format!("{pipeline}.{stage}.dead");
            let expected = [pipeline, stage, wanted, &stream];
            if found == expected { Ok(()) } else { Err(said) }
        });
    }
}

#[test]
fn a_dead_letter_is_shown_tried_again_once_it_is_mended_and_dropped() {
    let _turn = turn();
    let words = Words::up();
    words.send(&["a b", POISON, "a"]);
    words.counts(&[("a", 2), ("b", 1)]);
    words.letters("1");
    let shown = words.shoal(&["dead", "show", "words.word_counts"]);
    for part in ["a stateless stage fails on purpose", "lines/", POISON] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    // Not mended yet: it fails again, and is a letter about its second self.
    let said = words.shoal(&["dead", "retry", "words.word_counts"]);
    assert!(said.starts_with("1 letters tried again"), "{said}");
    eventually("a letter about the second self", SOON, || {
        let again = words.shoal(&["dead", "show", "words.word_counts"]);
        if again.contains(POISON) && again != shown { Ok(()) } else { Err(again) }
    });
    words.letters("1");
    std::fs::write(words.peer.folder().join("mended"), "").expect("a file");
    words.shoal(&["dead", "retry", "words.word_counts"]);
    words.letters("0");
    let mended = [("a", 2), ("b", 1), ("boom", 1), ("in", 1), ("the", 1), ("chain", 1)];
    words.counts(&mended);
    let said = words.shoal(&["dead", "retry", "words.word_counts"]);
    assert!(said.starts_with("0 letters tried again"), "{said}");

    std::fs::remove_file(words.peer.folder().join("mended")).expect("it is there");
    words.send(&[POISON]);
    words.letters("1");
    let http = words.http();
    let asked = Line::shoal(&["dead", "drop", "words.word_counts", "--peer", &http]).run();
    asked.fails(2, "SH0001", &["nobody is there to say yes", "words.word_counts --yes"]);
    let said = words.shoal(&["dead", "drop", "words.word_counts", "--yes"]);
    assert!(said.starts_with("1 letters dropped"), "{said}");
    words.letters("0");
    words.counts(&mended);
    let unknown = Line::shoal(&["dead", "show", "words.other", "--peer", &words.http()]).run();
    unknown.fails(4, "SH0304", &["words.other", "shoal dead list"]);
}

/// How often tasks of a pipeline were started again, by bucket; none of them may stand still.
fn restarts(words: &Words, pipeline: &str) -> Vec<u64> {
    let answer = words.asker.get(&words.http(), &format!("/v1/pipelines/{pipeline}"));
    let (_, body) = answer.expect("an answer");
    let stages = body["stages"].as_array().expect("stages");
    let tasks = stages.iter().flat_map(|stage| stage["tasks"].as_array().into_iter().flatten());
    let restarts = tasks.map(|task| {
        assert_eq!(task["state"], "running", "{task}");
        task["restarts"].as_u64().expect("a number")
    });
    restarts.collect()
}

/// Each panic says where it was; the first one also which way led there.
fn panics_are_told_like_all_else(said: &str) {
    let panics = said.lines().filter(|line| line.contains("panicked at"));
    let panics: Vec<serde_json::Value> =
        panics.map(|line| serde_json::from_str(line).expect("JSON, as all that is told")).collect();
    assert!(panics.len() >= 6, "two events, three times each: {said}");
    for (at, panic) in panics.iter().enumerate() {
        let text = |field: &str| panic[field].as_str().unwrap_or_default();
        let told = text("message");
        assert!(told.contains("words.rs:") && told.contains("fails on purpose"), "{panic}");
        assert_eq!(text("backtrace").contains("words.rs"), at == 0, "{panic}");
    }
}

#[test]
fn a_panic_in_one_bucket_is_a_dead_letter_and_the_others_count_on() {
    const BOOM: &str = "boom in the bucket";
    let _turn = turn();
    let line = Line::start(&["--new"]).of(binaries::with_words()).by(&[
        "env",
        "BRITTLE=1",
        "RUST_BACKTRACE=1",
    ]);
    let words = Words::begin(line);
    let names: Vec<String> = (0..40).map(|number| format!("line{number}")).collect();
    let mut lines: Vec<&str> = names.iter().map(String::as_str).collect();
    lines.insert(20, BOOM);
    words.send(&lines);
    let counted = |times: u64| names.iter().map(|it| (it.as_str(), times)).collect::<Vec<_>>();
    words.rows("tallies", &counted(1));
    words.letters_of(["brittle", "tallies"], "1");
    let shown = words.shoal(&["dead", "show", "brittle.tallies"]);
    for part in ["a keyed stage fails on purpose", "lines/", BOOM] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    words.send(&lines);
    words.rows("tallies", &counted(2));
    words.letters_of(["brittle", "tallies"], "2");
    let mut all = counted(2);
    all.extend([("boom", 2), ("in", 2), ("the", 2), ("bucket", 2)]);
    words.counts(&all);
    let said = words.peer.said();
    panics_are_told_like_all_else(&said);
    assert!(said.contains("shoal dead show brittle.tallies"), "{said}");
    assert!(restarts(&words, "words").iter().all(|restarts| *restarts == 0));
    assert_eq!(restarts(&words, "brittle").len(), 4);
}

#[test]
fn a_paused_pipeline_stands_still_and_goes_on_where_it_was() {
    let _turn = turn();
    let words = Words::up();
    words.send(&["a b"]);
    words.counts(&[("a", 1), ("b", 1)]);
    words.shoal(&["pipeline", "pause", "words"]);
    eventually("no task runs", SOON, || {
        let said = words.shoal(&["pipeline", "describe", "words"]);
        if said.contains("running") { Err(said) } else { Ok(()) }
    });
    assert!(words.shoal(&["pipeline", "list"]).contains("paused"));
    words.send(&["a", "c"]);
    // What must not happen has no sign to wait for: a second is a thousand times what a count takes.
    std::thread::sleep(Duration::from_secs(1));
    words.counts(&[("a", 1), ("b", 1)]);
    words.shoal(&["pipeline", "resume", "words"]);
    words.counts(&[("a", 2), ("b", 1), ("c", 1)]);
    assert!(words.shoal(&["pipeline", "list"]).contains("running"));
}

#[test]
fn tasks_that_cannot_begin_are_parked_with_their_reason_and_begin_when_resumed() {
    let _turn = turn();
    let line = Line::start(&["--new"]).of(binaries::with_words()).by(&["env", "MOODY=1"]);
    let words = Words::begin(line);
    words.send(&["fine"]);
    words.counts(&[("fine", 1)]);
    eventually("parked tasks", Duration::from_secs(40), || {
        let said = words.shoal(&["pipeline", "describe", "moody"]);
        let parked = said.lines().filter(|line| line.contains("parked"));
        let told = parked.filter(|line| line.contains("what it needs is not there")).count();
        if told == 2 { Ok(()) } else { Err(said) }
    });
    let listed = words.shoal(&["pipeline", "list"]);
    let moody = listed.lines().find(|line| line.starts_with("moody")).unwrap_or_default();
    assert!(moody.contains("parked"), "{listed}");

    std::fs::write(words.peer.folder().join("mended"), "").expect("a file");
    words.shoal(&["pipeline", "resume", "moody"]);
    eventually("a row of the mended task", SOON, || {
        let answer = words.asker.get(&words.http(), "/v1/views/moods/rows");
        let (_, body) = answer.map_err(|e| e.to_string())?;
        let rows = body["rows"].as_array().map_or(0, Vec::len);
        if rows == 1 { Ok(()) } else { Err(body.to_string()) }
    });
    eventually("tasks that run", SOON, || {
        let said = words.shoal(&["pipeline", "list"]);
        if said.contains("parked") { Err(said) } else { Ok(()) }
    });
}
