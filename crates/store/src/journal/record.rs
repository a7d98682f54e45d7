//! What a shard writes into the journal, and how it lies in a frame's body.
//!
//! Layout, little-endian: kind u8, shard u16, replica u64, then what the kind has. Entries are laid by hand: first
//! index u64, count u32, then term u64, kind u8, length u32, bytes each. Never goes through serde.

use super::frame::newer;
use crate::Error;
use model::log::EntryKind;
use model::{HardState, LogEntry, ReplicaId, ShardId};

/// One record of a frame. Records of a replica that is not the shard's present one are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A new replica begins, with `base` (index, term) before its first entry. All of an older one is void.
    Begin {
        shard: ShardId,
        replica: ReplicaId,
        base: (u64, u64),
    },
    /// Entries replace all from their first index on.
    Entries {
        shard: ShardId,
        replica: ReplicaId,
        entries: Vec<LogEntry>,
    },
    Hard {
        shard: ShardId,
        replica: ReplicaId,
        hard: HardState,
    },
    /// A snapshot at (index, term) was installed: it replaces the whole log.
    Snapshot {
        shard: ShardId,
        replica: ReplicaId,
        index: u64,
        term: u64,
    },
    /// This replica, and all with a lower id, were removed for good.
    Tombstone {
        shard: ShardId,
        replica: ReplicaId,
    },
}

/// All that is known of a shard but its entries: begins each segment, so that no older one is needed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub shard: ShardId,
    pub replica: ReplicaId,
    pub base: (u64, u64),
    /// Index of the last entry.
    pub last: u64,
    pub hard: HardState,
    pub tombstone: ReplicaId,
    pub doubted: bool,
}

/// A record as it is read back: entries stay where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Record(Record),
    Entries { shard: ShardId, replica: ReplicaId, first: u64, entries: Vec<FoundEntry> },
    State(State),
}

/// One entry in a frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundEntry {
    pub term: u64,
    pub kind: EntryKind,
    /// Where its bytes begin in the body.
    pub at: u32,
    pub len: u32,
    /// Checked when the bytes are fetched later.
    pub crc: u32,
}

const BEGIN: u8 = 1;
const ENTRIES: u8 = 2;
const HARD: u8 = 3;
const SNAPSHOT: u8 = 4;
const TOMBSTONE: u8 = 5;
const STATE: u8 = 6;
/// Kind, shard, replica.
const START_BYTES: usize = 11;
/// Term, kind, length of one entry.
const ENTRY_BYTES: usize = 13;
const STATE_BYTES: usize = START_BYTES + 7 * 8 + 1;

impl Record {
    pub fn shard(&self) -> ShardId {
        match self {
            Self::Begin { shard, .. }
            | Self::Entries { shard, .. }
            | Self::Hard { shard, .. }
            | Self::Snapshot { shard, .. }
            | Self::Tombstone { shard, .. } => *shard,
        }
    }

    pub(crate) fn encoded_bytes(&self) -> usize {
        START_BYTES
            + match self {
                Self::Begin { .. } | Self::Snapshot { .. } => 16,
                Self::Entries { entries, .. } => {
                    12 + entries.iter().map(|e| ENTRY_BYTES + e.bytes.len()).sum::<usize>()
                }
                Self::Hard { .. } => 24,
                Self::Tombstone { .. } => 0,
            }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Begin { shard, replica, base } => {
                start(out, BEGIN, *shard, *replica);
                words(out, &[base.0, base.1]);
            }
            Self::Entries { shard, replica, entries } => {
                start(out, ENTRIES, *shard, *replica);
                words(out, &[entries.first().map_or(0, |e| e.index)]);
                out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
                for entry in entries {
                    words(out, &[entry.term]);
                    out.push(kind_byte(entry.kind));
                    out.extend_from_slice(&(entry.bytes.len() as u32).to_le_bytes());
                    out.extend_from_slice(&entry.bytes);
                }
            }
            Self::Hard { shard, replica, hard } => {
                start(out, HARD, *shard, *replica);
                words(out, &[hard.term, hard.vote, hard.commit]);
            }
            Self::Snapshot { shard, replica, index, term } => {
                start(out, SNAPSHOT, *shard, *replica);
                words(out, &[*index, *term]);
            }
            Self::Tombstone { shard, replica } => start(out, TOMBSTONE, *shard, *replica),
        }
    }
}

