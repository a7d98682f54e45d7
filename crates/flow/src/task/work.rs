//! One attempt at a step: user code runs here, and may panic.

use super::source::Source;
use super::{Place, Task};
use crate::Error;
use crate::carry::Failure;
use crate::chunk::{Chunk, Item, Items, Piece};
use crate::core::{Letter, Unit, read_partial};
use crate::exchange::ATTEMPTS_MAX;
use crate::state::{COMMIT_BYTES_MAX, STEP_BYTES};
use model::entry::row;
use model::{PartitionId, StreamId};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How far an attempt came.
pub(super) struct Progress {
    pub(super) reached: Vec<(PartitionId, Place)>,
    pub(super) watermark_ms: i64,
    /// Timers are due that did not fit.
    pub(super) has_more: bool,
    pub(super) items: u64,
    pub(super) rows: u64,
    pub(super) dead: u64,
}

/// How far an attempt may go.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Nothing from this unit on.
    pub(super) stop: Option<Unit>,
    pub(super) units_max: usize,
    /// Whether partial aggregates may be folded; else chunks end before their first ones.
    pub(super) takes_partials: bool,
}

/// Why an attempt came to nothing.
pub(super) enum Fault {
    Chunk(Error),
    /// Partial aggregates do not say which of their items it is that fails, is late, or is too much.
    Partials,
    /// So many units change more than a commit may hold.
    TooMuch {
        units: usize,
    },
    User {
        unit: Unit,
        failure: Failure,
    },
}

/// How far an attempt came.
#[derive(Default)]
struct Done {
    units: usize,
    /// Some of them were partial aggregates.
    has_partials: bool,
    /// The units are folded, and what they came to is being told.
    is_flushing: bool,
}

/// What ended an attempt early, before the unit is known.
enum Halt {
    Chunk(Error),
    User(Failure),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::User(failure)
    }
}

/// Calls user code whose failing changes nothing.
pub(super) fn quietly(call: impl FnOnce()) {
    // The panic hook has said it; there is nobody left to tell.
    _ = catch_unwind(AssertUnwindSafe(call));
}

impl Task {
    pub(super) fn drop_core(&mut self) {
        let core = self.core.take();
        quietly(move || drop(core));
    }

    /// Computes what the limits allow.
    pub(super) fn attempt(&mut self, chunks: &[Chunk], limits: &Limits) -> Result<Progress, Fault> {
        let mut done = Done::default();
        let call = || self.work(chunks, limits, &mut done);
        let outcome = catch_unwind(AssertUnwindSafe(call));
        let Done { units, has_partials, is_flushing } = done;
        let is_too_much = self.turn.state.bytes() > COMMIT_BYTES_MAX;
        if has_partials && !matches!(&outcome, Ok(Ok(_) | Err(Halt::Chunk(_))) if !is_too_much) {
            return Err(Fault::Partials);
        }
        let failure = match outcome {
            // What many units came to fails when it is told: which of them it was shows when they are fewer.
            Ok(Err(Halt::User(_))) | Err(_) if is_flushing && units > 1 => {
                return Err(Fault::TooMuch { units });
            }
            Ok(Ok(_) | Err(Halt::User(_))) if is_too_much && units > 1 => {
                return Err(Fault::TooMuch { units });
            }
            Ok(Ok(_)) if is_too_much => Failure::new(format!(
                "it changes or emits more than the {COMMIT_BYTES_MAX} bytes of a commit"
            )),
            Ok(Ok(progress)) => return Ok(progress),
            Ok(Err(Halt::Chunk(error))) => return Err(Fault::Chunk(error)),
            Ok(Err(Halt::User(failure))) => failure,
            Err(payload) => Failure::of_panic(payload.as_ref()),
        };
        Err(Fault::User { unit: self.turn.unit.clone(), failure })
    }

    fn work(
        &mut self,
        chunks: &[Chunk],
        limits: &Limits,
        done: &mut Done,
    ) -> Result<Progress, Halt> {
        self.open()?;
        self.turn.watermark_ms = self.watermark_ms;
        let mut progress = Progress {
            reached: Vec::with_capacity(chunks.len()),
            watermark_ms: self.watermark_ms,
            has_more: self.has_more,
            items: 0,
            rows: 0,
            dead: 0,
        };
        let mut is_whole = true;
        for chunk in chunks {
            let before = self.sources[&chunk.source].reached.watermark_ms;
            let end = self.chunk(chunk, limits, done, &mut progress)?;
            is_whole = end.is_none();
            let place = match end {
                Some(offset) => Place { offset, watermark_ms: before },
                None => Place { offset: chunk.to, watermark_ms: before.max(chunk.watermark_ms) },
            };
            progress.reached.push((chunk.source, place));
            if !is_whole {
                break;
            }
        }
        done.is_flushing = true;
        self.core.as_mut().expect("it was opened").flush(&mut self.turn)?;
        done.is_flushing = false;
        if is_whole {
            progress.watermark_ms = self.watermark(&progress.reached);
            self.turn.watermark_ms = progress.watermark_ms;
            progress.has_more = false;
            for space in [row::TIMER, row::CLOCK] {
                self.timers(space, limits, done, &mut progress)?;
            }
        }
        Ok(progress)
    }

