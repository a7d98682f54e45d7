//! How user values travel from the stateless chain to the task, rest as state, and are shown to people.
//!
//! Between chain and task, and as a processor's state: MessagePack with field names, because it says its own types
//! (untagged enums, flattened structs and JSON values survive) and takes bytes as bytes. To people: JSON.

use crate::Event;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::any::Any;

/// Why a value or a processor failed; `?` makes one of any error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub(crate) String);

/// Characters of a cause that are kept.
const CAUSE_CHARS_MAX: usize = 512;

impl Failure {
    pub fn new(cause: impl Into<String>) -> Self {
        Self(cause.into())
    }

    /// What goes into headers and traces: bounded.
    pub fn cause(&self) -> String {
        self.0.chars().take(CAUSE_CHARS_MAX).collect()
    }

    /// What a caught panic said.
    pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Self(format!("panic: {}", text.unwrap_or_else(|| "without a message".into())))
    }
}

// As in anyhow: not an error itself, so that every error becomes one by `?`.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

pub(crate) fn pack<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Failure> {
    Ok(rmp_serde::encode::write_named(out, value)?)
}

pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    Ok(rmp_serde::from_slice(bytes)?)
}

/// A value as others see it in a stream: an event is its value, text and bytes are themselves, all else is JSON.
pub(crate) fn show<T: Serialize + 'static>(value: &T) -> Result<Bytes, Failure> {
    let any = value as &dyn Any;
    if let Some(event) = any.downcast_ref::<Event>() {
        return Ok(event.value.clone().unwrap_or_default());
    }
    if let Some(text) = any.downcast_ref::<String>() {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    if let Some(bytes) = any.downcast_ref::<Bytes>() {
        return Ok(bytes.clone());
    }
    json(value)
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<Bytes, Failure> {
    Ok(Bytes::from(serde_json::to_vec(value)?))
}
