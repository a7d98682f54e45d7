//! The journal's files: `journal/<number of the first frame, 16 hex digits>.journal`, oldest first, and one spare.
//!
//! Promises that a segment exists under its name only after the one before it was synced, so that its existence
//! proves that; and that segments go oldest first, each for good before the next, so that a gap is always damage.
//! A spare is an old segment that is used again: its blocks are written already, which makes syncs cheaper.

use super::Limits;
use crate::Error;
use crate::disk::{Disk, File};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

const FOLDER: &str = "journal";
const SPARE: &str = "journal/spare";
const SUFFIX: &str = ".journal";
/// Sizes in which a file is read, and read again where that fails.
const READ_BYTES: usize = 1 << 20;
const SECTOR_BYTES: usize = 4096;

/// The names and the newest file.
pub struct Files {
    disk: Arc<dyn Disk>,
    limits: Limits,
    /// Oldest first; the newest is `current`.
    kept: VecDeque<Kept>,
    spare: Option<u64>,
}

struct Kept {
    id: u64,
    bytes: u64,
    file: Arc<dyn File>,
}

/// A file's bytes, and where they could not be read.
#[derive(Default)]
pub struct Whole {
    pub bytes: Vec<u8>,
    pub unreadable: Vec<Range<u64>>,
}

impl Files {
    /// Opens all segments there are.
    pub fn open(disk: Arc<dyn Disk>, limits: Limits) -> Result<Self, Error> {
        disk.make_dir(FOLDER).map_err(|e| Error::io("make the journal's folder", e))?;
        let names = disk.list(FOLDER).map_err(|e| Error::io("list the journal", e))?;
        let mut files = Self { disk, limits, kept: VecDeque::new(), spare: None };
        for name in names {
            let Some(id) = id_of(&name) else { continue };
            let file = files.doing("open", id, files.disk.open(&path(id)))?;
            let bytes = files.doing("measure", id, file.len())?;
            files.kept.push_back(Kept { id, bytes, file });
        }
        files.kept.make_contiguous().sort_unstable_by_key(|kept| kept.id);
        if let Ok(spare) = files.disk.open(SPARE) {
            files.spare = spare.len().ok();
        }
        Ok(files)
    }

    /// Ids of all segments, oldest first.
    pub fn ids(&self) -> Vec<u64> {
        self.kept.iter().map(|kept| kept.id).collect()
    }

    pub fn size(&self) -> u64 {
        self.kept.iter().map(|kept| kept.bytes).sum::<u64>() + self.spare.unwrap_or(0)
    }

    /// Ids and sizes of all segments but the newest, oldest first.
    pub fn old(&self) -> impl Iterator<Item = (u64, u64)> {
        let old = self.kept.len().saturating_sub(1);
        self.kept.iter().take(old).map(|kept| (kept.id, kept.bytes))
    }

    /// The newest segment and its size.
    pub fn current(&self) -> Option<(Arc<dyn File>, u64)> {
        self.kept.back().map(|kept| (kept.file.clone(), kept.bytes))
    }

    /// Reads a whole segment into `into.bytes`.
    pub fn read_whole(&self, id: u64, into: &mut Whole) -> Result<(), Error> {
        let kept = self.find(id)?;
        into.unreadable.clear();
        into.bytes.clear();
        into.bytes.resize(kept.bytes as usize, 0);
        for (i, part) in into.bytes.chunks_mut(READ_BYTES).enumerate() {
            let at = (i * READ_BYTES) as u64;
            if kept.file.read_at(part, at).is_ok_and(|read| read == part.len()) {
                continue;
            }
            for (j, sector) in part.chunks_mut(SECTOR_BYTES).enumerate() {
                let at = at + (j * SECTOR_BYTES) as u64;
                if !kept.file.read_at(sector, at).is_ok_and(|read| read == sector.len()) {
                    sector.fill(0);
                    into.unreadable.push(at..at + sector.len() as u64);
                }
            }
        }
        Ok(())
    }

    pub fn read(&self, id: u64, at: u64, bytes: &mut [u8]) -> Result<usize, Error> {
        let read = self.find(id)?.file.read_at(bytes, at);
        self.doing("read", id, read)
    }

