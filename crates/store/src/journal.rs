//! The journal of a peer, shared by all its shards.

mod record;

pub use record::Record;

use crate::{Disk, Error};
use model::{HardState, LogEntry, ReplicaId, ShardId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sizes of a journal's files.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A segment file's size; a frame that is larger gets a file of its own.
    pub segment_bytes: u64,
    /// Beyond this many bytes, cutting carries whatever still lives in the oldest file, however much it is.
    pub journal_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, journal_bytes_max: 512 << 20 }
    }
}

/// What a journal held when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub shards: BTreeMap<ShardId, RecoveredShard>,
    /// Damage of which not even the shards could be read: a shard that is not in `shards` may have been in it.
    pub doubt: Option<String>,
    /// No journal was there at all.
    pub fresh: bool,
}

/// One shard of a recovered journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredShard {
    /// 0: there is no replica, only a tombstone.
    pub replica: ReplicaId,
    /// Index and term before the first entry.
    pub base: (u64, u64),
    pub hard: HardState,
    /// Contiguous from `base.0 + 1` on.
    pub entries: Vec<LogEntry>,
    /// The highest replica id that was removed, 0 for none.
    pub tombstone: ReplicaId,
    /// Why the replica must fall silent and come back as a new one: its records are damaged or incomplete.
    pub doubt: Option<String>,
}

impl RecoveredShard {
    /// Moves the base up to what the tables hold (index, term) and drops the entries below.
    ///
    /// Fails if entries between the two are missing: the journal was cut above the durable index.
    pub fn rebase(&mut self, index: u64, term: u64) -> Result<(), Error> {
        if self.base.0 > index {
            return Err(Error::Missing(format!("entries {}..={}", index + 1, self.base.0)));
        }
        self.entries.retain(|entry| entry.index > index);
        self.base = (index, term);
        Ok(())
    }
}

/// Appends frames of records and makes them last, for all shards of a peer.
pub struct Journal {
    disk: Arc<dyn Disk>,
}

impl Journal {
    pub fn open(disk: Arc<dyn Disk>, _limits: Limits) -> Result<(Self, Recovered), Error> {
        Ok((Self { disk }, Recovered { fresh: true, ..Recovered::default() }))
    }
    /// Writes records as one frame, without sync; returns the frame's number.
    pub fn write(&mut self, _records: &[Record]) -> Result<u64, Error> {
        Err(Error::Misuse(format!("not written yet {:?}", self.disk.list(""))))
    }
    /// Makes all frames last; returns the number of the highest.
    pub fn sync(&mut self) -> Result<u64, Error> {
        Err(Error::Misuse("not written yet".into()))
    }
    /// A sync that may run on another thread while frames are written; hand its result to `end_sync`.
    pub fn begin_sync(&mut self) -> Result<Syncing, Error> {
        Err(Error::Misuse("not written yet".into()))
    }
    pub fn end_sync(&mut self, _synced: Synced) -> Result<u64, Error> {
        Err(Error::Misuse("not written yet".into()))
    }
    /// Removes files whose records all lie at or below the shards' durable indexes; returns how many.
    /// `carry` gives the live records (hard state, all entries above durable) of a shard that would pin a file.
    pub fn cut(
        &mut self,
        _durable: &BTreeMap<ShardId, u64>,
        _carry: &mut dyn FnMut(ShardId) -> Vec<Record>,
    ) -> Result<usize, Error> {
        Err(Error::Misuse("not written yet".into()))
    }
    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        0
    }
}

/// A sync under way, see [`Journal::begin_sync`].
pub struct Syncing(());

impl Syncing {
    /// Blocks until the disk has answered.
    pub fn run(self) -> Synced {
        Synced(())
    }
}

/// A sync that has ended, well or not.
pub struct Synced(());
