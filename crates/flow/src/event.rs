//! An event as user code sees it.

use bytes::Bytes;
use model::batch::Record;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// One event of a source stream.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Event {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// Its producer's timestamp, ms since 1970.
    pub time_ms: i64,
    pub partition: u32,
    pub offset: i64,
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

// A tuple, not a map: events pass the exchange one by one, and field names would be most of a small one.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { key, value, time_ms, partition, offset, headers } = self;
        (key, value, time_ms, partition, offset, headers).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (key, value, time_ms, partition, offset, headers) =
            Deserialize::deserialize(deserializer)?;
        Ok(Self { key, value, time_ms, partition, offset, headers })
    }
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

    /// If the event tells a window, as windowed aggregates do: the window's key and start, ms since 1970.
    pub fn window(&self) -> Option<(Cow<'_, str>, i64)> {
        let (key, start_ms) = crate::key::window_of_row(self.key.as_deref()?)?;
        Some((String::from_utf8_lossy(key), start_ms))
    }

    /// The first header of this name, as text; what is not UTF-8 in it becomes U+FFFD.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let found = self.headers.iter().find(|(of, _)| of == name.as_bytes())?;
        Some(String::from_utf8_lossy(found.1.as_deref().unwrap_or_default()))
    }
}
