//! Sends events in order of time, as fast as the chosen speed says.
//!
//! Promises that every event is acknowledged by a majority when it returns.

use super::Speed;
use super::sample::Flight;
use crate::kafka_client::Producer;
use model::hash::bucket_of;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(5);
/// Events in flight at the highest speed.
const WINDOW: usize = 5_000;

/// How far the replay is, for whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events that a majority holds.
    pub sent: AtomicUsize,
    /// The time of the last event that was sent.
    pub clock_ms: AtomicI64,
}

/// An event ready to go.
pub struct Due {
    pub time_ms: i64,
    pub partition: u32,
    pub key: String,
    pub json: Vec<u8>,
}

/// All flights; an aircraft's flights stay in one partition, in order.
pub fn due(flights: &[Flight<'_>], partitions: u32) -> anyhow::Result<Vec<Due>> {
    let due = |flight: &Flight<'_>| {
        let key = flight.tailnum.to_owned();
        let partition = bucket_of(key.as_bytes(), partitions);
        let json = serde_json::to_vec(flight)?;
        Ok(Due { time_ms: flight.time_ms()?, partition, key, json })
    };
    flights.iter().map(due).collect()
}

/// Sends all events that are `due`, which are in order of time.
pub async fn replay(
    due: &[Due],
    speed: Speed,
    producer: &mut Producer,
    progress: &Progress,
) -> anyhow::Result<()> {
    let first_ms = due.first().map_or(0, |event| event.time_ms);
    let started = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let mut next = 0;
    while next < due.len() || producer.outstanding() > 0 {
        tokio::select! {
            _ = tick.tick() => {
                let until_ms = match speed {
                    Speed::Max => i64::MAX,
                    Speed::Times(times) => {
                        first_ms.saturating_add((started.elapsed().as_millis() as f64 * times) as i64)
                    }
                };
                while let Some(event) = due.get(next).filter(|event| event.time_ms <= until_ms) {
                    if producer.outstanding() >= WINDOW {
                        break;
                    }
                    let key = event.key.as_bytes();
                    producer.push(event.partition, event.time_ms, key, &event.json, 0);
                    progress.clock_ms.store(event.time_ms, Ordering::Relaxed);
                    next += 1;
                }
                producer.flush()?;
            }
            news = producer.news() => {
                news?;
                let acknowledged: usize = producer.take_acks().iter().map(|ack| ack.tags.len()).sum();
                progress.sent.fetch_add(acknowledged, Ordering::Relaxed);
                producer.flush()?;
            }
        }
    }
    Ok(())
}
