//! Writers over HTTP: each request has an idempotency key and is repeated, at the next peer, until its outcome is known.

use super::own::event;
use super::{EVENTS, GIVE_UP, KEYS, PAUSE, Seat};
use crate::chaos::http::{Answer, Caller, Failure, Request};
use crate::history::{Append, Id, Line, Outcome, Pen, now};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between two requests of one writer.
const PACE: Duration = Duration::from_millis(40);
/// Events of one request at most; they have one key, and so one partition.
const EVENTS_MAX: u64 = 5;

pub(super) async fn write(mut seat: Seat) -> anyhow::Result<()> {
    let mut pen = Pen::new(&seat.folder, &format!("http-write-{}", seat.client))?;
    let mut caller = seat.caller();
    let mut number = 0;
    while !seat.stopped() {
        let key = seat.dice.below(KEYS) as u32;
        let count = seat.dice.between(1, EVENTS_MAX) as u32;
        let ids: Vec<Id> =
            (number..number + count).map(|number| Id { client: seat.client, number }).collect();
        number += count;
        // Now and then a client meets another peer first, as behind a balancer.
        if seat.dice.percent(10.0) {
            caller.turn();
        }
        let called = now();
        let done = repeat(&mut caller, &request(&ids, key)).await;
        let (outcome, place) = done.as_ref().copied().unwrap_or((Outcome::Unknown, None));
        let returned = now();
        for (at, id) in (0..).zip(ids) {
            let place = place.map(|(partition, base)| (partition, base + at));
            pen.write(&Line::Append(Append { id, key, called, returned, outcome, place }))?;
        }
        if let Err(error) = done {
            pen.close()?;
            return Err(error);
        }
        seat.wait(PACE).await;
    }
    pen.close()
}

fn request(ids: &[Id], key: u32) -> Request {
    let events: Vec<Value> = ids
        .iter()
        .map(|id| {
            let value = event(*id, key);
            json!({"key": format!("k{key}"), "value": value, "time_ms": value["t"]})
        })
        .collect();
    let mut request =
        Request::post(format!("/v1/streams/{EVENTS}/events"), json!({"events": events}));
    request.idempotency_key = Some(format!("{}-{}", ids[0].client, ids[0].number));
    request
}

/// Sends it until somebody says what became of it. A refusal says nothing of a try before it that had no answer. Fails
/// if a peer broke over it: then nobody knows.
pub(super) async fn repeat(
    caller: &mut Caller,
    request: &Request,
) -> anyhow::Result<(Outcome, Option<(u32, i64)>)> {
    let end = Instant::now() + GIVE_UP;
    let mut is_unsure = false;
    while Instant::now() < end {
        match caller.call_any(request).await {
            Ok(Answer { status: 200, body }) => {
                let part = &body["appended"][0];
                let place = part["partition"].as_u64().zip(part["offset"].as_i64());
                let place = place.map(|(partition, offset)| (partition as u32, offset));
                return Ok((Outcome::Acked, place));
            }
            Ok(Answer { status: 400..500, .. }) if !is_unsure => {
                return Ok((Outcome::Refused, None));
            }
            Ok(Answer { status: 400..500, .. }) => return Ok((Outcome::Unknown, None)),
            other => {
                let is_unsent = matches!(other, Err(Failure::Refused | Failure::Unreached(_)));
                is_unsure |= !is_unsent;
                other.map(Answer::unbroken).ok().transpose()?;
                caller.turn();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok((Outcome::Unknown, None))
}
