//! A user's processor as a stage.

use super::{Core, EXPIRY, OWN, Turn};
use crate::carry::{Failure, show, unpack};
use crate::chunk::Item;
use crate::context::{Context, Processor};
use crate::declared;
use bytes::Bytes;
use model::entry::row;
use serde::{Serialize, de::DeserializeOwned};
use std::marker::PhantomData;

/// Runs a processor on items of type `T`.
pub(crate) struct Processing<P, T> {
    processor: P,
    takes: PhantomData<fn(T)>,
}

impl<P, T> Processing<P, T> {
    pub(crate) fn new(processor: P) -> Self {
        Self { processor, takes: PhantomData }
    }
}

impl<P, T> Core for Processing<P, T>
where
    P: Processor<T>,
    T: Serialize + DeserializeOwned + 'static,
{
    fn open(&mut self, turn: &mut Turn) -> Result<(), Failure> {
        self.processor.open(&mut Context::new(turn, &[], i64::MIN))
    }

    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure> {
        let event: T = unpack(item.value)?;
        self.processor.process(&event, &mut Context::new(turn, item.key, item.time_ms))
    }

    fn timer(&mut self, at_ms: i64, key: &[u8], turn: &mut Turn) -> Result<(), Failure> {
        match key.split_first() {
            Some((&OWN, key)) => {
                self.processor.on_timer(at_ms, &mut Context::new(turn, key, at_ms))
            }
            Some((&EXPIRY, row_key)) => declared::expire(at_ms, row_key, turn),
            _ => Err(Failure::new("a timer is malformed")),
        }
    }

    fn clock(&mut self, at_ms: i64, key: &[u8], turn: &mut Turn) -> Result<(), Failure> {
        self.processor.on_clock(at_ms, &mut Context::new(turn, key, at_ms))
    }

    fn close(&mut self) {
        self.processor.close();
    }

    fn show(&self, value: &[u8]) -> Bytes {
        shown::<T>(value)
    }

    fn check(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let name = match key.first() {
            Some(&(row::VALUE | row::ORDERED)) => declared::name_of(key),
            // What a processor writes by `row` and `state` is of the type that it asks for.
            _ => return Ok(()),
        };
        let (name, _) = name.ok_or(Failure::new("a kept row says no name"))?;
        let states = self.processor.states();
        let Some(of) = states.iter().find(|of| of.name() == name) else {
            return Err(Failure::new(format!(
                "{name:?} is kept, and this version declares no such"
            )));
        };
        of.check(value)
    }
}

/// A carried value as people read it; what cannot be shown is left as it is.
pub(super) fn shown<T: Serialize + DeserializeOwned + 'static>(value: &[u8]) -> Bytes {
    let shown = unpack::<T>(value).and_then(|value| show(&value));
    shown.unwrap_or_else(|_| Bytes::copy_from_slice(value))
}
