//! A stage that keeps nothing: its items are its output.

use super::{Core, Turn};
use crate::carry::Failure;
use crate::chunk::Item;
use bytes::Bytes;

/// Passes items on; the exchange has made their values what others see.
pub(crate) struct Forward {
    /// Whether an empty key means that the item has none.
    pub(crate) keyless: bool,
}

impl Core for Forward {
    fn item(&mut self, item: &Item<'_>, turn: &mut Turn) -> Result<(), Failure> {
        let key = (!self.keyless || !item.key.is_empty()).then_some(item.key);
        turn.state.emit(item.time_ms, key, item.value)
    }

    fn timer(&mut self, _at_ms: i64, _key: &[u8], _turn: &mut Turn) -> Result<(), Failure> {
        Ok(())
    }

    fn check(&self, _key: &[u8], _value: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    fn show(&self, value: &[u8]) -> Bytes {
        Bytes::copy_from_slice(value)
    }
}
