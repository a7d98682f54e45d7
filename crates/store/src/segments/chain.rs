//! The segments of one partition, oldest first: what the files' names and heads say, and what memory adds.

use super::handles::{Handles, Open};
use super::index::Index;
use super::tail::Tail;
use super::walk::{Walk, read};
use super::{folder, path};
use crate::Error;
use crate::disk::Disk;
use model::PartitionId;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes between two marks of an index.
pub const MARK_EVERY: u64 = 64 << 10;

/// One partition's segments.
pub struct Chain {
    pub id: PartitionId,
    state: Mutex<State>,
    /// Bytes of the tail in memory, and when it last grew: read without the lock to find the coldest.
    pub tail_bytes: AtomicUsize,
    pub touched: AtomicU64,
}

#[derive(Default)]
pub struct State {
    /// Whether the folder has been read.
    loaded: bool,
    /// Whether an append or a truncation has said where the log goes on after this start.
    pub settled: bool,
    pub pieces: Vec<Piece>,
    /// The offset after the last batch.
    pub next: i64,
    /// The index of the newest segment.
    pub index: Index,
    pub tail: Tail,
    /// Whether the newest segment, or names in the folder, have changed since the last sync.
    pub dirty: bool,
    pub names_dirty: bool,
    /// Closed segments that were not synced yet.
    pub unsynced: Vec<i64>,
}

/// One segment file.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub base: i64,
    pub bytes: u64,
}

impl Chain {
    pub fn new(id: PartitionId) -> Self {
        Self {
            id,
            state: Mutex::default(),
            tail_bytes: AtomicUsize::new(0),
            touched: AtomicU64::new(0),
        }
    }

    /// The state, read from the folder at the first use.
    pub fn lock(&self, disk: &dyn Disk, handles: &Handles) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.lock_unread();
        if !state.loaded {
            *state = State::load(self.id, disk, handles)?;
        }
        Ok(state)
    }

    /// The state, whether or not the folder has been read.
    pub fn lock_unread(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads a partition's folder; only the end of the newest segment is walked.
    pub fn load(id: PartitionId, disk: &dyn Disk, handles: &Handles) -> Result<Self, Error> {
        let doing = |what: &str, e| Error::io(format!("{what} the segments of {id:?}"), e);
        let mut state = Self { loaded: true, ..Self::default() };
        for name in disk.list(&folder(id)).map_err(|e| doing("list", e))? {
            let base = name.strip_suffix(".seg").and_then(|base| base.parse().ok());
            let Some(base) = base else { continue };
            let open = handles.get(id, base).map_err(|e| doing("open", e))?;
            let bytes = open.file.len().map_err(|e| doing("measure", e))?;
            state.pieces.push(Piece { base, bytes });
        }
        state.pieces.sort_unstable_by_key(|piece| piece.base);
        if let Some(last) = state.pieces.last_mut() {
            let open = handles.get(id, last.base).map_err(|e| doing("open", e))?;
            let (index, end, next) =
                index(id, disk, &open, last.base, last.bytes).map_err(|e| doing("read", e))?;
            last.bytes = end;
            (state.index, state.next) = (index, next.unwrap_or(last.base));
        }
        Ok(state)
    }

    /// The place in `pieces` of the segment that holds `offset`.
    pub fn piece_of(&self, offset: i64) -> Option<usize> {
        self.pieces.partition_point(|piece| piece.base <= offset).checked_sub(1)
    }

    /// The offset after the last batch of a segment.
    pub fn next_of(&self, at: usize) -> i64 {
        self.pieces.get(at + 1).map_or(self.next, |piece| piece.base)
    }

    /// Cuts the chain at `next`, the offset after the last batch that stays.
    ///
    /// Fails if the chain does not reach so far, or has no batch that ends there.
    pub fn truncate(
        &mut self,
        id: PartitionId,
        next: i64,
        disk: &dyn Disk,
        handles: &Handles,
    ) -> Result<(), Error> {
        let doing = |e| Error::io(format!("truncate the segments of {id:?}"), e);
        if self.next < next {
            let end = self.next;
            return Err(Error::Missing(format!("{id:?} ends at {end} and should reach {next}")));
        }
        if self.pieces.is_empty() {
            self.settled = true;
            return Ok(());
        }
        let below = self.pieces.partition_point(|piece| piece.base < next);
        // The first may begin right there: it stays, empty.
        let begins = below == 0 && self.pieces[0].base == next;
        let keep = below + usize::from(begins);
        let newest = keep == self.pieces.len();
        for piece in self.pieces.split_off(keep).iter().rev() {
            remove(id, piece.base, disk, handles).map_err(doing)?;
            self.unsynced.retain(|base| *base != piece.base);
            self.names_dirty = true;
        }
        let Some(last) = self.pieces.last_mut() else {
            *self =
                Self { loaded: true, settled: true, next, names_dirty: true, ..Self::default() };
            return Ok(());
        };
        let open = handles.get(id, last.base).map_err(doing)?;
        if !newest || self.next != next {
            let index = match newest {
                true => std::mem::take(&mut self.index),
                false => index(id, disk, &open, last.base, last.bytes).map_err(doing)?.0,
            };
            let (index, end, found) = cut(index, &open, last.bytes, next).map_err(doing)?;
            if found.unwrap_or(last.base) != next && last.base < next {
                *self = Self::default();
                return Err(Error::Rot(format!("{id:?} has no batch that ends at offset {next}")));
            }
            last.bytes = end;
            disk.remove(&path(id, last.base, "idx")).or_else(missing_is_fine).map_err(doing)?;
            (self.index, self.next) = (index, next);
            self.tail.clear();
        }
        if open.file.len().map_err(doing)? > last.bytes {
            open.file.truncate(last.bytes).map_err(doing)?;
            self.dirty = true;
        }
        // A segment that was closed goes on being written: its index is here now, not at the handle.
        handles.close(id, last.base);
        self.settled = true;
        Ok(())
    }
}

