//! A seeded story of records, the model of what they mean, and the check of a recovered journal against it.

use crate::journal::{Journal, Limits, Record, Recovered, RecoveredShard};
use crate::sim::{Dice, SimDisk};
use bytes::Bytes;
use model::log::EntryKind;
use model::{HardState, LogEntry, ReplicaId, ShardId};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const SMALL: Limits = Limits { segment_bytes: 8 << 10, journal_bytes_max: 64 << 10 };
pub const SHARDS: u16 = 4;

pub type Model = BTreeMap<ShardId, Kept>;

/// What a shard must have. Entries below the durable index are kept here for ever, to compare terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub replica: ReplicaId,
    pub base: (u64, u64),
    pub hard: HardState,
    pub entries: Vec<LogEntry>,
    pub tombstone: ReplicaId,
    pub durable: u64,
}

impl Kept {
    pub fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }

    pub fn term_at(&self, index: u64) -> u64 {
        match index.checked_sub(self.base.0 + 1) {
            None => self.base.1,
            Some(i) => self.entries[i as usize].term,
        }
    }

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Begin { replica, base, .. } => {
                let tombstone = self.tombstone;
                *self = Self {
                    replica: *replica,
                    base: *base,
                    tombstone,
                    durable: base.0,
                    ..Self::default()
                };
            }
            Record::Entries { entries, .. } => {
                self.entries.truncate((entries[0].index - self.base.0 - 1) as usize);
                self.entries.extend(entries.iter().cloned());
            }
            Record::Hard { hard, .. } => self.hard = *hard,
            Record::Snapshot { index, term, .. } => {
                (self.base, self.durable) = ((*index, *term), *index);
                self.entries.clear();
            }
            Record::Tombstone { replica, .. } => {
                let tombstone = self.tombstone.max(*replica);
                *self = Self { tombstone, ..Self::default() };
            }
        }
    }

    /// What an idle shard's owner gives when it is asked to carry.
    pub fn live(&self, shard: ShardId) -> Vec<Record> {
        let from = (self.durable - self.base.0) as usize;
        vec![Record::Entries {
            shard,
            replica: self.replica,
            entries: self.entries[from..].to_vec(),
        }]
    }
}

pub fn apply(model: &mut Model, records: &[Record]) {
    for record in records {
        model.entry(record.shard()).or_default().apply(record);
    }
}

pub fn entry(index: u64, term: u64, bytes: Vec<u8>) -> LogEntry {
    LogEntry { index, term, kind: EntryKind::Normal, bytes: Bytes::from(bytes) }
}

/// Records of one batch that fit what the model has.
pub fn batch(dice: &mut Dice, model: &Model) -> Vec<Record> {
    let mut model = model.clone();
    let mut records = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let shard = ShardId(dice.below(u64::from(SHARDS)) as u16);
        let kept = model.entry(shard).or_default();
        let record = record(dice, shard, kept);
        kept.apply(&record);
        records.push(record);
    }
    records
}

fn record(dice: &mut Dice, shard: ShardId, kept: &Kept) -> Record {
    let replica = kept.replica;
    if replica.0 == 0 {
        let replica = ReplicaId(kept.tombstone.0 + 1 + dice.below(2));
        return Record::Begin { shard, replica, base: (dice.below(3), 1) };
    }
    match dice.below(40) {
        0 => Record::Tombstone { shard, replica },
        1 => Record::Snapshot { shard, replica, index: kept.last() + dice.below(4), term: 9 },
        2..8 => {
            let hard = HardState { term: dice.below(99), vote: dice.below(4), commit: 0 };
            Record::Hard { shard, replica, hard }
        }
        n => {
            let above = kept.last() - kept.durable;
            let back = if n < 14 { dice.below(above.min(3) + 1) } else { 0 };
            let first = kept.last() + 1 - back;
            let term = kept.term_at(first - 1) + u64::from(back > 0 || dice.below(9) == 0);
            let entries = (0..1 + dice.below(3))
                .map(|i| {
                    let size = 1 + dice.below(150) as usize;
                    entry(first + i, term, vec![dice.draw() as u8; size])
                })
                .collect();
            Record::Entries { shard, replica, entries }
        }
    }
}

/// Durable indexes somewhere between the old ones and the last entries; some shards stay idle.
pub fn checkpoint(dice: &mut Dice, model: &mut Model) -> BTreeMap<ShardId, u64> {
    for kept in model.values_mut().filter(|kept| kept.replica.0 > 0) {
        if dice.below(4) > 0 {
            kept.durable += dice.below(kept.last() - kept.durable + 1);
        }
    }
    durable(model)
}

pub fn durable(model: &Model) -> BTreeMap<ShardId, u64> {
    model.iter().map(|(shard, kept)| (*shard, kept.durable)).collect()
}

/// Compares one shard that is not in doubt with the model.
pub fn check_shard(shard: ShardId, found: &RecoveredShard, kept: &Kept) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{shard}: {what}\n found {found:?}\n kept {kept:?}"));
    if (found.replica, found.hard, found.tombstone) != (kept.replica, kept.hard, kept.tombstone) {
        return wrong("replica, hard state or tombstone differs");
    }
    let base = found.base.0;
    if base < kept.base.0 || base > kept.durable {
        return wrong("the base is above the durable index or below the log");
    }
    if found.base.1 != kept.term_at(base) {
        return wrong("the base's term differs");
    }
    if found.entries != kept.entries[(base - kept.base.0) as usize..] {
        return wrong("entries differ");
    }
    Ok(())
}

pub fn check(found: &Recovered, model: &Model) -> Result<(), String> {
    if let Some(doubt) = &found.doubt {
        return Err(format!("damage without a cause: {doubt}"));
    }
    for (shard, kept) in model {
        let Some(found) = found.shards.get(shard) else {
            return Err(format!("{shard} is not there"));
        };
        if let Some(doubt) = &found.doubt {
            return Err(format!("{shard} is in doubt without a cause: {doubt}"));
        }
        check_shard(*shard, found, kept)?;
    }
    match found.shards.keys().find(|shard| !model.contains_key(shard)) {
        Some(shard) => Err(format!("{shard} came from nowhere")),
        None => Ok(()),
    }
}

pub fn open(disk: &SimDisk) -> (Journal, Recovered) {
    Journal::open(Arc::new(disk.clone()), SMALL).expect("a journal always starts again")
}
