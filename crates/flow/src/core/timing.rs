//! Which windows a value lies in, and when a window fires and is dropped.

use super::{Kept, Turn};
use crate::carry::Failure;
use crate::key::row_key_of_window;
use bytes::Bytes;
use model::entry::row;

/// Windows of one size, at multiples of a step; or the one that never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// 0: the window that never ends.
    size_ms: i64,
    every_ms: i64,
    offset_ms: i64,
}

impl Fixed {
    pub(crate) const GLOBAL: Self = Self { size_ms: 0, every_ms: 1, offset_ms: 0 };

    /// What the builder refuses must not divide by zero until it does.
    pub(crate) fn new(size_ms: i64, every_ms: i64, offset_ms: i64) -> Self {
        Self { size_ms: size_ms.max(1), every_ms: every_ms.max(1), offset_ms }
    }

    fn is_global(self) -> bool {
        self.size_ms == 0
    }

    /// The starts of the windows that hold this time, the latest first.
    pub(super) fn starts(self, time_ms: i64) -> impl Iterator<Item = i64> {
        let past = time_ms.saturating_sub(self.offset_ms).rem_euclid(self.every_ms);
        let last = if self.is_global() { i64::MIN } else { time_ms.saturating_sub(past) };
        let step = self.every_ms;
        let begins =
            move |start: i64| !self.is_global() && start > time_ms.saturating_sub(self.size_ms);
        let earlier = move |start: &i64| start.checked_sub(step).filter(|start| begins(*start));
        std::iter::successors(Some(last), earlier)
    }

    /// What times that lie in the same windows share, the last start and how many there are; and the first start.
    pub(super) fn pane(self, time_ms: i64) -> ((i64, u64), i64) {
        if self.is_global() {
            return ((i64::MIN, 1), i64::MIN);
        }
        let past = time_ms.saturating_sub(self.offset_ms).rem_euclid(self.every_ms);
        let last = time_ms.saturating_sub(past);
        // Those that begin later than the size before the time; a window is no shorter than the step.
        let more = self.size_ms.saturating_sub(past).saturating_sub(1).max(0) / self.every_ms;
        let first = last.saturating_sub(more.saturating_mul(self.every_ms));
        ((last, more.unsigned_abs() + 1), first)
    }

    pub(super) fn end_of(self, start_ms: i64) -> i64 {
        if self.is_global() { i64::MAX } else { start_ms.saturating_add(self.size_ms) }
    }

    pub(super) fn row_key(self, key: &[u8], start_ms: i64) -> Vec<u8> {
        if self.is_global() { key.to_vec() } else { row_key_of_window(key, start_ms) }
    }
}

/// When windows fire and for how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Timing {
    pub(crate) late_ms: i64,
    pub(crate) early: Early,
    pub(crate) keep_ms: Option<i64>,
}

/// What is told before a window closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Early {
    /// The row, at every commit; no event.
    #[default]
    Commits,
    Never,
    /// Row and event, now and then.
    Fires(Fires),
}

/// How often an open window fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Fires {
    pub(crate) every_ms: Option<i64>,
    pub(crate) count: Option<u64>,
}

impl Early {
    /// Begins to fire, if it did not.
    pub(crate) fn fires(&mut self) -> &mut Fires {
        if !matches!(self, Self::Fires(_)) {
            *self = Self::Fires(Fires::default());
        }
        match self {
            Self::Fires(fires) => fires,
            Self::Commits | Self::Never => unreachable!("it was just set"),
        }
    }
}

impl Timing {
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match self.early {
            Early::Fires(Fires { every_ms: Some(..=0), .. }) => {
                Some("an early firing comes after at least one millisecond")
            }
            Early::Fires(Fires { count: Some(0), .. }) => {
                Some("an early firing comes after at least one value")
            }
            _ => None,
        }
    }

    /// When rows are dropped: not before late values can have changed them.
    pub(super) fn rows_end(&self, end_ms: i64) -> Option<i64> {
        self.keep_ms.map(|keep_ms| end_ms.saturating_add(keep_ms.max(self.late_ms)))
    }

    pub(super) fn is_late(&self, end_ms: i64, watermark_ms: i64) -> bool {
        end_ms.saturating_add(self.late_ms) <= watermark_ms
    }
}

/// A window's value, and how it stands with its early firings.
#[derive(Debug)]
pub(super) struct Pane<V> {
    pub(super) value: V,
    /// Values that came since the last firing.
    pub(super) since: u64,
    /// Whether a timer stands for the next firing.
    pub(super) armed: bool,
}

impl<V> Pane<V> {
    pub(super) fn new(value: V) -> Self {
        Self { value, since: 0, armed: false }
    }

    fn fired(&mut self) {
        (self.since, self.armed) = (0, false);
    }
}

/// A window that is about to be told: where its row lies, and when it is.
pub(super) struct Place<'a> {
    pub(super) row_key: &'a [u8],
    /// For timers: start and key.
    pub(super) timer: &'a [u8],
    pub(super) end_ms: i64,
    /// The greatest event time that changed it, or the timer's.
    pub(super) time_ms: i64,
    /// Whether its row is where its value is kept, so that it is written at every commit, view or not.
    pub(super) is_all_row: bool,
}

