//! An aggregate per key and session: the values of a key between two silences.
//!
//! X1 Two values of a key lie in one session if they are less than the gap apart, or others between them are.
//! X2 A session's row lies under its start; sessions that meet become one, and the later one's row goes.
//! X3 A session fires as its timing says while it is open; once when the watermark reaches its last value + gap;
//!    and again for each commit that changes it later, within what is allowed.
//! X4 A value that would be a session by itself that ended longer than allowed ago is buried as `late`.

use super::running::{Open, Touched};
use super::timing::{Pane, Place, Timing, read_timer, timer_key};
use super::window::bury_late;
use super::{Core, Kept, Turn};
use crate::carry::{Failure, pack, unpack};
use crate::chunk::Item;
use crate::key::row_key_of_window;
use bytes::Bytes;
use model::entry::row;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const TOUCH_BYTES: usize = 192;

/// One value a key and session.
pub(crate) struct Sessioning<K: Kept> {
    kept: Arc<K>,
    gap_ms: i64,
    timing: Timing,
    open: Open<Spans<K::Value>>,
}

/// The sessions of one key that may still change.
struct Spans<V> {
    live: Vec<Span<V>>,
    /// Starts and ends under which rows and timers stand that no session has any more.
    gone: Vec<(i64, i64)>,
}

/// One session.
struct Span<V> {
    start_ms: i64,
    /// The time of its last value.
    last_ms: i64,
    pane: Pane<V>,
    /// Under which start and end its row and timers stand; none before the step that begins it is over.
    stood: Option<(i64, i64)>,
    is_changed: bool,
    /// The last time that changed it in this step.
    time_ms: i64,
}

/// A session as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptSpan(i64, i64, Bytes);

impl<K: Kept> Sessioning<K> {
    pub(crate) fn new(kept: Arc<K>, gap_ms: i64, timing: Timing) -> Self {
        // What the builder refuses must make sense until it does.
        Self { kept, gap_ms: gap_ms.max(1), timing, open: Open::new() }
    }

    fn end_of(&self, last_ms: i64) -> i64 {
        last_ms.saturating_add(self.gap_ms)
    }

    fn load(&self, key: &[u8], turn: &mut Turn) -> Result<(Spans<K::Value>, usize), Failure> {
        let Some(bytes) = turn.state.get(row::STATE, key) else {
            return Ok((Spans { live: Vec::new(), gone: Vec::new() }, 0));
        };
        let kept: Vec<KeptSpan> = unpack(bytes)?;
        let size = bytes.len();
        let span = |KeptSpan(start_ms, last_ms, bytes): KeptSpan| {
            let stood = Some((start_ms, self.end_of(last_ms)));
            let pane = self.timing.load(&*self.kept, &bytes)?;
            Ok(Span { start_ms, last_ms, pane, stood, is_changed: false, time_ms: i64::MIN })
        };
        let live = kept.into_iter().map(span).collect::<Result<_, Failure>>()?;
        Ok((Spans { live, gone: Vec::new() }, size))
    }

    fn save(&self, key: &[u8], live: &[Span<K::Value>], turn: &mut Turn) -> Result<(), Failure> {
        if live.is_empty() {
            turn.state.remove(row::STATE, key);
            return Ok(());
        }
        let keep = |span: &Span<K::Value>| {
            let bytes = self.timing.keep(&*self.kept, &span.pane)?;
            Ok(KeptSpan(span.start_ms, span.last_ms, bytes))
        };
        let kept: Vec<KeptSpan> = live.iter().map(keep).collect::<Result<_, Failure>>()?;
        let mut out = Vec::new();
        pack(&kept, &mut out)?;
        turn.state.put(row::STATE, key, out)
    }

    /// Puts a value into its session; false if it is too late for any.
    fn add(
        &self,
        spans: &mut Spans<K::Value>,
        item: &Item<'_>,
        watermark_ms: i64,
    ) -> Result<bool, Failure> {
        let time_ms = item.time_ms;
        let meets = |span: &Span<K::Value>| {
            span.start_ms < self.end_of(time_ms) && time_ms < self.end_of(span.last_ms)
        };
        let Some(at) = spans.live.iter().position(meets) else {
            if self.timing.is_late(self.end_of(time_ms), watermark_ms) {
                return Ok(false);
            }
            let mut pane = Pane::new(self.kept.start());
            pane.since = 1;
            self.kept.add(&mut pane.value, item.value)?;
            let (start_ms, last_ms) = (time_ms, time_ms);
            let span = Span { start_ms, last_ms, pane, stood: None, is_changed: true, time_ms };
            let at = spans.live.partition_point(|other| other.start_ms < start_ms);
            spans.live.insert(at, span);
            return Ok(true);
        };
        // They lie in the order of their starts, so what the value joins lies side by side.
        while spans.live.get(at + 1).is_some_and(meets) {
            let next = spans.live.remove(at + 1);
            spans.gone.extend(next.stood);
            let span = &mut spans.live[at];
            span.last_ms = span.last_ms.max(next.last_ms);
            span.pane.since += next.pane.since;
            self.kept.merge(&mut span.pane.value, next.pane.value)?;
        }
        let span = &mut spans.live[at];
        self.kept.add(&mut span.pane.value, item.value)?;
        span.pane.since += 1;
        span.is_changed = true;
        span.time_ms = span.time_ms.max(time_ms);
        (span.start_ms, span.last_ms) = (span.start_ms.min(time_ms), span.last_ms.max(time_ms));
        Ok(true)
    }