/// An index, where the last sound frame ends, and the offset after that (`None`: there is no frame).
type Walked = (Index, u64, Option<i64>);

/// The index of a segment of `bytes` bytes, from its file of marks as far as that goes.
pub fn index(
    id: PartitionId,
    disk: &dyn Disk,
    open: &Open,
    base: i64,
    bytes: u64,
) -> io::Result<Walked> {
    let saved = match disk.open(&path(id, base, "idx")) {
        Ok(file) => Index::decode(&read(&*file, 0, file.len()?)?, bytes),
        Err(_) => Index::default(),
    };
    walk_on(saved, open, bytes, i64::MAX)
}

/// The index of the batches below `below` only.
fn cut(mut index: Index, open: &Open, bytes: u64, below: i64) -> io::Result<Walked> {
    index.cut(below);
    walk_on(index, open, bytes, below)
}

/// Completes an index by walking from its last mark on; if that leads nowhere, from the front.
fn walk_on(mut index: Index, open: &Open, bytes: u64, below: i64) -> io::Result<Walked> {
    let mark = index.last();
    let from = mark.map_or(0, |mark| mark.place);
    let mut walk = Walk::new(&*open.file, from, bytes);
    let (mut end, mut next) = (from, None);
    while let Some((head, place)) = walk.step()? {
        let first_is_wrong = next.is_none() && mark.is_some_and(|mark| mark.offset != head.base);
        if head.base >= below || first_is_wrong {
            break;
        }
        index.add(&head, place, MARK_EVERY);
        (end, next) = (place + head.bytes, Some(head.next));
    }
    match (next, mark) {
        (None, Some(_)) => walk_on(Index::default(), open, bytes, below),
        _ => Ok((index, end, next)),
    }
}

/// Removes a segment and its index.
pub fn remove(id: PartitionId, base: i64, disk: &dyn Disk, handles: &Handles) -> io::Result<()> {
    handles.close(id, base);
    disk.remove(&path(id, base, "seg"))?;
    disk.remove(&path(id, base, "idx")).or_else(missing_is_fine)
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

/// All chains by partition, made when they are first asked for.
pub type Chains = std::collections::BTreeMap<PartitionId, Arc<Chain>>;
