//! A client that appends numbered batches and repeats each until it is acknowledged, under one of the three kinds
//! of origin.

use super::super::dice::Dice;
use super::super::disk::Segments;
use super::super::invariants::Invariants;
use super::super::world::Ask;
use super::{SOURCE, Shared, Wish, elsewhere};
use model::batch::HEADER_BYTES;
use model::{Batch, BatchBuilder, Op, Origin, PartitionId};
use replica::{Answer, Refusal};
use std::collections::BTreeMap;

/// Batches on their way at once.
const WINDOW: usize = 3;
/// The token of a request that is no batch.
const NO_BATCH: u64 = u64::MAX;

pub struct Writer {
    kind: Kind,
    partition: PartitionId,
    total: u64,
    bytes: usize,
    next: u64,
    /// Batches that are not acknowledged, and whether a request for them is open.
    waiting: BTreeMap<u64, bool>,
    acked: BTreeMap<u64, Option<i64>>,
    peer: i32,
    /// Gaps in a row although everything before is acknowledged.
    gaps: u32,
}

enum Kind {
    Producer { nonce: u128, id: Option<i64> },
    Door { door: u64 },
    Keyed,
}

impl Writer {
    fn new(kind: Kind, partition: PartitionId, total: u64, bytes: usize) -> Self {
        let (waiting, acked) = (BTreeMap::new(), BTreeMap::new());
        Self { kind, partition, total, bytes, next: 0, waiting, acked, peer: 1, gaps: 0 }
    }
    pub fn producer(partition: PartitionId, total: u64, bytes: usize, nonce: u128) -> Self {
        Self::new(Kind::Producer { nonce, id: None }, partition, total, bytes)
    }
    pub fn door(partition: PartitionId, total: u64, bytes: usize, door: u64) -> Self {
        Self::new(Kind::Door { door }, partition, total, bytes)
    }
    pub fn keyed(partition: PartitionId, total: u64, bytes: usize) -> Self {
        Self::new(Kind::Keyed, partition, total, bytes)
    }

    fn name(&self) -> char {
        match self.kind {
            Kind::Producer { .. } => 'p',
            Kind::Door { .. } => 'd',
            Kind::Keyed => 'k',
        }
    }

    fn batch(&self, number: u64) -> Batch {
        let mut builder = BatchBuilder::new();
        if let Kind::Producer { id: Some(id), .. } = self.kind {
            let base: u64 = (0..number).map(events).sum();
            builder = builder.producer(id, 0, base as i32);
        }
        for event in 0..events(number) {
            let value =
                format!("{}{number}.{event} {:width$}", self.name(), "", width = self.bytes);
            builder.push(1_700_000_000_000 + number as i64, None, Some(value.as_bytes()), &[]);
        }
        builder.build().expect("a batch has events")
    }

    fn origin(&self, number: u64) -> Origin {
        match self.kind {
            Kind::Producer { .. } => Origin::Producer { issued: 0 },
            Kind::Door { door } => Origin::Door { door, connection: 1, sequence: number },
            Kind::Keyed => Origin::Key { key: u128::from(number) + 1000, body: number },
        }
    }

    pub fn moves(&mut self, _peers: i32, dice: &mut Dice) -> (Vec<Wish>, u64) {
        let pause = dice.range(10_000, 300_000);
        if let Kind::Producer { nonce, id: None } = self.kind {
            let open = self.waiting.insert(NO_BATCH, true).unwrap_or(false);
            let wish = Wish {
                peer: self.peer,
                ask: Ask::Propose(Op::Producer { nonce }),
                token: NO_BATCH,
            };
            return (if open { vec![] } else { vec![wish] }, pause);
        }
        while self.waiting.len() < WINDOW && self.next < self.total && dice.chance(600) {
            self.waiting.insert(self.next, false);
            self.next += 1;
        }
        let due: Vec<u64> =
            self.waiting.iter().filter(|(_, open)| !**open).map(|(number, _)| *number).collect();
        let mut wishes = Vec::new();
        for number in due {
            self.waiting.insert(number, true);
            let batch = self.batch(number).bytes().clone();
            let (partition, origin) = (self.partition, self.origin(number));
            let ask = Ask::Propose(Op::Append { partition, origin, batch });
            wishes.push(Wish { peer: self.peer, ask, token: number });
        }
        (wishes, pause)
    }

