//! What a task does with its items: the seam between the task, which commits, and the kinds of stages, which fold.

mod aggregate;
mod buffer;
mod combine;
mod dedup;
mod distinct;
mod forward;
mod join;
mod process;
mod running;
mod session;
mod timing;
mod window;

pub(crate) use aggregate::{AddItem, Counting, Folding, Kept, MergeValues};
pub(crate) use buffer::{LEFT, RIGHT};
pub(crate) use combine::{Combine, Combining, Partials, read_partial};
pub(crate) use dedup::Deduping;
pub(crate) use distinct::Distinct;
pub(crate) use forward::Forward;
pub(crate) use join::{Bounds, Enriching, Joining, Pairing, inner, outer};
pub(crate) use process::Processing;
pub(crate) use running::Running;
pub(crate) use session::Sessioning;
pub(crate) use timing::{Early, Fixed, Timing};
pub(crate) use window::Windowing;

use crate::carry::Failure;
use crate::chunk::Item;
use crate::state::State;
use bytes::Bytes;
use model::{PartitionId, StreamId};
use std::collections::BTreeMap;

/// Folds items into a task's state. Calls may panic; the task then drops it, takes the step back and makes a new one.
pub(crate) trait Core: Send {
    /// Before the first item, also after a restart.
    fn open(&mut self, _turn: &mut Turn) -> Result<(), Failure> {
        Ok(())
    }
    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure>;
    /// A row of a partial aggregate that stands for `count` items: `item`'s value is what the aggregate keeps of them,
    /// its place and time are the last ones. An error makes the task ask for the items themselves.
    fn partial(&mut self, _item: &Item<'_>, _count: u64, _turn: &mut Turn) -> Result<(), Failure> {
        Err(Failure::new("this stage takes no partial aggregates"))
    }
    fn timer(&mut self, at_ms: i64, key: &[u8], turn: &mut Turn) -> Result<(), Failure>;
    /// A timer of processing time is due.
    fn clock(&mut self, _at_ms: i64, _key: &[u8], _turn: &mut Turn) -> Result<(), Failure> {
        Ok(())
    }
    /// The items of this step are over: what is only in memory goes into the state.
    fn flush(&mut self, _turn: &mut Turn) -> Result<(), Failure> {
        Ok(())
    }
    fn close(&mut self) {}
    /// An item's value as people read it in a dead letter.
    fn show(&self, value: &[u8]) -> Bytes;
    /// Whether this code can read a row that was kept: its key (with its space) and its value.
    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), Failure>;
}

/// What is being worked on: the unit of retry and of dead letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    /// Before any event: opening.
    Start,
    /// All items of one event.
    Event { source: PartitionId, offset: i64 },
    /// One timer of one key, of event time (`row::TIMER`) or processing time (`row::CLOCK`).
    Timer { space: u8, at_ms: i64, key: Bytes },
}

/// What a call may touch, and who is to blame if it fails.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) state: State,
    pub(crate) unit: Unit,
    /// The watermark before this step's items; during timers, after them.
    pub(crate) watermark_ms: i64,
    /// Processing time, ms since 1970.
    pub(crate) clock_ms: i64,
    pub(crate) bucket: u32,
    pub(crate) buckets: u32,
    /// Whether somebody reads what is emitted.
    pub(crate) emits: bool,
    /// Whether somebody may ask for rows.
    pub(crate) shows: bool,
    /// Names of the side outputs.
    pub(crate) sides: Vec<String>,
    /// The side output that gets what comes too late; dead letters if there is none.
    pub(crate) late_side: Option<usize>,
    /// What user code counts.
    pub(crate) counters: Vec<(&'static str, u64)>,
    /// `<pipeline>.<stage>`, for dead letters.
    pub(crate) stage: String,
    /// Names of the sources, for dead letters.
    pub(crate) streams: BTreeMap<StreamId, String>,
}

/// What a stage's user code may count by name.
const COUNTERS_MAX: usize = 64;
/// In front of a processor's timers' keys: its own, and those of what it keeps for a time.
pub(crate) const OWN: u8 = 0;
pub(crate) const EXPIRY: u8 = 1;

/// What is given up, for the dead-letter partition.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) time_ms: i64,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) cause: &'a str,
    pub(crate) attempt: u32,
    /// Nothing of the event was folded: it failed before it had a key.
    pub(crate) whole: bool,
}

impl Turn {
    /// Where the unit lies, for people.
    pub(crate) fn place(&self, unit: &Unit) -> String {
        match unit {
            Unit::Start => format!("{} at its start", self.stage),
            Unit::Event { source, offset } => {
                let stream = self.streams.get(&source.stream).map_or("?", String::as_str);
                format!("{} at {stream}/{}@{offset}", self.stage, source.partition)
            }
            Unit::Timer { at_ms, key, .. } => {
                format!("{} at the timer {at_ms} of {:?}", self.stage, String::from_utf8_lossy(key))
            }
        }
    }

    /// Counts something that user code names.
    pub(crate) fn count(&mut self, name: &'static str, more: u64) -> Result<(), Failure> {
        if let Some((_, count)) = self.counters.iter_mut().find(|(of, _)| *of == name) {
            *count = count.saturating_add(more);
            return Ok(());
        }
        if self.counters.len() >= COUNTERS_MAX {
            return Err(Failure::new(format!("a stage counts at most {COUNTERS_MAX} things")));
        }
        self.counters.push((name, more));
        Ok(())
    }

    /// What is kept under this row is looked at again at this time.
    pub(crate) fn set_expiry(&mut self, at_ms: i64, row_key: &[u8]) -> Result<(), Failure> {
        self.state.set_timer(at_ms, &[&[EXPIRY], row_key].concat())
    }

    /// Says what came too late: to the stage's late stream, or as a dead letter.
    pub(crate) fn late(&mut self, letter: &Letter<'_>) -> Result<(), Failure> {
        self.state.late += 1;
        self.tell(letter, self.late_side)
    }

    /// Writes a dead letter about the current unit.
    pub(crate) fn bury(&mut self, letter: &Letter<'_>) -> Result<(), Failure> {
        self.tell(letter, None)
    }

    fn tell(&mut self, letter: &Letter<'_>, side: Option<usize>) -> Result<(), Failure> {
        let attempt = letter.attempt.to_string();
        let mut headers: Vec<(&str, Option<&[u8]>)> = vec![
            ("cause", Some(letter.cause.as_bytes())),
            ("stage", Some(self.stage.as_bytes())),
            ("attempt", Some(attempt.as_bytes())),
            ("scope", Some(if letter.whole { b"event" } else { b"bucket" })),
        ];
        let (partition, offset, at);
        match &self.unit {
            Unit::Start => {}
            Unit::Event { source, offset: of } => {
                (partition, offset) = (source.partition.to_string(), of.to_string());
                let stream = self.streams.get(&source.stream).map_or("?", String::as_str);
                headers.push(("stream", Some(stream.as_bytes())));
                headers.push(("partition", Some(partition.as_bytes())));
                headers.push(("offset", Some(offset.as_bytes())));
            }
            Unit::Timer { at_ms, .. } => {
                at = at_ms.to_string();
                headers.push(("timer", Some(at.as_bytes())));
            }
        }
        match side {
            Some(side) => {
                let key = Some(letter.key);
                self.state.emit_aside(side, letter.time_ms, key, letter.value, &headers)
            }
            None => self.state.bury(letter, &headers),
        }
    }
}
