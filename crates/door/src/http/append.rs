//! `POST /v1/streams/{name}/events`: events as JSON become one batch a partition.

use super::{DEPTH_MAX, EVENTS_MAX, Shown};
use crate::{BATCH_BYTES_LIMIT, TIME_MS};
use model::batch::HEADER_BYTES;
use model::hash::{bucket_of, hash64};
use model::{Batch, BatchBuilder, Problem};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use utoipa::ToSchema;

/// The request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEvents {
    /// At most [`EVENTS_MAX`]; the rest of a longer list is not even read.
    #[serde(deserialize_with = "few")]
    pub events: Vec<EventIn>,
    /// All events go there; else their keys decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
}

/// One event. Key and value are strings (their UTF-8 bytes), `{"base64": "…"}` (those bytes), null
/// (none) or any other JSON (its text, exactly as it was sent).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventIn {
    #[serde(default)]
    pub key: Shown,
    #[serde(default)]
    pub value: Shown,
    /// ms since 1970; the time of arrival if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<i64>,
}

/// Reads a list of events no further than allowed: a small body can hold millions of empty ones.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<EventIn>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Vec<EventIn>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {EVENTS_MAX} events")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut events = Vec::new();
            while let Some(event) = list.next_element()? {
                if events.len() == EVENTS_MAX {
                    return Err(A::Error::custom(format_args!("more than {EVENTS_MAX} events")));
                }
                events.push(event);
            }
            Ok(events)
        }
    }

    deserializer.deserialize_seq(Few)
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventsAppended {
    pub appended: Vec<AppendedPart>,
}

/// Where the events of one partition lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppendedPart {
    pub partition: u32,
    /// Of the first of them.
    pub offset: i64,
    pub count: u32,
}

/// What one partition is to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartBatch {
    pub partition: u32,
    pub count: u32,
    pub batch: Batch,
}

/// What a request says for each of its partitions, whenever it comes: two requests under one idempotency key are the
/// same if this is.
pub fn bodies(
    request: &NewEvents,
    partitions: u32,
    spread: u64,
) -> Result<BTreeMap<u32, u64>, Problem> {
    let parts = batches(request, partitions, 0, spread)?;
    let body = |part: PartBatch| {
        let batch = part.batch;
        let times = batch.base_time_ms().to_le_bytes();
        (part.partition, hash64(&[&times, &batch.bytes()[HEADER_BYTES..]].concat()))
    };
    Ok(parts.into_iter().map(body).collect())
}

/// Builds the batches of a request, one a partition, in the order of partitions.
///
/// `partitions` is how many the stream has; `spread` chooses the one that takes all events without
/// a key (draw it per request, or count up). Panics if `partitions` is 0: no stream has none. The
/// same request with the same arguments gives the same bytes.
pub fn batches(
    request: &NewEvents,
    partitions: u32,
    now_ms: i64,
    spread: u64,
) -> Result<Vec<PartBatch>, Problem> {
    let count = request.events.len();
    if count == 0 || count > EVENTS_MAX {
        return Err(Problem::new(
            if count == 0 { "SH0404" } else { "SH0401" },
            format!("the request has {count} events"),
            format!("a request has 1 to {EVENTS_MAX} events"),
            "send them in several requests",
        ));
    }
    if let Some(partition) = request.partition.filter(|partition| *partition >= partitions) {
        return Err(Problem::new(
            "SH0306",
            format!("there is no partition {partition}"),
            format!("the stream has partitions 0 to {}", partitions.saturating_sub(1)),
            "leave `partition` out, then the key decides",
        ));
    }
    let mut builders: BTreeMap<u32, BatchBuilder> = BTreeMap::new();
    for (at, event) in request.events.iter().enumerate() {
        check_depth(at, event)?;
        check_time(at, event)?;
        let (key, value) = (event.key.meant(), event.value.meant());
        let partition = request.partition.unwrap_or_else(|| match &key {
            Some(key) => bucket_of(key, partitions),
            None => (spread % u64::from(partitions)) as u32,
        });
        let builder = builders.entry(partition).or_default();
        builder.push(event.time_ms.unwrap_or(now_ms), key.as_deref(), value.as_deref(), &[]);
        if builder.size() > BATCH_BYTES_LIMIT {
            return Err(too_large(partition, builder));
        }
    }
    let built = builders.into_iter().map(|(partition, builder)| {
        let count = builder.count() as u32;
        let batch = builder.build().expect("each builder has at least one event");
        PartBatch { partition, count, batch }
    });
    Ok(built.collect())
}

fn too_large(partition: u32, builder: &BatchBuilder) -> Problem {
    let count = builder.count();
    Problem::new(
        "SH0401",
        format!("the first {count} events of partition {partition} take {} bytes", builder.size()),
        format!("no batch may have more than {BATCH_BYTES_LIMIT} bytes"),
        "send fewer events in one request, or smaller ones",
    )
}

fn check_time(at: usize, event: &EventIn) -> Result<(), Problem> {
    match event.time_ms {
        Some(time_ms) if time_ms < 0 || !TIME_MS.contains(&time_ms) => Err(Problem::new(
            "SH0404",
            format!("event {at} has the time {time_ms}"),
            "times are milliseconds since 1970, up to the year 9999",
            "send milliseconds, or leave `time_ms` out",
        )),
        _ => Ok(()),
    }
}

fn check_depth(at: usize, event: &EventIn) -> Result<(), Problem> {
    let depth = event.value.depth().max(event.key.depth());
    if depth <= DEPTH_MAX {
        return Ok(());
    }
    Err(Problem::new(
        "SH0404",
        format!("event {at} is nested {depth} levels deep"),
        format!("JSON is read to a depth of {DEPTH_MAX}"),
        "send it as a string if its shape does not matter",
    ))
}
