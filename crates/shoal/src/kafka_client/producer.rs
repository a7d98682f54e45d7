//! The producer: an idempotent, pipelined writer to one stream, cheap enough to share two cores with what it loads.
//!
//! Promises that each pushed event is appended once, in the order of its partition, or that an error says why not.
//! Needs [`Producer::flush`] every few milliseconds; never sleeps and never spawns more than a task a connection.

use super::link::{self, Event};
use super::queue::{Parcel, Queue};
use super::wire::{self, Layout};
use anyhow::{Context, bail};
use bytes::Bytes;
use door::kafka::KafkaError;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Requests in flight on a connection: a peer remembers this many batches of a producer and partition, so that a
/// repeated one is recognised.
const REQUESTS_IN_FLIGHT: usize = 5;
/// Bytes of batches in one request.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Answers and news that may wait for the producer.
const EVENTS_MAX: usize = 1024;
/// How long a peer may hold a request while a leader is being chosen.
const REQUEST_TIMEOUT_MS: i32 = 10_000;
/// A connection that owes an answer for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long a failed batch waits, and the least time between two questions for the layout.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one batch may fail.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a batch may be called out of order although nothing before it failed.
const OUT_OF_ORDER_MAX: u32 = 5;
/// How long a stream may take to get leaders at the start.
const START: Duration = Duration::from_secs(30);

const OUT_OF_ORDER: i16 = KafkaError::OutOfOrderSequence as i16;
const DUPLICATE: i16 = KafkaError::DuplicateSequence as i16;
/// What says "not here" or "not now"; the client's patience bounds how long that may go on.
const PASSING: [KafkaError; 10] = [
    KafkaError::UnknownStream,
    KafkaError::LeaderNotAvailable,
    KafkaError::NotLeader,
    KafkaError::RequestTimedOut,
    KafkaError::NotEnoughReplicas,
    KafkaError::NotEnoughReplicasAfterAppend,
    KafkaError::StorageError,
    KafkaError::FencedEpoch,
    KafkaError::UnknownEpoch,
    KafkaError::LimitReached,
];

/// What to write to, and in which portions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port` of some Kafka doors.
    pub bootstrap: Vec<String>,
    pub stream: String,
    pub batch_events_max: usize,
}

/// A batch that a majority holds.
#[derive(Debug)]
pub struct Ack {
    pub partition: u32,
    /// -1 when the peer only knew that it was appended before.
    pub base_offset: i64,
    /// The tag of each event, in order.
    pub tags: Vec<u64>,
}

/// A request on its way.
#[derive(Debug)]
struct Flight {
    correlation: i32,
    since: Instant,
    parcels: Vec<(u32, Parcel)>,
}

#[derive(Debug)]
struct Link {
    number: u64,
    frames: mpsc::Sender<Bytes>,
    flights: VecDeque<Flight>,
}

/// Writes to one stream.
#[derive(Debug)]
pub struct Producer {
    settings: Settings,
    layout: Layout,
    queues: Vec<Queue>,
    /// Until when a partition waits after a failure.
    held: Vec<Option<Instant>>,
    links: BTreeMap<i32, Link>,
    links_made: u64,
    correlation: i32,
    events: mpsc::Receiver<Event>,
    events_in: mpsc::Sender<Event>,
    asked_layout: Option<Instant>,
    asking: bool,
    acks: Vec<Ack>,
    outstanding: usize,
    retries: u64,
    failing_since: Option<(Instant, String)>,
}

