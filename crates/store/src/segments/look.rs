//! Finds and reads batches: by offset, by time, and as bytes of a file for another replica.

use super::chain::{self, Chain, State};
use super::frame::{self, HEAD_BYTES};
use super::handles::Open;
use super::walk::{Walk, read};
use super::{SegmentFile, Segments};
use crate::Error;
use bytes::Bytes;
use model::{Batch, PartitionId};
use std::sync::Arc;

/// One read returns no more than this, its first batch excepted.
const READ_BYTES_MAX: usize = 64 << 20;
/// Events of one batch are unpacked to at most this many bytes to find one by time.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// Part of a segment in which to look, taken under the lock and used without.
struct Stretch {
    base: i64,
    open: Arc<Open>,
    from: u64,
    end: u64,
}

impl Segments {
    /// Whole batches from the one that holds `from` on, all that begin below `below`, up to `bytes_max` bytes; the
    /// first however large it is. Empty if there is none.
    ///
    /// Fails with [`Error::Missing`] if `from` lies below all there is, with [`Error::Rot`] if the first batch is
    /// damaged.
    pub fn read(
        &self,
        partition: PartitionId,
        from: i64,
        below: i64,
        bytes_max: usize,
    ) -> Result<Vec<Batch>, Error> {
        let chain = self.chain(partition);
        let bytes_max = bytes_max.min(READ_BYTES_MAX);
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut from = from;
        // One round a segment; the next begins where it has ended.
        while bytes < bytes_max.max(1) {
            let state = self.lock(&chain)?;
            if from >= below || from >= state.next {
                break;
            }
            if let Some(tail) = state.tail.read(from, below, bytes_max.saturating_sub(bytes)) {
                let fits = |batch: &Batch| found.is_empty() || bytes + batch.size() <= bytes_max;
                if tail.first().is_some_and(fits) {
                    found.extend(tail);
                }
                break;
            }
            let (stretch, ends_at) = self.stretch_of(&chain, &state, from)?;
            drop(state);
            let outcome = stretch.read(from..below, bytes_max, &mut bytes, &mut found);
            match outcome.map_err(|e| Error::io(format!("read {partition:?}"), e))? {
                Outcome::Whole => from = ends_at,
                Outcome::Enough => break,
                Outcome::Rot if !found.is_empty() => break,
                Outcome::Rot => {
                    return Err(Error::Rot(format!(
                        "segment {} of {partition:?} at or after offset {from}",
                        stretch.base
                    )));
                }
            }
        }
        Ok(found)
    }

    /// The stretch of the segment that holds `offset`, and the offset after the segment.
    fn stretch_of(
        &self,
        chain: &Chain,
        state: &State,
        offset: i64,
    ) -> Result<(Stretch, i64), Error> {
        let at = state.piece_of(offset).ok_or_else(|| {
            Error::Missing(format!("offset {offset} of {:?} lies before all segments", chain.id))
        })?;
        let open = self.open_piece(chain, state, at)?;
        let from = match at + 1 == state.pieces.len() {
            true => state.index.before_offset(offset),
            false => open.index.get().map_or(0, |index| index.before_offset(offset)),
        };
        let piece = state.pieces[at];
        Ok((Stretch { base: piece.base, open, from, end: piece.bytes }, state.next_of(at)))
    }

    /// Opens a segment; a closed one with its index.
    fn open_piece(&self, chain: &Chain, state: &State, at: usize) -> Result<Arc<Open>, Error> {
        let doing = |e| Error::io(format!("open a segment of {:?}", chain.id), e);
        let piece = state.pieces[at];
        let open = self.handles.get(chain.id, piece.base).map_err(doing)?;
        if at + 1 < state.pieces.len() && open.index.get().is_none() {
            let index = chain::index(chain.id, &*self.disk, &open, piece.base, piece.bytes);
            let (mut index, end, _) = index.map_err(doing)?;
            if end < piece.bytes {
                index.any_time();
            }
            // If two readers built it at once, both built the same.
            let _ = open.index.set(index);
        }
        Ok(open)
    }

    /// The first event at or after `time_ms`: its offset and time.
    pub fn position_by_time(
        &self,
        partition: PartitionId,
        time_ms: i64,
    ) -> Result<Option<(i64, i64)>, Error> {
        let doing = |e| Error::io(format!("search {partition:?}"), e);
        let chain = self.chain(partition);
        let mut at = 0;
        loop {
            let state = self.lock(&chain)?;
            if at >= state.pieces.len() {
                return Ok(None);
            }
            let piece = state.pieces[at];
            let newest = at + 1 == state.pieces.len();
            let open = self.open_piece(&chain, &state, at)?;
            let index = if newest { Some(&state.index) } else { open.index.get() };
            let late = index.and_then(|index| index.max_time()).is_none_or(|max| max < time_ms);
            let from = index.map_or(0, |index| index.before_time(time_ms));
            drop(state);
            at += 1;
            if late {
                continue;
            }
            let mut walk = Walk::new(&*open.file, from, piece.bytes);
            while let Some((head, place)) = walk.step().map_err(doing)? {
                if head.max_time < time_ms {
                    continue;
                }
                let bytes = read(&*open.file, place, head.bytes).map_err(doing)?;
                let batch = frame::batch(bytes)
                    .ok_or_else(|| Error::Rot(format!("offset {} of {partition:?}", head.base)))?;
                if let Some(found) = first_at(&batch, time_ms) {
                    return Ok(Some(found));
                }
            }
            if walk.place() < piece.bytes {
                return Err(Error::Rot(format!("segment {} of {partition:?}", piece.base)));
            }
        }
    }

