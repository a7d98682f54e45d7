//! Tables: the lasting copy of each shard's state, in one fjall database.
//!
//! Keyspace `shards`: shard -> version u8, generation u32, replica, index, term, hard state (u64 each), the encoded
//! fold. Keyspace `rows`: shard u16, generation u32, stage u128, bucket u32 (big-endian), key -> value. A fold that
//! replaces another is written under a new generation and becomes the shard's in the one write of its state.
//!
//! Promises that a saved fold and its rows are of one moment, after any crash, and that an older fold never takes the
//! place of a newer one: whoever saves may have been overtaken. Written without sync: the journal holds what is newer,
//! and it is cut only after [`Tables::sync`]. A write without room is said as such, and the tables can be opened anew.
//! Never decides when to save.

mod pieces;
mod sound;
#[cfg(test)]
mod tests;

pub use pieces::{Frozen, Row};
pub use sound::Sound;

use crate::Error;
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use model::{HardState, ReplicaId, ShardId, StageId, TaskId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

const VERSION: u8 = 1;
/// Small: a shard's hot rows are in memory in front of the tables, which are read at start only.
const CACHE_BYTES: u64 = 4 << 20;
const MEMTABLE_BYTES: u64 = 4 << 20;
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
const OPEN_FILES: usize = 64;
/// Between two looks whether anyone still reads.
const READ_PAUSE: Duration = Duration::from_millis(1);
/// Bytes of rows that go into one write while a fold is replaced or removed.
const WRITE_BYTES: usize = 1 << 20;
const STATE_BYTES: usize = 1 + 4 + 6 * 8;
const ROW_BYTES: usize = 2 + 4 + 16 + 4;

/// Where in its log a saved fold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub replica: ReplicaId,
    pub index: u64,
    pub term: u64,
    pub hard: HardState,
}

impl Applied {
    fn is_newer_than(&self, other: &Self) -> bool {
        (self.replica, self.index) > (other.replica, other.index)
    }
}

/// A saved fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub applied: Applied,
    /// The encoded fold without its rows.
    pub small: Vec<u8>,
    /// In order of task and key.
    pub rows: Vec<(TaskId, Bytes, Bytes)>,
}

/// The tables of all shards of a peer.
pub struct Tables {
    path: PathBuf,
    /// Nothing while they are opened anew, and after that has failed.
    opened: RwLock<Option<Arc<Opened>>>,
    /// A write has found no room: fjall refuses all others from then on, until it is opened anew.
    is_stuck: AtomicBool,
    /// Held while a shard changes: its state is read and written in several steps.
    changing: Mutex<Generations>,
}

struct Opened {
    database: Database,
    rows: Keyspace,
    shards: Keyspace,
}

/// The last generation that was given to each shard since the tables were opened: rows of a fold that is not whole
/// yet must not meet those of another.
#[derive(Default)]
struct Generations(BTreeMap<ShardId, u32>);

impl Generations {
    /// A generation that nobody has, later than the shard's present one.
    fn next(&mut self, shard: ShardId, current: Option<u32>) -> u32 {
        let given = self.0.get(&shard).copied();
        let next = current.max(given).map_or(0, |last| last.wrapping_add(1));
        self.0.insert(shard, next);
        next
    }

    fn is_latest(&self, shard: ShardId, generation: u32) -> bool {
        self.0.get(&shard) == Some(&generation)
    }
}

impl Opened {
    fn open(path: &Path) -> Result<Self, Error> {
        let database = Database::builder(path)
            .worker_threads(1)
            .cache_size(CACHE_BYTES)
            .max_cached_files(Some(OPEN_FILES))
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let rows = database.keyspace("rows", options)?;
        let shards = database.keyspace("shards", options)?;
        Ok(Self { database, rows, shards })
    }

    fn state(&self, shard: ShardId) -> Result<Option<(u32, Applied)>, Error> {
        let state = self.shards.get(shard.0.to_be_bytes())?;
        state.map(|state| read_state(shard, &state)).transpose()
    }

    /// Removes the shard's rows of all generations but one: those of an old fold, and those that an interrupted
    /// call has left behind.
    fn sweep(&self, shard: ShardId, keep: Option<u32>) -> Result<(), Error> {
        let keep = keep.map(|generation| rows_prefix(shard, generation));
        let mut batch = self.database.batch();
        let mut bytes = 0;
        for row in self.rows.prefix(shard.0.to_be_bytes()) {
            let key = row.key()?;
            if keep.is_some_and(|keep| key.starts_with(&keep)) {
                continue;
            }
            bytes += key.len();
            batch.remove(&self.rows, key);
            if bytes > WRITE_BYTES {
                std::mem::replace(&mut batch, self.database.batch()).commit()?;
                bytes = 0;
            }
        }
        Ok(batch.commit()?)
    }

