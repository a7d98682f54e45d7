//! Segments: the lasting copy of event bytes, a chain of files for each partition.
//!
//! `segments/<stream, 32 hex digits>/<partition>/<base offset, 20 digits>.seg`: frames of one batch each. Named by id
//! only, so no name of a person's reaches the file system. Boundaries depend on the batches alone: all replicas of a
//! partition have the same files.
//!
//! Promises that every batch it returns is the one that was appended: what has changed on the disk is
//! [`Error::Rot`]. Written without sync until [`Segments::sync`]; after one of these has failed, all fail. Reads
//! run beside appends. Never decides what is kept how long, and never knows what is committed: readers bring the
//! bound.

mod append;
mod chain;
mod frame;
mod handles;
mod import;
mod index;
mod look;
mod tail;
mod walk;

#[cfg(test)]
mod tests;

use crate::Error;
use crate::disk::Disk;
use crate::error::is_for_room;
use chain::{Chain, Chains, State};
use handles::Handles;
use model::{PartitionId, StreamId};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

const FOLDER: &str = "segments";

/// Sizes of segments.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A file is closed once it has this many bytes. The same on all peers.
    pub segment_bytes: u64,
    /// Newest bytes of one partition that are kept in memory.
    pub tail_bytes: usize,
    /// The same over all partitions.
    pub tail_bytes_total: usize,
    pub open_files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            tail_bytes: 256 << 10,
            tail_bytes_total: 64 << 20,
            open_files: 256,
        }
    }
}

/// One file of a partition, as a manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    pub base: i64,
    pub bytes: u64,
    /// The offset after its last batch.
    pub next_offset: i64,
}

/// All partitions of a peer. Share it in an `Arc`: reads and appends lock only their own partition.
pub struct Segments {
    disk: Arc<dyn Disk>,
    limits: Limits,
    handles: Handles,
    chains: RwLock<Chains>,
    /// Partitions that have something to sync.
    dirty: Mutex<BTreeSet<PartitionId>>,
    /// Frames that are being put together for one write.
    buffer: Mutex<Vec<u8>>,
    tails: AtomicUsize,
    clock: AtomicU64,
    failed: Mutex<Option<String>>,
}

impl Segments {
    /// Opens the segments of a disk; a partition's folder is read when it is first used.
    pub fn open(disk: Arc<dyn Disk>, limits: Limits) -> Result<Self, Error> {
        disk.make_dir(FOLDER).map_err(|e| Error::io("make the segments' folder", e))?;
        Ok(Self {
            handles: Handles::new(disk.clone(), limits.open_files),
            disk,
            limits,
            chains: RwLock::default(),
            dirty: Mutex::default(),
            buffer: Mutex::default(),
            tails: AtomicUsize::new(0),
            clock: AtomicU64::new(0),
            failed: Mutex::default(),
        })
    }

    /// All partitions that have a folder.
    pub fn partitions(&self) -> Result<Vec<PartitionId>, Error> {
        let list = |path: &str| self.disk.list(path).map_err(|e| Error::io("list segments", e));
        let mut partitions = Vec::new();
        for stream in list(FOLDER)? {
            let Ok(id) = u128::from_str_radix(&stream, 16) else { continue };
            for partition in list(&format!("{FOLDER}/{stream}"))? {
                if let Ok(partition) = partition.parse() {
                    partitions.push(PartitionId { stream: StreamId(id), partition });
                }
            }
        }
        Ok(partitions)
    }

    /// Cuts a partition at `next_offset`: called at start, with what the saved fold says, before the log is applied
    /// again. (The first append after a start does the same with its batch's offset.)
    ///
    /// Fails if the partition does not reach so far: the bytes are lost or damaged, and the replica is in doubt.
    pub fn truncate_to(&self, partition: PartitionId, next_offset: i64) -> Result<(), Error> {
        let chain = self.chain(partition);
        let mut state = self.lock(&chain)?;
        state.truncate(partition, next_offset, &*self.disk, &self.handles)?;
        self.count_tail(&chain, &state);
        if state.dirty || state.names_dirty {
            self.lock_dirty().insert(partition);
        }
        Ok(())
    }

    /// Removes the segments whose batches all lie below `offset`; the newest stays.
    pub fn trim(&self, partition: PartitionId, offset: i64) -> Result<(), Error> {
        let chain = self.chain(partition);
        let mut state = self.lock(&chain)?;
        while state.pieces.len() > 1 && state.pieces[1].base <= offset {
            let piece = state.pieces.remove(0);
            chain::remove(partition, piece.base, &*self.disk, &self.handles)
                .map_err(|e| Error::io(format!("trim {partition:?}"), e))?;
            state.unsynced.retain(|base| *base != piece.base);
            state.names_dirty = true;
            self.lock_dirty().insert(partition);
        }
        Ok(())
    }

