//! What clients saw: each thing they asked, when, and what came of it. Checkers know nothing else.
//!
//! Every client writes a file of its own, a JSON object a line, so that clients in any language can; times are
//! nanoseconds of the machine's monotonic clock, which all processes share. Promises that an outcome which no client
//! knows is kept as unknown: it may have happened or not, or may happen later.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// An event's own name: the client that sent it, and its number there.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
pub struct Id {
    #[serde(rename = "c")]
    pub client: u16,
    #[serde(rename = "n")]
    pub number: u32,
}

/// What a client knows about something it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It happened, for good.
    Acked,
    /// It did not happen and never will.
    Refused,
    Unknown,
}

/// One event that a client wanted appended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Append {
    #[serde(flatten)]
    pub id: Id,
    #[serde(rename = "k")]
    pub key: u32,
    pub called: u64,
    pub returned: u64,
    pub outcome: Outcome,
    /// Partition and offset, where the answer told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<(u32, i64)>,
}

/// One event that somebody read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub reader: u16,
    #[serde(rename = "p")]
    pub partition: u32,
    #[serde(rename = "o")]
    pub offset: i64,
    #[serde(flatten)]
    pub id: Id,
    #[serde(rename = "k")]
    pub key: u32,
    #[serde(rename = "t")]
    pub time_ms: i64,
}

/// What a number that only ever grows was when somebody asked: a count, a position, an end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    pub reader: u16,
    /// Whose number it is: two looks at the same thing can be compared.
    pub what: String,
    pub value: u64,
    pub called: u64,
    pub returned: u64,
    /// The answer claims to be no older than the question.
    pub linear: bool,
}

/// A step of a register: an attempt to swap a value, or a read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub client: u16,
    pub register: String,
    pub ask: Ask,
    pub called: u64,
    /// None if its end was never seen: it may take effect at any later time, or never.
    pub returned: Option<u64>,
}

/// What was asked of a register, and what was found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    Read {
        found: u64,
    },
    /// `found` is the value before, if the outcome is known; it was swapped if that is what was expected.
    Swap {
        expect: u64,
        new: u64,
        found: Option<u64>,
        swapped: bool,
    },
}

/// A row of a view at the end, as one peer's copy has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub reader: u16,
    pub view: String,
    pub key: String,
    pub value: u64,
}

/// An event that a stage emitted: the how-many-th of its key it is, and because of which event.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Emitted {
    #[serde(rename = "p")]
    pub partition: u32,
    #[serde(rename = "o")]
    pub offset: i64,
    #[serde(rename = "k")]
    pub key: u32,
    pub nth: u64,
    #[serde(flatten)]
    pub cause: Id,
}

/// An event that came too late for its window, as its stage's dead letters have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Late {
    pub key: String,
    pub time_ms: i64,
}

/// One line of a history's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    Append(Append),
    Seen(Seen),
    /// As `Seen`, read at the end, from the beginning.
    Kept(Seen),
    Look(Look),
    Step(Step),
    Row(Row),
    Emitted(Emitted),
    Late(Late),
}

/// All that all clients saw.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub appends: Vec<Append>,
    pub seen: Vec<Seen>,
    pub kept: Vec<Seen>,
    pub looks: Vec<Look>,
    pub steps: Vec<Step>,
    pub rows: Vec<Row>,
    pub emitted: Vec<Emitted>,
    pub late: Vec<Late>,
}

impl History {
    /// Reads every `.jsonl` file of a folder. A last line without an end is left out: its client was ended while it
    /// wrote, and whoever ended it says so.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut history = Self::default();
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .with_context(|| format!("read {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<anyhow::Result<_>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        for path in files {
            let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
            let mut file = BufReader::new(file);
            let mut line = String::new();
            for number in 1.. {
                line.clear();
                file.read_line(&mut line)?;
                let Some(whole) = line.strip_suffix('\n') else { break };
                let place = || format!("{} line {number}", path.display());
                history.push(serde_json::from_str(whole).with_context(place)?);
            }
        }
        Ok(history)
    }

