//! An event as user code sees it.

use bytes::Bytes;
use model::batch::Record;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One event of a source stream.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Event {
    #[serde(rename = "k")]
    pub key: Option<Bytes>,
    #[serde(rename = "v")]
    pub value: Option<Bytes>,
    /// Its producer's timestamp, ms since 1970.
    #[serde(rename = "t")]
    pub time_ms: i64,
    #[serde(rename = "p")]
    pub partition: u32,
    #[serde(rename = "o")]
    pub offset: i64,
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Event {
    pub(crate) fn of(record: Record, partition: u32) -> Self {
        let Record { offset, time_ms, key, value, headers } = record;
        Self { key, value, time_ms, partition, offset, headers }
    }

    /// The key's bytes; none is empty.
    pub fn key(&self) -> Bytes {
        self.key.clone().unwrap_or_default()
    }

    /// The value's bytes; none is empty.
    pub fn value(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// The value as text; what is not UTF-8 in it becomes U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.value())
    }

    /// The first header of this name, as text; what is not UTF-8 in it becomes U+FFFD.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let found = self.headers.iter().find(|(of, _)| of == name.as_bytes())?;
        Some(String::from_utf8_lossy(found.1.as_deref().unwrap_or_default()))
    }
}