impl Producer {
    /// Finds the stream, makes it if need be, and gets a producer id.
    pub async fn connect(settings: Settings) -> anyhow::Result<Self> {
        let started = Instant::now();
        let (layout, id) = loop {
            match prepare(&settings).await {
                Ok(ready) => break ready,
                Err(error) if started.elapsed() > START => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        let partitions = layout.leaders.len();
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        Ok(Self {
            queues: (0..partitions).map(|_| Queue::new(id, settings.batch_events_max)).collect(),
            held: vec![None; partitions],
            settings,
            layout,
            links: BTreeMap::new(),
            links_made: 0,
            correlation: 0,
            events,
            events_in,
            asked_layout: None,
            asking: false,
            acks: Vec::new(),
            outstanding: 0,
            retries: 0,
            failing_since: None,
        })
    }

    pub fn partitions(&self) -> u32 {
        self.queues.len() as u32
    }
    /// Events pushed and not yet acknowledged.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }
    /// Batches that had to be sent again.
    pub fn retries(&self) -> u64 {
        self.retries
    }
    /// What was acknowledged since the last call.
    pub fn take_acks(&mut self) -> Vec<Ack> {
        std::mem::take(&mut self.acks)
    }

    /// Adds an event; it leaves with a later [`Self::flush`]. `tag` comes back with its acknowledgement.
    pub fn push(&mut self, partition: u32, time_ms: i64, key: &[u8], value: &[u8], tag: u64) {
        self.outstanding += 1;
        self.queues[partition as usize].push(time_ms, key, value, tag);
    }

    /// Sends what the windows allow: one request to each leading peer.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        self.give_up_on_silence(now);
        let mut requests: BTreeMap<i32, (usize, Vec<(u32, Parcel)>)> = BTreeMap::new();
        // Starts elsewhere each time, so that the bound on a request is not always felt by the same partition.
        let count = self.queues.len();
        let first = self.correlation.unsigned_abs() as usize % count.max(1);
        let mut leaderless = false;
        for partition in (first..count).chain(0..first) {
            if self.queues[partition].unsent() == 0 || self.is_held(partition, now) {
                continue;
            }
            let Some(peer) = self.layout.leaders[partition] else {
                leaderless = true;
                continue;
            };
            let (bytes, parcels) = requests.entry(peer).or_default();
            if *bytes >= REQUEST_BYTES_MAX || !self.has_room(peer) {
                continue;
            }
            if let Some(parcel) = self.queues[partition].take(peer) {
                *bytes += parcel.bytes.len();
                parcels.push((partition as u32, parcel));
            }
        }
        if leaderless {
            self.ask_layout(now);
        }
        for (peer, (_, parcels)) in requests {
            if !parcels.is_empty() {
                self.send(peer, parcels, now);
            }
        }
        self.check_patience(now)
    }

    /// Waits for news from the peers and takes in all that is there. Cancel safe.
    pub async fn news(&mut self) -> anyhow::Result<()> {
        // The producer holds a sender itself, so the channel stays open.
        let Some(event) = self.events.recv().await else { bail!("the links are gone") };
        self.on_event(event)?;
        while let Ok(event) = self.events.try_recv() {
            self.on_event(event)?;
        }
        Ok(())
    }

    fn has_room(&self, peer: i32) -> bool {
        self.links.get(&peer).is_none_or(|link| link.flights.len() < REQUESTS_IN_FLIGHT)
    }

    fn is_held(&mut self, partition: usize, now: Instant) -> bool {
        if self.held[partition].is_some_and(|until| until > now) {
            return true;
        }
        self.held[partition] = None;
        false
    }

    fn send(&mut self, peer: i32, parcels: Vec<(u32, Parcel)>, now: Instant) {
        if !self.links.contains_key(&peer) {
            self.open(peer);
        }
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        let correlation = self.correlation;
        let parts: Vec<(u32, Bytes)> =
            parcels.iter().map(|(partition, parcel)| (*partition, parcel.bytes.clone())).collect();
        let frame = wire::produce(correlation, &self.settings.stream, REQUEST_TIMEOUT_MS, &parts);
        let link = self.links.get_mut(&peer).expect("it was opened above");
        link.flights.push_back(Flight { correlation, since: now, parcels });
        if link.frames.try_send(frame).is_err() {
            // The channel takes as many frames as may be in flight, so its task has ended.
            self.on_down(peer, "the connection has ended", now);
        }
    }

    fn open(&mut self, peer: i32) {
        self.links_made += 1;
        let number = self.links_made;
        let (frames, outgoing) = mpsc::channel(REQUESTS_IN_FLIGHT + 1);
        let address = self.layout.peers.get(&peer).cloned().unwrap_or_default();
        tokio::spawn(link::run((peer, number), address, outgoing, self.events_in.clone()));
        self.links.insert(peer, Link { number, frames, flights: VecDeque::new() });
    }

    fn ask_layout(&mut self, now: Instant) {
        if self.asking || self.asked_layout.is_some_and(|at| now < at + PAUSE) {
            return;
        }
        self.asking = true;
        self.asked_layout = Some(now);
        let known = self.layout.peers.values().chain(&self.settings.bootstrap);
        let addresses: Vec<String> = known.cloned().collect();
        let stream = self.settings.stream.clone();
        let events = self.events_in.clone();
        tokio::spawn(async move {
            let layout = link::layout(addresses, stream).await;
            // The producer may be gone: then nobody needs it.
            let _ = events.send(Event::Layout(layout)).await;
        });
    }

    fn on_event(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Frame { peer, link, bytes } => self.on_frame(peer, link, bytes),
            Event::Down { peer, link, why } => {
                if self.links.get(&peer).is_some_and(|held| held.number == link) {
                    self.on_down(peer, &why, Instant::now());
                }
                Ok(())
            }
            Event::Layout(layout) => {
                self.on_layout(layout);
                Ok(())
            }
        }
    }

