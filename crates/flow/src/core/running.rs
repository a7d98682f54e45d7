//! A running aggregate: one value a key, from the first event on.
//!
//! A step's values are worked on in memory and written once a step, however many items a key has in it.

use super::{Core, Kept, Turn, Unit};
use crate::carry::Failure;
use crate::chunk::Item;
use bytes::Bytes;
use hashbrown::HashTable;
use model::entry::row;

/// Bytes that a touched key adds to a commit besides the key itself, roughly.
const TOUCH_BYTES: usize = 64;

/// One value a key.
pub(crate) struct Running<K: Kept> {
    kept: std::sync::Arc<K>,
    open: Open<K::Value>,
}

/// The values that a step has touched, in the order of first touch.
pub(super) struct Open<V> {
    /// Places in `touched`, by the hash of the keys.
    places: HashTable<u32>,
    /// All keys, one after the other.
    keys: Vec<u8>,
    touched: Vec<Kin<V>>,
}

/// A touched value whose key ends at `key_end` of all keys and begins where the one before ends.
struct Kin<V> {
    hash: u64,
    key_end: usize,
    value: V,
    time_ms: i64,
    unit: Unit,
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
        Self { places: HashTable::new(), keys: Vec::new(), touched: Vec::new() }
    }

    fn key(&self, at: u32) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |last| self.touched[last as usize].key_end);
        &self.keys[start..self.touched[at as usize].key_end]
    }

    pub(super) fn get(&mut self, item: &Item<'_>, turn: &Turn) -> Option<&mut V> {
        let hash = turn.state.hash(item.key);
        let at = *self.places.find(hash, |at| self.key(*at) == item.key)?;
        let touched = &mut self.touched[at as usize];
        touched.time_ms = touched.time_ms.max(item.time_ms);
        touched.unit.clone_from(&turn.unit);
        Some(&mut touched.value)
    }

    pub(super) fn insert(&mut self, item: &Item<'_>, turn: &Turn, value: V) {
        let at = u32::try_from(self.touched.len()).expect("a step's bytes are bounded");
        let hash = turn.state.hash(item.key);
        self.keys.extend_from_slice(item.key);
        let (key_end, time_ms) = (self.keys.len(), item.time_ms);
        self.touched.push(Kin { hash, key_end, value, time_ms, unit: turn.unit.clone() });
        let touched = &self.touched;
        self.places.insert_unique(hash, at, |at| touched[*at as usize].hash);
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Touched<V>> + use<V> {
        self.places.clear();
        let keys = Bytes::from(std::mem::take(&mut self.keys));
        let mut start = 0;
        std::mem::take(&mut self.touched).into_iter().map(move |kin| {
            let Kin { key_end, value, time_ms, unit, .. } = kin;
            let key = keys.slice(std::mem::replace(&mut start, key_end)..key_end);
            Touched { key, value, time_ms, unit }
        })
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
        if let Some(value) = self.open.get(item, turn) {
            turn.state.note(item.value.len());
            return self.kept.add(value, item.value);
        }
        let (mut value, size) = match turn.state.get(Self::space(), item.key) {
            Some(bytes) => (self.kept.load(bytes)?, bytes.len()),
            None => (self.kept.start(), 0),
        };
        self.kept.add(&mut value, item.value)?;
        turn.state.note(TOUCH_BYTES + item.key.len() + item.value.len() + 2 * size);
        self.open.insert(item, turn, value);
        Ok(())
    }

    fn partial(&mut self, item: &Item<'_>, _count: u64, turn: &mut Turn) -> Result<(), Failure> {
        let part = self.kept.load(item.value)?;
        if let Some(value) = self.open.get(item, turn) {
            turn.state.note(item.value.len());
            return self.kept.merge(value, part);
        }
        let (value, size) = match turn.state.get(Self::space(), item.key) {
            Some(bytes) => {
                let size = bytes.len();
                let mut value = self.kept.load(bytes)?;
                self.kept.merge(&mut value, part)?;
                (value, size)
            }
            None => (part, 0),
        };
        turn.state.note(TOUCH_BYTES + item.key.len() + item.value.len() + 2 * size);
        self.open.insert(item, turn, value);
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

    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match key.first() {
            Some(&space) if space == Self::space() => self.kept.load(value).map(drop),
            _ => Ok(()),
        }
    }
}
