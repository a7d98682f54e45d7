//! A sample of what a task keeps, as bytes: what a new version of its code must be able to read.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// `GET /v1/pipelines/{name}/sample?…`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct SampleQuery {
    pub stage: String,
    pub bucket: u32,
}

/// Rows of one task, spread over all that it keeps; keys and values in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// The version of the pipeline that kept them; 0 if the task never ran.
    pub version: u32,
    #[schema(value_type = Vec<Vec<String>>)]
    rows: Vec<(String, String)>,
}

impl Sample {
    pub fn of<'a>(version: u32, rows: impl Iterator<Item = &'a (Bytes, Bytes)>) -> Self {
        Self { version, rows: rows.map(|(key, value)| (digits(key), digits(value))).collect() }
    }

    /// The rows as they are kept; nothing if somebody else wrote this.
    pub fn rows(&self) -> Option<Vec<(Bytes, Bytes)>> {
        self.rows.iter().map(|(key, value)| Some((bytes(key)?, bytes(value)?))).collect()
    }
}

fn digits(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to memory cannot fail");
    }
    text
}

fn bytes(text: &str) -> Option<Bytes> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_and_nonsense_is_none() {
        let rows = vec![(Bytes::from_static(b"\x00\xffk"), Bytes::new())];
        let sample = Sample::of(3, rows.iter());
        let json = serde_json::to_string(&sample).expect("JSON");
        assert_eq!(json, r#"{"version":3,"rows":[["00ff6b",""]]}"#);
        assert_eq!(serde_json::from_str::<Sample>(&json).expect("as written").rows(), Some(rows));
        for nonsense in ["0", "0g", "é0"] {
            assert_eq!(bytes(nonsense), None, "{nonsense}");
        }
    }
}
