//! `/v1/streams/{name}/settings`: how a stream's events are kept, and changing it.

use crate::BATCH_BYTES_LIMIT;
use model::{Problem, Settings};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// The answer. What is null is as usual in this mesh, now and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamSettings {
    /// Events older than this may be forgotten; -1: never, which is usual.
    pub retention_ms: Option<i64>,
    /// Bytes of one partition above which its oldest events may be forgotten; -1: none, which is usual.
    pub retention_bytes: Option<i64>,
    /// The largest batch that clients may append.
    pub batch_bytes_max: Option<u32>,
}

impl From<Settings> for StreamSettings {
    fn from(settings: Settings) -> Self {
        let Settings { retention_ms, retention_bytes, batch_bytes_max } = settings;
        Self { retention_ms, retention_bytes, batch_bytes_max }
    }
}

/// `PATCH`: what is left out stays, what is null becomes as usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSettings {
    #[serde(default, deserialize_with = "told", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, minimum = -1)]
    pub retention_ms: Option<Option<i64>>,
    #[serde(default, deserialize_with = "told", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, minimum = -1)]
    pub retention_bytes: Option<Option<i64>>,
    #[serde(default, deserialize_with = "told", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, maximum = 7_340_032)]
    pub batch_bytes_max: Option<Option<u32>>,
}

/// A field that is there, be it null.
fn told<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl NewSettings {
    /// The settings that a stream has after this.
    pub fn upon(&self, settings: Settings) -> Result<Settings, Problem> {
        let least = |name: &str, value: Option<Option<i64>>| match value.flatten() {
            Some(value) if value < -1 => {
                let because = "-1 means never, null means as usual in this mesh";
                Err(refused(&format!("{name} = {value}"), because))
            }
            _ => Ok(()),
        };
        least("retention_ms", self.retention_ms)?;
        least("retention_bytes", self.retention_bytes)?;
        let most = BATCH_BYTES_LIMIT as u32;
        if let Some(bytes) = self.batch_bytes_max.flatten().filter(|bytes| *bytes > most) {
            let because = format!("no batch may have more than {most} bytes");
            return Err(refused(&format!("batch_bytes_max = {bytes}"), &because));
        }
        Ok(Settings {
            retention_ms: self.retention_ms.unwrap_or(settings.retention_ms),
            retention_bytes: self.retention_bytes.unwrap_or(settings.retention_bytes),
            batch_bytes_max: self.batch_bytes_max.unwrap_or(settings.batch_bytes_max),
        })
    }
}

fn refused(what: &str, because: &str) -> Problem {
    let what = format!("a stream cannot have {what}");
    Problem::new("SH0404", what, because, "shoal stream configure --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upon(json: &str) -> Result<Settings, Problem> {
        let new: NewSettings = serde_json::from_str(json).expect("well formed");
        let bytes = Some(1_000);
        new.upon(Settings { retention_ms: Some(5), retention_bytes: bytes, batch_bytes_max: None })
    }

    #[test]
    fn what_is_left_out_stays_and_what_is_null_becomes_usual() {
        let set = upon(r#"{"retention_ms": null, "batch_bytes_max": 9}"#).expect("it can be");
        let all = (set.retention_ms, set.retention_bytes, set.batch_bytes_max);
        assert_eq!(all, (None, Some(1_000), Some(9)));
        assert_eq!(upon(r#"{"retention_bytes": -1}"#).expect("never").retention_bytes, Some(-1));
        for nonsense in [r#"{"retention_ms": -2}"#, r#"{"batch_bytes_max": 7340033}"#] {
            assert_eq!(upon(nonsense).expect_err("refused").code, "SH0404", "{nonsense}");
        }
        assert_eq!(BATCH_BYTES_LIMIT, 7_340_032, "the document says so");
    }
}