    /// From where on a copy has to be brought that begins with `start`: from the end of what is here. What ends before
    /// `start` or begins behind it is removed first, since a copy of it would have a hole.
    pub fn resume(&self, partition: PartitionId, start: i64) -> Result<i64, Error> {
        let (first, next) = (self.start_offset(partition)?, self.next_offset(partition)?);
        if first <= start && start <= next {
            return Ok(next);
        }
        self.remove(partition)?;
        Ok(start)
    }

    /// Removes a partition for good.
    pub fn remove(&self, partition: PartitionId) -> Result<(), Error> {
        let chain = self.chain(partition);
        let mut state = chain.lock_unread();
        *state = State::default();
        self.count_tail(&chain, &state);
        self.lock_dirty().remove(&partition);
        self.handles.close_all(partition);
        self.disk
            .remove_dir(&folder(partition))
            .map_err(|e| Error::io(format!("remove {partition:?}"), e))?;
        self.chains.write().unwrap_or_else(PoisonError::into_inner).remove(&partition);
        Ok(())
    }

    /// Moves a partition's files to another place of the disk, `to`: nothing of them is here any more.
    pub fn set_aside(&self, partition: PartitionId, to: &str) -> Result<(), Error> {
        let chain = self.chain(partition);
        let mut state = chain.lock_unread();
        *state = State::default();
        self.count_tail(&chain, &state);
        self.lock_dirty().remove(&partition);
        self.handles.close_all(partition);
        match self.disk.move_dir(&folder(partition), to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("set {partition:?} aside"), e));
            }
            // Nothing was ever written of it.
            _ => {}
        }
        self.chains.write().unwrap_or_else(PoisonError::into_inner).remove(&partition);
        Ok(())
    }

    /// The partitions that have changed since they were last synced.
    pub fn dirty(&self) -> Vec<PartitionId> {
        self.lock_dirty().iter().copied().collect()
    }

    /// Makes all appends to these partitions last. Appends may go on meanwhile.
    ///
    /// After the first failure it fails for ever: what the disk has lost is not known. (An index that finds no room is none:
    /// it is only a hint.)
    pub fn sync(&self, partitions: &[PartitionId]) -> Result<(), Error> {
        // Held throughout: an error is told to one caller only, so no other sync may take itself for good.
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &*failed {
            return Err(Error::Fenced(why.clone()));
        }
        for partition in partitions {
            if let Err(e) = self.sync_one(*partition) {
                *failed = Some(e.to_string());
                return Err(e);
            }
        }
        Ok(())
    }

    fn sync_one(&self, partition: PartitionId) -> Result<(), Error> {
        let doing = |e| Error::io(format!("sync the segments of {partition:?}"), e);
        let chain = self.chain(partition);
        let mut state = self.lock(&chain)?;
        self.lock_dirty().remove(&partition);
        let mut bases = std::mem::take(&mut state.unsynced);
        let names_dirty = std::mem::take(&mut state.names_dirty);
        if std::mem::take(&mut state.dirty)
            && let Some(last) = state.pieces.last()
        {
            bases.push(last.base);
            match self.save_index(partition, last.base, &mut state.index) {
                // It stays unsaved until a later sync, or is built anew.
                Err(e) if is_for_room(&e) => {}
                saved => saved.map_err(doing)?,
            }
        }
        drop(state);
        for base in bases {
            let open = match self.handles.get(partition, base) {
                // Trimmed meanwhile.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                open => open.map_err(doing)?,
            };
            open.file.sync().map_err(doing)?;
        }
        if !names_dirty {
            return Ok(());
        }
        match self.disk.sync_dir(&folder(partition)) {
            // The partition was removed meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            synced => synced.map_err(doing),
        }
    }

    fn chain(&self, partition: PartitionId) -> Arc<Chain> {
        let chains = self.chains.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(chain) = chains.get(&partition) {
            return chain.clone();
        }
        drop(chains);
        let mut chains = self.chains.write().unwrap_or_else(PoisonError::into_inner);
        chains.entry(partition).or_insert_with(|| Arc::new(Chain::new(partition))).clone()
    }

    fn lock<'a>(&self, chain: &'a Chain) -> Result<MutexGuard<'a, State>, Error> {
        chain.lock(&*self.disk, &self.handles)
    }

    fn lock_dirty(&self) -> MutexGuard<'_, BTreeSet<PartitionId>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of how large a partition's tail is now.
    fn count_tail(&self, chain: &Chain, state: &State) {
        let now = state.tail.bytes();
        let before = chain.tail_bytes.swap(now, Ordering::Relaxed);
        // Both under the chain's lock, so the sum is right whenever no append is under way.
        self.tails.fetch_add(now, Ordering::Relaxed);
        self.tails.fetch_sub(before, Ordering::Relaxed);
    }
}

/// Where a partition's files lie, below the data folder.
pub fn folder(partition: PartitionId) -> String {
    format!("{FOLDER}/{}/{}", partition.stream, partition.partition)
}

fn path(partition: PartitionId, base: i64, kind: &str) -> String {
    format!("{}/{base:020}.{kind}", folder(partition))
}
