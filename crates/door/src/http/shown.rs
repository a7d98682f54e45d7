//! Bytes as JSON shows them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::fmt;

/// A key or value as JSON text, kept exactly as it was written: text as a string, other bytes as
/// `{"base64": "…"}`, nothing as null, and a view's rows by the view's format.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shown(Box<RawValue>);

impl Shown {
    /// A key or value of an event: a string if it is UTF-8.
    pub fn of(bytes: Option<&[u8]>) -> Self {
        match bytes.map(std::str::from_utf8) {
            None => Self::value(&Value::Null),
            Some(Ok(text)) => Self::value(text),
            Some(Err(_)) => Self::binary(bytes.unwrap_or_default()),
        }
    }

    /// A value of a view, by the view's format; what does not fit the format is shown as an event's
    /// would be.
    pub fn row(format: &str, bytes: &[u8]) -> Self {
        let number = || <[u8; 8]>::try_from(bytes).ok().map(u64::from_le_bytes);
        let json = || std::str::from_utf8(bytes).ok().and_then(|text| Self::json(text).ok());
        let shown = match format {
            "json" => json(),
            "u64" => number().map(|number| Self::value(&number)),
            "bytes" => Some(Self::binary(bytes)),
            _ => None,
        };
        shown.unwrap_or_else(|| Self::of(Some(bytes)))
    }

    /// JSON that is there as text.
    pub fn json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }

    fn binary(bytes: &[u8]) -> Self {
        Self::value(&serde_json::json!({ "base64": STANDARD.encode(bytes) }))
    }

    fn value<T: Serialize + ?Sized>(value: &T) -> Self {
        Self(to_raw_value(value).expect("plain values are always JSON"))
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// For a table: a string without its quotes, anything else as JSON.
    pub fn plain(&self) -> String {
        serde_json::from_str(self.text()).unwrap_or_else(|_| self.text().to_owned())
    }

    /// The JSON value; numbers beyond 64 bits lose digits.
    pub fn parsed(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or(Value::Null)
    }

    /// The bytes a client means: a string's own, base64 decoded, null none, any other JSON as its
    /// text.
    pub(super) fn meant(&self) -> Option<Vec<u8>> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Binary {
            base64: String,
        }
        let text = self.text();
        match text.as_bytes().first() {
            Some(b'n') => return None,
            Some(b'"') => {
                if let Ok(plain) = serde_json::from_str::<String>(text) {
                    return Some(plain.into_bytes());
                }
            }
            Some(b'{') => {
                let binary = serde_json::from_str::<Binary>(text).ok();
                if let Some(bytes) = binary.and_then(|b| STANDARD.decode(b.base64).ok()) {
                    return Some(bytes);
                }
            }
            _ => {}
        }
        Some(text.as_bytes().to_vec())
    }

    /// How deep arrays and objects are nested; found without recursion.
    pub(super) fn depth(&self) -> usize {
        let (mut depth, mut deepest, mut quoted, mut escaped) = (0usize, 0, false, false);
        for byte in self.text().bytes() {
            match (quoted, byte) {
                (true, _) if escaped => escaped = false,
                (true, b'\\') => escaped = true,
                (_, b'"') => quoted = !quoted,
                (false, b'[' | b'{') => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                (false, b']' | b'}') => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        deepest
    }
}

impl utoipa::PartialSchema for Shown {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, SchemaType};
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some(
                "Text as a string, other bytes as {\"base64\": …}, nothing as null; else any JSON",
            ))
            .into()
    }
}

impl utoipa::ToSchema for Shown {}

impl Default for Shown {
    fn default() -> Self {
        Self::value(&Value::Null)
    }
}

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        Self::value(text)
    }
}

impl From<&Value> for Shown {
    fn from(value: &Value) -> Self {
        Self::value(value)
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
