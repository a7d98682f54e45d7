//! Dead letters that are tried again: the stage, and the bucket, that failed gets the event once more; nobody else.
#![allow(clippy::unwrap_used)] // a test that cannot go on should say where

use flow::testing::TestMesh;
use flow::{Context, Event, Failure, Pipelines, Processor, RETRY, bucket_of_row, retry_mark};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Counts words, and fails at `bad` until it is mended.
struct Count(Arc<AtomicBool>);

impl Processor<String> for Count {
    fn process(&mut self, word: &String, ctx: &mut Context<'_>) -> Result<(), Failure> {
        if word == "bad" && !self.0.load(Ordering::Relaxed) {
            return Err(Failure::new("bad is not understood yet"));
        }
        let count = ctx.row(word).get::<u64>()?.unwrap_or(0) + 1;
        ctx.row(word).put(&count)
    }
}

fn words(event: &Event) -> Vec<String> {
    event.text().split_whitespace().map(str::to_owned).collect()
}

fn mesh(mended: &Arc<AtomicBool>, seed: u64) -> TestMesh {
    let mended = mended.clone();
    let describe = move |mesh: &mut Pipelines| {
        let (keyed, chained) = (mended.clone(), mended.clone());
        let lines = mesh.pipeline("p").read_with("lines", 2);
        lines
            .clone()
            .flat_map(words)
            .key_by(String::clone)
            .process(move || Count(keyed.clone()))
            .view("sums");
        // Fails before there is a key.
        let checked = move |event: &Event| {
            assert!(!event.text().contains("bad") || chained.load(Ordering::Relaxed), "no key yet");
            words(event)
        };
        lines.clone().flat_map(checked).key_by(String::clone).count().view("checked");
        lines.key_by(|_| "all").count().view("lines_seen");
    };
    TestMesh::of(describe).seed(seed)
}

/// The event of a letter with the mark that trying it again gives it.
fn again(letter: &Event, stage: &str, value: &'static str) -> Event {
    let whole = letter.header("scope").as_deref() == Some("event");
    let mark = retry_mark(stage, (!whole).then_some(letter.partition));
    let headers = vec![(RETRY.into(), Some(mark.into()))];
    Event { value: Some(value.into()), headers, ..Event::default() }
}

fn rows(mesh: &TestMesh, view: &str) -> BTreeMap<String, u64> {
    let rows = mesh.view(view).rows().into_iter();
    rows.map(|(key, value)| (key, value.as_u64().unwrap())).collect()
}

fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

#[test]
fn what_is_tried_again_is_counted_by_those_who_failed_and_by_nobody_twice() {
    // What fails in a bucket takes the rest of its event there with it, and nothing elsewhere.
    let bucket = |word: &str| bucket_of_row(word.as_bytes(), 16);
    assert!(bucket("bad") == bucket("c") && bucket("bad") != bucket("a"), "as the story wants it");
    for seed in 0..20 {
        let mended = Arc::new(AtomicBool::new(false));
        let mut mesh = mesh(&mended, seed);
        mesh.send("lines", "1", "a b");
        mesh.send("lines", "2", "a bad c");
        mesh.run();
        let (keyed, chained) = (mesh.dead("p.sums"), mesh.dead("p.checked"));
        assert_eq!((keyed.len(), chained.len()), (1, 1), "seed {seed}");
        assert_eq!(rows(&mesh, "sums"), counts(&[("a", 2), ("b", 1)]), "seed {seed}");
        assert_eq!(rows(&mesh, "checked"), counts(&[("a", 1), ("b", 1)]), "seed {seed}");

        mended.store(true, Ordering::Relaxed);
        mesh.send_event("lines", again(&keyed[0], "p.sums", "a bad c"));
        mesh.send_event("lines", again(&chained[0], "p.checked", "a bad c"));
        mesh.run();
        let whole = counts(&[("a", 2), ("b", 1), ("bad", 1), ("c", 1)]);
        assert_eq!(rows(&mesh, "sums"), whole, "seed {seed}");
        assert_eq!(rows(&mesh, "checked"), whole, "seed {seed}");
        assert_eq!(rows(&mesh, "lines_seen"), counts(&[("all", 2)]), "seed {seed}");
        assert_eq!(mesh.dead("p.sums").len(), 1, "nothing failed again, seed {seed}");
    }
}
