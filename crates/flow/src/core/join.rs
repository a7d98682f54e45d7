//! Two streams by key and time: each value meets those of the other side that happened near it.
//!
//! J1 A pair is emitted once, when its later arrival is folded, with the greater of both times; which side came
//!    first changes nothing.
//! J2 A value waits as long as one that meets it may still come, and no longer.
//! J3 A left value that met nobody is emitted alone, where that is asked for, once nobody can meet it any more.
//! J4 A value that comes after the watermark has passed its time by more than is allowed is buried as `late`.

use super::buffer::{LEFT, RIGHT, Row, prefix, side_of, time_key};
use super::process::shown;
use super::window::bury_late;
use super::{Core, Turn};
use crate::carry::{Failure, show, unpack};
use crate::chunk::Item;
use bytes::Bytes;
use model::entry::row;
use serde::{Serialize, de::DeserializeOwned};
use std::marker::PhantomData;
use std::sync::Arc;

/// Rows that one call of a timer drops; the timer stays if there are more.
const DROPS_MAX: usize = 1_000;

/// Which times of the other side a value meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// The right value lies in [left - before, left + after].
    Interval { before_ms: i64, after_ms: i64 },
    /// Both lie in the same tumbling window.
    Window { size_ms: i64 },
}

impl Bounds {
    /// The first and the last time that a value of one side may meet on the other.
    fn of(self, side: u8, time_ms: i64) -> (i64, i64) {
        match self {
            Self::Interval { before_ms, after_ms } => {
                let (back, ahead) =
                    if side == LEFT { (before_ms, after_ms) } else { (after_ms, before_ms) };
                (time_ms.saturating_sub(back), time_ms.saturating_add(ahead))
            }
            Self::Window { size_ms } => {
                let start = time_ms.saturating_sub(time_ms.rem_euclid(size_ms.max(1)));
                (start, start.saturating_add(size_ms - 1))
            }
        }
    }

    /// The last time of which something may still meet this value.
    fn last(self, side: u8, time_ms: i64) -> i64 {
        self.of(side, time_ms).1.max(time_ms)
    }
}

/// What a pair, or a left value alone, becomes.
pub(crate) type Pairing<L, R> = Arc<dyn Fn(&L, Option<&R>) -> Result<Bytes, Failure> + Send + Sync>;

/// Results of pairs, as others see them. A left value alone is not asked for.
pub(crate) fn inner<L: 'static, R: 'static, U: Serialize + 'static>(
    make: impl Fn(&L, &R) -> U + Send + Sync + 'static,
) -> Pairing<L, R> {
    Arc::new(move |left, right| match right {
        Some(right) => show(&make(left, right)),
        None => Err(Failure::new("an inner join has pairs only")),
    })
}

/// Results of pairs and of left values alone, as others see them.
pub(crate) fn outer<L: 'static, R: 'static, U: Serialize + 'static>(
    make: impl Fn(&L, Option<&R>) -> U + Send + Sync + 'static,
) -> Pairing<L, R> {
    Arc::new(move |left, right| show(&make(left, right)))
}

/// The join of two streams.
pub(crate) struct Joining<L, R> {
    pub(crate) bounds: Bounds,
    pub(crate) late_ms: i64,
    /// Whether left values that met nobody are emitted alone.
    pub(crate) is_outer: bool,
    pub(crate) pairing: Pairing<L, R>,
}

impl<L: DeserializeOwned, R: DeserializeOwned> Joining<L, R> {
    /// From when on nothing can meet a value any more.
    fn dropped_at(&self, side: u8, time_ms: i64) -> i64 {
        self.bounds.last(side, time_ms).saturating_add(self.late_ms).saturating_add(1)
    }

