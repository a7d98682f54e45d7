//! What replicas in doubt have left, set aside until their successors are whole.
//!
//! `aside/<shard>/why` says of which replica and why; beside it lie `segments/`, moved as they were, and `tables/`,
//! the rows as they could be read. `aside/journal` is a copy of the journal's files, `aside/unknown/segments` what no
//! shard could be named for, `aside/tables` tables that could not be read throughout; these go with the last shard.
//!
//! Promises that nothing of a shard is removed before [`Aside::settle`], and that at most one copy of each partition
//! lies here. Never decides what is in doubt.

use crate::disk::Disk;
use crate::{Error, RealDisk, Saved, Segments, Tables};
use model::{PartitionId, ReplicaId, ShardId};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub(crate) const FOLDER: &str = "aside";
const JOURNAL: &str = "aside/journal";
const UNKNOWN: &str = "aside/unknown";
const WHY: &str = "why";
/// Copies of the journal take this much at most; segments and rows are there once.
const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// The files that are set aside in a data folder.
pub struct Aside {
    disk: RealDisk,
    shards: Mutex<BTreeMap<ShardId, String>>,
}

impl Aside {
    /// Reads what was set aside by earlier starts.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let disk = RealDisk::new(folder);
        let listed = disk.list(FOLDER).map_err(|e| Error::io("list what is set aside", e))?;
        let mut shards = BTreeMap::new();
        for name in listed {
            let Ok(shard) = name.parse() else { continue };
            match fs::read(folder.join(FOLDER).join(&name).join(WHY)) {
                Ok(text) => {
                    let why = String::from_utf8_lossy(&text).trim_end().to_owned();
                    shards.insert(ShardId(shard), why);
                }
                // It was interrupted before anything was moved.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("read why files are set aside", e)),
            }
        }
        Ok(Self { disk, shards: Mutex::new(shards) })
    }

    /// The shards whose files lie here, and why.
    pub fn shards(&self) -> BTreeMap<ShardId, String> {
        self.lock().clone()
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub fn path(&self) -> PathBuf {
        self.disk.root().join(FOLDER)
    }

    /// Notes that a replica is in doubt: from now on its shard's files are kept here.
    pub fn begin(&self, shard: ShardId, replica: ReplicaId, why: &str) -> Result<(), Error> {
        let text = format!("{replica}: {why}");
        self.note(shard, &text).map_err(|e| Error::io(format!("set {shard} aside"), e))?;
        // What was set aside first is the older one, and its successor was not whole yet.
        self.lock().entry(shard).or_insert(text);
        Ok(())
    }

    fn note(&self, shard: ShardId, text: &str) -> io::Result<()> {
        let folder = format!("{FOLDER}/{}", shard.0);
        self.disk.make_dir(&folder)?;
        let path = format!("{folder}/{WHY}");
        if self.disk.root().join(&path).exists() {
            return Ok(());
        }
        let new = format!("{path}.new");
        let file = self.disk.create(&new)?;
        file.write_at(format!("{text}\n").as_bytes(), 0)?;
        file.sync()?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_dir(&folder)
    }

    /// Keeps the rows of a shard as they could be read.
    pub fn keep_rows(&self, shard: ShardId, saved: &Saved) -> Result<(), Error> {
        let path = self.path().join(shard.0.to_string()).join("tables");
        if path.exists() {
            return Ok(());
        }
        let tables = Tables::open(&path)?;
        tables.replace(shard, saved.applied, &saved.small, &saved.rows)?;
        tables.sync()
    }

    /// Copies the journal's files, those that are not here yet; false if there is no room for all of them.
    pub fn keep_journal(&self) -> Result<bool, Error> {
        self.copy_journal().map_err(|e| Error::write("set the journal aside", e))
    }

    fn copy_journal(&self) -> io::Result<bool> {
        self.disk.make_dir(JOURNAL)?;
        let mut left = JOURNAL_BYTES_MAX;
        for name in self.disk.list("journal")? {
            let from = self.disk.root().join("journal").join(&name);
            let to = self.disk.root().join(JOURNAL).join(&name);
            let bytes = fs::metadata(&from)?.len();
            let space = rustix::fs::statvfs(self.disk.root())?;
            let room = space.f_bavail * space.f_frsize;
            left = left.saturating_sub(bytes);
            // Half of what is free stays for the replicas that come.
            if left == 0 || bytes > room / 2 {
                return Ok(false);
            }
            if !to.exists() {
                fs::copy(&from, &to)?;
                fs::File::open(&to)?.sync_all()?;
            }
        }
        self.disk.sync_dir(JOURNAL).map(|()| true)
    }

    /// Moves a partition's files here; `None` if nobody knows the shard. Files of it that are here already stay
    /// instead: what came after them is a copy that was never whole.
    pub fn keep_partition(
        &self,
        segments: &Segments,
        shard: Option<ShardId>,
        partition: PartitionId,
    ) -> Result<(), Error> {
        let folder = shard.map_or(UNKNOWN.to_owned(), |shard| format!("{FOLDER}/{}", shard.0));
        let above = format!("{folder}/segments/{}", partition.stream);
        let to = format!("{above}/{}", partition.partition);
        if self.disk.root().join(&to).exists() {
            return segments.remove(partition);
        }
        let doing = |e| Error::io(format!("set {partition:?} aside"), e);
        self.disk.make_dir(&above).map_err(doing)?;
        segments.set_aside(partition, &to)
    }

    /// The shard's new replica is whole: what was set aside of it goes.
    pub fn settle(&self, shard: ShardId) -> Result<(), Error> {
        let doing = |e| Error::io(format!("remove what is set aside of {shard}"), e);
        let mut shards = self.lock();
        shards.remove(&shard);
        let gone =
            if shards.is_empty() { FOLDER.to_owned() } else { format!("{FOLDER}/{}", shard.0) };
        self.disk.remove_dir(&gone).map_err(doing)
    }

    /// Nothing is in doubt: what an interrupted call has left goes.
    pub fn clear(&self) -> Result<(), Error> {
        if !self.is_empty() {
            return Ok(());
        }
        self.disk.remove_dir(FOLDER).map_err(|e| Error::io("remove what is set aside", e))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ShardId, String>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