    fn open(&mut self) -> Result<(), Failure> {
        if self.core.is_none() {
            self.turn.unit = Unit::Start;
            self.core = Some((self.code.core)());
            let core = self.core.as_mut().expect("it was just made");
            core.open(&mut self.turn)?;
        }
        Ok(())
    }

    /// Folds a chunk's items; returns the offset where it ended early.
    fn chunk(
        &mut self,
        chunk: &Chunk,
        limits: &Limits,
        done: &mut Done,
        progress: &mut Progress,
    ) -> Result<Option<i64>, Halt> {
        for piece in &chunk.pieces {
            let end = match piece.is_partial {
                true => self.rows(chunk, piece, limits, done, progress)?,
                false => self.items(chunk, piece, limits, done, progress)?,
            };
            if end.is_some() {
                return Ok(end);
            }
        }
        Ok(None)
    }

    /// Folds partial aggregates: all of a piece, or none.
    fn rows(
        &mut self,
        chunk: &Chunk,
        piece: &Piece,
        limits: &Limits,
        done: &mut Done,
        progress: &mut Progress,
    ) -> Result<Option<i64>, Halt> {
        let is_full = done.units >= limits.units_max || self.turn.state.bytes() >= STEP_BYTES;
        if !limits.takes_partials || (is_full && done.units > 0) {
            return Ok(Some(piece.base_offset));
        }
        done.has_partials = true;
        for row in Items::of(piece) {
            let row = row.map_err(Halt::Chunk)?;
            let (count, value) = read_partial(row.value).map_err(Halt::Chunk)?;
            let row = Item { value, ..row };
            self.turn.unit = Unit::Event { source: chunk.source, offset: row.offset };
            done.units += 1;
            progress.items += count.max(1);
            self.hot.add(row.key, count.max(1));
            progress.rows += 1;
            let core = self.core.as_mut().expect("it was opened");
            match (row.failed, count) {
                (Some(cause), _) => {
                    progress.dead += 1;
                    self.bury(&row, row.value, cause, true)?;
                }
                (None, 0) => core.item(&row, &mut self.turn)?,
                (None, count) => core.partial(&row, count, &mut self.turn)?,
            }
        }
        Ok(None)
    }

    /// Folds items one by one.
    fn items(
        &mut self,
        chunk: &Chunk,
        piece: &Piece,
        limits: &Limits,
        done: &mut Done,
        progress: &mut Progress,
    ) -> Result<Option<i64>, Halt> {
        let mut last = None;
        let mut is_skipped = false;
        for item in Items::of(piece) {
            let item = item.map_err(Halt::Chunk)?;
            if item.offset < chunk.from {
                continue;
            }
            if last != Some(item.offset) {
                let is_full =
                    done.units >= limits.units_max || self.turn.state.bytes() >= STEP_BYTES;
                if is_full && done.units > 0 {
                    return Ok(Some(item.offset));
                }
                self.turn.unit = Unit::Event { source: chunk.source, offset: item.offset };
                if limits.stop.as_ref() == Some(&self.turn.unit) {
                    return Ok(Some(item.offset));
                }
                last = Some(item.offset);
                done.units += 1;
                is_skipped = !self.tried.is_empty() && self.bury_if_given_up(&item, progress)?;
            }
            progress.items += 1;
            progress.rows += 1;
            self.hot.add(item.key, 1);
            if is_skipped {
                continue;
            }
            match item.failed {
                None => {
                    let core = self.core.as_mut().expect("it was opened");
                    core.item(&item, &mut self.turn)?;
                }
                Some(cause) => {
                    progress.dead += 1;
                    self.bury(&item, item.value, cause, true)?;
                }
            }
        }
        Ok(None)
    }