    /// Emits the pairs with those that wait on the other side; says whether there were any.
    fn meet(
        &self,
        side: u8,
        item: &Item<'_>,
        value: &[u8],
        turn: &mut Turn,
    ) -> Result<bool, Failure> {
        let other = if side == LEFT { RIGHT } else { LEFT };
        let (first_ms, last_ms) = self.bounds.of(side, item.time_ms);
        let prefix = prefix(item.key, other);
        let from = time_key(&prefix, first_ms);
        let near = turn.state.range(&prefix, &from).map(|(key, row)| (key.clone(), row.clone()));
        let near = near.take_while(|(key, _)| Row::time(&prefix, key) <= last_ms);
        let near: Vec<(Bytes, Bytes)> = near.collect();
        for (key, row) in &near {
            let time_ms = Row::time(&prefix, key).max(item.time_ms);
            let row = Row::read(row)?;
            let pair = match side {
                LEFT => (self.pairing)(&unpack(value)?, Some(&unpack(row.value)?)),
                _ => (self.pairing)(&unpack(row.value)?, Some(&unpack(value)?)),
            };
            turn.state.emit(time_ms, Some(item.key), &pair?)?;
            if self.is_outer && side == RIGHT && !row.has_met {
                turn.state.put_ordered(key.clone(), Row::bytes(true, row.value))?;
            }
        }
        Ok(!near.is_empty())
    }
}

impl<L, R> Core for Joining<L, R>
where
    L: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure> {
        let (side, value) = split(item.value)?;
        if item.time_ms.saturating_add(self.late_ms) < turn.watermark_ms {
            return bury_late(item, &self.show(item.value), turn);
        }
        let has_met = self.meet(side, item, value, turn)?;
        let at_ms = self.dropped_at(side, item.time_ms);
        if at_ms <= turn.watermark_ms {
            // Allowed, but nobody that could meet it may come any more.
            return match self.is_outer && side == LEFT && !has_met {
                true => self.alone(item.time_ms, item.key, value, turn),
                false => Ok(()),
            };
        }
        let key = Row::key(&prefix(item.key, side), item.time_ms, &turn.unit, &turn.state);
        turn.state.put_ordered(key, Row::bytes(has_met, value))?;
        turn.state.set_timer(at_ms, &[&[side], item.key].concat())
    }

    fn timer(&mut self, at_ms: i64, timer: &[u8], turn: &mut Turn) -> Result<(), Failure> {
        let (side, key) = split(timer)?;
        let prefix = prefix(key, side);
        let over = turn.state.range(&prefix, &[]).map(|(key, row)| (key.clone(), row.clone()));
        let over =
            over.take_while(|(key, _)| self.dropped_at(side, Row::time(&prefix, key)) <= at_ms);
        let over: Vec<(Bytes, Bytes)> = over.take(DROPS_MAX).collect();
        if over.len() == DROPS_MAX {
            turn.state.set_timer(at_ms, timer)?;
        }
        for (row_key, row) in over {
            let row = Row::read(&row)?;
            if self.is_outer && side == LEFT && !row.has_met {
                self.alone(at_ms - 1, key, row.value, turn)?;
            }
            turn.state.remove_ordered(row_key);
        }
        Ok(())
    }

    fn show(&self, value: &[u8]) -> Bytes {
        show_side::<L, R>(value)
    }

    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        check_row::<L, R>(key, value)
    }
}

impl<L: DeserializeOwned, R> Joining<L, R> {
    fn alone(
        &self,
        time_ms: i64,
        key: &[u8],
        value: &[u8],
        turn: &mut Turn,
    ) -> Result<(), Failure> {
        let alone = (self.pairing)(&unpack(value)?, None)?;
        turn.state.emit(time_ms, Some(key), &alone)
    }
}

/// Whether a value that waits can be read.
fn check_row<L: DeserializeOwned, R: DeserializeOwned>(
    key: &[u8],
    value: &[u8],
) -> Result<(), Failure> {
    let value = match key.first() {
        Some(&row::ORDERED) => Row::read(value)?.value,
        _ => return Ok(()),
    };
    match side_of(key) {
        Some(LEFT) => unpack::<L>(value).map(drop),
        Some(RIGHT) => unpack::<R>(value).map(drop),
        _ => Err(Failure::new("a row of a join says no side")),
    }
}

/// The side of a value and the value.
pub(super) fn split(value: &[u8]) -> Result<(u8, &[u8]), Failure> {
    match value.split_first() {
        Some((&side @ (LEFT | RIGHT), value)) => Ok((side, value)),
        _ => Err(Failure::new("a value of a join says no side")),
    }
}