    pub fn push(&mut self, line: Line) {
        match line {
            Line::Append(append) => self.appends.push(append),
            Line::Seen(seen) => self.seen.push(seen),
            Line::Kept(kept) => self.kept.push(kept),
            Line::Look(look) => self.looks.push(look),
            Line::Step(step) => self.steps.push(step),
            Line::Row(row) => self.rows.push(row),
            Line::Emitted(emitted) => self.emitted.push(emitted),
            Line::Late(late) => self.late.push(late),
        }
    }

    pub fn acked(&self) -> impl Iterator<Item = &Append> {
        self.appends.iter().filter(|append| append.outcome == Outcome::Acked)
    }

    /// Who read everything at the end.
    pub fn last_readers(&self) -> Vec<u16> {
        let readers: std::collections::BTreeSet<u16> =
            self.kept.iter().map(|kept| kept.reader).collect();
        readers.into_iter().collect()
    }

    /// The log as the first of those read it, by partition and offset.
    pub fn log(&self) -> Vec<&Seen> {
        let first = self.last_readers().first().copied();
        let mut log: Vec<&Seen> =
            self.kept.iter().filter(|kept| Some(kept.reader) == first).collect();
        log.sort_by_key(|kept| (kept.partition, kept.offset));
        log
    }
}

/// Writes the file of one client.
pub struct Pen(BufWriter<File>);

impl Pen {
    pub fn new(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(format!("{name}.jsonl"));
        let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(BufWriter::new(file)))
    }

    pub fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.0, line).context("write a history")?;
        self.0.write_all(b"\n").context("write a history")
    }

    /// The rest must not be lost: a history with a hole would prove nothing.
    pub fn close(mut self) -> anyhow::Result<()> {
        self.0.flush().context("write a history")
    }
}

/// Now, in nanoseconds of the monotonic clock.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_as_clients_in_other_languages_write_them() {
        let id = Id { client: 3, number: 17 };
        let line = Line::Append(Append {
            id,
            key: 9,
            called: 1,
            returned: 2,
            outcome: Outcome::Acked,
            place: Some((4, 55)),
        });
        let text = r#"{"append":{"c":3,"n":17,"k":9,"called":1,"returned":2,"outcome":"acked","place":[4,55]}}"#;
        assert_eq!(serde_json::to_string(&line).expect("it is JSON"), text);
        let seen = r#"{"seen":{"reader":51,"p":4,"o":55,"c":3,"n":17,"k":9,"t":1000}}"#;
        let Ok(Line::Seen(seen)) = serde_json::from_str(seen) else { panic!("it is a line") };
        assert_eq!((seen.id, seen.partition, seen.offset), (id, 4, 55));
    }

    #[test]
    fn a_history_is_read_back_from_all_files_and_a_broken_line_is_told_by_its_place() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let look = |value| {
            let what = "x".to_owned();
            Line::Look(Look { reader: 1, what, value, called: 1, returned: 2, linear: true })
        };
        for (name, value) in [("a", 1), ("b", 2)] {
            let mut pen = Pen::new(folder.path(), name).expect("a pen");
            pen.write(&look(value)).expect("it writes");
            pen.close().expect("it closes");
        }
        let history = History::read(folder.path()).expect("it reads");
        assert_eq!(history.looks.iter().map(|look| look.value).collect::<Vec<_>>(), [1, 2]);
        let torn = folder.path().join("c.jsonl");
        std::fs::write(&torn, "{\"look\":").expect("it writes");
        assert_eq!(History::read(folder.path()).expect("it reads").looks.len(), 2);
        std::fs::write(&torn, "{\"look\":\n").expect("it writes");
        let error = format!("{:#}", History::read(folder.path()).expect_err("broken"));
        assert!(error.contains("c.jsonl line 1"), "{error}");
    }
}
