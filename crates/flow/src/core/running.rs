//! A running aggregate: one value a key, from the first event on.
//!
//! A step's values are worked on in memory and written once a step, however many items a key has in it.

use super::{Core, Kept, Turn, Unit};
use crate::carry::Failure;
use crate::chunk::Item;
use crate::state::KeyHash;
use bytes::Bytes;
use model::entry::row;
use std::collections::HashMap;

/// Bytes that a touched key adds to a commit besides the key itself, roughly.
const TOUCH_BYTES: usize = 64;

/// One value a key.
pub(crate) struct Running<K: Kept> {
    kept: std::sync::Arc<K>,
    open: Open<K::Value>,
}

/// The values that a step has touched, in the order of first touch.
pub(super) struct Open<V> {
    places: HashMap<Bytes, u32, KeyHash>,
    touched: Vec<Touched<V>>,
}

/// A value that a step has touched.
pub(super) struct Touched<V> {
    pub(super) key: Bytes,
    pub(super) value: V,
    pub(super) time_ms: i64,
    /// The last event that touched it answers for what `finish` makes of it.
    pub(super) unit: Unit,
}

impl<V> Open<V> {
    pub(super) fn new() -> Self {
        Self { places: HashMap::default(), touched: Vec::new() }
    }

    pub(super) fn get(&mut self, item: &Item<'_>, unit: &Unit) -> Option<&mut V> {
        let at = *self.places.get(item.key)?;
        let touched = &mut self.touched[at as usize];
        touched.time_ms = touched.time_ms.max(item.time_ms);
        touched.unit.clone_from(unit);
        Some(&mut touched.value)
    }

    pub(super) fn insert(&mut self, item: &Item<'_>, unit: &Unit, value: V) {
        let at = u32::try_from(self.touched.len()).expect("a step's bytes are bounded");
        let key = Bytes::copy_from_slice(item.key);
        self.places.insert(key.clone(), at);
        self.touched.push(Touched { key, value, time_ms: item.time_ms, unit: unit.clone() });
    }

    pub(super) fn take(&mut self) -> Vec<Touched<V>> {
        self.places.clear();
        std::mem::take(&mut self.touched)
    }
}

impl<K: Kept> Running<K> {
    pub(crate) fn new(kept: std::sync::Arc<K>) -> Self {
        Self { kept, open: Open::new() }
    }

    fn space() -> u8 {
        if K::ROW_IS_ALL { row::VIEW } else { row::STATE }
    }
}

impl<K: Kept> Core for Running<K> {
    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure> {
        if let Some(value) = self.open.get(item, &turn.unit) {
            turn.state.note(item.value.len());
            return self.kept.add(value, item.value);
        }
        let (mut value, size) = match turn.state.get(Self::space(), item.key) {
            Some(bytes) => (self.kept.load(bytes)?, bytes.len()),
            None => (self.kept.start(), 0),
        };
        self.kept.add(&mut value, item.value)?;
        turn.state.note(TOUCH_BYTES + item.key.len() + item.value.len() + 2 * size);
        self.open.insert(item, &turn.unit, value);
        Ok(())
    }

    fn timer(&mut self, _at_ms: i64, _key: &[u8], _turn: &mut Turn) -> Result<(), Failure> {
        Ok(())
    }

    fn flush(&mut self, turn: &mut Turn) -> Result<(), Failure> {
        for Touched { key, value, time_ms, unit } in self.open.take() {
            turn.unit = unit;
            if turn.shows || K::ROW_IS_ALL {
                turn.state.put(row::VIEW, &key, self.kept.row(&value)?)?;
            }
            if !K::ROW_IS_ALL {
                turn.state.put(row::STATE, &key, self.kept.keep(&value)?)?;
            }
            if turn.emits {
                turn.state.emit(time_ms, Some(&key), &self.kept.event(&value)?)?;
            }
        }
        Ok(())
    }

    fn show(&self, value: &[u8]) -> Bytes {
        self.kept.show(value)
    }
}
