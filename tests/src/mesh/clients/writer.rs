//! A client that appends numbered batches of keyed events, as one of four kinds: an idempotent Kafka producer, a
//! plain one, HTTP with an idempotency key, and HTTP without.
//!
//! The first and the third repeat a batch until it is acknowledged; the others send it once, and what became of it
//! may stay unknown.

use super::super::pipelines::{PARTITIONS, POISON, SOURCE};
use super::super::router::{Failed, Heard, Reply, Wish};
use super::super::world::World;
use super::{Place, Request, Shared};
use crate::sim::dice::Dice;
use model::batch::HEADER_BYTES;
use model::hash::bucket_of;
use model::{Batch, BatchBuilder, Op, Origin, PartitionId, ShardId};
use replica::{Answer, Refusal};
use std::collections::BTreeMap;

/// Batches on their way at once.
const WINDOW: usize = 4;
/// The token of a request that is no batch.
const NO_BATCH: u64 = u64::MAX;
/// Keys that all writers share.
const KEYS: u64 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Idempotent,
    Plain,
    Keyed,
    Once,
}

/// One batch and what is known of it.
struct Sent {
    partition: u32,
    batch: Batch,
    count: u64,
    origin: Origin,
    /// A request for it is open.
    open: bool,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// To be sent, again if need be.
    Waiting,
    At(i64),
    /// It was appended, nobody remembers where.
    Somewhere,
    /// It may have been appended.
    Unknown,
    /// It was not appended, and never will be.
    Failed,
}

pub struct Writer {
    kind: Kind,
    number: u64,
    nonce: u128,
    pause_us: u64,
    bytes: usize,
    producer: Option<i64>,
    asking: bool,
    /// The next base sequence of each partition.
    sequences: BTreeMap<u32, i32>,
    /// A plain producer's connection: its door's name, its number there, and the numbers of its appends by shard.
    connection: Option<(u64, u64, BTreeMap<ShardId, u64>)>,
    sent: Vec<Sent>,
    host: usize,
    /// Gaps in a row although everything before is acknowledged.
    gaps: u32,
}

impl Writer {
    fn new(kind: Kind, number: u64, seed: u64) -> Self {
        Self {
            kind,
            number,
            nonce: u128::from(seed) << 8 | u128::from(number) | 1 << 100,
            pause_us: 0,
            bytes: 0,
            producer: None,
            asking: false,
            sequences: BTreeMap::new(),
            connection: None,
            sent: Vec::new(),
            host: 0,
            gaps: 0,
        }
    }
    pub fn idempotent(number: u64, seed: u64) -> Self {
        Self::new(Kind::Idempotent, number, seed)
    }
    pub fn plain(number: u64, seed: u64) -> Self {
        Self::new(Kind::Plain, number, seed)
    }
    pub fn keyed(number: u64, seed: u64) -> Self {
        Self::new(Kind::Keyed, number, seed)
    }
    pub fn once(number: u64, seed: u64) -> Self {
        Self::new(Kind::Once, number, seed)
    }
    pub fn paced(self, pause_us: u64, bytes: usize) -> Self {
        Self { pause_us, bytes, ..self }
    }

