//! Each key once within a time: what comes again is dropped.

use super::window::bury_late;
use super::{Core, Turn};
use crate::carry::Failure;
use crate::chunk::Item;
use bytes::Bytes;
use model::entry::row;

/// Passes on a value of a key unless one that happened no further away than `within` was passed on before.
pub(crate) struct Deduping {
    pub(crate) within_ms: i64,
}

impl Deduping {
    /// The times of the key's values that were passed on and are not forgotten.
    fn passed(turn: &mut Turn, key: &[u8]) -> Result<Vec<i64>, Failure> {
        turn.state.get(row::STATE, key).map_or(Ok(Vec::new()), times_of)
    }

    fn keep(turn: &mut Turn, key: &[u8], times: &[i64]) -> Result<(), Failure> {
        let bytes: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
        turn.state.put(row::STATE, key, Bytes::from(bytes))
    }

    fn over_ms(&self, time_ms: i64) -> i64 {
        time_ms.saturating_add(self.within_ms).saturating_add(1)
    }
}

impl Core for Deduping {
    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure> {
        let mut passed = Self::passed(turn, item.key)?;
        let within = self.within_ms.unsigned_abs();
        if passed.iter().any(|time_ms| time_ms.abs_diff(item.time_ms) <= within) {
            return Ok(());
        }
        if self.over_ms(item.time_ms) <= turn.watermark_ms {
            // Whether it was there before is forgotten.
            return bury_late(item, item.value, turn);
        }
        passed.push(item.time_ms);
        Self::keep(turn, item.key, &passed)?;
        turn.state.set_timer(self.over_ms(item.time_ms), item.key)?;
        turn.state.emit(item.time_ms, Some(item.key), item.value)
    }

    fn timer(&mut self, at_ms: i64, key: &[u8], turn: &mut Turn) -> Result<(), Failure> {
        let mut passed = Self::passed(turn, key)?;
        passed.retain(|time_ms| self.over_ms(*time_ms) > at_ms);
        if passed.is_empty() {
            turn.state.remove(row::STATE, key);
            return Ok(());
        }
        Self::keep(turn, key, &passed)
    }

    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match key.first() {
            Some(&row::STATE) => times_of(value).map(drop),
            _ => Ok(()),
        }
    }

    fn show(&self, value: &[u8]) -> Bytes {
        Bytes::copy_from_slice(value)
    }
}

fn times_of(bytes: &[u8]) -> Result<Vec<i64>, Failure> {
    let (times, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Failure::new("a kept time has eight bytes"));
    }
    Ok(times.iter().map(|time| i64::from_le_bytes(*time)).collect())
}