pub(super) fn show_side<L, R>(value: &[u8]) -> Bytes
where
    L: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    match split(value) {
        Ok((LEFT, value)) => shown::<L>(value),
        Ok((_, value)) => shown::<R>(value),
        Err(_) => Bytes::copy_from_slice(value),
    }
}

/// Each left value with what a table of right values says of its key: as it stands when the left value is folded,
/// or as it stood at the left value's time.
pub(crate) struct Enriching<L, R> {
    /// Left values wait until the watermark has passed their time, and see the version of then.
    pub(crate) is_temporal: bool,
    pub(crate) is_outer: bool,
    pub(crate) pairing: Pairing<L, R>,
    pub(crate) takes: PhantomData<fn(L, R)>,
}

impl<L: DeserializeOwned, R: DeserializeOwned> Enriching<L, R> {
    /// Emits a left value with the last version that is not later than `upto_ms`.
    fn enrich(
        &self,
        time_ms: i64,
        upto_ms: i64,
        key: &[u8],
        value: &[u8],
        turn: &mut Turn,
    ) -> Result<(), Failure> {
        let prefix = prefix(key, RIGHT);
        let upto = time_key(&prefix, upto_ms);
        let version = turn.state.last_upto(&prefix, &upto).map(|(_, row)| row.clone());
        let made = match version {
            Some(row) => (self.pairing)(&unpack(value)?, Some(&unpack(Row::read(&row)?.value)?))?,
            None if self.is_outer => (self.pairing)(&unpack(value)?, None)?,
            None => return Ok(()),
        };
        turn.state.emit(time_ms, Some(key), &made)
    }

    /// A new version; those that nobody can ask for any more go.
    fn version(&self, item: &Item<'_>, value: &[u8], turn: &mut Turn) -> Result<(), Failure> {
        let prefix = prefix(item.key, RIGHT);
        let time_ms = if self.is_temporal { item.time_ms } else { 0 };
        let key = time_key(&prefix, time_ms);
        turn.state.put_ordered(key.into(), Row::bytes(true, value))?;
        let upto = time_key(&prefix, turn.watermark_ms);
        let Some((current, _)) = turn.state.last_upto(&prefix, &upto) else {
            return Ok(());
        };
        let current = current.clone();
        let old = turn.state.range(&prefix, &[]).map(|(key, _)| key.clone());
        let old: Vec<Bytes> = old.take_while(|key| *key < current).take(DROPS_MAX).collect();
        old.into_iter().for_each(|key| turn.state.remove_ordered(key));
        Ok(())
    }
}

impl<L, R> Core for Enriching<L, R>
where
    L: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure> {
        let (side, value) = split(item.value)?;
        if side == RIGHT {
            return self.version(item, value, turn);
        }
        if !self.is_temporal {
            return self.enrich(item.time_ms, i64::MAX, item.key, value, turn);
        }
        if item.time_ms < turn.watermark_ms {
            return bury_late(item, &self.show(item.value), turn);
        }
        let key = Row::key(&prefix(item.key, LEFT), item.time_ms, &turn.unit, &turn.state);
        turn.state.put_ordered(key, Row::bytes(false, value))?;
        turn.state.set_timer(item.time_ms.saturating_add(1), item.key)
    }

    fn timer(&mut self, at_ms: i64, key: &[u8], turn: &mut Turn) -> Result<(), Failure> {
        let prefix = prefix(key, LEFT);
        let due = turn.state.range(&prefix, &[]).map(|(key, row)| (key.clone(), row.clone()));
        let due = due.take_while(|(key, _)| Row::time(&prefix, key) < at_ms);
        let due: Vec<(Bytes, Bytes)> = due.take(DROPS_MAX).collect();
        if due.len() == DROPS_MAX {
            turn.state.set_timer(at_ms, key)?;
        }
        for (row_key, row) in due {
            let time_ms = Row::time(&prefix, &row_key);
            self.enrich(time_ms, time_ms, key, Row::read(&row)?.value, turn)?;
            turn.state.remove_ordered(row_key);
        }
        Ok(())
    }

    fn show(&self, value: &[u8]) -> Bytes {
        show_side::<L, R>(value)
    }

    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        check_row::<L, R>(key, value)
    }
}
