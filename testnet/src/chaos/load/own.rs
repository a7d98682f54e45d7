//! The project's own Kafka client: idempotent, and with more under way than others have.

use super::{EVENTS, GIVE_UP, KEYS, Seat};
use crate::history::{Append, Id, Line, Outcome, Pen, now};
use shoal::kafka_client::{Producer, Settings};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Events a second.
const RATE: f64 = 1000.0;
const UNDER_WAY_MAX: usize = 20_000;

/// What was pushed and is not acknowledged: key and time.
type UnderWay = BTreeMap<u32, (u32, u64)>;

pub(super) async fn write(mut seat: Seat) -> anyhow::Result<()> {
    let mut pen = Pen::new(&seat.folder, "own-write")?;
    let settings = Settings {
        bootstrap: seat.doors.iter().map(ToString::to_string).collect(),
        stream: EVENTS.to_owned(),
        batch_events_max: 200,
    };
    let mut producer = Producer::connect(settings).await?;
    let mut under_way = UnderWay::new();
    let done = push(&mut seat, &mut producer, (&mut pen, &mut under_way)).await;
    // However it ended: what was acknowledged is noted, and the rest may have happened.
    let noted = note(&mut producer, seat.client, (&mut pen, &mut under_way));
    for number in under_way.keys().copied().collect::<Vec<_>>() {
        let id = Id { client: seat.client, number };
        ended(&mut pen, &mut under_way, id, (Outcome::Unknown, None))?;
    }
    pen.close()?;
    done.and(noted)
}

/// Pushes until it is told to stop, and waits for what is under way.
async fn push(
    seat: &mut Seat,
    producer: &mut Producer,
    (pen, under_way): (&mut Pen, &mut UnderWay),
) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let (begun, mut number) = (Instant::now(), 0);
    let mut stopped_at = None;
    loop {
        tokio::select! {
            news = producer.news() => news?,
            _ = tick.tick() => {}
        }
        if seat.stopped() && stopped_at.is_none() {
            stopped_at = Some(Instant::now());
        }
        let due = (begun.elapsed().as_secs_f64() * RATE) as u32;
        while stopped_at.is_none() && number < due && under_way.len() < UNDER_WAY_MAX {
            let key = seat.dice.below(KEYS) as u32;
            under_way.insert(number, (key, now()));
            let value = event(Id { client: seat.client, number }, key);
            let time_ms = value["t"].as_i64().unwrap_or_default();
            let (partition, key) = (key % producer.partitions(), format!("k{key}"));
            let (key, value) = (key.as_bytes(), value.to_string());
            producer.push(partition, time_ms, key, value.as_bytes(), u64::from(number));
            number += 1;
        }
        producer.flush()?;
        note(producer, seat.client, (pen, under_way))?;
        let waited = stopped_at.is_some_and(|at: Instant| at.elapsed() > GIVE_UP);
        if waited || (stopped_at.is_some() && under_way.is_empty()) {
            return Ok(());
        }
    }
}

/// Writes down what was acknowledged since.
fn note(
    producer: &mut Producer,
    client: u16,
    (pen, under_way): (&mut Pen, &mut UnderWay),
) -> anyhow::Result<()> {
    for ack in producer.take_acks() {
        for (at, tag) in (0..).zip(&ack.tags) {
            let place = (ack.base_offset >= 0).then(|| (ack.partition, ack.base_offset + at));
            let id = Id { client, number: *tag as u32 };
            ended(pen, under_way, id, (Outcome::Acked, place))?;
        }
    }
    Ok(())
}

fn ended(
    pen: &mut Pen,
    under_way: &mut UnderWay,
    id: Id,
    (outcome, place): (Outcome, Option<(u32, i64)>),
) -> anyhow::Result<()> {
    let Some((key, called)) = under_way.remove(&id.number) else {
        anyhow::bail!("{id:?} was acknowledged twice");
    };
    pen.write(&Line::Append(Append { id, key, called, returned: now(), outcome, place }))
}

/// An event's value, as all clients of a run write it.
pub(super) fn event(id: Id, key: u32) -> serde_json::Value {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    serde_json::json!({"c": id.client, "n": id.number, "k": key, "t": time.as_millis() as u64})
}