impl State {
    pub const ENCODED_BYTES: usize = STATE_BYTES;

    pub fn encode(&self, out: &mut Vec<u8>) {
        start(out, STATE, self.shard, self.replica);
        let hard = self.hard;
        words(out, &[self.base.0, self.base.1, self.last, hard.term, hard.vote, hard.commit]);
        words(out, &[self.tombstone.0]);
        out.push(u8::from(self.doubted));
    }
}

/// Reads all records of a body whose checksum was right.
///
/// Fails if a kind is not known: a newer version wrote it, and it must not be skipped.
pub fn decode(body: &[u8]) -> Result<Vec<Found>, Error> {
    let mut reader = Reader { body, at: 0 };
    let mut found = Vec::new();
    while reader.at < body.len() {
        found.push(reader.record()?);
    }
    Ok(found)
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn record(&mut self) -> Result<Found, Error> {
        let kind = self.take(1)?[0];
        let shard = self.take(2)?;
        let shard = ShardId(u16::from_le_bytes([shard[0], shard[1]]));
        let replica = ReplicaId(self.word()?);
        Ok(Found::Record(match kind {
            BEGIN => Record::Begin { shard, replica, base: (self.word()?, self.word()?) },
            ENTRIES => return self.entries(shard, replica),
            HARD => Record::Hard { shard, replica, hard: self.hard()? },
            SNAPSHOT => {
                Record::Snapshot { shard, replica, index: self.word()?, term: self.word()? }
            }
            TOMBSTONE => Record::Tombstone { shard, replica },
            STATE => return self.state(shard, replica),
            other => return Err(newer(format!("journal record of kind {other}"), other)),
        }))
    }

    fn entries(&mut self, shard: ShardId, replica: ReplicaId) -> Result<Found, Error> {
        let first = self.word()?;
        let count = self.half()? as usize;
        let mut entries = Vec::with_capacity(count.min(self.body.len() / ENTRY_BYTES));
        for _ in 0..count {
            let term = self.word()?;
            let kind = match self.take(1)?[0] {
                0 => EntryKind::Normal,
                1 => EntryKind::Configuration,
                other => return Err(newer(format!("log entry of kind {other}"), other)),
            };
            let len = self.half()?;
            let at = self.at as u32;
            let crc = crc32fast::hash(self.take(len as usize)?);
            entries.push(FoundEntry { term, kind, at, len, crc });
        }
        Ok(Found::Entries { shard, replica, first, entries })
    }

    fn state(&mut self, shard: ShardId, replica: ReplicaId) -> Result<Found, Error> {
        Ok(Found::State(State {
            shard,
            replica,
            base: (self.word()?, self.word()?),
            last: self.word()?,
            hard: self.hard()?,
            tombstone: ReplicaId(self.word()?),
            doubted: self.take(1)?[0] != 0,
        }))
    }

    fn hard(&mut self) -> Result<HardState, Error> {
        Ok(HardState { term: self.word()?, vote: self.word()?, commit: self.word()? })
    }

    fn word(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    fn half(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let bytes = self
            .body
            .get(self.at..)
            .and_then(|rest| rest.get(..count))
            .ok_or_else(|| Error::Rot("a journal record ends early".into()))?;
        self.at += count;
        Ok(bytes)
    }
}

fn start(out: &mut Vec<u8>, kind: u8, shard: ShardId, replica: ReplicaId) {
    out.push(kind);
    out.extend_from_slice(&shard.0.to_le_bytes());
    out.extend_from_slice(&replica.0.to_le_bytes());
}

fn words(out: &mut Vec<u8>, words: &[u64]) {
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

fn kind_byte(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Normal => 0,
        EntryKind::Configuration => 1,
    }
}
