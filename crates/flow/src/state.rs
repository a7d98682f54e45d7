//! A task's table in memory, and the changes of the step that is under way.
//!
//! S1 Rows are only changed by [`State::take`]; until then a step can be taken back whole.
//! S2 What is taken is sorted by key and says each key at most once: it does not depend on a map's order.

use crate::carry::Failure;
use crate::core::Letter;
use bytes::Bytes;
use model::BatchBuilder;
use model::entry::{RowChange, row};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

/// Hashes the same in every process; S2 makes the order of a map irrelevant all the same.
pub(crate) type FixedHash = BuildHasherDefault<DefaultHasher>;

/// One row's key and value together.
const ROW_BYTES_MAX: usize = 1 << 20;

/// Rows and timers of one task.
#[derive(Debug, Default)]
pub(crate) struct State {
    rows: HashMap<Bytes, Bytes, FixedHash>,
    /// Timer rows in the order of their times.
    timers: BTreeSet<Bytes>,
    puts: HashMap<Bytes, Option<Bytes>, FixedHash>,
    /// Timer rows that this step touched, and whether they were there before.
    timers_before: BTreeMap<Bytes, bool>,
    output: BatchBuilder,
    dead: BatchBuilder,
    /// Roughly what the step's commit takes.
    bytes: usize,
    /// Late items of the step.
    pub(crate) late: u64,
}

/// What a step changed and emitted.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) changes: Vec<RowChange>,
    pub(crate) output: Option<Bytes>,
    pub(crate) dead: Option<Bytes>,
    pub(crate) late: u64,
}

impl State {
    pub(crate) fn restored(rows: Vec<(Bytes, Bytes)>) -> Self {
        let mut state = Self::default();
        state.rows.reserve(rows.len());
        for (key, value) in rows {
            if key.first() == Some(&row::TIMER) {
                state.timers.insert(key);
            } else {
                state.rows.insert(key, value);
            }
        }
        state
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds to what the commit is thought to take, for what is written later.
    pub(crate) fn note(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(crate) fn get(&self, space: u8, key: &[u8]) -> Option<Bytes> {
        let full = full_key(space, key);
        match self.puts.get(&full[..]) {
            Some(put) => put.clone(),
            None => self.rows.get(&full[..]).cloned(),
        }
    }

    pub(crate) fn put(&mut self, space: u8, key: &[u8], value: Bytes) -> Result<(), Failure> {
        let size = key.len() + value.len();
        if size > ROW_BYTES_MAX {
            return Err(Failure::new(format!(
                "a row has {size} bytes, {ROW_BYTES_MAX} are allowed"
            )));
        }
        self.bytes += size + 32;
        self.puts.insert(full_key(space, key).into(), Some(value));
        Ok(())
    }

    pub(crate) fn remove(&mut self, space: u8, key: &[u8]) {
        self.bytes += key.len() + 32;
        self.puts.insert(full_key(space, key).into(), None);
    }

    pub(crate) fn set_timer(&mut self, at_ms: i64, key: &[u8]) -> Result<(), Failure> {
        if key.len() > ROW_BYTES_MAX {
            return Err(Failure::new(format!("a timer's key has {} bytes", key.len())));
        }
        self.touch_timer(timer_row(at_ms, key), true);
        Ok(())
    }

    pub(crate) fn cancel_timer(&mut self, at_ms: i64, key: &[u8]) {
        self.touch_timer(timer_row(at_ms, key), false);
    }

    fn touch_timer(&mut self, full: Bytes, wanted: bool) {
        self.bytes += full.len() + 32;
        let changed =
            if wanted { self.timers.insert(full.clone()) } else { self.timers.remove(&full) };
        let before = if changed { !wanted } else { wanted };
        self.timers_before.entry(full).or_insert(before);
    }

    pub(crate) fn has_timer(&self, at_ms: i64, key: &[u8]) -> bool {
        self.timers.contains(&timer_row(at_ms, key))
    }

    /// The earliest timer that is due, as (time, key).
    pub(crate) fn due(&self, watermark_ms: i64) -> Option<(i64, Bytes)> {
        let first = self.timers.first()?;
        let time = first.get(1..9)?.try_into().expect("eight bytes");
        let at_ms = (u64::from_be_bytes(time) ^ SIGN) as i64;
        (at_ms <= watermark_ms).then(|| (at_ms, first.slice(9..)))
    }

    pub(crate) fn emit(
        &mut self,
        time_ms: i64,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Result<(), Failure> {
        let size = key.map_or(0, <[u8]>::len) + value.len();
        if size > ROW_BYTES_MAX {
            return Err(Failure::new(format!("an event has {size} bytes, {ROW_BYTES_MAX} fit")));
        }
        self.bytes += size + 16;
        self.output.push(time_ms, key, Some(value), &[]);
        Ok(())
    }

    pub(crate) fn bury(
        &mut self,
        letter: &Letter<'_>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Result<(), Failure> {
        let text: usize = headers.iter().map(|(n, v)| n.len() + v.map_or(0, <[u8]>::len)).sum();
        self.bytes += letter.key.len() + letter.value.len() + text + 32;
        let key = (!letter.key.is_empty()).then_some(letter.key);
        self.dead.push(letter.time_ms, key, Some(letter.value), headers);
        Ok(())
    }

    /// Whether the step has changed anything yet.
    pub(crate) fn is_touched(&self) -> bool {
        !self.puts.is_empty()
            || !self.timers_before.is_empty()
            || self.output.count() + self.dead.count() > 0
    }

    /// Takes the step back: nothing of it happened.
    pub(crate) fn take_back(&mut self) {
        self.puts.clear();
        for (full, was_there) in std::mem::take(&mut self.timers_before) {
            if was_there {
                self.timers.insert(full);
            } else {
                self.timers.remove(&full);
            }
        }
        self.reset();
    }

    /// Ends the step: its changes become the rows, and are handed out.
    pub(crate) fn take(&mut self) -> Taken {
        let mut changes = Vec::with_capacity(self.puts.len() + self.timers_before.len());
        for (key, value) in self.puts.drain() {
            match &value {
                Some(value) => _ = self.rows.insert(key.clone(), value.clone()),
                // A row that was made and removed within one step was never there.
                None if self.rows.remove(&key).is_none() => continue,
                None => {}
            }
            changes.push(RowChange { key, value });
        }
        for (key, was_there) in std::mem::take(&mut self.timers_before) {
            let is_there = self.timers.contains(&key);
            if is_there != was_there {
                changes.push(RowChange { key, value: is_there.then(Bytes::new) });
            }
        }
        changes.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let late = self.late;
        let (output, dead) = self.reset();
        Taken { changes, output: built(output), dead: built(dead), late }
    }

    fn reset(&mut self) -> (BatchBuilder, BatchBuilder) {
        self.bytes = 0;
        self.late = 0;
        (std::mem::take(&mut self.output), std::mem::take(&mut self.dead))
    }
}

fn built(batch: BatchBuilder) -> Option<Bytes> {
    batch.build().ok().map(|batch| batch.bytes().clone())
}

const SIGN: u64 = 1 << 63;

fn timer_row(at_ms: i64, key: &[u8]) -> Bytes {
    let mut full = Vec::with_capacity(9 + key.len());
    full.push(row::TIMER);
    full.extend_from_slice(&(at_ms as u64 ^ SIGN).to_be_bytes());
    full.extend_from_slice(key);
    full.into()
}

fn full_key(space: u8, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(space);
    full.extend_from_slice(key);
    full
}
