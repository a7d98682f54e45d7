//! The journal of a peer, shared by all its shards: frames of records, one frame a group commit.
//!
//! Invariants: J1 what a successful sync covered is recovered after any power cut. J2 damage below the synced mark
//! is never cut off as torn: the shards that may have been in it are in doubt. J3 after the first failed write or
//! sync every call fails; that there is no room for another segment is no failure, the write may be repeated. J4 a segment is removed only when every shard's state and live entries are synced in a
//! later one. J5 what a torn end held is never seen again.
//!
//! Rot of the very last frame cannot be told from a torn one. Never decides what is durable, never starts a sync.

mod cut;
mod files;
mod frame;
mod ledger;
mod record;
mod replay;
mod scan;
mod sync;

#[cfg(test)]
mod tests;

pub use record::Record;
pub use sync::{Synced, Syncing};

use crate::Error;
use crate::disk::{Disk, File};
use files::{Files, Whole};
use frame::{FRAME_BYTES_MAX, Head, frame_bytes};
use ledger::{Check, Ledger};
use model::{HardState, LogEntry, ReplicaId, ShardId};
use record::State;
use replay::{Body, Replay};
use scan::{Step, scan};
use std::collections::BTreeMap;
use std::sync::Arc;
use sync::Gate;

/// A frame's buffer that has grown beyond this is given back.
const BUFFER_BYTES_KEPT: usize = 2 << 20;

/// Sizes of a journal's files.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A segment file's size; a frame that is larger gets a file of its own.
    pub segment_bytes: u64,
    /// Beyond this many bytes, cutting carries on up to two segments of what still lives, instead of a quarter.
    pub journal_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, journal_bytes_max: 512 << 20 }
    }
}

/// What a journal held when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// 0: there is no replica, only a tombstone, or damage where one may have been.
    pub replica: ReplicaId,
    /// Index and term before the first entry: at most what [`Journal::cut`] was told to be durable.
    pub base: (u64, u64),
    pub hard: HardState,
    /// Contiguous from `base.0 + 1` on.
    pub entries: Vec<LogEntry>,
    /// The highest replica id that was removed, 0 for none.
    pub tombstone: ReplicaId,
    /// Why the replica must fall silent and come back as a new one: its records are damaged or incomplete.
    pub doubt: Option<String>,
}

/// Appends frames of records and makes them last, for all shards of a peer.
pub struct Journal {
    limits: Limits,
    files: Files,
    current: Current,
    ledgers: BTreeMap<ShardId, Ledger>,
    /// Number of the last frame that was written, and of the last that is on disk for certain.
    written: u64,
    synced: u64,
    gate: Arc<Gate>,
    /// A sync that was begun has not been ended.
    syncing: bool,
    fenced: Option<String>,
    buffer: Vec<u8>,
    checks: BTreeMap<ShardId, Check>,
}

/// The newest segment.
struct Current {
    id: u64,
    file: Arc<dyn File>,
    bytes: u64,
    /// Where the next frame goes.
    place: u64,
    synced_place: u64,
}

impl Journal {
    /// Opens the journal of a disk, or makes one, and tells what it held.
    ///
    /// Fails if a file cannot be opened or written, or was written by a newer version. Damage is no failure: it is
    /// in [`RecoveredShard::doubt`].
    pub fn open(disk: Arc<dyn Disk>, limits: Limits) -> Result<(Self, Recovered), Error> {
        let mut files = Files::open(disk, limits)?;
        let (replay, next) = recover(&mut files)?;
        let (mut recovered, ledgers) = replay.finish(&files)?;
        recovered.fresh = files.ids().is_empty();
        if files.ids().last() == Some(&next) {
            files.reset()?;
        } else {
            files.add(next, 0)?;
        }
        let (file, bytes) = files.current().expect("a segment was just made");
        let journal = Self {
            limits,
            files,
            current: Current { id: next, file, bytes, place: 0, synced_place: 0 },
            ledgers,
            written: next - 1,
            synced: next - 1,
            gate: Arc::default(),
            syncing: false,
            fenced: None,
            buffer: Vec::new(),
            checks: BTreeMap::new(),
        };
        Ok((journal, recovered))
    }

    /// Writes records as one frame, without sync; returns the frame's number.
    ///
    /// Fails with [`Error::Misuse`] if a record does not continue what its shard has, and with [`Error::NoRoom`] if the
    /// disk is full; then nothing is written.
    pub fn write(&mut self, records: &[Record]) -> Result<u64, Error> {
        self.ready()?;
        self.check(records)?;
        let written = self.write_frame(false, records);
        self.fence_on(written)
    }

    /// Makes all frames last; returns the number of the highest.
    pub fn sync(&mut self) -> Result<u64, Error> {
        let syncing = self.begin_sync()?;
        self.end_sync(syncing.run())
    }

    /// Begins a sync of all frames written so far. It may run on another thread while more are written; what comes
    /// of it goes to [`Journal::end_sync`]. One at a time.
    pub fn begin_sync(&mut self) -> Result<Syncing, Error> {
        self.ready()?;
        if self.syncing {
            return Err(Error::Misuse("the last sync has not ended".into()));
        }
        self.syncing = true;
        Ok(Syncing {
            gate: self.gate.clone(),
            file: (self.written > self.synced).then(|| self.current.file.clone()),
            segment: self.current.id,
            place: self.current.place,
            number: self.written,
        })
    }

