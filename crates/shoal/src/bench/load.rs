//! The open-loop load: each event has a time at which it is meant to be sent, and its latency counts from then,
//! however late it leaves.
//!
//! Promises that a stall of the peers shows in the figures: nothing waits politely for an answer. At rate 0 the
//! next event is meant to be sent when the window has room for it.

use super::histogram::Histogram;
use super::tick::Ticker;
use super::visible::Visible;
use super::watch::News;
use crate::kafka_client::{Ack, Producer};
use crate::progress::Progress;
use anyhow::bail;
use model::Problem;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Bytes of an event's key.
pub const KEY_BYTES: usize = 16;
/// How many seconds of load may wait in memory before the run is called hopeless.
const BACKLOG_S: u64 = 20;
/// How often a terminal and a log are told how far it is.
const SHOW: Duration = Duration::from_millis(200);
const TELL: Duration = Duration::from_secs(5);
/// How long the last events may take to be acknowledged and seen.
const DRAIN: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Events a second; 0 is as many as the window allows.
    pub rate: u64,
    pub duration: Duration,
    /// The latencies of events meant for this first part are not counted.
    pub warm_up: Duration,
    pub keys: usize,
    pub event_bytes: usize,
    pub linger: Duration,
    /// Events in flight at rate 0.
    pub window: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub acknowledged: u64,
    pub ack: Histogram,
    pub visible: Histogram,
    /// From the first intended send to the last acknowledgement.
    pub seconds: f64,
    pub retries: u64,
}

/// Draws the events.
struct Source {
    keys: Vec<([u8; KEY_BYTES], u32)>,
    noise: Vec<u8>,
    value_bytes: usize,
    state: u64,
}

impl Source {
    fn new(plan: &Plan, partitions: u32) -> Self {
        let value_bytes = plan.event_bytes.saturating_sub(KEY_BYTES);
        let key = |number: usize| -> ([u8; KEY_BYTES], u32) {
            let text = format!("k{number:015}");
            let key = text.as_bytes().first_chunk().copied().expect("sixteen characters");
            (key, model::hash::bucket_of(&key, partitions))
        };
        let keys = (0..plan.keys.max(1)).map(key).collect();
        let mut source =
            Self { keys, noise: Vec::new(), value_bytes, state: 0x9e37_79b9_7f4a_7c15 };
        let noise = (0..value_bytes + 4096).map(|_| b'a' + (source.draw() % 26) as u8);
        source.noise = noise.collect();
        source
    }

    /// The same events in every run: xorshift64* (Vigna 2016) from a fixed start.
    fn draw(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn push(&mut self, producer: &mut Producer, time_ms: i64, tag: u64) {
        let draw = self.draw();
        let (key, partition) = &self.keys[draw as usize % self.keys.len()];
        let from = (draw >> 24) as usize % 4096;
        let value = &self.noise[from..from + self.value_bytes];
        producer.push(*partition, time_ms, key, value, tag);
    }
}

/// One run.
struct Run<'a> {
    plan: &'a Plan,
    producer: Producer,
    source: Source,
    start: Instant,
    start_ms: i64,
    pushed: u64,
    acknowledged: u64,
    ack: Histogram,
    visible: Visible,
    /// The partition whose events are watched becoming visible.
    watched: Option<u32>,
    last_ack: Instant,
    progress: Progress,
    shown: Instant,
}

/// Sends the whole plan and waits until everything is acknowledged and seen. `start` is the zero of all times.
pub async fn drive(
    plan: &Plan,
    producer: Producer,
    start: Instant,
    mut news: Option<(u32, mpsc::Receiver<News>)>,
) -> anyhow::Result<Outcome> {
    let partitions = producer.partitions();
    let start_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() as i64;
    let mut run = Run {
        plan,
        source: Source::new(plan, partitions),
        producer,
        start,
        start_ms,
        pushed: 0,
        acknowledged: 0,
        ack: Histogram::default(),
        visible: Visible::new(plan.warm_up.as_micros() as u64),
        watched: news.as_ref().map(|(partition, _)| *partition),
        last_ack: start,
        progress: Progress::of(plan.duration.as_secs(), TELL),
        shown: start,
    };
    let ticker = Ticker::start(plan.linger)?;
    while !run.is_done()? {
        tokio::select! {
            () = ticker.tick() => run.on_tick()?,
            news = run.producer.news() => { news?; run.on_acks()?; }
            Some(seen) = next(&mut news) => run.on_news(seen)?,
        }
    }
    Ok(Outcome {
        acknowledged: run.acknowledged,
        seconds: run.last_ack.duration_since(start).as_secs_f64(),
        retries: run.producer.retries(),
        ack: run.ack,
        visible: run.visible.into_seen(),
    })
}

