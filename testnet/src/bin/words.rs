//! A user's own binary, for tests: a peer that counts words, and fails at some until there is a file `mended`.
//! With `MOODY` in its environment, or a file `moody` where it starts, it has a second pipeline, whose tasks cannot
//! begin until then. With `BRITTLE` it has a third, which counts whole lines by key and panics at one.

use shoal::prelude::*;
use std::path::Path;

/// Cannot begin until it is mended.
struct Moody;

impl Processor for Moody {
    fn open(&mut self, _: &mut Context) -> Result<(), Failure> {
        match Path::new("mended").exists() {
            true => Ok(()),
            false => Err(Failure::new("what it needs is not there")),
        }
    }

    fn process(&mut self, event: &Event, ctx: &mut Context) -> Result<(), Failure> {
        ctx.row(event.key()).put(&event.text())
    }
}

/// Counts lines, and panics at one of them when it has its row in hand already.
struct Brittle;

impl Processor for Brittle {
    fn process(&mut self, event: &Event, ctx: &mut Context) -> Result<(), Failure> {
        let line = event.text().into_owned();
        let count = ctx.row(line.clone()).get::<u64>()?.unwrap_or(0) + 1;
        ctx.row(line.clone()).put(&count)?;
        assert!(line != "boom in the bucket", "a keyed stage fails on purpose");
        Ok(())
    }
}

fn main() {
    shoal::main(|mesh| {
        mesh.pipeline("words")
            .read("lines")
            .flat_map(|event: &Event| {
                let text = event.text().into_owned();
                let mended = || Path::new("mended").exists();
                let fails = text == "boom in the chain" && !mended();
                assert!(!fails, "a stateless stage fails on purpose");
                text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            })
            .key_by(|word: &String| word.clone())
            .count()
            .view("word_counts");
        // Only where a test wants it.
        if std::env::var_os("MOODY").is_some() || Path::new("moody").exists() {
            let lines = mesh.pipeline("moody").read("lines").key_by(|event| event.key());
            lines.process(|| Moody).buckets(2).view("moods");
        }
        if std::env::var_os("BRITTLE").is_some() {
            let lines = mesh.pipeline("brittle").read("lines");
            let lines = lines.key_by(|event: &Event| event.text().into_owned());
            lines.process(|| Brittle).buckets(4).view("tallies");
        }
    });
}