    /// Takes note of how a sync has ended; returns the number of the highest frame that is on disk.
    pub fn end_sync(&mut self, synced: Synced) -> Result<u64, Error> {
        self.ready()?;
        self.syncing = false;
        if let Some(why) = synced.failed {
            self.fenced = Some(why.clone());
            return Err(Error::Fenced(why));
        }
        self.synced = self.synced.max(synced.number);
        if synced.segment == self.current.id {
            self.current.synced_place = self.current.synced_place.max(synced.place);
        }
        Ok(self.synced)
    }

    /// Number of the last frame that was written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.size()
    }

    fn ready(&self) -> Result<(), Error> {
        match &self.fenced {
            Some(why) => Err(Error::Fenced(why.clone())),
            None => Ok(()),
        }
    }

    fn fence_on<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(e) = &result
            && !matches!(e, Error::Misuse(_) | Error::NoRoom { .. })
        {
            self.fenced = Some(e.to_string());
        }
        result
    }

    /// Sees whether the records fit, one after the other; leaves their shards in `checks`.
    fn check(&mut self, records: &[Record]) -> Result<(), Error> {
        self.checks.clear();
        for record in records {
            let shard = record.shard();
            let check = self.checks.entry(shard).or_insert_with(|| {
                self.ledgers.get(&shard).map_or_else(Check::default, Ledger::to_check)
            });
            check.step(record)?;
        }
        Ok(())
    }

    /// Writes a frame of checked records, with the state of every shard before them if `roster` or if it is the
    /// first of a segment.
    fn write_frame(&mut self, roster: bool, records: &[Record]) -> Result<u64, Error> {
        let body: usize = records.iter().map(Record::encoded_bytes).sum();
        let states = self.ledgers.len() * State::ENCODED_BYTES;
        let shards = self.checks.len() + self.ledgers.len();
        let least = frame_bytes(shards, body + states) as u64;
        if least > FRAME_BYTES_MAX as u64 {
            return Err(Error::Misuse(format!("a frame of {least} bytes is too large")));
        }
        if self.current.place > 0 && self.current.place + least > self.current.bytes {
            self.roll(least)?;
        } else if self.current.place == 0 && least > self.current.bytes {
            self.grow(least)?;
        }
        self.encode(roster || self.current.place == 0, records);
        self.current.file.write_at(&self.buffer, self.current.place).map_err(|e| {
            Error::write(format!("write journal segment {:016x}", self.current.id), e)
        })?;
        self.current.place += self.buffer.len() as u64;
        self.written += 1;
        for record in records {
            self.ledgers.entry(record.shard()).or_default().apply(self.current.id, record);
        }
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(self.written)
    }

    /// Lays the next frame into the buffer.
    fn encode(&mut self, roster: bool, records: &[Record]) {
        let mut shards: Vec<ShardId> = self.checks.keys().copied().collect();
        if roster {
            shards.extend(self.ledgers.keys());
            shards.sort_unstable();
            shards.dedup();
        }
        let mut head = Head {
            segment: self.current.id,
            number: self.written + 1,
            synced: self.synced,
            synced_byte: self.current.synced_place,
            place: self.current.place,
            body_bytes: 0,
            body_crc: 0,
            shards,
        };
        let body_at = head.body_at();
        self.buffer.clear();
        self.buffer.resize(body_at, 0);
        if roster {
            for (shard, ledger) in &self.ledgers {
                ledger.to_state(*shard).encode(&mut self.buffer);
            }
        }
        for record in records {
            record.encode(&mut self.buffer);
        }
        head.body_bytes = (self.buffer.len() - body_at) as u32;
        head.body_crc = crc32fast::hash(&self.buffer[body_at..]);
        head.encode(&mut self.buffer);
        self.buffer.resize(head.frame_bytes(), 0);
    }

    /// Syncs the newest segment and begins another: its existence says that the one before is synced.
    fn roll(&mut self, least: u64) -> Result<(), Error> {
        self.gate.sync(&*self.current.file).map_err(Error::Fenced)?;
        self.synced = self.written;
        let id = self.written + 1;
        self.files.add(id, least)?;
        self.begin_current(id);
        Ok(())
    }

    /// Makes the newest segment, which is still empty, as long as its first frame.
    fn grow(&mut self, least: u64) -> Result<(), Error> {
        self.files.grow(least)?;
        self.begin_current(self.current.id);
        Ok(())
    }

    fn begin_current(&mut self, id: u64) {
        let (file, bytes) = self.files.current().expect("a journal has a newest segment");
        self.current = Current { id, file, bytes, place: 0, synced_place: 0 };
    }
}

/// Reads all segments, settles the end of the newest, and returns what was in them and the next frame's number.
fn recover(files: &mut Files) -> Result<(Replay, u64), Error> {
    let mut replay = Replay::default();
    let ids = files.ids();
    let mut next = 1;
    let mut whole = Whole::default();
    for (i, id) in ids.iter().enumerate() {
        let until = ids.get(i + 1).copied();
        files.read_whole(*id, &mut whole)?;
        let found = scan(&whole.bytes, *id, until, &whole.unreadable)?;
        for step in &found.steps {
            match step {
                Step::Sound(head) => {
                    let from = head.place as usize + head.body_at();
                    let at = Body { file: *id, at: from as u64, complete: head.number == *id };
                    let body = &whole.bytes[from..from + head.body_bytes as usize];
                    for record in record::decode(body)? {
                        replay.apply(at, record);
                    }
                }
                Step::Rotten { numbers, shards } => {
                    let last = numbers.end - 1;
                    let what = format!("journal frames {} to {last} are damaged", numbers.start);
                    replay.rotten(shards.as_deref(), &what);
                }
            }
        }
        next = found.next;
        if until.is_none() && next > *id {
            files.settle(&whole, found.proven_end, found.end)?;
        }
    }
    Ok((replay, next))
}
