//! A running aggregate: one value a key, from the first event on.
//!
//! A step's values are worked on in memory and written once a step, however many items a key has in it.

use super::{Core, Kept, Turn, Unit};
use crate::carry::Failure;
use crate::chunk::Item;
use crate::state::FixedHash;
use bytes::Bytes;
use model::entry::row;
use std::collections::HashMap;

/// Bytes that a touched key adds to a commit besides the key itself, roughly.
const TOUCH_BYTES: usize = 64;

/// One value a key.
pub(crate) struct Running<K: Kept> {
    kept: std::sync::Arc<K>,
    open: HashMap<Bytes, Open<K::Value>, FixedHash>,
}

/// A value that this step has touched.
struct Open<V> {
    value: V,
    time_ms: i64,
    /// The last event that touched it answers for what `finish` makes of it.
    unit: Unit,
}

impl<K: Kept> Running<K> {
    pub(crate) fn new(kept: std::sync::Arc<K>) -> Self {
        Self { kept, open: HashMap::default() }
    }

    fn space() -> u8 {
        if K::ROW_IS_ALL { row::VIEW } else { row::STATE }
    }
}

impl<K: Kept> Core for Running<K> {
    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure> {
        if let Some(open) = self.open.get_mut(item.key) {
            open.time_ms = open.time_ms.max(item.time_ms);
            open.unit.clone_from(&turn.unit);
            return self.kept.add(&mut open.value, item.value);
        }
        let mut value = match turn.state.get(Self::space(), item.key) {
            Some(bytes) => self.kept.load(&bytes)?,
            None => self.kept.start(),
        };
        self.kept.add(&mut value, item.value)?;
        turn.state.note(TOUCH_BYTES + item.key.len());
        let open = Open { value, time_ms: item.time_ms, unit: turn.unit.clone() };
        self.open.insert(Bytes::copy_from_slice(item.key), open);
        Ok(())
    }

    fn timer(&mut self, _at_ms: i64, _key: &[u8], _turn: &mut Turn) -> Result<(), Failure> {
        Ok(())
    }

    fn flush(&mut self, turn: &mut Turn) -> Result<(), Failure> {
        let mut open: Vec<_> = self.open.drain().collect();
        if turn.emits {
            open.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        }
        for (key, Open { value, time_ms, unit }) in open {
            turn.unit = unit;
            turn.state.put(row::VIEW, &key, self.kept.row(&value)?)?;
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