    /// Events that were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        let known = |sent: &&Sent| matches!(sent.fate, Fate::At(_) | Fate::Somewhere);
        self.sent.iter().filter(known).map(|sent| sent.count).sum()
    }

    fn repeats(&self) -> bool {
        matches!(self.kind, Kind::Idempotent | Kind::Keyed)
    }

    pub fn moves(&mut self, world: &mut World) -> (Vec<Request>, u64) {
        let pause = world.dice.range(self.pause_us / 4, self.pause_us * 2);
        let Some(Place { shard, .. }) = world.place_of(SOURCE, 0) else { return (vec![], pause) };
        if self.kind == Kind::Idempotent && self.producer.is_none() {
            if std::mem::replace(&mut self.asking, true) {
                return (vec![], pause);
            }
            let wish = Wish::Propose(Op::Producer { nonce: self.nonce });
            return (vec![Request { host: self.host, shard, wish, token: NO_BATCH }], pause);
        }
        let waiting = self.sent.iter().filter(|sent| sent.fate == Fate::Waiting).count();
        if waiting < WINDOW && !world.healing {
            let sent = self.another(world);
            self.sent.push(sent);
        }
        let mut requests = Vec::new();
        for (token, sent) in self.sent.iter_mut().enumerate() {
            if sent.fate != Fate::Waiting || sent.open {
                continue;
            }
            let Some(place) = world.place_of(SOURCE, sent.partition) else { continue };
            sent.open = true;
            let (partition, batch) = (place.partition, sent.batch.bytes().clone());
            let op = Op::Append { partition, origin: sent.origin, batch };
            let (host, shard, token) = (self.host, place.shard, token as u64);
            requests.push(Request { host, shard, wish: Wish::Propose(op), token });
        }
        (requests, pause)
    }

    /// The next batch, with what makes it repeatable.
    fn another(&mut self, world: &mut World) -> Sent {
        let place = self.sent.len();
        let key = format!("k{}", world.dice.range(0, KEYS));
        let partition = bucket_of(key.as_bytes(), PARTITIONS);
        let count = world.dice.range(1, 4);
        let time_ms = world.wall_ms();
        let mut builder = BatchBuilder::new();
        if let Some(id) = self.producer {
            let next = self.sequences.entry(partition).or_default();
            builder = builder.producer(id, 0, *next);
            *next += count as i32;
        }
        for event in 0..count {
            let number = self.number << 32 | (place as u64) << 8 | event;
            let first = if world.dice.chance(8) { POISON } else { "" };
            let value = format!("{first}{number} {:width$}", "", width = self.bytes);
            let time_ms = time_ms - world.dice.range(0, 500) as i64;
            builder.push(time_ms, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
        }
        let batch = builder.build().expect("a batch has events");
        let origin = self.origin(place as u64, partition, world);
        Sent { partition, batch, count, origin, open: false, fate: Fate::Waiting }
    }

    fn origin(&mut self, place: u64, partition: u32, world: &mut World) -> Origin {
        match self.kind {
            Kind::Idempotent => Origin::Producer { issued: 0 },
            Kind::Keyed => Origin::Key { key: self.nonce << 20 | u128::from(place), body: place },
            Kind::Plain | Kind::Once => {
                if self.kind == Kind::Once || self.connection.is_none() {
                    self.connection = Some(self.connect(world));
                }
                let shard = world.place_of(SOURCE, partition).map_or(ShardId(0), |p| p.shard);
                let (door, connection, numbers) =
                    self.connection.as_mut().expect("it was just made");
                let next = numbers.entry(shard).or_default();
                let sequence = *next;
                *next += 1;
                Origin::Door { door: *door, connection: *connection, sequence }
            }
        }
    }

    /// A connection to the door of a host that runs: the door has a name and counts its connections.
    fn connect(&mut self, world: &mut World) -> (u64, u64, BTreeMap<ShardId, u64>) {
        let host = &world.hosts[self.host];
        let door = host.head.map_or(0, |peer| peer.0 as u64) << 32 | host.incarnation;
        (door, self.number << 32 | self.sent.len() as u64, BTreeMap::new())
    }

    pub fn hears(
        &mut self,
        token: u64,
        reply: Reply,
        shared: &mut Shared,
        world: &mut World,
    ) -> Result<(), String> {
        if token == NO_BATCH {
            self.asking = false;
            match reply {
                Ok(Heard::Answer(Answer::Producer { id })) => self.producer = Some(id),
                Ok(other) => return Err(format!("a strange answer: {other:?}")),
                Err(_) => self.elsewhere(world),
            }
            return Ok(());
        }
        let place = token as usize;
        self.sent[place].open = false;
        match reply {
            Ok(Heard::Answer(Answer::Appended { base_offset, .. })) => {
                self.gaps = 0;
                let there = world.place_of(SOURCE, self.sent[place].partition);
                let partition = there.ok_or("the stream is gone")?.partition;
                self.is_at(place, partition, base_offset, (shared, world))
            }
            Ok(other) => Err(format!("a strange answer: {other:?}")),
            Err(failed) => self.is_refused(place, failed, world),
        }
    }

    fn is_at(
        &mut self,
        place: usize,
        partition: PartitionId,
        base_offset: i64,
        (shared, world): (&mut Shared, &World),
    ) -> Result<(), String> {
        let sent = &mut self.sent[place];
        let there = world.truth.batch_at(partition, base_offset);
        if there.is_none_or(|there| there[HEADER_BYTES..] != sent.batch.bytes()[HEADER_BYTES..]) {
            return Err(format!("batch {place} is acknowledged at {base_offset}, not there"));
        }
        match sent.fate {
            Fate::At(known) if known != base_offset => {
                return Err(format!("batch {place} is at {known} and at {base_offset}"));
            }
            _ => sent.fate = Fate::At(base_offset),
        }
        shared.acknowledge(partition, base_offset + sent.count as i64);
        Ok(())
    }

    fn is_refused(
        &mut self,
        place: usize,
        failed: Failed,
        world: &mut World,
    ) -> Result<(), String> {
        if self.sent[place].fate != Fate::Waiting {
            return Ok(());
        }
        if let Failed::Refused(Refusal::Forgotten) = failed {
            self.sent[place].fate = Fate::Somewhere;
            return Ok(());
        }
        if let Failed::Refused(other) = failed
            && !matches!(other, Refusal::Gap | Refusal::Busy)
        {
            return Err(format!("batch {place} is refused: {other:?}"));
        }
        self.elsewhere(world);
        if !self.repeats() {
            let nothing = failed == Failed::NoLeader;
            self.sent[place].fate = if nothing { Fate::Failed } else { Fate::Unknown };
            return Ok(());
        }
        if let Failed::Refused(Refusal::Gap) = failed {
            let partition = self.sent[place].partition;
            let mut before = self.sent[..place].iter().filter(|s| s.partition == partition);
            let all = before.all(|sent| sent.fate != Fate::Waiting);
            self.gaps = if all { self.gaps + 1 } else { 0 };
            if self.gaps >= 5 {
                return Err(format!("something acknowledged before batch {place} is forgotten"));
            }
        }
        Ok(())
    }

    /// Another host is asked next, by another connection.
    fn elsewhere(&mut self, world: &mut World) {
        self.host = any_of(world.hosts.len(), &mut world.dice);
        self.connection = None;
    }

    pub fn is_done(&self) -> Result<(), String> {
        let waiting = self.sent.iter().filter(|sent| sent.fate == Fate::Waiting).count();
        match waiting {
            0 => Ok(()),
            _ => Err(format!("writer {} waits for {waiting} batches", self.number)),
        }
    }

    /// Every acknowledged batch is where it was said to be, each is there at most once, and what failed is not.
    pub fn audit(&self, world: &World) -> Result<(), String> {
        let mut places: BTreeMap<&[u8], Vec<i64>> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let Some(place) = world.place_of(SOURCE, partition) else { continue };
            for (offset, bytes) in world.truth.batches(place.partition) {
                places.entry(&bytes[HEADER_BYTES..]).or_default().push(offset);
            }
        }
        for (number, sent) in self.sent.iter().enumerate() {
            let found = places.get(&sent.batch.bytes()[HEADER_BYTES..]);
            let found = found.map_or(&[][..], Vec::as_slice);
            let holds = match sent.fate {
                Fate::At(offset) => found == [offset],
                Fate::Somewhere => found.len() == 1,
                Fate::Unknown => found.len() <= 1,
                Fate::Failed | Fate::Waiting => found.is_empty(),
            };
            if !holds {
                let (writer, fate) = (self.number, sent.fate);
                return Err(format!(
                    "batch {number} of writer {writer} is {fate:?}, found {found:?}"
                ));
            }
        }
        Ok(())
    }
}

fn any_of(count: usize, dice: &mut Dice) -> usize {
    dice.range(0, count as u64) as usize
}
