//! Clients of registers: each reads or swaps, one step after the other, and all work on the same few registers.
//!
//! A swap is an event with an idempotency key; its outcome is a row that a processor writes. Registers are left for
//! fresh ones after a while, so that their histories stay short enough to be decided.

use super::http_writers::repeat;
use super::{PAUSE, Seat};
use crate::chaos::http::{Answer, Caller, Request};
use crate::history::Line;
use crate::history::{Ask, Outcome, Pen, Step, now};
use anyhow::bail;
use serde_json::json;
use std::time::{Duration, Instant};

/// Between two steps of a client.
const PACE: Duration = Duration::from_millis(60);
/// Registers that are in use at a time.
const AT_ONCE: u64 = 2;
/// How long they are in use.
const AGE: Duration = Duration::from_secs(6);
/// How long the outcome of an acknowledged swap is asked for after the last fault: it must be told.
const TELL: Duration = Duration::from_secs(60);

pub(super) async fn swap(mut seat: Seat) -> anyhow::Result<()> {
    let mut pen = Pen::new(&seat.folder, &format!("registers-{}", seat.client))?;
    let mut caller = seat.caller();
    let begun = Instant::now();
    let (mut number, mut known) = (0u64, 0);
    let mut last = String::new();
    while !seat.stopped() {
        let age = begun.elapsed().as_secs() / AGE.as_secs();
        let register = format!("r{}", age * AT_ONCE + seat.dice.below(AT_ONCE));
        if register != last {
            known = 0;
            last.clone_from(&register);
        }
        caller.turn_to(seat.dice.below(seat.doors.len() as u64) as usize);
        let called = now();
        let (ask, told) = if seat.dice.percent(40.0) {
            match read(&mut caller, &register).await? {
                Some(found) => (Ask::Read { found }, Told::Outcome),
                None => {
                    seat.wait(PAUSE).await;
                    continue;
                }
            }
        } else {
            number += 1;
            let id = u64::from(seat.client) * 1_000_000_000 + number;
            attempt(&seat, &mut caller, &register, (id, known)).await
        };
        known = match ask {
            Ask::Read { found } => found,
            Ask::Swap { new, swapped: true, .. } => new,
            Ask::Swap { found, .. } => found.unwrap_or(known),
        };
        let returned = matches!(told, Told::Outcome).then(now);
        let step = Step { client: seat.client, register, ask, called, returned };
        pen.write(&Line::Step(step.clone()))?;
        match told {
            Told::Outcome | Told::Nothing => {}
            Told::Never => {
                pen.close()?;
                bail!("it was acknowledged, and nobody told its outcome for {TELL:?}: {step:?}");
            }
            Told::Broken(error) => {
                pen.close()?;
                return Err(error);
            }
        }
        seat.wait(PACE).await;
    }
    pen.close()
}

/// What a client knows of the end of a step.
enum Told {
    Outcome,
    /// Nobody knows whether it was taken.
    Nothing,
    /// It was acknowledged, and never became anything.
    Never,
    /// A peer broke over it.
    Broken(anyhow::Error),
}

/// The value; none if nobody says. A read without an answer changes nothing and need not be kept.
async fn read(caller: &mut Caller, register: &str) -> anyhow::Result<Option<u64>> {
    Ok(match row(caller, register).await? {
        Some(Answer { status: 200, body }) => body["value"].as_u64(),
        found => found.map(|_| 0),
    })
}

/// An answer that says something about the row: that it is so, or that there is none.
async fn row(caller: &mut Caller, key: &str) -> anyhow::Result<Option<Answer>> {
    let request = Request::get(format!("/v1/views/registers/rows/{key}?consistency=leader"));
    let Ok(answer) = caller.call_any(&request).await else { return Ok(None) };
    let answer = answer.unbroken()?;
    let known = answer.status == 200 || answer.body["code"] == "SH0307";
    Ok(known.then_some(answer))
}

/// A swap of what is expected for a value of its own, so that each value was set once.
async fn attempt(
    seat: &Seat,
    caller: &mut Caller,
    register: &str,
    (id, expect): (u64, u64),
) -> (Ask, Told) {
    // A row lies with the key before its `@`, as a window's does: there the outcome is told.
    let told = format!("{register}@{id:020}Z");
    let value = json!({"id": told, "key": register, "expect": expect, "new": id});
    let events = json!({"events": [{"key": register, "value": value}]});
    let mut request = Request::post("/v1/streams/attempts/events", events);
    request.idempotency_key = Some(told.clone());
    let unknown = Ask::Swap { expect, new: id, found: None, swapped: false };
    match repeat(caller, &request).await {
        Ok((Outcome::Acked, _)) => {}
        Ok((Outcome::Refused | Outcome::Unknown, _)) => return (unknown, Told::Nothing),
        Err(error) => return (unknown, Told::Broken(error)),
    }
    let mut since = Instant::now();
    while since.elapsed() < TELL {
        if !seat.stopped() {
            since = Instant::now();
        }
        let found = match row(caller, &told).await {
            Ok(found) => found,
            Err(error) => return (unknown, Told::Broken(error)),
        };
        if let Some(Answer { status: 200, body }) = found
            && let (Some(found), Some(swapped)) =
                (body["value"]["found"].as_u64(), body["value"]["swapped"].as_bool())
        {
            return (Ask::Swap { expect, new: id, found: Some(found), swapped }, Told::Outcome);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        caller.turn();
    }
    (unknown, Told::Never)
}
