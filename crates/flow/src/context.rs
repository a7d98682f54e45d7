//! A processor and what it may touch: rows, state, timers and output of its own keys, all in the one commit.

use crate::Carried;
use crate::carry::{Failure, json, pack, unpack};
use crate::core::{OWN, Turn, Unit};
use crate::declared::{Declared, List, ListOf, Map, MapOf, Value, ValueOf};
use crate::key::{ToKey, bucket_of_row};
use bytes::Bytes;
use model::entry::row;
use serde::{Serialize, de::DeserializeOwned};
use std::borrow::Cow;

/// User code that keeps state. One instance runs a bucket of keys; what it keeps in fields of its own may be lost
/// at any event (a restart, a move to another peer), what it keeps through [`Context`] never is.
///
/// A panic or an error takes back what the event did; the event is tried three times, then it is a dead letter.
#[allow(unused_variables)]
pub trait Processor<T = crate::Event>: Send + 'static {
    /// Before the first event, and again after each restart.
    fn open(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        Ok(())
    }
    /// One event of one of its keys.
    fn process(&mut self, event: &T, ctx: &mut Context<'_>) -> Result<(), Failure>;
    /// A timer of `ctx.key()` is due: the watermark has reached `at_ms`.
    fn on_timer(&mut self, at_ms: i64, ctx: &mut Context<'_>) -> Result<(), Failure> {
        Ok(())
    }
    /// A timer of processing time of `ctx.key()` is due, at `at_ms` or some time later.
    fn on_clock(&mut self, at_ms: i64, ctx: &mut Context<'_>) -> Result<(), Failure> {
        Ok(())
    }
    /// The task leaves this peer in good order.
    fn close(&mut self) {}
    /// What it keeps by [`Context::value`], [`Context::list`] and [`Context::map`]: a new version is checked
    /// against what an old one kept before it runs.
    fn states(&self) -> Vec<&'static dyn Declared> {
        Vec::new()
    }
}

/// What one call of a processor may see and change.
#[derive(Debug)]
pub struct Context<'a> {
    turn: &'a mut Turn,
    key: &'a [u8],
    time_ms: i64,
}

impl<'a> Context<'a> {
    pub(crate) fn new(turn: &'a mut Turn, key: &'a [u8], time_ms: i64) -> Self {
        Self { turn, key, time_ms }
    }