    /// The lowest offset that may be here: where the oldest segment begins.
    pub fn start_offset(&self, partition: PartitionId) -> Result<i64, Error> {
        let chain = self.chain(partition);
        let state = self.lock(&chain)?;
        Ok(state.pieces.first().map_or(state.next, |piece| piece.base))
    }

    /// The offset after the last batch.
    pub fn next_offset(&self, partition: PartitionId) -> Result<i64, Error> {
        let chain = self.chain(partition);
        Ok(self.lock(&chain)?.next)
    }

    /// The partition's files as they are now, oldest first.
    pub fn files(&self, partition: PartitionId) -> Result<Vec<SegmentFile>, Error> {
        let chain = self.chain(partition);
        let state = self.lock(&chain)?;
        let pieces = state.pieces.iter().enumerate();
        Ok(pieces
            .map(|(at, piece)| SegmentFile {
                base: piece.base,
                bytes: piece.bytes,
                next_offset: state.next_of(at),
            })
            .collect())
    }

    /// Bytes of one file; fewer where it ends. Not checked: who installs them checks every frame.
    pub fn read_file(
        &self,
        partition: PartitionId,
        base: i64,
        at: u64,
        len: usize,
    ) -> Result<Bytes, Error> {
        let chain = self.chain(partition);
        let state = self.lock(&chain)?;
        let missing = || Error::Missing(format!("segment {base} of {partition:?}"));
        let piece = *state.pieces.iter().find(|p| p.base == base).ok_or_else(missing)?;
        drop(state);
        let doing = |e| Error::io(format!("read segment {base} of {partition:?}"), e);
        let open = self.handles.get(partition, base).map_err(doing)?;
        let len = (len as u64).min(piece.bytes.saturating_sub(at));
        read(&*open.file, at, len).map_err(doing)
    }
}

/// How the reading of one stretch has ended.
enum Outcome {
    /// All that was there is found.
    Whole,
    /// The next batch is too much or out of bounds.
    Enough,
    Rot,
}

impl Stretch {
    /// Reads the batches that touch `offsets`.
    fn read(
        &self,
        offsets: std::ops::Range<i64>,
        bytes_max: usize,
        bytes: &mut usize,
        found: &mut Vec<Batch>,
    ) -> std::io::Result<Outcome> {
        let mut place = self.from;
        while place < self.end {
            let left = bytes_max.saturating_sub(*bytes) as u64;
            let want = (left + chain::MARK_EVERY).min(self.end - place);
            let mut chunk = read(&*self.open.file, place, want)?;
            let Some(first) = frame::head(&chunk).filter(|head| place + head.bytes <= self.end)
            else {
                return Ok(Outcome::Rot);
            };
            if first.bytes > chunk.len() as u64 && first.next > offsets.start {
                chunk = read(&*self.open.file, place, first.bytes)?;
            }
            let mut at = 0;
            while let Some(head) = chunk.get(at..).and_then(frame::head) {
                if head.base >= offsets.end {
                    return Ok(Outcome::Enough);
                }
                let end = at + head.bytes as usize;
                if head.next <= offsets.start {
                    at = end;
                    continue;
                }
                if end > chunk.len() {
                    break;
                }
                if !found.is_empty() && *bytes + frame::batch_bytes(&head) > bytes_max {
                    return Ok(Outcome::Enough);
                }
                let Some(batch) = frame::batch(chunk.slice(at..end)) else {
                    return Ok(Outcome::Rot);
                };
                *bytes += batch.size();
                found.push(batch);
                at = end;
            }
            let whole_heads = at + HEAD_BYTES > chunk.len();
            let cut = chunk.get(at..).and_then(frame::head).is_some();
            if !whole_heads && !cut {
                return Ok(Outcome::Rot);
            }
            place += at as u64;
        }
        Ok(Outcome::Whole)
    }
}

/// The first event of a batch at or after a time. What does not unpack counts as a whole.
fn first_at(batch: &Batch, time_ms: i64) -> Option<(i64, i64)> {
    let Ok(events) = batch.records(UNPACKED_BYTES_MAX) else {
        return Some((batch.base_offset(), batch.max_time_ms()));
    };
    events
        .filter_map(Result::ok)
        .find(|event| event.time_ms >= time_ms)
        .map(|event| (event.offset, event.time_ms))
}