    /// Ends the newest segment at `end`: writes what may not have been synced once more (a failed sync of an
    /// earlier process may have left it in memory only), cuts the rest off, and syncs.
    pub fn settle(&mut self, whole: &Whole, proven_end: u64, end: u64) -> Result<(), Error> {
        let Some(kept) = self.kept.back_mut() else { return Ok(()) };
        let end = end.min(kept.bytes);
        let proven_end = proven_end.min(end);
        let unproven = &whole.bytes[proven_end as usize..end as usize];
        let settled = (|| {
            if !unproven.is_empty() {
                kept.file.write_at(unproven, proven_end)?;
            }
            kept.file.truncate(end)?;
            kept.file.sync()
        })();
        kept.bytes = end;
        let id = kept.id;
        self.doing("settle", id, settled)
    }

    /// Makes the newest segment, which holds no frame, ready for use again.
    pub fn reset(&mut self) -> Result<(), Error> {
        let bytes = self.limits.segment_bytes;
        let Some(kept) = self.kept.back_mut() else { return Ok(()) };
        let reset = (|| {
            kept.file.truncate(0)?;
            kept.file.preallocate(bytes)?;
            kept.file.sync()
        })();
        kept.bytes = bytes;
        let id = kept.id;
        self.doing("reset", id, reset)
    }

    /// Makes the newest segment at least `least` bytes long.
    pub fn grow(&mut self, least: u64) -> Result<(), Error> {
        let Some(kept) = self.kept.back_mut() else { return Ok(()) };
        let id = kept.id;
        let doing = format!("grow journal segment {id:016x}");
        kept.file.preallocate(least).map_err(|e| Error::write(doing, e))?;
        kept.bytes = least;
        let synced = kept.file.sync();
        self.doing("grow", id, synced)
    }

    /// Makes segment `id` with room for `least` bytes. The one before must have been synced.
    pub fn add(&mut self, id: u64, least: u64) -> Result<(), Error> {
        let bytes = self.limits.segment_bytes.max(least);
        let prepared = self.prepare(bytes);
        let file =
            prepared.map_err(|e| Error::write(format!("make journal segment {id:016x}"), e))?;
        let named = self.disk.rename(SPARE, &path(id)).and_then(|()| self.disk.sync_dir(FOLDER));
        self.doing("add", id, named)?;
        self.kept.push_back(Kept { id, bytes, file });
        Ok(())
    }

    /// The spare, or a new file under its name, with `bytes` of room.
    fn prepare(&mut self, bytes: u64) -> io::Result<Arc<dyn File>> {
        if self.spare.take().is_some_and(|size| size == bytes) {
            return self.disk.open(SPARE);
        }
        let file = self.disk.create(SPARE)?;
        if let Err(error) = file.preallocate(bytes) {
            // What it got of the room is needed more elsewhere; that it stays would be no harm.
            let _ = self.disk.remove(SPARE);
            return Err(error);
        }
        file.sync()?;
        Ok(file)
    }

    /// Removes the oldest segment for good. It must not be the newest.
    pub fn remove_oldest(&mut self) -> Result<(), Error> {
        assert!(self.kept.len() > 1, "the newest segment is never removed");
        let kept = self.kept.pop_front().expect("there is more than one");
        let spare = self.spare.is_none() && kept.bytes == self.limits.segment_bytes;
        let gone = match spare {
            true => self.disk.rename(&path(kept.id), SPARE),
            false => self.disk.remove(&path(kept.id)),
        };
        if spare {
            self.spare = Some(kept.bytes);
        }
        self.doing("remove", kept.id, gone.and_then(|()| self.disk.sync_dir(FOLDER)))
    }

    fn find(&self, id: u64) -> Result<&Kept, Error> {
        self.kept
            .iter()
            .find(|kept| kept.id == id)
            .ok_or_else(|| Error::Missing(format!("journal segment {id:016x}")))
    }

    fn doing<T>(&self, what: &str, id: u64, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|e| Error::io(format!("{what} journal segment {id:016x}"), e))
    }
}

fn path(id: u64) -> String {
    format!("{FOLDER}/{id:016x}{SUFFIX}")
}

fn id_of(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX).and_then(|hex| u64::from_str_radix(hex, 16).ok())
}