    /// Takes back the row and the timers of a place where no session is any more.
    fn clear(&self, key: &[u8], (start_ms, end_ms): (i64, i64), turn: &mut Turn) {
        turn.state.remove(row::VIEW, &row_key_of_window(key, start_ms));
        self.timing.cancel_timers(end_ms, &timer_key(start_ms, key), turn);
    }

    fn flush_span(
        &self,
        key: &[u8],
        span: &mut Span<K::Value>,
        turn: &mut Turn,
    ) -> Result<(), Failure> {
        let end_ms = self.end_of(span.last_ms);
        let timer = timer_key(span.start_ms, key);
        if span.stood != Some((span.start_ms, end_ms)) {
            if let Some((start_ms, stood_end_ms)) = span.stood {
                if start_ms != span.start_ms {
                    self.clear(key, (start_ms, stood_end_ms), turn);
                    span.pane.armed = false;
                } else {
                    self.timing.cancel_timers(stood_end_ms, &timer, turn);
                }
            }
            self.timing.set_timers(end_ms, &timer, false, turn)?;
        }
        let row_key = row_key_of_window(key, span.start_ms);
        let time_ms = span.time_ms;
        let place = Place { row_key: &row_key, timer: &timer, end_ms, time_ms, is_all_row: false };
        self.timing.changed(&*self.kept, &place, &mut span.pane, turn)
    }
}

impl<K: Kept> Core for Sessioning<K> {
    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure> {
        let mut open = std::mem::replace(&mut self.open, Open::new());
        let taken = match open.get(item, turn) {
            Some(spans) => {
                turn.state.note(item.value.len());
                self.add(spans, item, turn.watermark_ms)
            }
            None => {
                let (mut spans, size) = self.load(item.key, turn)?;
                let note = TOUCH_BYTES + 2 * item.key.len() + item.value.len() + 2 * size;
                turn.state.note(note);
                let taken = self.add(&mut spans, item, turn.watermark_ms);
                open.insert(item, turn, spans);
                taken
            }
        };
        self.open = open;
        if taken? { Ok(()) } else { bury_late(item, &self.kept.show(item.value), turn) }
    }

    fn timer(&mut self, at_ms: i64, timer: &[u8], turn: &mut Turn) -> Result<(), Failure> {
        let (start_ms, key) = read_timer(timer)?;
        let (mut spans, _) = self.load(key, turn)?;
        let row_key = row_key_of_window(key, start_ms);
        let Some(at) = spans.live.iter().position(|span| span.start_ms == start_ms) else {
            // Only a row that is kept for a time has a timer after its session.
            turn.state.remove(row::VIEW, &row_key);
            return Ok(());
        };
        let span = &mut spans.live[at];
        let end_ms = self.end_of(span.last_ms);
        if at_ms == end_ms || (at_ms < end_ms && span.pane.armed) {
            let is_all_row = false;
            let place = Place { row_key: &row_key, timer, end_ms, time_ms: at_ms, is_all_row };
            self.timing.due(&*self.kept, &place, &mut span.pane, turn)?;
        }
        if self.timing.is_late(end_ms, at_ms) {
            spans.live.remove(at);
        }
        if self.timing.rows_end(end_ms).is_some_and(|rows_end| at_ms >= rows_end) {
            turn.state.remove(row::VIEW, &row_key);
        }
        self.save(key, &spans.live, turn)
    }

    fn flush(&mut self, turn: &mut Turn) -> Result<(), Failure> {
        for Touched { key, value: mut spans, unit, .. } in self.open.take() {
            turn.unit = unit;
            for place in std::mem::take(&mut spans.gone) {
                self.clear(&key, place, turn);
            }
            for span in spans.live.iter_mut().filter(|span| span.is_changed) {
                self.flush_span(&key, span, turn)?;
            }
            self.save(&key, &spans.live, turn)?;
        }
        Ok(())
    }

    fn show(&self, value: &[u8]) -> Bytes {
        self.kept.show(value)
    }

    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        if key.first() != Some(&row::STATE) {
            return Ok(());
        }
        let spans: Vec<KeptSpan> = unpack(value)?;
        spans.iter().try_for_each(|span| self.timing.load(&*self.kept, &span.2).map(drop))
    }
}