impl Timing {
    /// Tells what is due of a window that a step has changed, and arms what is due later.
    pub(super) fn changed<K: Kept>(
        &self,
        kept: &K,
        place: &Place<'_>,
        pane: &mut Pane<K::Value>,
        turn: &mut Turn,
    ) -> Result<(), Failure> {
        let closed = place.end_ms <= turn.watermark_ms;
        match self.early {
            Early::Commits if closed => {
                return self.tell(kept, place, pane, turn, place.end_ms - 1);
            }
            Early::Commits if turn.shows || place.is_all_row => {
                turn.state.put(row::VIEW, place.row_key, kept.row(&pane.value)?)?;
            }
            Early::Never | Early::Fires(_) if closed => {
                return self.tell(kept, place, pane, turn, place.end_ms - 1);
            }
            Early::Fires(fires) => {
                if fires.count.is_some_and(|count| pane.since >= count) {
                    return self.tell(kept, place, pane, turn, place.time_ms);
                }
                let next = fires.every_ms.map(|every| {
                    let now = turn.watermark_ms.max(place.time_ms);
                    now.saturating_sub(now.rem_euclid(every)).saturating_add(every)
                });
                if let Some(next) = next.filter(|next| *next < place.end_ms && !pane.armed) {
                    pane.armed = true;
                    turn.state.set_timer(next, place.timer)?;
                }
            }
            Early::Commits | Early::Never => {}
        }
        Ok(())
    }

    /// Writes the row and says the event.
    pub(super) fn tell<K: Kept>(
        &self,
        kept: &K,
        place: &Place<'_>,
        pane: &mut Pane<K::Value>,
        turn: &mut Turn,
        time_ms: i64,
    ) -> Result<(), Failure> {
        pane.fired();
        if turn.shows || place.is_all_row {
            turn.state.put(row::VIEW, place.row_key, kept.row(&pane.value)?)?;
        }
        Self::say(kept, place, pane, turn, time_ms)
    }

    /// What is due at a window's end or at an early firing. Where rows follow commits, the row says it already.
    pub(super) fn due<K: Kept>(
        &self,
        kept: &K,
        place: &Place<'_>,
        pane: &mut Pane<K::Value>,
        turn: &mut Turn,
    ) -> Result<(), Failure> {
        let time_ms = place.time_ms.min(place.end_ms - 1);
        if self.early == Early::Commits {
            return Self::say(kept, place, pane, turn, time_ms);
        }
        self.tell(kept, place, pane, turn, time_ms)
    }

    fn say<K: Kept>(
        kept: &K,
        place: &Place<'_>,
        pane: &Pane<K::Value>,
        turn: &mut Turn,
        time_ms: i64,
    ) -> Result<(), Failure> {
        if turn.emits {
            turn.state.emit(time_ms, Some(place.row_key), &kept.event(&pane.value)?)?;
        }
        Ok(())
    }

    /// Sets what must happen at a window's end and after it, or takes it back.
    pub(super) fn set_timers(
        &self,
        end_ms: i64,
        timer: &[u8],
        is_all_row: bool,
        turn: &mut Turn,
    ) -> Result<(), Failure> {
        // A window that begins after its end, by an allowed late value, is told by the step that makes it.
        let tells = turn.emits || self.early != Early::Commits;
        if tells && end_ms > turn.watermark_ms {
            turn.state.set_timer(end_ms, timer)?;
        }
        if !is_all_row || !turn.shows {
            turn.state.set_timer(end_ms.saturating_add(self.late_ms), timer)?;
        }
        if let Some(at_ms) = self.rows_end(end_ms) {
            turn.state.set_timer(at_ms, timer)?;
        }
        Ok(())
    }

    pub(super) fn cancel_timers(&self, end_ms: i64, timer: &[u8], turn: &mut Turn) {
        turn.state.cancel_timer(end_ms, timer);
        turn.state.cancel_timer(end_ms.saturating_add(self.late_ms), timer);
        if let Some(at_ms) = self.rows_end(end_ms) {
            turn.state.cancel_timer(at_ms, timer);
        }
    }

    /// How a pane is kept: how it stands with its firings only where there are any.
    pub(super) fn keep<K: Kept>(&self, kept: &K, pane: &Pane<K::Value>) -> Result<Bytes, Failure> {
        let bytes = kept.keep(&pane.value)?;
        if !matches!(self.early, Early::Fires(_)) {
            return Ok(bytes);
        }
        let mut out = Vec::with_capacity(HEAD_BYTES + bytes.len());
        out.push(u8::from(pane.armed));
        out.extend_from_slice(&pane.since.to_le_bytes());
        out.extend_from_slice(&bytes);
        Ok(out.into())
    }

    pub(super) fn load<K: Kept>(&self, kept: &K, bytes: &[u8]) -> Result<Pane<K::Value>, Failure> {
        if !matches!(self.early, Early::Fires(_)) {
            return Ok(Pane::new(kept.load(bytes)?));
        }
        let (head, bytes) =
            bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Failure::new("a window is cut short"))?;
        let since = u64::from_le_bytes(head[1..].try_into().expect("eight bytes"));
        Ok(Pane { value: kept.load(bytes)?, since, armed: head[0] != 0 })
    }
}

/// The firing's state in front of a kept value.
const HEAD_BYTES: usize = 9;

/// A timer says its window by itself, so that times that coincide cannot be mixed up.
pub(super) fn timer_key(start_ms: i64, key: &[u8]) -> Vec<u8> {
    let mut out = start_ms.to_be_bytes().to_vec();
    out.extend_from_slice(key);
    out
}

/// The window's start and key that a timer says.
pub(super) fn read_timer(timer: &[u8]) -> Result<(i64, &[u8]), Failure> {
    let (start, key) =
        timer.split_first_chunk::<8>().ok_or(Failure::new("a timer is malformed"))?;
    Ok((i64::from_be_bytes(*start), key))
}
