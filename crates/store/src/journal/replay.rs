//! Folds the records of a journal, in the order they were written, into what each shard had.
//!
//! Entries stay on disk until it is known which of them still count; only those are fetched.

use super::files::Files;
use super::ledger::Ledger;
use super::record::{Found, FoundEntry, Record, State};
use super::{Recovered, RecoveredShard};
use crate::Error;
use bytes::Bytes;
use model::log::EntryKind;
use model::{LogEntry, ReplicaId, ShardId};
use std::collections::BTreeMap;

/// The fold of all records read so far.
#[derive(Default)]
pub struct Replay {
    shards: BTreeMap<ShardId, Shard>,
    /// Damage whose shards cannot be named.
    doubt: Option<String>,
}

#[derive(Default)]
struct Shard {
    ledger: Ledger,
    entries: Vec<Place>,
}

/// Where one entry lies.
#[derive(Clone, Copy)]
struct Place {
    index: u64,
    term: u64,
    kind: EntryKind,
    file: u64,
    at: u64,
    len: u32,
    crc: u32,
}

/// Where the body of a frame lies.
#[derive(Clone, Copy)]
pub struct Body {
    pub file: u64,
    pub at: u64,
    /// The frame is the first of its segment: it names every shard.
    pub complete: bool,
}

impl Replay {
    pub fn apply(&mut self, body: Body, found: Found) {
        match found {
            Found::Record(record) => self.record(&record),
            Found::Entries { shard, replica, first, entries } => {
                let shard = self.shard_of(shard, replica);
                if let Some(shard) = shard {
                    shard.entries(body, first, &entries);
                }
            }
            Found::State(state) => {
                self.shards.entry(state.shard).or_default().state(&state);
                if body.complete {
                    self.doubt = None;
                }
            }
        }
    }

    /// Synced frames are damaged. Whatever may have had a record in them is in doubt.
    pub fn rotten(&mut self, shards: Option<&[ShardId]>, what: &str) {
        match shards {
            Some(listed) => {
                for shard in listed {
                    self.shards.entry(*shard).or_default().doubt(what);
                }
            }
            None => {
                self.doubt = Some(what.into());
                self.shards.values_mut().for_each(|shard| shard.doubt(what));
            }
        }
    }

    fn record(&mut self, record: &Record) {
        if let Record::Begin { shard, .. } | Record::Tombstone { shard, .. } = record {
            let shard = self.shards.entry(*shard).or_default();
            shard.ledger.apply(0, record);
            if shard.ledger.last == shard.ledger.base.0 {
                shard.entries.clear();
            }
            return;
        }
        let (Record::Hard { shard, replica, .. }
        | Record::Snapshot { shard, replica, .. }
        | Record::Entries { shard, replica, .. }) = record
        else {
            unreachable!("the others were handled above")
        };
        if let Some(shard) = self.shard_of(*shard, *replica) {
            shard.ledger.apply(0, record);
            if matches!(record, Record::Snapshot { .. }) {
                shard.entries.clear();
            }
        }
    }

    /// The shard, if `replica` is its present one. A replica whose beginning was lost is taken up in doubt.
    fn shard_of(&mut self, shard: ShardId, replica: ReplicaId) -> Option<&mut Shard> {
        let shard = self.shards.entry(shard).or_default();
        if replica < shard.ledger.replica || replica <= shard.ledger.tombstone {
            return None;
        }
        if replica != shard.ledger.replica {
            let why = shard.ledger.doubt.take();
            shard.ledger.begin(replica, (0, 0));
            shard.entries.clear();
            shard.doubt(why.as_deref().unwrap_or("the beginning of the replica is missing"));
        }
        Some(shard)
    }

    /// What the shards had, with the entries that still count, and the ledgers to go on with.
    pub fn finish(self, files: &Files) -> Result<(Recovered, BTreeMap<ShardId, Ledger>), Error> {
        let mut recovered = Recovered { doubt: self.doubt, ..Recovered::default() };
        let mut ledgers = BTreeMap::new();
        for (id, mut shard) in self.shards {
            let entries = shard.fetch(files)?;
            let ledger = shard.ledger;
            recovered.shards.insert(
                id,
                RecoveredShard {
                    replica: ledger.replica,
                    base: ledger.base,
                    hard: ledger.hard,
                    entries,
                    tombstone: ledger.tombstone,
                    doubt: ledger.doubt.clone(),
                },
            );
            ledgers.insert(id, ledger);
        }
        Ok((recovered, ledgers))
    }
}

impl Shard {
    fn doubt(&mut self, what: &str) {
        self.ledger.doubt.get_or_insert_with(|| what.into());
    }

    fn entries(&mut self, body: Body, first: u64, entries: &[FoundEntry]) {
        if first > self.ledger.last + 1 {
            // Older entries were in files that are gone; the base says later whether they still count.
            self.ledger.gap();
            self.entries.clear();
        }
        let keep = self.entries.partition_point(|entry| entry.index < first);
        self.entries.truncate(keep);
        self.entries.extend((first..).zip(entries).map(|(index, entry)| Place {
            index,
            term: entry.term,
            kind: entry.kind,
            file: body.file,
            at: body.at + u64::from(entry.at),
            len: entry.len,
            crc: entry.crc,
        }));
        let sizes = entries.iter().map(|e| (e.term, e.len as usize));
        self.ledger.entries(body.file, first, sizes);
    }

    fn state(&mut self, state: &State) {
        if self.ledger.replica != state.replica {
            self.entries.clear();
        }
        self.ledger.state(state);
        self.entries.retain(|entry| entry.index > state.base.0 && entry.index <= state.last);
    }

    /// Reads the entries above the base; if any is missing or has changed, the shard is in doubt.
    fn fetch(&mut self, files: &Files) -> Result<Vec<LogEntry>, Error> {
        let base = self.ledger.base.0;
        self.entries.retain(|entry| entry.index > base);
        let contiguous = (base + 1..).zip(&self.entries).take_while(|(i, e)| *i == e.index).count();
        if base + contiguous as u64 != self.ledger.last {
            self.doubt(&format!("entry {} is missing", base + contiguous as u64 + 1));
        }
        let mut entries = Vec::with_capacity(contiguous);
        for place in &self.entries[..contiguous] {
            let mut bytes = vec![0; place.len as usize];
            let read = files.read(place.file, place.at, &mut bytes);
            if !read.is_ok_and(|n| n == bytes.len()) || crc32fast::hash(&bytes) != place.crc {
                self.ledger
                    .doubt
                    .get_or_insert_with(|| format!("entry {} has changed", place.index));
                break;
            }
            let Place { index, term, kind, .. } = *place;
            entries.push(LogEntry { index, term, kind, bytes: Bytes::from(bytes) });
        }
        Ok(entries)
    }
}