    pub fn hears(
        &mut self,
        number: u64,
        result: Result<Answer, Refusal>,
        invariants: &Invariants,
        shared: &mut Shared,
        (peers, dice): (i32, &mut Dice),
    ) -> Result<(), String> {
        match result {
            Ok(Answer::Producer { id }) => {
                self.waiting.remove(&NO_BATCH);
                let Kind::Producer { id: mine, .. } = &mut self.kind else {
                    return Err("a producer id for nobody".into());
                };
                if mine.is_some_and(|mine| mine != id) {
                    return Err(format!("one nonce has two producer ids, {mine:?} and {id}"));
                }
                *mine = Some(id);
                Ok(())
            }
            Ok(Answer::Appended { base_offset, .. }) => {
                self.gaps = 0;
                let batch = self.batch(number);
                let there = invariants.batch_at(self.partition, base_offset);
                if there.is_none_or(|there| there[HEADER_BYTES..] != batch.bytes()[HEADER_BYTES..])
                {
                    return Err(format!(
                        "batch {number} is acknowledged at {base_offset}, not there"
                    ));
                }
                self.waiting.remove(&number);
                let known = *self.acked.entry(number).or_insert(Some(base_offset));
                if known.is_some_and(|known| known != base_offset) {
                    return Err(format!("batch {number} is at {known:?} and at {base_offset}"));
                }
                if self.partition == SOURCE {
                    let next = base_offset + events(number) as i64;
                    shared.acked_next = shared.acked_next.max(next);
                }
                Ok(())
            }
            Err(refusal) => self.is_refused(number, refusal, (peers, dice)),
            Ok(other) => Err(format!("a strange answer: {other:?}")),
        }
    }

    fn is_refused(
        &mut self,
        number: u64,
        refusal: Refusal,
        (peers, dice): (i32, &mut Dice),
    ) -> Result<(), String> {
        if let Some(open) = self.waiting.get_mut(&number) {
            *open = false;
        }
        if number == NO_BATCH {
            self.waiting.remove(&NO_BATCH);
        }
        match refusal {
            Refusal::NotLeader { .. } | Refusal::Unknown => {
                self.peer = elsewhere(refusal, peers, dice);
                Ok(())
            }
            Refusal::Busy => Ok(()),
            Refusal::Forgotten => {
                self.waiting.remove(&number);
                self.acked.entry(number).or_insert(None);
                Ok(())
            }
            Refusal::Gap => {
                let before = (0..number).all(|earlier| self.acked.contains_key(&earlier));
                self.gaps = if before { self.gaps + 1 } else { 0 };
                if self.gaps >= 5 {
                    return Err(format!(
                        "something acknowledged before batch {number} is forgotten"
                    ));
                }
                Ok(())
            }
            other => Err(format!("batch {number} is refused: {other:?}")),
        }
    }

    pub fn acknowledged(&self) -> impl Iterator<Item = u64> {
        self.acked.keys().copied()
    }

    pub fn is_done(&self) -> Result<(), String> {
        if self.acked.len() as u64 == self.total {
            return Ok(());
        }
        let name = self.name();
        Err(format!(
            "writer {name} has {} of {}, waits for {:?}",
            self.acked.len(),
            self.total,
            self.waiting
        ))
    }

    /// Every acknowledged batch is where it was said to be, and every batch is there once.
    pub fn audit(&self, segments: &Segments) -> Result<(), String> {
        let none = Vec::new();
        let segment = segments.get(&self.partition).unwrap_or(&none);
        for number in 0..self.total {
            let body = self.batch(number);
            let same =
                |batch: &&Batch| batch.bytes()[HEADER_BYTES..] == body.bytes()[HEADER_BYTES..];
            let places: Vec<i64> = segment.iter().filter(same).map(Batch::base_offset).collect();
            let said = self.acked.get(&number).copied().flatten();
            if places.len() > 1 || said.is_some_and(|said| places != [said]) {
                let name = self.name();
                return Err(format!(
                    "batch {name}{number} is at {places:?}, acknowledged at {said:?}"
                ));
            }
        }
        Ok(())
    }
}

/// How many events a batch has.
fn events(number: u64) -> u64 {
    1 + number % 3
}
