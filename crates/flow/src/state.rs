//! A task's table in memory, and the changes of the step that is under way.
//!
//! S1 A step can be taken back whole, until [`State::take`] ends it.
//! S2 What is taken says each key at most once, in the order of first touch: it does not depend on a map's order.

mod ordered;

use crate::carry::Failure;
use crate::core::Letter;
use bytes::Bytes;
use model::BatchBuilder;
use model::entry::{RowChange, row};
use ordered::Ordered;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// One row's key and value together.
const ROW_BYTES_MAX: usize = 1 << 20;
/// A step ends with the unit that makes it as large as this.
pub(crate) const STEP_BYTES: usize = 2 << 20;
/// A commit never grows beyond this: an operation of the log has at most 8 MiB.
pub(crate) const COMMIT_BYTES_MAX: usize = 7 << 20;

/// Hashes keys of rows: quick for short ones, and the same in every process.
#[derive(Debug, Default)]
pub(crate) struct KeyHasher(u64);

pub(crate) type KeyHash = BuildHasherDefault<KeyHasher>;

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(7) ^ model::hash::hash64(bytes);
    }
    // A slice says its length first; its hash has it anyway.
    fn write_usize(&mut self, _: usize) {}
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Rows and timers of one task.
#[derive(Debug, Default)]
pub(crate) struct State {
    rows: HashMap<Bytes, Row, KeyHash>,
    ordered: Ordered,
    /// Timer rows in the order of their times.
    timers: BTreeSet<Bytes>,
    /// Numbers steps from 1, so that a row knows whether this one has touched it.
    step: u64,
    /// Rows that this step touched, each once.
    touched: Vec<Touched>,
    /// Timer rows that this step touched, and whether they were there before.
    timers_before: BTreeMap<Bytes, bool>,
    output: BatchBuilder,
    dead: BatchBuilder,
    /// Roughly what the step's commit takes.
    bytes: usize,
    /// Late items of the step.
    pub(crate) late: u64,
    /// For looking up a row without an allocation.
    scratch: Vec<u8>,
}

/// One row; none while a step that removed it is under way.
#[derive(Debug)]
struct Row {
    value: Option<Bytes>,
    /// The step that touched it last, and its place in that step's `touched`.
    step: u64,
    at: u32,
}

/// A row before the step, to take it back.
#[derive(Debug)]
struct Touched {
    key: Bytes,
    before: Option<Bytes>,
    now: Option<Bytes>,
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
        let mut state = Self { step: 1, ..Self::default() };
        state.rows.reserve(rows.len());
        for (key, value) in rows {
            match key.first() {
                Some(&row::TIMER) => drop(state.timers.insert(key)),
                Some(&row::ORDERED) => state.ordered.restore(key, value),
                _ => drop(state.rows.insert(key, Row { value: Some(value), step: 0, at: 0 })),
            }
        }
        state
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// User code that changes or emits without end is stopped when its own part is more than a commit may hold.
    fn take_room(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes;
        if self.bytes > STEP_BYTES + COMMIT_BYTES_MAX {
            return Err(Failure::new(format!(
                "it changes or emits more than the {COMMIT_BYTES_MAX} bytes of a commit"
            )));
        }
        Ok(())
    }

    /// Adds to what the commit is thought to take, for what is written later.
    pub(crate) fn note(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(crate) fn get(&mut self, space: u8, key: &[u8]) -> Option<&Bytes> {
        self.rows.get(full_key(&mut self.scratch, space, key))?.value.as_ref()
    }

    pub(crate) fn put(&mut self, space: u8, key: &[u8], value: Bytes) -> Result<(), Failure> {
        check_size(key, &value)?;
        self.take_room(0)?;
        self.set(space, key, Some(value));
        Ok(())
    }

    pub(crate) fn remove(&mut self, space: u8, key: &[u8]) {
        self.set(space, key, None);
    }

    fn set(&mut self, space: u8, key: &[u8], value: Option<Bytes>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len) + 32;
        let full = full_key(&mut self.scratch, space, key);
        let next = u32::try_from(self.touched.len()).expect("a step's bytes are bounded");
        let Some(row) = self.rows.get_mut(full) else {
            if value.is_some() {
                let key = Bytes::copy_from_slice(full);
                self.touched.push(Touched { key: key.clone(), before: None, now: value.clone() });
                self.rows.insert(key, Row { value, step: self.step, at: next });
            }
            return;
        };
        let before = std::mem::replace(&mut row.value, value.clone());
        if row.step == self.step {
            self.touched[row.at as usize].now = value;
            return;
        }
        (row.step, row.at) = (self.step, next);
        // The key that is kept is shared, so that a row's key is in memory once.
        let (key, _) = self.rows.get_key_value(full).expect("it was just found");
        self.touched.push(Touched { key: key.clone(), before, now: value });
    }