    fn load(&self, shard: ShardId) -> Result<Option<Saved>, Error> {
        let Some(state) = self.shards.get(shard.0.to_be_bytes())? else { return Ok(None) };
        let (generation, applied) = read_state(shard, &state)?;
        let mut rows = Vec::new();
        for row in self.rows.prefix(rows_prefix(shard, generation)) {
            let (key, value) = row.into_inner()?;
            let task = read_task(&key).ok_or_else(|| Error::Rot(format!("a row of {shard}")))?;
            rows.push((task, Bytes::copy_from_slice(&key[ROW_BYTES..]), value.to_vec().into()));
        }
        Ok(Some(Saved { applied, small: state[STATE_BYTES..].to_vec(), rows }))
    }

    fn list(&self) -> Result<Vec<(ShardId, Applied)>, Error> {
        let mut shards = Vec::new();
        for state in self.shards.iter() {
            let (key, value) = state.into_inner()?;
            let shard: [u8; 2] = key[..]
                .try_into()
                .map_err(|_| Error::Rot("a shard's name in the tables".into()))?;
            let shard = ShardId(u16::from_be_bytes(shard));
            shards.push((shard, read_state(shard, &value)?.1));
        }
        Ok(shards)
    }

    fn put_state(
        &self,
        batch: &mut OwnedWriteBatch,
        shard: ShardId,
        generation: u32,
        applied: Applied,
        small: &[u8],
    ) {
        let Applied { replica, index, term, hard } = applied;
        let mut state = Vec::with_capacity(STATE_BYTES + small.len());
        state.push(VERSION);
        state.extend_from_slice(&generation.to_le_bytes());
        for word in [replica.0, index, term, hard.term, hard.vote, hard.commit] {
            state.extend_from_slice(&word.to_le_bytes());
        }
        state.extend_from_slice(small);
        batch.insert(&self.shards, shard.0.to_be_bytes(), state);
    }
}

