//! Readers over HTTP: some follow the stream, at any peer, others ask a view again and again.

use super::{EVENTS, KEYS, PARTITIONS, PAUSE, Seat, reading};
use crate::chaos::http::{Answer, Request};
use crate::check::sessions::end_of;
use crate::history::{Line, Look, Pen, Seen, now};
use anyhow::Context;
use std::collections::BTreeMap;
use std::time::Duration;

const PACE: Duration = Duration::from_millis(50);

/// Reads each partition from its beginning, each time at another peer.
pub(super) async fn follow(mut seat: Seat) -> anyhow::Result<()> {
    let mut pen = Pen::new(&seat.folder, &format!("http-read-{}", seat.client))?;
    let mut caller = seat.caller();
    let mut next: BTreeMap<u32, i64> = BTreeMap::new();
    while !seat.stopped() {
        let partition = seat.dice.below(u64::from(PARTITIONS)) as u32;
        let offset = next.get(&partition).copied().unwrap_or_default();
        caller.turn_to(seat.dice.below(seat.doors.len() as u64) as usize);
        let called = now();
        match caller.call(&Request::get(reading::page(EVENTS, partition, offset))).await {
            Ok(Answer { status: 200, body }) => {
                let high = body["high"].as_i64().context("an answer says its end")?;
                pen.write(&end(&seat, partition, high, called))?;
                for event in body["events"].as_array().into_iter().flatten() {
                    let seen = reading::seen(event)?;
                    pen.write(&Line::Seen(Seen { reader: seat.client, ..seen }))?;
                }
                next.insert(partition, body["next"].as_i64().context("where to read on")?);
            }
            // The partition is shorter than an answer said before: a promise is broken, and the history says so.
            Ok(Answer { body, .. }) if body["code"] == "SH0403" => {
                pen.write(&end(&seat, partition, 0, called))?;
            }
            other => {
                other.map(Answer::unbroken).ok().transpose()?;
                seat.wait(PAUSE).await;
            }
        }
        seat.wait(PACE).await;
    }
    pen.close()
}

fn end(seat: &Seat, partition: u32, high: i64, called: u64) -> Line {
    let (what, value) = (end_of(partition), high as u64);
    Line::Look(Look { reader: seat.client, what, value, called, returned: now(), linear: true })
}

/// Asks for single counts, fresh and nearest ones in turn.
pub(super) async fn look(mut seat: Seat) -> anyhow::Result<()> {
    let mut pen = Pen::new(&seat.folder, &format!("view-read-{}", seat.client))?;
    let mut caller = seat.caller();
    while !seat.stopped() {
        let key = seat.dice.below(KEYS);
        let linear = seat.dice.percent(70.0);
        let consistency = if linear { "leader" } else { "any" };
        caller.turn_to(seat.dice.below(seat.doors.len() as u64) as usize);
        let path = format!("/v1/views/seen/rows/k{key}?consistency={consistency}");
        let called = now();
        let look = |what: String, value| {
            Line::Look(Look { reader: seat.client, what, value, called, returned: now(), linear })
        };
        match caller.call(&Request::get(path)).await {
            Ok(Answer { status: 200, body }) => {
                let count = body["value"].as_u64().context("a count is a number")?;
                pen.write(&look(format!("count k{key}"), count))?;
                let shard = body["shard"].as_u64().context("an answer says its shard")?;
                let index = body["position"]["index"].as_u64().context("its position")?;
                pen.write(&look(format!("index of shard {shard}"), index))?;
            }
            Ok(Answer { status: 404, body }) if body["code"] == "SH0307" => {
                pen.write(&look(format!("count k{key}"), 0))?;
            }
            other => {
                other.map(Answer::unbroken).ok().transpose()?;
                seat.wait(PAUSE).await;
            }
        }
        seat.wait(PACE).await;
    }
    pen.close()
}