    fn on_layout(&mut self, layout: anyhow::Result<Layout>) {
        self.asking = false;
        let Ok(layout) = layout else { return };
        if layout.error == 0 && layout.leaders.len() == self.queues.len() {
            self.layout = layout;
        }
    }

    fn on_down(&mut self, peer: i32, why: &str, now: Instant) {
        let Some(link) = self.links.remove(&peer) else { return };
        for (partition, parcel) in link.flights.into_iter().flat_map(|flight| flight.parcels) {
            self.retry(partition, parcel, why, now);
        }
        self.ask_layout(now);
    }

    fn on_frame(&mut self, peer: i32, number: u64, mut bytes: Bytes) -> anyhow::Result<()> {
        let Some(link) = self.links.get_mut(&peer).filter(|link| link.number == number) else {
            return Ok(());
        };
        let correlation = wire::correlation(&mut bytes)?;
        let flight = link.flights.pop_front().context("an answer nobody asked for")?;
        if flight.correlation != correlation {
            bail!("peer {peer} answers request {correlation} before {}", flight.correlation);
        }
        let outcomes = wire::outcomes(&mut bytes)?;
        let now = Instant::now();
        for (partition, parcel) in flight.parcels {
            let outcome = outcomes.iter().find(|outcome| outcome.partition == partition);
            let outcome = outcome.with_context(|| format!("no answer for {partition}"))?;
            self.on_outcome(parcel, outcome, now)?;
        }
        Ok(())
    }

    fn on_outcome(
        &mut self,
        parcel: Parcel,
        outcome: &wire::Outcome,
        now: Instant,
    ) -> anyhow::Result<()> {
        let partition = outcome.partition;
        match outcome.error {
            0 | DUPLICATE => {
                self.queues[partition as usize].on_done();
                self.outstanding -= parcel.tags.len();
                self.failing_since = None;
                let base_offset = if outcome.error == 0 { outcome.base_offset } else { -1 };
                self.acks.push(Ack { partition, base_offset, tags: parcel.tags });
                Ok(())
            }
            error if is_passing(error) || self.may_reorder(partition, error, &parcel) => {
                let why = outcome.message.clone().unwrap_or_else(|| format!("Kafka error {error}"));
                self.retry(partition, parcel, &why, now);
                self.ask_layout(now);
                Ok(())
            }
            error => {
                let because = outcome.message.as_deref().unwrap_or("no reason given");
                bail!("partition {partition} refuses a batch with Kafka error {error}: {because}")
            }
        }
    }

    /// A later batch is called out of order when an earlier one failed; that passes.
    fn may_reorder(&self, partition: u32, error: i16, parcel: &Parcel) -> bool {
        let retrying = self.queues[partition as usize].is_retrying();
        error == OUT_OF_ORDER && (retrying || parcel.tries < OUT_OF_ORDER_MAX)
    }

    fn retry(&mut self, partition: u32, parcel: Parcel, why: &str, now: Instant) {
        self.retries += 1;
        self.failing_since.get_or_insert_with(|| (now, why.to_owned())).1 = why.to_owned();
        self.held[partition as usize] = Some(now + PAUSE);
        self.queues[partition as usize].on_failed(parcel);
    }

    fn give_up_on_silence(&mut self, now: Instant) {
        let silent = self.links.iter().find_map(|(peer, link)| {
            let oldest = link.flights.front()?;
            (now.duration_since(oldest.since) > SILENCE_MAX).then_some(*peer)
        });
        if let Some(peer) = silent {
            self.on_down(peer, "no answer in time", now);
        }
    }

    fn check_patience(&self, now: Instant) -> anyhow::Result<()> {
        match &self.failing_since {
            Some((since, why)) if now.duration_since(*since) > PATIENCE => {
                bail!("nothing was acknowledged for {PATIENCE:?}; the last reason: {why}")
            }
            _ => Ok(()),
        }
    }
}

fn is_passing(error: i16) -> bool {
    PASSING.iter().any(|passing| passing.code() == error)
}

async fn prepare(settings: &Settings) -> anyhow::Result<(Layout, wire::ProducerId)> {
    let layout = link::layout(settings.bootstrap.clone(), settings.stream.clone()).await?;
    if layout.error != 0 {
        return Err(wire::Error::Refused(layout.error).into());
    }
    if layout.leaders.is_empty() || layout.leaders.iter().any(Option::is_none) {
        bail!("stream `{}` has partitions that nobody leads", settings.stream);
    }
    let address = layout.peers.values().next().or(settings.bootstrap.first());
    let id = link::producer_id(address.context("no address is known")?).await?;
    Ok((layout, id))
}
