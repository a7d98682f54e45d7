//! Appends batches: one write for all that come together, and the tail in memory.

use super::chain::{Chain, MARK_EVERY, Piece, State};
use super::index::Index;
use super::{Segments, folder, frame, path};
use crate::Error;
use model::{Batch, PartitionId};
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// A buffer that has grown beyond this is given back.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

impl Segments {
    /// Appends a batch to its partition; committed batches, in order, each once.
    pub fn append(&self, partition: PartitionId, batch: &Batch) -> Result<(), Error> {
        self.append_many(partition, std::slice::from_ref(batch))
    }

    /// Appends those of the batches that do not lie below the end of what is here: somebody else may have brought the
    /// first of them, and committed batches never change.
    pub fn append_missing(&self, partition: PartitionId, batches: &[Batch]) -> Result<(), Error> {
        let end = self.next_offset(partition)?;
        let present = batches.partition_point(|batch| batch.next_offset() <= end);
        self.append_many(partition, &batches[present..])
    }

    /// Appends batches to one partition with one write.
    ///
    /// Fails with [`Error::Misuse`] if they do not lie behind what is there, and with [`Error::NoRoom`] if the disk is
    /// full: then a first part of them may have been appended, up to [`Segments::next_offset`], and the rest may be
    /// tried again.
    pub fn append_many(&self, partition: PartitionId, batches: &[Batch]) -> Result<(), Error> {
        let Some(first) = batches.first() else { return Ok(()) };
        let doing = |e| Error::write(format!("append to {partition:?}"), e);
        let chain = self.chain(partition);
        let mut state = self.lock(&chain)?;
        if !state.settled {
            self.settle(partition, &mut state, first.base_offset())?;
        }
        let ends = std::iter::once(state.next).chain(batches.iter().map(Batch::next_offset));
        if let Some((end, batch)) = ends.zip(batches).find(|(end, b)| b.base_offset() < *end) {
            return Err(Error::Misuse(format!("{batch:?} lies before {end} in {partition:?}")));
        }
        let mut rest = batches;
        while !rest.is_empty() {
            self.make_room(partition, &mut state, rest[0].base_offset()).map_err(doing)?;
            let fit = self.fit(&state, rest);
            let (now, later) = rest.split_at(fit);
            self.write(partition, &mut state, now).map_err(doing)?;
            rest = later;
        }
        self.count_tail(&chain, &state);
        chain.touched.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        drop(state);
        self.bound_tails();
        Ok(())
    }

    /// The first append after a start says where the log goes on.
    fn settle(&self, partition: PartitionId, state: &mut State, base: i64) -> Result<(), Error> {
        if state.pieces.is_empty() {
            state.settled = true;
            return Ok(());
        }
        state.truncate(partition, base, &*self.disk, &self.handles)
    }

    /// Begins another segment if there is none or the newest is full.
    fn make_room(&self, partition: PartitionId, state: &mut State, base: i64) -> io::Result<()> {
        let full = state.pieces.last().is_none_or(|last| last.bytes >= self.limits.segment_bytes);
        if !full {
            return Ok(());
        }
        if let Some(last) = state.pieces.last() {
            self.save_index(partition, last.base, &mut state.index)?;
            if state.dirty {
                state.unsynced.push(last.base);
            }
        } else {
            self.disk.make_dir(&folder(partition))?;
        }
        self.handles.create(partition, base)?;
        state.pieces.push(Piece { base, bytes: 0 });
        state.index = Index::default();
        state.names_dirty = true;
        Ok(())
    }

    /// How many of the batches go into the newest segment; at least one.
    fn fit(&self, state: &State, batches: &[Batch]) -> usize {
        let mut bytes = state.pieces.last().map_or(0, |last| last.bytes);
        let before = batches.iter().take_while(|batch| {
            let room = bytes < self.limits.segment_bytes;
            bytes += frame::frame_bytes(batch);
            room
        });
        before.count().max(1)
    }

    fn write(
        &self,
        partition: PartitionId,
        state: &mut State,
        batches: &[Batch],
    ) -> io::Result<()> {
        let Some(last) = state.pieces.last_mut() else { return Ok(()) };
        let open = self.handles.get(partition, last.base)?;
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.clear();
        batches.iter().for_each(|batch| frame::put(&mut buffer, batch));
        open.file.write_at(&buffer, last.bytes)?;
        if buffer.capacity() > BUFFER_BYTES_KEPT {
            *buffer = Vec::new();
        }
        drop(buffer);
        for batch in batches {
            let head = frame::Head {
                base: batch.base_offset(),
                next: batch.next_offset(),
                max_time: batch.max_time_ms(),
                bytes: frame::frame_bytes(batch),
            };
            state.index.add(&head, last.bytes, MARK_EVERY);
            last.bytes += head.bytes;
            state.next = head.next;
            state.tail.push(batch, self.limits.tail_bytes);
        }
        if !std::mem::replace(&mut state.dirty, true) {
            self.lock_dirty().insert(partition);
        }
        Ok(())
    }

    /// Writes the marks that the segment's index has gained. Without sync: it is only a hint.
    pub(super) fn save_index(
        &self,
        partition: PartitionId,
        base: i64,
        index: &mut Index,
    ) -> io::Result<()> {
        let (at, bytes) = index.unsaved();
        if bytes.is_empty() {
            return Ok(());
        }
        let path = path(partition, base, "idx");
        let file = match at {
            0 => self.disk.create(&path)?,
            _ => self.disk.open(&path)?,
        };
        file.write_at(&bytes, at)?;
        index.set_saved();
        Ok(())
    }

    /// Forgets the tails that were not appended to for longest until all together fit their bound.
    fn bound_tails(&self) {
        while self.tails.load(Ordering::Relaxed) > self.limits.tail_bytes_total {
            let chains = self.chains.read().unwrap_or_else(PoisonError::into_inner);
            let filled =
                |chain: &&std::sync::Arc<Chain>| chain.tail_bytes.load(Ordering::Relaxed) > 0;
            let coldest = chains
                .values()
                .filter(filled)
                .min_by_key(|chain| chain.touched.load(Ordering::Relaxed))
                .cloned();
            drop(chains);
            let Some(chain) = coldest else { return };
            let mut state = chain.lock_unread();
            state.tail.clear();
            self.count_tail(&chain, &state);
        }
    }
}