impl Tables {
    /// Opens the tables in the folder `path`, or makes them.
    ///
    /// Fails if a newer version wrote them.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let opened = RwLock::new(Some(Arc::new(Opened::open(path)?)));
        let (path, is_stuck) = (path.to_owned(), AtomicBool::new(false));
        let tables = Self { path, opened, is_stuck, changing: Mutex::default() };
        tables.shards()?;
        Ok(tables)
    }

    /// Closes the tables and opens them again, after a write found no room: what was not synced may be gone, and must
    /// be saved again. What was frozen cannot be read any more, and whoever brings rows is overtaken. After a failure
    /// it may be tried again; until then every call says [`Error::NoRoom`].
    pub fn reopen(&self) -> Result<(), Error> {
        let mut changing = self.changing();
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = opened.take() {
            // Whoever reads in this moment comes to an end: each reads one piece, or one shard at the start.
            while Arc::strong_count(&old) > 1 {
                std::thread::sleep(READ_PAUSE);
            }
        }
        changing.0.clear();
        *opened = Some(Arc::new(self.noted(Opened::open(&self.path))?));
        self.is_stuck.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Saves a fold and the rows that changed since its replica last saved, as one: all or nothing of it survives. Not
    /// synced. False if a newer fold or replica is there: then nothing has changed.
    pub fn save(
        &self,
        shard: ShardId,
        applied: Applied,
        small: &[u8],
        rows: &[(TaskId, Bytes, Option<Bytes>)],
    ) -> Result<bool, Error> {
        let mut changing = self.changing();
        self.with(|opened| {
            let generation = match opened.state(shard)? {
                Some((_, there)) if there.is_newer_than(&applied) => return Ok(false),
                Some((generation, there)) if there.replica == applied.replica => generation,
                // What a replica before this one has left is none of its.
                other => {
                    opened.sweep(shard, None)?;
                    changing.next(shard, other.map(|(old, _)| old))
                }
            };
            let mut batch = opened.database.batch();
            for (task, key, value) in rows {
                let key = row_key(shard, generation, *task, key);
                match value {
                    Some(value) => batch.insert(&opened.rows, key, &value[..]),
                    None => batch.remove(&opened.rows, key),
                }
            }
            opened.put_state(&mut batch, shard, generation, applied, small);
            batch.commit()?;
            Ok(true)
        })
    }

    /// Saves a fold in place of all that the shard had. Not synced. False as in [`Tables::save`].
    pub fn replace(
        &self,
        shard: ShardId,
        applied: Applied,
        small: &[u8],
        rows: &[(TaskId, Bytes, Bytes)],
    ) -> Result<bool, Error> {
        let generation = self.begin(shard)?;
        Ok(self.put(shard, generation, rows)? && self.finish(shard, generation, applied, small)?)
    }

    /// Makes all saves last.
    pub fn sync(&self) -> Result<(), Error> {
        self.with(|opened| Ok(opened.database.persist(PersistMode::SyncData)?))
    }

    pub fn load(&self, shard: ShardId) -> Result<Option<Saved>, Error> {
        self.with(|opened| opened.load(shard))
    }

    /// The shards that have a saved fold, with where it stands.
    pub fn shards(&self) -> Result<Vec<(ShardId, Applied)>, Error> {
        self.with(|opened| opened.list())
    }

    /// Forgets a shard. Not synced.
    pub fn remove(&self, shard: ShardId) -> Result<(), Error> {
        self.retire(shard, ReplicaId(u64::MAX))
    }

    /// Forgets what replicas of a shard up to this one have saved; a later one's stays, and so does what comes for it.
    pub fn retire(&self, shard: ShardId, replica: ReplicaId) -> Result<(), Error> {
        let changing = self.changing();
        self.with(|opened| {
            let there = opened.state(shard)?;
            if there.is_some_and(|(_, there)| there.replica > replica) {
                return Ok(());
            }
            opened.shards.remove(shard.0.to_be_bytes())?;
            let gone = there.map(|(generation, _)| generation);
            let coming = changing.0.get(&shard).copied().filter(|last| Some(*last) != gone);
            opened.sweep(shard, coming)
        })
    }

    fn changing(&self) -> MutexGuard<'_, Generations> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&Arc<Opened>) -> Result<T, Error>) -> Result<T, Error> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner).clone();
        let closed = || Error::NoRoom { doing: "open the tables anew".into() };
        self.noted(opened.ok_or_else(closed).and_then(|opened| work(&opened)))
    }

    /// Once a write found no room, the database refuses all others: that is no other failure.
    fn noted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Err(error @ Error::NoRoom { .. }) => {
                self.is_stuck.store(true, Ordering::Relaxed);
                Err(error)
            }
            Err(Error::Fenced(_)) if self.is_stuck.load(Ordering::Relaxed) => {
                Err(Error::NoRoom { doing: "write to tables that found none before".into() })
            }
            other => other,
        }
    }
}

fn rows_prefix(shard: ShardId, generation: u32) -> [u8; 6] {
    let mut prefix = [0; 6];
    prefix[..2].copy_from_slice(&shard.0.to_be_bytes());
    prefix[2..].copy_from_slice(&generation.to_be_bytes());
    prefix
}

fn row_key(shard: ShardId, generation: u32, task: TaskId, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(ROW_BYTES + key.len());
    row.extend_from_slice(&rows_prefix(shard, generation));
    row.extend_from_slice(&task.stage.0.to_be_bytes());
    row.extend_from_slice(&task.bucket.to_be_bytes());
    row.extend_from_slice(key);
    row
}

fn read_task(row: &[u8]) -> Option<TaskId> {
    let stage = u128::from_be_bytes(row.get(6..22)?.try_into().ok()?);
    let bucket = u32::from_be_bytes(row.get(22..ROW_BYTES)?.try_into().ok()?);
    Some(TaskId { stage: StageId(stage), bucket })
}

fn read_state(shard: ShardId, state: &[u8]) -> Result<(u32, Applied), Error> {
    let version = *state.first().ok_or_else(|| Error::Rot(format!("the state of {shard}")))?;
    if version > VERSION {
        return Err(Error::Newer {
            what: format!("the state of {shard}"),
            written_by: format!("format {version}"),
            this: format!("format {VERSION} ({})", env!("CARGO_PKG_VERSION")),
        });
    }
    if state.len() < STATE_BYTES {
        return Err(Error::Rot(format!("the state of {shard}")));
    }
    let generation = u32::from_le_bytes(state[1..5].try_into().expect("four bytes"));
    let mut words = state[5..STATE_BYTES]
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
    let mut word = || words.next().expect("six words");
    let (replica, index, term) = (ReplicaId(word()), word(), word());
    let hard = HardState { term: word(), vote: word(), commit: word() };
    Ok((generation, Applied { replica, index, term, hard }))
}