    pub(crate) fn put_ordered(&mut self, key: Bytes, value: Bytes) -> Result<(), Failure> {
        check_size(&key, &value)?;
        self.take_room(key.len() + value.len() + 32)?;
        self.ordered.set(key, Some(value));
        Ok(())
    }

    pub(crate) fn remove_ordered(&mut self, key: Bytes) {
        self.bytes += key.len() + 32;
        self.ordered.set(key, None);
    }

    /// The rows whose keys begin with `prefix`, from `from` on if that lies behind it, in order.
    pub(crate) fn range<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &'a [u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> {
        self.ordered.range(prefix, from)
    }

    /// The last row whose key begins with `prefix` and is not behind `upto`.
    pub(crate) fn last_upto(&self, prefix: &[u8], upto: &[u8]) -> Option<(&Bytes, &Bytes)> {
        self.ordered.last_upto(prefix, upto)
    }

    pub(crate) fn set_timer(&mut self, at_ms: i64, key: &[u8]) -> Result<(), Failure> {
        if key.len() > ROW_BYTES_MAX {
            return Err(Failure::new(format!("a timer's key has {} bytes", key.len())));
        }
        self.take_room(0)?;
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
        self.take_room(size + 16)?;
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
        !self.touched.is_empty()
            || !self.timers_before.is_empty()
            || self.ordered.is_touched()
            || self.output.count() + self.dead.count() > 0
    }

    /// Takes the step back: nothing of it happened.
    pub(crate) fn take_back(&mut self) {
        for Touched { key, before, .. } in std::mem::take(&mut self.touched) {
            if before.is_none() {
                self.rows.remove(&key);
            } else if let Some(row) = self.rows.get_mut(&key) {
                row.value = before;
            }
        }
        self.ordered.take_back();
        for (full, was_there) in std::mem::take(&mut self.timers_before) {
            if was_there {
                self.timers.insert(full);
            } else {
                self.timers.remove(&full);
            }
        }
        self.reset();
    }

    /// Ends the step: its changes stay, and are handed out.
    pub(crate) fn take(&mut self) -> Taken {
        let mut changes = Vec::with_capacity(self.touched.len() + self.timers_before.len());
        for Touched { key, before, now } in self.touched.drain(..) {
            if now.is_none() {
                self.rows.remove(&key);
                // A row that was made and removed within one step was never there.
                if before.is_none() {
                    continue;
                }
            }
            changes.push(RowChange { key, value: now });
        }
        for (key, was_there) in std::mem::take(&mut self.timers_before) {
            let is_there = self.timers.contains(&key);
            if is_there != was_there {
                changes.push(RowChange { key, value: is_there.then(Bytes::new) });
            }
        }
        self.ordered.take(&mut changes);
        let late = self.late;
        let (output, dead) = self.reset();
        Taken { changes, output: built(output), dead: built(dead), late }
    }

    fn reset(&mut self) -> (BatchBuilder, BatchBuilder) {
        self.step += 1;
        self.bytes = 0;
        self.late = 0;
        (std::mem::take(&mut self.output), std::mem::take(&mut self.dead))
    }
}

fn check_size(key: &[u8], value: &[u8]) -> Result<(), Failure> {
    let size = key.len() + value.len();
    if size > ROW_BYTES_MAX {
        let most = ROW_BYTES_MAX;
        return Err(Failure::new(format!("a row has {size} bytes, {most} are allowed")));
    }
    Ok(())
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

fn full_key<'a>(scratch: &'a mut Vec<u8>, space: u8, key: &[u8]) -> &'a [u8] {
    scratch.clear();
    scratch.push(space);
    scratch.extend_from_slice(key);
    scratch
}
