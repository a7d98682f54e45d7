//! Events as HTTP shows them.

use crate::history::{Id, Seen};
use anyhow::Context;
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
    of(&value(event)?, (partition, offset))
}

/// The event with this value at this place, for a reader to be named.
pub fn of(value: &Value, (partition, offset): (u32, i64)) -> anyhow::Result<Seen> {
    let number =
        |name: &str| value[name].as_i64().with_context(|| format!("no number {name} in {value}"));
    let id = Id { client: number("c")? as u16, number: number("n")? as u32 };
    let (key, time_ms) = (number("k")? as u32, number("t")?);
    Ok(Seen { reader: 0, partition, offset, id, key, time_ms })
}
