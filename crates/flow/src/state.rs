//! A task's table in memory, and the changes of the step that is under way.
//!
//! S1 A step can be taken back whole, until [`State::take`] ends it.
//! S2 What is taken says each key at most once, in the order of first touch: it does not depend on a map's order.

mod ordered;

use crate::carry::Failure;
use crate::core::Letter;
use bytes::Bytes;
use hashbrown::HashTable;
use model::entry::row;
use model::{BatchBuilder, Changes, ChangesBuilder, hash};
use ordered::Ordered;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// One row's key and value together.
const ROW_BYTES_MAX: usize = 1 << 20;
/// A step ends with the unit that makes it as large as this.
pub(crate) const STEP_BYTES: usize = 2 << 20;
/// A commit never grows beyond this: an operation of the log has at most 8 MiB.
pub(crate) const COMMIT_BYTES_MAX: usize = 7 << 20;

/// Short keys, and counts, sums and other short values, lie in the row itself.
type Key = SmallVec<[u8; 24]>;
type Value = SmallVec<[u8; 16]>;

/// Rows and timers of one task.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Of the hashes of keys: strangers do not know it.
    seed: u64,
    /// Places of rows in `rows`, by the hash of their keys.
    places: HashTable<u32>,
    /// None at places that are free.
    rows: Vec<Option<Row>>,
    free: Vec<u32>,
    ordered: Ordered,
    /// Timer rows in the order of their kinds and times.
    timers: BTreeSet<Bytes>,
    /// Numbers steps from 1, so that a row knows whether this one has touched it.
    step: u64,
    /// Rows that this step touched, each once.
    touched: Vec<Touched>,
    /// Timer rows that this step touched, and whether they were there before.
    timers_before: BTreeMap<Bytes, bool>,
    output: BatchBuilder,
    /// What goes to side outputs, in the order of the stage's.
    sides: Vec<BatchBuilder>,
    dead: BatchBuilder,
    /// Roughly what the step's commit takes.
    bytes: usize,
    /// Late items of the step.
    pub(crate) late: u64,
    /// For looking up a row without an allocation.
    scratch: Vec<u8>,
}

/// One row; without a value while a step that removed it is under way.
#[derive(Debug)]
struct Row {
    key: Key,
    value: Option<Value>,
    /// The step that touched it last.
    step: u64,
}

/// A row before the step, to take it back.
#[derive(Debug)]
struct Touched {
    at: u32,
    before: Option<Value>,
}

/// What a step changed and emitted.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) changes: Changes,
    pub(crate) output: Option<Bytes>,
    pub(crate) sides: Vec<Option<Bytes>>,
    pub(crate) dead: Option<Bytes>,
    pub(crate) late: u64,
}

impl State {
    pub(crate) fn restored(seed: u64, rows: Vec<(Bytes, Bytes)>, sides: usize) -> Self {
        let sides = (0..sides).map(|_| BatchBuilder::default()).collect();
        let mut state = Self { seed, step: 1, sides, ..Self::default() };
        for (key, value) in rows {
            match key.first() {
                Some(&(row::TIMER | row::CLOCK)) => drop(state.timers.insert(key)),
                Some(&row::ORDERED) => state.ordered.restore(key, value),
                _ => {
                    let hash = hash::seeded(seed, &key);
                    state.insert(hash, &key, Value::from_slice(&value), 0);
                }
            }
        }
        state
    }

