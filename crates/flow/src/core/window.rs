//! An aggregate per key and tumbling window of event time.
//!
//! W1 An item goes into the window [start, start + size) with start a multiple of the size.
//! W2 A window's row is written as it changes (early results); its output event once, when the watermark reaches
//!    its end, and again for each item that comes late but within what is allowed.
//! W3 An item whose window's end + allowed lateness is not above the watermark changes nothing: it is buried as
//!    `late`.
//! W4 When nothing more can change a window, all but its row is dropped.

use super::running::{Open, Touched};
use super::{Core, Kept, Letter, Turn};
use crate::carry::Failure;
use crate::chunk::Item;
use crate::key::row_key_of_window;
use bytes::Bytes;
use model::entry::row;
use std::collections::BTreeMap;
use std::sync::Arc;

const TOUCH_BYTES: usize = 128;

/// One value a key and window.
pub(crate) struct Windowing<K: Kept> {
    kept: Arc<K>,
    size_ms: i64,
    late_ms: i64,
    open: BTreeMap<i64, Open<K::Value>>,
}

impl<K: Kept> Windowing<K> {
    pub(crate) fn new(kept: Arc<K>, size_ms: i64, late_ms: i64) -> Self {
        Self { kept, size_ms, late_ms, open: BTreeMap::new() }
    }

    fn start_of(&self, time_ms: i64) -> i64 {
        time_ms.saturating_sub(time_ms.rem_euclid(self.size_ms))
    }

    fn end_of(&self, start_ms: i64) -> i64 {
        start_ms.saturating_add(self.size_ms)
    }

    fn space() -> u8 {
        if K::ROW_IS_ALL { row::VIEW } else { row::STATE }
    }

    /// The value of an existing window with the size it is kept in, or a new one with its timers.
    fn load(
        &self,
        start_ms: i64,
        key: &[u8],
        turn: &mut Turn,
    ) -> Result<(K::Value, usize), Failure> {
        let row_key = row_key_of_window(key, start_ms);
        if let Some(bytes) = turn.state.get(Self::space(), &row_key) {
            return Ok((self.kept.load(bytes)?, bytes.len()));
        }
        let end_ms = self.end_of(start_ms);
        let timer = timer_key(start_ms, key);
        // A window that begins after its end, by an allowed late item, is emitted by `flush`.
        if turn.emits && end_ms > turn.watermark_ms {
            turn.state.set_timer(end_ms, &timer)?;
        }
        if !K::ROW_IS_ALL {
            turn.state.set_timer(end_ms.saturating_add(self.late_ms), &timer)?;
        }
        Ok((self.kept.start(), 0))
    }
}

/// A timer says its window by itself, so that times that coincide cannot be mixed up.
fn timer_key(start_ms: i64, key: &[u8]) -> Vec<u8> {
    let mut out = start_ms.to_be_bytes().to_vec();
    out.extend_from_slice(key);
    out
}

impl<K: Kept> Core for Windowing<K> {
    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure> {
        let start_ms = self.start_of(item.time_ms);
        if self.end_of(start_ms).saturating_add(self.late_ms) <= turn.watermark_ms {
            turn.state.late += 1;
            let value = self.kept.show(item.value);
            let letter = Letter {
                time_ms: item.time_ms,
                key: item.key,
                value: &value,
                cause: "late",
                attempt: 1,
            };
            return turn.bury(&letter);
        }
        let open = self.open.get_mut(&start_ms);
        if let Some(value) = open.and_then(|open| open.get(item, &turn.unit)) {
            turn.state.note(item.value.len());
            return self.kept.add(value, item.value);
        }
        let (mut value, size) = self.load(start_ms, item.key, turn)?;
        self.kept.add(&mut value, item.value)?;
        turn.state.note(TOUCH_BYTES + 2 * item.key.len() + item.value.len() + 2 * size);
        let open = self.open.entry(start_ms).or_insert_with(Open::new);
        open.insert(item, &turn.unit, value);
        Ok(())
    }

    fn timer(&mut self, at_ms: i64, key: &[u8], turn: &mut Turn) -> Result<(), Failure> {
        let (start, key) = key.split_at_checked(8).ok_or(Failure::new("a timer is malformed"))?;
        let start_ms = i64::from_be_bytes(start.try_into().expect("eight bytes"));
        let row_key = row_key_of_window(key, start_ms);
        let end_ms = self.end_of(start_ms);
        let Some(bytes) = turn.state.get(Self::space(), &row_key) else {
            return Ok(());
        };
        if turn.emits && at_ms == end_ms {
            let event = self.kept.event(&self.kept.load(bytes)?)?;
            turn.state.emit(end_ms - 1, Some(&row_key), &event)?;
        }
        if !K::ROW_IS_ALL && at_ms == end_ms.saturating_add(self.late_ms) {
            turn.state.remove(row::STATE, &row_key);
        }
        Ok(())
    }

    fn flush(&mut self, turn: &mut Turn) -> Result<(), Failure> {
        for (start_ms, mut open) in std::mem::take(&mut self.open) {
            let closed = self.end_of(start_ms) <= turn.watermark_ms;
            for Touched { key, value, unit, .. } in open.take() {
                turn.unit = unit;
                let row_key = row_key_of_window(&key, start_ms);
                turn.state.put(row::VIEW, &row_key, self.kept.row(&value)?)?;
                if !K::ROW_IS_ALL {
                    turn.state.put(row::STATE, &row_key, self.kept.keep(&value)?)?;
                }
                if turn.emits && closed {
                    let event = self.kept.event(&value)?;
                    turn.state.emit(self.end_of(start_ms) - 1, Some(&row_key), &event)?;
                }
            }
        }
        Ok(())
    }

    fn show(&self, value: &[u8]) -> Bytes {
        self.kept.show(value)
    }
}
