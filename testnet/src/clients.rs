//! Clients that write with unique ids and keep what they were promised.

use crate::install;
use crate::scene::Scene;
use anyhow::{Context, ensure};
use shoal::kafka_client::{Producer, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a load came to.
#[derive(Debug, Default)]
pub struct History {
    /// Events that were pushed, each once.
    pub pushed: u64,
    /// By partition: base offset and tags of every acknowledged batch.
    pub acked: BTreeMap<u32, Vec<(i64, Vec<u64>)>>,
    pub acked_events: u64,
    /// The longest time that a partition with events under way had no acknowledgement.
    pub longest_gap: Duration,
    /// Every such time above [`GAP_TOLD`], with the moment it ended.
    pub gaps: Vec<(Instant, Duration)>,
    pub retries: u64,
}

/// Shorter times without an acknowledgement are nothing to tell of.
pub const GAP_TOLD: Duration = Duration::from_millis(200);

/// How to write.
#[derive(Clone, Debug)]
pub struct Load {
    pub bootstrap: Vec<String>,
    pub stream: String,
    pub events: u64,
    pub keys: u64,
    pub per_second: u64,
}

/// Keys are spread by their number, as the bench's are: any choice of the client is obeyed.
pub fn key(number: u64) -> String {
    format!("key-{number:012}")
}

/// Writes all events, open loop, and waits for every acknowledgement. `at` is called once with the number of
/// events pushed whenever it grows, so that a test can break things in the middle.
pub async fn run(load: Load, at: impl FnMut(u64)) -> anyhow::Result<History> {
    run_until(load, &AtomicBool::new(false), at).await
}

/// As [`run`], but pushes no more as soon as it is told to stop.
pub async fn run_until(
    mut load: Load,
    stop: &AtomicBool,
    mut at: impl FnMut(u64),
) -> anyhow::Result<History> {
    let settings = Settings {
        bootstrap: load.bootstrap.clone(),
        stream: load.stream.clone(),
        batch_events_max: 1000,
    };
    let mut producer = Producer::connect(settings).await?;
    let partitions = u64::from(producer.partitions());
    let mut history = History::default();
    let mut last = vec![Instant::now(); partitions as usize];
    let mut under_way = vec![0u64; partitions as usize];
    let start = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    let value = [b'v'; 84];
    loop {
        tokio::select! {
            news = producer.news() => news?,
            _ = tick.tick() => {}
        }
        let now = Instant::now();
        if stop.load(Ordering::Relaxed) {
            load.events = load.events.min(history.pushed);
        }
        let due = (start.elapsed().as_secs_f64() * load.per_second as f64) as u64;
        while history.pushed < due.min(load.events) && producer.outstanding() < 200_000 {
            let number = history.pushed % load.keys;
            let partition = (number % partitions) as usize;
            if under_way[partition] == 0 {
                last[partition] = now;
            }
            under_way[partition] += 1;
            let mut body = format!("{:016}", history.pushed).into_bytes();
            body.extend_from_slice(&value);
            producer.push(partition as u32, 0, key(number).as_bytes(), &body, history.pushed);
            history.pushed += 1;
        }
        producer.flush()?;
        for ack in producer.take_acks() {
            let partition = ack.partition as usize;
            let gap = now - last[partition];
            history.longest_gap = history.longest_gap.max(gap);
            if gap > GAP_TOLD {
                history.gaps.push((now, gap));
            }
            last[partition] = now;
            under_way[partition] -= ack.tags.len() as u64;
            history.acked_events += ack.tags.len() as u64;
            history.acked.entry(ack.partition).or_default().push((ack.base_offset, ack.tags));
        }
        at(history.pushed);
        if history.acked_events == load.events {
            history.retries = producer.retries();
            return Ok(history);
        }
        ensure!(start.elapsed() < Duration::from_secs(300), "the load does not end");
    }
}

impl History {
    /// An offset has one event, and offsets rise as each partition's events were pushed.
    pub fn check_offsets(&self) -> anyhow::Result<()> {
        for (partition, batches) in &self.acked {
            let mut by_offset = BTreeMap::new();
            for (base, tags) in batches.iter().filter(|(base, _)| *base >= 0) {
                for (at, tag) in tags.iter().enumerate() {
                    let before = by_offset.insert(base + at as i64, *tag);
                    ensure!(
                        before.is_none(),
                        "partition {partition} offset {} has two events",
                        base + at as i64
                    );
                }
            }
            let mut last = None;
            for (offset, tag) in by_offset {
                ensure!(
                    last.is_none_or(|last| last < tag),
                    "partition {partition} offset {offset} is out of order"
                );
                last = Some(tag);
            }
        }
        Ok(())
    }

    /// What was acknowledged is in the log, where it was said to be, and nothing else is: as the peers read it, all of them
    /// together. Holds for a stream that nobody else wrote, once every event is acknowledged.
    pub fn check_log(&self, scene: &Scene, stream: &str) -> anyhow::Result<()> {
        let peers = scene.net.peers().len();
        let read = |reader: usize| {
            let mine = |partition: u32| partition as usize % peers == reader;
            for (partition, batches) in self.acked.iter().filter(|(at, _)| mine(**at)) {
                let log = log(scene, reader + 1, (stream, *partition))?;
                check_batches(&log, batches).with_context(|| format!("partition {partition}"))?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let reading: Vec<_> =
                (0..peers).map(|reader| scope.spawn(move || read(reader))).collect();
            reading.into_iter().try_for_each(|reader| reader.join().expect("no reader panics"))
        })
    }

    /// Totals that a view of counts by key must have.
    pub fn expected_counts(&self, keys: u64) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for number in 0..keys.min(self.pushed) {
            let rounds = self.pushed / keys + u64::from(number < self.pushed % keys);
            counts.insert(key(number), rounds);
        }
        counts
    }
}