async fn next(news: &mut Option<(u32, mpsc::Receiver<News>)>) -> Option<News> {
    match news {
        Some((_, news)) => news.recv().await,
        None => None,
    }
}

impl Run<'_> {
    fn on_tick(&mut self) -> anyhow::Result<()> {
        self.push_due()?;
        self.producer.flush()?;
        if self.shown.elapsed() >= SHOW {
            self.shown = Instant::now();
            let seconds = self.start.elapsed().min(self.plan.duration).as_secs();
            let words = format!(
                "{seconds} of {} s: {} events acknowledged, {} on their way",
                self.plan.duration.as_secs(),
                self.acknowledged,
                self.producer.outstanding()
            );
            self.progress.at(seconds, &words);
        }
        Ok(())
    }

    fn push_due(&mut self) -> anyhow::Result<()> {
        let now = self.start.elapsed().min(self.plan.duration);
        let now_us = now.as_micros() as u64;
        if self.plan.rate == 0 {
            while now < self.plan.duration && self.producer.outstanding() < self.plan.window {
                self.push(now_us);
            }
            return Ok(());
        }
        let rate = self.plan.rate;
        let due = (u128::from(rate) * now.as_micros() / 1_000_000) as u64;
        while self.pushed < due {
            // The intended time is the event's own, not that of the tick that sends it.
            self.push((u128::from(self.pushed) * 1_000_000 / u128::from(rate)) as u64);
        }
        let backlog = self.producer.outstanding() as u64;
        if backlog > rate.saturating_mul(BACKLOG_S) {
            return Err(Problem::new(
                "SH0503",
                format!("{backlog} events wait to be sent"),
                format!("the mesh does not keep up with {rate} events/s"),
                "shoal bench --rate 0, which sends what is taken",
            )
            .into());
        }
        Ok(())
    }

    fn push(&mut self, intended_us: u64) {
        let time_ms = self.start_ms + (intended_us / 1000) as i64;
        self.source.push(&mut self.producer, time_ms, intended_us);
        self.pushed += 1;
    }

    fn on_acks(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let now_us = now.duration_since(self.start).as_micros() as u64;
        let from_us = self.plan.warm_up.as_micros() as u64;
        for Ack { partition, base_offset, tags } in self.producer.take_acks() {
            self.last_ack = now;
            self.acknowledged += tags.len() as u64;
            for tag in tags.iter().filter(|tag| **tag >= from_us) {
                self.ack.add(now_us.saturating_sub(*tag));
            }
            if self.watched == Some(partition) && base_offset >= 0 {
                self.visible.on_ack(base_offset + tags.len() as i64, tags);
            }
        }
        if self.plan.rate == 0 {
            self.push_due()?;
        }
        self.producer.flush()
    }

    fn on_news(&mut self, news: News) -> anyhow::Result<()> {
        match news {
            News::Position { at, offset } => {
                let at_us = at.duration_since(self.start).as_micros() as u64;
                self.visible.on_position(offset, at_us);
                Ok(())
            }
            News::Led(led) => {
                self.visible.on_led(led);
                Ok(())
            }
            News::Lost(why) => bail!("the watched peer no longer answers: {why}"),
        }
    }

    fn is_done(&self) -> anyhow::Result<bool> {
        let elapsed = self.start.elapsed();
        if elapsed < self.plan.duration {
            return Ok(false);
        }
        let due = self.plan.duration.as_micros() * u128::from(self.plan.rate) / 1_000_000;
        let sent = u128::from(self.pushed) >= due && self.producer.outstanding() == 0;
        if sent && !self.visible.is_waiting() {
            return Ok(true);
        }
        if elapsed > self.plan.duration + DRAIN {
            let waiting = self.producer.outstanding();
            bail!("after {DRAIN:?} {waiting} events are unacknowledged and some are not visible");
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_spreads_over_all_keys_and_repeats_itself() {
        let plan = Plan {
            rate: 0,
            duration: Duration::ZERO,
            warm_up: Duration::ZERO,
            keys: 100,
            event_bytes: 116,
            linger: Duration::from_millis(1),
            window: 1,
        };
        let (mut one, mut other) = (Source::new(&plan, 16), Source::new(&plan, 16));
        let mut seen = [0u32; 100];
        for _ in 0..10_000 {
            let draw = one.draw();
            assert_eq!(draw, other.draw());
            seen[draw as usize % 100] += 1;
        }
        assert!(seen.iter().all(|count| (50..200).contains(count)), "{seen:?}");
        assert_eq!(&one.keys[42].0, b"k000000000000042");
        assert_eq!(one.noise.len(), 100 + 4096);
    }
}