    /// Buries the unit of `item` if it has failed often enough.
    fn bury_if_given_up(
        &mut self,
        item: &Item<'_>,
        progress: &mut Progress,
    ) -> Result<bool, Failure> {
        let Some(tried) = self.tried.get(&self.turn.unit) else {
            return Ok(false);
        };
        if tried.attempts < ATTEMPTS_MAX {
            return Ok(false);
        }
        let (attempts, cause) = (tried.attempts, tried.cause.clone());
        // Showing the value is user code too: if that is what fails, the bytes are buried as they came.
        let shown = if attempts == ATTEMPTS_MAX && item.failed.is_none() {
            self.core.as_mut().map(|core| core.show(item.value))
        } else {
            None
        };
        let whole = item.failed.is_some();
        self.bury(item, shown.as_deref().unwrap_or(item.value), &cause, whole)?;
        progress.dead += 1;
        Ok(true)
    }

    fn bury(
        &mut self,
        item: &Item<'_>,
        value: &[u8],
        cause: &str,
        whole: bool,
    ) -> Result<(), Failure> {
        let attempt = ATTEMPTS_MAX;
        let letter = Letter { time_ms: item.time_ms, key: item.key, value, cause, attempt, whole };
        self.turn.bury(&letter)
    }

    /// The least of what the sources promise where they are, without idle ones; T3: never below the last.
    fn watermark(&self, reached: &[(PartitionId, Place)]) -> i64 {
        let (mut least, mut most) = (None, i64::MIN);
        let mut reached = reached.iter().peekable();
        // The buckets of a stage say one after the other that they are at work again: till then their last promise holds.
        let at_work = |source: &Source| source.is_written && !source.is_idle;
        let woken = self.sources.iter().filter(|(_, source)| at_work(source));
        let woken: BTreeSet<StreamId> = woken.map(|(partition, _)| partition.stream).collect();
        // Both are in the order of partitions.
        for (partition, source) in &self.sources {
            let moved = reached.next_if(|(of, _)| of == partition);
            let at = moved.map_or(source.reached.watermark_ms, |(_, place)| place.watermark_ms);
            most = most.max(at);
            let is_awaited = source.is_written && woken.contains(&partition.stream);
            if !source.is_idle || is_awaited {
                least = Some(least.map_or(at, |least: i64| least.min(at)));
            }
        }
        // If all are idle, the last to become so had been alone: it was the least.
        least.unwrap_or(most).max(self.watermark_ms)
    }

    /// Fires the timers of one kind up to a time.
    fn timers(
        &mut self,
        space: u8,
        limits: &Limits,
        done: &mut Done,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let upto_ms = if space == row::CLOCK { self.turn.clock_ms } else { progress.watermark_ms };
        while let Some((at_ms, key)) = self.turn.state.next_timer(space) {
            if at_ms > upto_ms {
                break;
            }
            let is_full = done.units >= limits.units_max || self.turn.state.bytes() >= STEP_BYTES;
            self.turn.unit = Unit::Timer { space, at_ms, key: key.clone() };
            let is_stopped = limits.stop.as_ref() == Some(&self.turn.unit);
            if is_stopped || (is_full && done.units > 0) {
                if space == row::TIMER {
                    // T5: whoever reads what this task emits takes its watermark as a promise.
                    let fired_ms = at_ms.saturating_sub(1);
                    progress.watermark_ms = self.watermark_ms.max(fired_ms);
                }
                progress.has_more |= !is_stopped;
                return Ok(());
            }
            done.units += 1;
            self.turn.state.cancel_timer_of(space, at_ms, &key);
            if !self.bury_timer(at_ms, &key, progress)? {
                let core = self.core.as_mut().expect("it was opened");
                match space {
                    row::CLOCK => core.clock(at_ms, &key, &mut self.turn)?,
                    _ => core.timer(at_ms, &key, &mut self.turn)?,
                }
            }
        }
        Ok(())
    }

    /// Buries the timer at hand if it has failed often enough.
    fn bury_timer(
        &mut self,
        at_ms: i64,
        key: &[u8],
        progress: &mut Progress,
    ) -> Result<bool, Failure> {
        let given_up = self.tried.get(&self.turn.unit);
        let given_up = given_up.filter(|tried| tried.attempts >= ATTEMPTS_MAX);
        let Some(cause) = given_up.map(|tried| tried.cause.clone()) else { return Ok(false) };
        let attempt = ATTEMPTS_MAX;
        let letter =
            Letter { time_ms: at_ms, key, value: &[], cause: &cause, attempt, whole: false };
        self.turn.bury(&letter)?;
        progress.dead += 1;
        Ok(true)
    }
}
