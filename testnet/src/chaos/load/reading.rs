//! Events as HTTP shows them.

use crate::history::{Id, Seen};
use anyhow::{Context, ensure};
use serde_json::Value;

/// Events of one answer.
const EVENTS_MAX: usize = 2000;

/// Where the next events of a partition are asked for.
pub fn page(stream: &str, partition: u32, offset: i64) -> String {
    format!("/v1/streams/{stream}/events?partition={partition}&offset={offset}&max={EVENTS_MAX}")
}

/// What an event holds. A value that was JSON comes back as the text that was sent.
pub fn value(event: &Value) -> anyhow::Result<Value> {
    match &event["value"] {
        Value::String(text) => serde_json::from_str(text).with_context(|| format!("in {event}")),
        other => Ok(other.clone()),
    }
}

/// An event, for a reader to be named.
pub fn seen(event: &Value) -> anyhow::Result<Seen> {
    let partition = event["partition"].as_u64().context("an event has a partition")? as u32;
    let offset = event["offset"].as_i64().context("an event has an offset")?;
    let key = event["key"].as_str().context("an event has a key")?;
    let time_ms = event["time_ms"].as_i64().context("an event has a time")?;
    of(&value(event)?, (partition, offset), (key, time_ms))
}

/// The event with this value at this place, for a reader to be named. Its key and its time, as it is stored, must be
/// those that its value tells.
pub fn of(
    value: &Value,
    (partition, offset): (u32, i64),
    (stored_key, stored_ms): (&str, i64),
) -> anyhow::Result<Seen> {
    let number =
        |name: &str| value[name].as_i64().with_context(|| format!("no number {name} in {value}"));
    let id = Id { client: number("c")? as u16, number: number("n")? as u32 };
    let (key, time_ms) = (number("k")? as u32, number("t")?);
    ensure!(
        stored_key == format!("k{key}") && stored_ms == time_ms,
        "the event {value} is stored under the key {stored_key:?} and the time {stored_ms}"
    );
    Ok(Seen { reader: 0, partition, offset, id, key, time_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_under_another_key_or_time_than_it_was_sent_with_is_not_taken() {
        let value = json!({"c": 1, "n": 2, "k": 7, "t": 40});
        let read = |key, time_ms| of(&value, (0, 5), (key, time_ms));
        assert_eq!(read("k7", 40).expect("it is as it was sent").offset, 5);
        assert!(read("k8", 40).is_err() && read("k7", 41).is_err());
    }
}