/// A partition's tags by offset, as one peer reads them.
fn log(
    scene: &Scene,
    peer: usize,
    (stream, partition): (&str, u32),
) -> anyhow::Result<BTreeMap<i64, u64>> {
    let (mut log, mut next) = (BTreeMap::new(), 0);
    loop {
        let path =
            format!("/v1/streams/{stream}/events?partition={partition}&offset={next}&max=10000");
        let (status, body) = scene.get(peer, &path)?;
        ensure!(status == 200, "p{peer} {path}: {status} {body}");
        for event in body["events"].as_array().into_iter().flatten() {
            let tag = event["value"].as_str().and_then(|value| value.get(..16)?.parse().ok());
            let offset = event["offset"].as_i64().context("an event without an offset")?;
            log.insert(offset, tag.with_context(|| format!("an event of others: {event}"))?);
        }
        let (read, high) = (body["next"].as_i64(), body["high"].as_i64());
        if read >= high {
            return Ok(log);
        }
        ensure!(read > Some(next), "p{peer} {path} leads no further");
        next = read.unwrap_or_default();
    }
}

/// Holds acknowledged batches, by the offset of their first event, against the log.
fn check_batches(log: &BTreeMap<i64, u64>, batches: &[(i64, Vec<u64>)]) -> anyhow::Result<()> {
    let there: BTreeSet<u64> = log.values().copied().collect();
    let mut promised = 0;
    for (base, tags) in batches {
        promised += tags.len();
        for (offset, tag) in (*base..).zip(tags) {
            // Of a batch that was known already only that it is there was said.
            let kept = if *base < 0 { there.contains(tag) } else { log.get(&offset) == Some(tag) };
            let found = log.get(&offset);
            ensure!(kept, "event {tag} was acknowledged at {offset}, where {found:?} is");
        }
    }
    ensure!(log.len() == promised, "{} events, but {promised} were acknowledged", log.len());
    Ok(())
}

/// A runtime for one client.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("a runtime for a client")?
        .block_on(work)
}

/// A Python with packages, in an environment of their own beside the build; an error says why there is none.
pub fn python(packages: &[&str]) -> Result<PathBuf, String> {
    let folder = install::kept("python").join(packages.join("+").replace(['=', '*', '/'], ""));
    let programs = install::python(&folder, packages);
    programs
        .map(|programs| programs.join("python"))
        .map_err(|why| format!("it needs {packages:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledged_event_that_the_log_has_not_where_it_was_said_to_be_is_found() {
        let log = BTreeMap::from([(0, 7), (1, 8), (2, 9)]);
        let said = |error: anyhow::Error| error.to_string();
        assert!(check_batches(&log, &[(0, vec![7, 8]), (2, vec![9])]).is_ok());
        assert!(check_batches(&log, &[(0, vec![7, 8]), (-1, vec![9])]).is_ok());
        for (batches, told) in [
            (vec![(0, vec![7, 8]), (3, vec![9])], "event 9 was acknowledged at 3, where None is"),
            (vec![(0, vec![7, 9, 8])], "event 9 was acknowledged at 1, where Some(8) is"),
            (vec![(0, vec![7, 8, 9]), (-1, vec![10])], "event 10 was acknowledged at -1"),
            (vec![(0, vec![7, 8])], "3 events, but 2 were acknowledged"),
        ] {
            let error = said(check_batches(&log, &batches).expect_err("it lies"));
            assert!(error.starts_with(told), "{error}");
        }
    }
}
