//! Windows over keyed values, and when they fire.

use super::aggregates::Aggregate;
use super::flow::ms;
use super::keyed::Keyed;
use super::offer::Keep;
use super::stage::Table;
use crate::core::{Combining, Core, Early, Fixed, Kept, Sessioning, Timing, Windowing};
use std::sync::Arc;
use std::time::Duration;

/// Windows of one size, side by side, beginning at multiples of the size since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    size: Duration,
    offset: Duration,
}

impl Tumbling {
    pub fn of(size: Duration) -> Self {
        Self { size, offset: Duration::ZERO }
    }

    /// Shifts the beginnings, as for days that begin at 22:00 UTC.
    #[must_use]
    pub fn offset(self, offset: Duration) -> Self {
        Self { offset, ..self }
    }
}

/// Windows of one size that begin every so often and overlap: a value lies in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hopping {
    size: Duration,
    every: Duration,
    offset: Duration,
}

impl Hopping {
    pub fn of(size: Duration, every: Duration) -> Self {
        Self { size, every, offset: Duration::ZERO }
    }

    /// Shifts the beginnings.
    #[must_use]
    pub fn offset(self, offset: Duration) -> Self {
        Self { offset, ..self }
    }
}

/// Windows of a key's own: each ends when the key was silent for the gap, and two that meet become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    gap: Duration,
}

impl Session {
    pub fn of(gap: Duration) -> Self {
        Self { gap }
    }
}

/// One window a key that never ends: with [`Windowed::early_every`] or [`Windowed::early_count`] it says how often
/// a running value is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Global;

/// Any kind of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    Tumbling(Tumbling),
    Hopping(Hopping),
    Session(Session),
    Global,
}

impl From<Tumbling> for Windows {
    fn from(windows: Tumbling) -> Self {
        Self::Tumbling(windows)
    }
}
impl From<Hopping> for Windows {
    fn from(windows: Hopping) -> Self {
        Self::Hopping(windows)
    }
}
impl From<Session> for Windows {
    fn from(windows: Session) -> Self {
        Self::Session(windows)
    }
}
impl From<Global> for Windows {
    fn from(_: Global) -> Self {
        Self::Global
    }
}

/// Values with a key and a window. A window's row is `key@start`.
///
/// If nothing is said about firing, the row follows every commit, and the event goes out when the window closes:
/// when the watermark reaches its end. What is late but allowed changes the row, and is told again at once.
#[must_use = "a window does nothing until something is kept of it"]
#[derive(Debug)]
pub struct Windowed<T> {
    keyed: Keyed<T>,
    windows: Windows,
    timing: Timing,
}

impl<T: 'static> Windowed<T> {
    pub(super) fn new(keyed: Keyed<T>, windows: Windows) -> Self {
        Self { keyed, windows, timing: Timing::default() }
    }

    /// Values that are late by no more than this still change their window; later ones become dead letters with
    /// the cause `late`. The default is zero: what comes after the watermark is late.
    pub fn allow_late(mut self, late: Duration) -> Self {
        self.timing.late_ms = ms(late);
        self
    }

    /// Fires early: row and event are told each time so much event time has passed since the last firing, if
    /// anything changed, and when the window closes.
    pub fn early_every(mut self, every: Duration) -> Self {
        self.timing.early.fires().every_ms = Some(ms(every));
        self
    }

    /// Fires early: row and event are told when so many values have come since the last firing, at the commit
    /// they are in, and when the window closes.
    pub fn early_count(mut self, count: u64) -> Self {
        self.timing.early.fires().count = Some(count);
        self
    }

    /// Nothing is told before the window closes.
    pub fn on_close(mut self) -> Self {
        self.timing.early = Early::Never;
        self
    }

    /// Rows are dropped when the watermark is so far behind their window's end. If nothing is said they stay.
    pub fn keep_rows(mut self, keep: Duration) -> Self {
        self.timing.keep_ms = Some(ms(keep));
        self
    }
}

impl<T: 'static> Keep<T> for Windowed<T> {
    fn keep<K: Kept>(self, aggregate: Aggregate<T, K>) -> Table {
        let Self { keyed, windows, timing } = self;
        if windows == Windows::Global && timing == Timing::default() {
            return keyed.keep(aggregate);
        }
        let fault = fault(windows, timing, aggregate.kept.merges());
        let Aggregate { name, format, project, kept } = aggregate;
        let name = format!("{name} in {windows:?} {timing:?}");
        let is_fixed = kept.merges() && !matches!(windows, Windows::Session(_));
        let combining =
            is_fixed.then(|| Combining::windowed(Arc::clone(&kept), fixed(windows), timing));
        let core: crate::stage::MakeCore = match windows {
            Windows::Session(Session { gap }) => {
                let gap_ms = ms(gap);
                Arc::new(move || Box::new(Sessioning::new(Arc::clone(&kept), gap_ms, timing)) as _)
            }
            windows => {
                let fixed = fixed(windows);
                let make = move || Windowing::new(Arc::clone(&kept), fixed, timing);
                Arc::new(move || Box::new(make()) as Box<dyn Core>)
            }
        };
        let table = keyed.ending(&name, format, project, core);
        let table = match combining {
            Some(combining) => table.combining(combining),
            None => table,
        };
        match fault {
            Some(fault) => table.refused(fault),
            None => table,
        }
    }
}

fn fixed(windows: Windows) -> Fixed {
    match windows {
        Windows::Tumbling(of) => Fixed::new(ms(of.size), ms(of.size), ms(of.offset)),
        Windows::Hopping(of) => Fixed::new(ms(of.size), ms(of.every), ms(of.offset)),
        Windows::Session(_) | Windows::Global => Fixed::GLOBAL,
    }
}

/// The most windows that one value may lie in.
const OVERLAP_MAX: u128 = 1_000;

fn fault(windows: Windows, timing: Timing, merges: bool) -> Option<&'static str> {
    let tiny = |duration: Duration| duration.as_millis() == 0;
    match windows {
        Windows::Tumbling(of) if tiny(of.size) => Some("a window has at least one millisecond"),
        Windows::Hopping(of) if tiny(of.size) || tiny(of.every) => {
            Some("a window has at least one millisecond, and so has the step between two")
        }
        Windows::Hopping(of) if of.every > of.size => {
            Some("windows that begin further apart than they are long leave values out")
        }
        Windows::Hopping(of) if of.size.as_millis() / of.every.as_millis() >= OVERLAP_MAX => {
            Some("a value lies in at most 1,000 windows")
        }
        Windows::Session(of) if tiny(of.gap) => Some("a gap has at least one millisecond"),
        Windows::Session(_) if !merges => {
            Some("sessions that meet become one: say how by aggregate_merging")
        }
        Windows::Global if timing.early == Early::Never => {
            Some("a global window never closes: without early firing it would say nothing")
        }
        Windows::Global if timing.keep_ms.is_some() => {
            Some("a global window never closes: its rows cannot be dropped after that")
        }
        _ => timing.fault(),
    }
}
