//! Takes over a partition from another replica: files are fetched beside the present ones, checked, and put in
//! their place.
//!
//! A fetch can go on after a restart: what is sound of it stays. Nothing is visible to readers before the install.

use super::chain::State;
use super::walk::{Walk, read};
use super::{SegmentFile, Segments, folder, frame, path};
use crate::Error;
use crate::disk::File;
use model::PartitionId;
use std::io;
use std::sync::Arc;

/// Bytes copied at once from a file that is here already.
const COPY_BYTES: u64 = 1 << 20;

impl Segments {
    /// Begins to fetch a file, or goes on with it; returns how many of its bytes are here already. What an own file of
    /// the same base holds is taken from there: replicas have the same files.
    pub fn import_begin(&self, partition: PartitionId, file: SegmentFile) -> Result<u64, Error> {
        let begun = self.begin(partition, file);
        begun.map_err(|e| Error::io(format!("import segment {} of {partition:?}", file.base), e))
    }

    fn begin(&self, partition: PartitionId, file: SegmentFile) -> io::Result<u64> {
        self.disk.make_dir(&folder(partition))?;
        let name = path(partition, file.base, "part");
        let part = match self.disk.open(&name) {
            Ok(part) => part,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let part = self.disk.create(&name)?;
                if let Ok(own) = self.disk.open(&path(partition, file.base, "seg")) {
                    copy(&*own, &*part, file.bytes)?;
                }
                part
            }
            Err(e) => return Err(e),
        };
        let (end, _) = sound(&*part, part.len()?.min(file.bytes))?;
        part.truncate(end)?;
        Ok(end)
    }

    /// Adds bytes to a file that is being fetched; `at` must be its present length.
    pub fn import_write(
        &self,
        partition: PartitionId,
        base: i64,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let part = self.part(partition, base)?;
        let doing = |e| Error::io(format!("import segment {base} of {partition:?}"), e);
        let len = part.len().map_err(doing)?;
        if len != at {
            return Err(Error::Misuse(format!("segment {base} has {len} bytes, not {at}")));
        }
        part.write_at(bytes, at).map_err(doing)
    }

    /// Checks and syncs the fetched files and puts them in the place of all that the partition had.
    ///
    /// Fails with [`Error::Rot`] or [`Error::Missing`] if a file is not what the manifest says: then that file is
    /// forgotten, to be fetched anew, and the partition is what it was.
    pub fn import_install(
        &self,
        partition: PartitionId,
        files: &[SegmentFile],
    ) -> Result<(), Error> {
        let doing = |e| Error::io(format!("install the segments of {partition:?}"), e);
        for file in files {
            self.check_part(partition, *file)?;
        }
        let chain = self.chain(partition);
        let mut state = chain.lock_unread();
        self.handles.close_all(partition);
        for file in files {
            let to = path(partition, file.base, "seg");
            self.disk.rename(&path(partition, file.base, "part"), &to).map_err(doing)?;
        }
        let names = self.disk.list(&folder(partition)).map_err(doing)?;
        for name in names {
            let installed = |file: &SegmentFile| format!("{:020}.seg", file.base) == name;
            if !files.iter().any(installed) {
                self.disk.remove(&format!("{}/{name}", folder(partition))).map_err(doing)?;
            }
        }
        if !files.is_empty() {
            self.disk.sync_dir(&folder(partition)).map_err(doing)?;
        }
        *state = State::load(partition, &*self.disk, &self.handles)?;
        state.settled = true;
        self.count_tail(&chain, &state);
        self.lock_dirty().remove(&partition);
        Ok(())
    }

    fn check_part(&self, partition: PartitionId, file: SegmentFile) -> Result<(), Error> {
        let doing = |e| Error::io(format!("check segment {} of {partition:?}", file.base), e);
        let part = self.part(partition, file.base)?;
        let len = part.len().map_err(doing)?;
        let (end, next) = sound(&*part, len).map_err(doing)?;
        if (len, end, next.unwrap_or(file.base)) != (file.bytes, file.bytes, file.next_offset) {
            self.disk.remove(&path(partition, file.base, "part")).map_err(doing)?;
            let SegmentFile { base, bytes, .. } = file;
            return Err(Error::Rot(format!(
                "segment {base} of {partition:?} came with {end} sound bytes of {bytes}"
            )));
        }
        part.sync().map_err(doing)
    }

    fn part(&self, partition: PartitionId, base: i64) -> Result<Arc<dyn File>, Error> {
        self.disk.open(&path(partition, base, "part")).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                Error::Missing(format!("segment {base} of {partition:?} was not fetched"))
            }
            _ => Error::io(format!("open segment {base} of {partition:?}"), e),
        })
    }
}

/// How many bytes of a file are sound frames, events included, and the offset after them.
fn sound(file: &dyn File, len: u64) -> io::Result<(u64, Option<i64>)> {
    let mut walk = Walk::new(file, 0, len);
    let (mut end, mut next) = (0, None);
    while let Some((head, place)) = walk.step()? {
        let joins = next.is_none_or(|next| next <= head.base);
        if !joins || frame::batch(read(file, place, head.bytes)?).is_none() {
            break;
        }
        (end, next) = (place + head.bytes, Some(head.next));
    }
    Ok((end, next))
}

fn copy(from: &dyn File, to: &dyn File, bytes: u64) -> io::Result<()> {
    let mut at = 0;
    while at < bytes {
        let chunk = read(from, at, COPY_BYTES.min(bytes - at))?;
        if chunk.is_empty() {
            break;
        }
        to.write_at(&chunk, at)?;
        at += chunk.len() as u64;
    }
    Ok(())
}