    /// The key of the event or timer.
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The key as text; what is not UTF-8 in it becomes U+FFFD.
    pub fn key_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }

    /// Stream, partition and offset of the event; nothing during a timer.
    pub fn source(&self) -> Option<(&str, u32, i64)> {
        let Unit::Event { source, offset } = &self.turn.unit else { return None };
        let stream = self.turn.streams.get(&source.stream).map_or("", String::as_str);
        Some((stream, source.partition, *offset))
    }

    /// Processing time, ms since 1970: when this step is computed. Tried again, it may be later.
    pub fn now_ms(&self) -> i64 {
        self.turn.clock_ms
    }

    /// Event time of the event, or the timer's time.
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// No earlier event is expected; `i64::MIN` before the first.
    pub fn watermark_ms(&self) -> i64 {
        self.turn.watermark_ms
    }

    /// Stage, stream, partition and offset, for traces.
    pub fn place(&self) -> String {
        self.turn.place(&self.turn.unit)
    }

    /// A row of the view, as JSON. Its key must be one of this bucket's: the event's own, or that with a window.
    pub fn row(&mut self, key: impl ToKey) -> Slot<'_> {
        Slot::new(self.turn, row::VIEW, key)
    }

    /// Kept state that clients do not see. Other buckets do not see it either.
    pub fn state(&mut self, key: impl ToKey) -> Slot<'_> {
        Slot::new(self.turn, row::STATE, key)
    }

    /// Appends an event, with its value as JSON (text and bytes as they are), to the stage's output stream.
    pub fn emit<V: Serialize + 'static>(
        &mut self,
        key: impl ToKey,
        value: &V,
    ) -> Result<(), Failure> {
        if !self.turn.emits {
            return Err(Failure::new(
                "emit without an output stream: give the stage a .to(stream)",
            ));
        }
        let mut bytes = Vec::new();
        key.put_key(&mut bytes);
        self.turn.state.emit(self.time_ms, Some(&bytes), &crate::carry::show(value)?)
    }

    /// As [`Self::emit`], to a side output that the stage declares by `.side(stream)`.
    pub fn emit_to<V: Serialize + 'static>(
        &mut self,
        side: &str,
        key: impl ToKey,
        value: &V,
    ) -> Result<(), Failure> {
        let Some(at) = self.turn.sides.iter().position(|of| of == side) else {
            return Err(Failure::new(format!("the stage has no side output {side:?}")));
        };
        let mut bytes = Vec::new();
        key.put_key(&mut bytes);
        let value = crate::carry::show(value)?;
        self.turn.state.emit_aside(at, self.time_ms, Some(&bytes), &value, &[])
    }

    /// Counts something under a name of its own, for the stage's metrics. What is tried again counts again.
    pub fn count(&mut self, name: &'static str, more: u64) -> Result<(), Failure> {
        self.turn.count(name, more)
    }

    /// A value that this processor keeps of this key.
    pub fn value<V: Carried>(&mut self, of: &'static Value<V>) -> ValueOf<'_, V> {
        ValueOf::new(self.turn, self.key, self.time_ms, of)
    }

    /// A list that this processor keeps of this key.
    pub fn list<V: Carried>(&mut self, of: &'static List<V>) -> ListOf<'_, V> {
        ListOf::new(self.turn, self.key, self.time_ms, of)
    }

    /// A map that this processor keeps of this key.
    pub fn map<K: Carried, V: Carried>(&mut self, of: &'static Map<K, V>) -> MapOf<'_, K, V> {
        MapOf::new(self.turn, self.key, self.time_ms, of)
    }

    /// Calls `on_timer` for this key when the watermark reaches `at_ms`. Setting it twice is setting it once.
    pub fn set_timer(&mut self, at_ms: i64) -> Result<(), Failure> {
        self.turn.state.set_timer(at_ms, &own(self.key))
    }

    /// Forgets a timer of this key.
    pub fn cancel_timer(&mut self, at_ms: i64) {
        self.turn.state.cancel_timer(at_ms, &own(self.key));
    }

    /// Calls `on_clock` for this key when processing time reaches `at_ms`.
    pub fn set_clock(&mut self, at_ms: i64) -> Result<(), Failure> {
        self.turn.state.set_timer_of(row::CLOCK, at_ms, self.key)
    }

    /// Forgets a timer of processing time of this key.
    pub fn cancel_clock(&mut self, at_ms: i64) {
        self.turn.state.cancel_timer_of(row::CLOCK, at_ms, self.key);
    }
}

/// A timer of the processor itself, not of what it keeps.
fn own(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(OWN);
    out.extend_from_slice(key);
    out
}

/// One row or one piece of state.
#[derive(Debug)]
pub struct Slot<'a> {
    turn: &'a mut Turn,
    space: u8,
    key: Vec<u8>,
}

impl<'a> Slot<'a> {
    fn new(turn: &'a mut Turn, space: u8, key: impl ToKey) -> Self {
        let mut bytes = Vec::new();
        key.put_key(&mut bytes);
        Self { turn, space, key: bytes }
    }

    pub fn get<V: DeserializeOwned>(&mut self) -> Result<Option<V>, Failure> {
        let Some(bytes) = self.turn.state.get(self.space, &self.key) else {
            return Ok(None);
        };
        match self.space {
            row::VIEW => Ok(Some(serde_json::from_slice(bytes)?)),
            _ => unpack(bytes).map(Some),
        }
    }

    pub fn put<V: Serialize>(&mut self, value: &V) -> Result<(), Failure> {
        self.check()?;
        let bytes = if self.space == row::VIEW {
            json(value)?
        } else {
            let mut out = Vec::new();
            pack(value, &mut out)?;
            Bytes::from(out)
        };
        self.turn.state.put(self.space, &self.key, bytes)
    }

    pub fn remove(&mut self) -> Result<(), Failure> {
        self.check()?;
        self.turn.state.remove(self.space, &self.key);
        Ok(())
    }

    /// A row in the wrong bucket would never be found by its key.
    fn check(&self) -> Result<(), Failure> {
        let (here, buckets) = (self.turn.bucket, self.turn.buckets);
        if self.space != row::VIEW || bucket_of_row(&self.key, buckets) == here {
            return Ok(());
        }
        let key = String::from_utf8_lossy(&self.key);
        Err(Failure::new(format!(
            "row {key:?} is not of this bucket: key_by the key whose row is written"
        )))
    }
}
