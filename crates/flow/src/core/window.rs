//! An aggregate per key and window of event time: tumbling, hopping, or the one that never ends.
//!
//! W1 A value goes into every window [start, start + size) that holds its time, start at multiples of the step.
//! W2 A window fires as its timing says before its end; once when the watermark reaches its end; and again for
//!    each commit with a value that comes late but within what is allowed.
//! W3 A value all of whose windows' ends + allowed lateness are not above the watermark changes nothing: it is
//!    buried as `late`.
//! W4 When nothing more can change a window, all but its row is dropped; the row too, if it is kept for a time.

use super::running::{Open, Touched};
use super::timing::{Early, Fixed, Pane, Place, Timing, read_timer, timer_key};
use super::{Core, Kept, Letter, Turn};
use crate::carry::Failure;
use crate::chunk::Item;
use bytes::Bytes;
use model::entry::row;
use std::collections::BTreeMap;
use std::sync::Arc;

const TOUCH_BYTES: usize = 128;

/// One value a key and window.
pub(crate) struct Windowing<K: Kept> {
    kept: Arc<K>,
    fixed: Fixed,
    timing: Timing,
    open: BTreeMap<i64, Open<Pane<K::Value>>>,
}

impl<K: Kept> Windowing<K> {
    pub(crate) fn new(kept: Arc<K>, fixed: Fixed, timing: Timing) -> Self {
        Self { kept, fixed, timing, open: BTreeMap::new() }
    }

    /// Whether the view's row is all there is of a window.
    fn is_all_row(&self) -> bool {
        K::ROW_IS_ALL && self.timing.early == Early::Commits
    }

    fn space(&self) -> u8 {
        if self.is_all_row() { row::VIEW } else { row::STATE }
    }

    /// Adds an item's value to a window, or what `part` items came to.
    fn add(
        &mut self,
        start_ms: i64,
        item: &Item<'_>,
        part: Option<u64>,
        turn: &mut Turn,
    ) -> Result<(), Failure> {
        let kept = Arc::clone(&self.kept);
        let add = |pane: &mut Pane<K::Value>| {
            pane.since += part.unwrap_or(1);
            match part {
                None => kept.add(&mut pane.value, item.value),
                Some(_) => kept.merge(&mut pane.value, kept.load(item.value)?),
            }
        };
        let open = self.open.get_mut(&start_ms);
        if let Some(pane) = open.and_then(|open| open.get(item, turn)) {
            turn.state.note(item.value.len());
            return add(pane);
        }
        let (mut pane, size) = self.load(start_ms, item.key, turn)?;
        add(&mut pane)?;
        turn.state.note(TOUCH_BYTES + 2 * item.key.len() + item.value.len() + 2 * size);
        let open = self.open.entry(start_ms).or_insert_with(Open::new);
        open.insert(item, turn, pane);
        Ok(())
    }

    /// The value of an existing window with the size it is kept in, or a new one with its timers.
    fn load(
        &self,
        start_ms: i64,
        key: &[u8],
        turn: &mut Turn,
    ) -> Result<(Pane<K::Value>, usize), Failure> {
        let row_key = self.fixed.row_key(key, start_ms);
        if let Some(bytes) = turn.state.get(self.space(), &row_key) {
            return Ok((self.timing.load(&*self.kept, bytes)?, bytes.len()));
        }
        let end_ms = self.fixed.end_of(start_ms);
        if end_ms < i64::MAX {
            let timer = timer_key(start_ms, key);
            self.timing.set_timers(end_ms, &timer, self.is_all_row(), turn)?;
        }
        Ok((Pane::new(self.kept.start()), 0))
    }
}

impl<K: Kept> Core for Windowing<K> {
    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure> {
        let mut is_late = true;
        for start_ms in self.fixed.starts(item.time_ms) {
            if self.timing.is_late(self.fixed.end_of(start_ms), turn.watermark_ms) {
                break;
            }
            is_late = false;
            self.add(start_ms, item, None, turn)?;
        }
        if is_late { bury_late(item, &self.kept.show(item.value), turn) } else { Ok(()) }
    }

    fn partial(&mut self, item: &Item<'_>, count: u64, turn: &mut Turn) -> Result<(), Failure> {
        for start_ms in self.fixed.starts(item.time_ms) {
            if self.timing.is_late(self.fixed.end_of(start_ms), turn.watermark_ms) {
                return Err(Failure::new("some of these values are late"));
            }
            self.add(start_ms, item, Some(count), turn)?;
        }
        Ok(())
    }

    fn timer(&mut self, at_ms: i64, timer: &[u8], turn: &mut Turn) -> Result<(), Failure> {
        let (start_ms, key) = read_timer(timer)?;
        let row_key = self.fixed.row_key(key, start_ms);
        let end_ms = self.fixed.end_of(start_ms);
        if let Some(bytes) = turn.state.get(self.space(), &row_key) {
            let mut pane = self.timing.load(&*self.kept, bytes)?;
            if at_ms == end_ms || (at_ms < end_ms && pane.armed) {
                let is_all_row = self.is_all_row();
                let place = Place { row_key: &row_key, timer, end_ms, time_ms: at_ms, is_all_row };
                self.timing.due(&*self.kept, &place, &mut pane, turn)?;
                if !is_all_row {
                    let kept = self.timing.keep(&*self.kept, &pane)?;
                    turn.state.put(row::STATE, &row_key, kept)?;
                }
            }
        }
        if self.timing.is_late(end_ms, at_ms) && (!self.is_all_row() || !turn.shows) {
            turn.state.remove(self.space(), &row_key);
        }
        if self.timing.rows_end(end_ms).is_some_and(|rows_end| at_ms >= rows_end) {
            turn.state.remove(row::VIEW, &row_key);
        }
        Ok(())
    }

    fn flush(&mut self, turn: &mut Turn) -> Result<(), Failure> {
        let is_all_row = self.is_all_row();
        for (start_ms, mut open) in std::mem::take(&mut self.open) {
            let end_ms = self.fixed.end_of(start_ms);
            for Touched { key, value: mut pane, unit, time_ms } in open.take() {
                turn.unit = unit;
                let row_key = self.fixed.row_key(&key, start_ms);
                let timer = timer_key(start_ms, &key);
                let place = Place { row_key: &row_key, timer: &timer, end_ms, time_ms, is_all_row };
                self.timing.changed(&*self.kept, &place, &mut pane, turn)?;
                if !is_all_row {
                    let kept = self.timing.keep(&*self.kept, &pane)?;
                    turn.state.put(row::STATE, &row_key, kept)?;
                }
            }
        }
        Ok(())
    }

    fn show(&self, value: &[u8]) -> Bytes {
        self.kept.show(value)
    }

    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match key.first() {
            Some(&space) if space == self.space() => self.timing.load(&*self.kept, value).map(drop),
            _ => Ok(()),
        }
    }
}

/// What comes too late for its window is not lost silently.
pub(super) fn bury_late(item: &Item<'_>, shown: &[u8], turn: &mut Turn) -> Result<(), Failure> {
    let letter = Letter {
        time_ms: item.time_ms,
        key: item.key,
        value: shown,
        cause: "late",
        attempt: 1,
        whole: false,
    };
    turn.late(&letter)
}