    /// A hash of a key for tables in memory.
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        hash::seeded(self.seed, key)
    }

    fn place(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let is_it =
            |at: &u32| self.rows[*at as usize].as_ref().is_some_and(|row| row.key[..] == *key);
        self.places.find(hash, is_it).copied()
    }

    fn row(&mut self, at: u32) -> &mut Row {
        self.rows[at as usize].as_mut().expect("places name rows that are there")
    }

    fn insert(&mut self, hash: u64, key: &[u8], value: Value, step: u64) -> u32 {
        let row = Row { key: Key::from_slice(key), value: Some(value), step };
        let at = match self.free.pop() {
            Some(at) => {
                self.rows[at as usize] = Some(row);
                at
            }
            None => {
                self.rows.push(Some(row));
                u32::try_from(self.rows.len() - 1).expect("a task has fewer than 2^32 rows")
            }
        };
        let (rows, seed) = (&self.rows, self.seed);
        self.places.insert_unique(hash, at, |at| {
            rows[*at as usize].as_ref().map_or(0, |row| hash::seeded(seed, &row.key))
        });
        at
    }

    fn forget(&mut self, at: u32) {
        let Some(row) = self.rows[at as usize].take() else { return };
        let hash = hash::seeded(self.seed, &row.key);
        if let Ok(found) = self.places.find_entry(hash, |other| *other == at) {
            found.remove();
        }
        self.free.push(at);
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

    pub(crate) fn get(&mut self, space: u8, key: &[u8]) -> Option<&[u8]> {
        full_key(&mut self.scratch, space, key);
        let at = self.place(hash::seeded(self.seed, &self.scratch), &self.scratch)?;
        self.rows[at as usize].as_ref()?.value.as_deref()
    }

    pub(crate) fn put(
        &mut self,
        space: u8,
        key: &[u8],
        value: impl AsRef<[u8]>,
    ) -> Result<(), Failure> {
        let value = value.as_ref();
        check_size(key, value)?;
        self.take_room(0)?;
        self.set(space, key, Some(value));
        Ok(())
    }

    pub(crate) fn remove(&mut self, space: u8, key: &[u8]) {
        self.set(space, key, None);
    }

    fn set(&mut self, space: u8, key: &[u8], value: Option<&[u8]>) {
        self.bytes += key.len() + value.map_or(0, <[u8]>::len) + 32;
        full_key(&mut self.scratch, space, key);
        let hash = hash::seeded(self.seed, &self.scratch);
        let Some(at) = self.place(hash, &self.scratch) else {
            if let Some(value) = value {
                let full = std::mem::take(&mut self.scratch);
                let at = self.insert(hash, &full, Value::from_slice(value), self.step);
                self.touched.push(Touched { at, before: None });
                self.scratch = full;
            }
            return;
        };
        let step = self.step;
        let row = self.row(at);
        let before = std::mem::replace(&mut row.value, value.map(Value::from_slice));
        if row.step != step {
            row.step = step;
            self.touched.push(Touched { at, before });
        }
    }

    /// One row of those that are found by ranges; their keys say their space themselves.
    pub(crate) fn ordered(&self, key: &[u8]) -> Option<&Bytes> {
        self.ordered.get(key)
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
        self.set_timer_of(row::TIMER, at_ms, key)
    }

    pub(crate) fn cancel_timer(&mut self, at_ms: i64, key: &[u8]) {
        self.cancel_timer_of(row::TIMER, at_ms, key);
    }

    /// A timer of event time (`TIMER`) or of processing time (`CLOCK`).
    pub(crate) fn set_timer_of(
        &mut self,
        space: u8,
        at_ms: i64,
        key: &[u8],
    ) -> Result<(), Failure> {
        if key.len() > ROW_BYTES_MAX {
            return Err(Failure::new(format!("a timer's key has {} bytes", key.len())));
        }
        self.take_room(0)?;
        self.touch_timer(timer_row(space, at_ms, key), true);
        Ok(())
    }

    pub(crate) fn cancel_timer_of(&mut self, space: u8, at_ms: i64, key: &[u8]) {
        self.touch_timer(timer_row(space, at_ms, key), false);
    }

    fn touch_timer(&mut self, full: Bytes, wanted: bool) {
        self.bytes += full.len() + 32;
        let changed =
            if wanted { self.timers.insert(full.clone()) } else { self.timers.remove(&full) };
        let before = if changed { !wanted } else { wanted };
        self.timers_before.entry(full).or_insert(before);
    }

    pub(crate) fn has_timers(&self) -> bool {
        !self.timers.is_empty()
    }

    pub(crate) fn has_timer(&self, space: u8, at_ms: i64, key: &[u8]) -> bool {
        self.timers.contains(&timer_row(space, at_ms, key))
    }

    /// The earliest timer of a kind, as (time, key).
    pub(crate) fn next_timer(&self, space: u8) -> Option<(i64, Bytes)> {
        let first = self.timers.range::<[u8], _>((Bound::Included(&[space][..]), Bound::Unbounded));
        let first = first.into_iter().next().filter(|full| full.first() == Some(&space))?;
        let time = first.get(1..9)?.try_into().expect("eight bytes");
        Some(((u64::from_be_bytes(time) ^ SIGN) as i64, first.slice(9..)))
    }

    pub(crate) fn emit(
        &mut self,
        time_ms: i64,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Result<(), Failure> {
        self.take_event_room(key, value)?;
        self.output.push(time_ms, key, Some(value), &[]);
        Ok(())
    }

    /// As [`Self::emit`], to one of the side outputs.
    pub(crate) fn emit_aside(
        &mut self,
        side: usize,
        time_ms: i64,
        key: Option<&[u8]>,
        value: &[u8],
        headers: &[(&str, Option<&[u8]>)],
    ) -> Result<(), Failure> {
        self.take_event_room(key, value)?;
        self.bytes +=
            headers.iter().map(|(n, v)| n.len() + v.map_or(0, <[u8]>::len)).sum::<usize>();
        self.sides[side].push(time_ms, key, Some(value), headers);
        Ok(())
    }

    fn take_event_room(&mut self, key: Option<&[u8]>, value: &[u8]) -> Result<(), Failure> {
        let size = key.map_or(0, <[u8]>::len) + value.len();
        if size > ROW_BYTES_MAX {
            return Err(Failure::new(format!("an event has {size} bytes, {ROW_BYTES_MAX} fit")));
        }
        self.take_room(size + 16)
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
            || self.sides.iter().any(|side| side.count() > 0)
    }

    /// Takes the step back: nothing of it happened.
    pub(crate) fn take_back(&mut self) {
        for Touched { at, before } in std::mem::take(&mut self.touched) {
            if before.is_none() {
                self.forget(at);
            } else {
                self.row(at).value = before;
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
        let mut changes = ChangesBuilder::with_capacity(self.bytes);
        let mut touched = std::mem::take(&mut self.touched);
        for Touched { at, before } in touched.drain(..) {
            let row = self.row(at);
            // A row that was made and removed within one step was never there.
            if row.value.is_some() || before.is_some() {
                changes.push(&row.key, row.value.as_deref());
            }
            if row.value.is_none() {
                self.forget(at);
            }
        }
        self.touched = touched;
        for (key, was_there) in std::mem::take(&mut self.timers_before) {
            let is_there = self.timers.contains(&key);
            if is_there != was_there {
                changes.push(&key, is_there.then_some(&[]));
            }
        }
        self.ordered.take(&mut changes);
        let late = self.late;
        let sides = self.sides.iter_mut().map(|side| built(std::mem::take(side))).collect();
        let (output, dead) = self.reset();
        let (changes, output, dead) = (changes.build(), built(output), built(dead));
        Taken { changes, output, sides, dead, late }
    }

    fn reset(&mut self) -> (BatchBuilder, BatchBuilder) {
        self.step += 1;
        self.bytes = 0;
        self.late = 0;
        self.sides.iter_mut().for_each(|side| drop(std::mem::take(side)));
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

fn timer_row(space: u8, at_ms: i64, key: &[u8]) -> Bytes {
    let mut full = Vec::with_capacity(9 + key.len());
    full.push(space);
    full.extend_from_slice(&(at_ms as u64 ^ SIGN).to_be_bytes());
    full.extend_from_slice(key);
    full.into()
}

fn full_key(scratch: &mut Vec<u8>, space: u8, key: &[u8]) {
    scratch.clear();
    scratch.push(space);
    scratch.extend_from_slice(key);
}
