//! Computed blocks, one after the other without a gap.

use super::Want;
use crate::chunk::{Items, Piece};
use crate::core::Combine;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// The blocks [start, needs).
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) needs: i64,
    pub(super) bytes: usize,
    blocks: VecDeque<Block>,
}

/// One computed range: the items of all buckets in one buffer.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) base_time_ms: i64,
    /// The greatest event time in the range; `i64::MIN` if it has none.
    pub(super) time_ms: i64,
    pub(super) bytes: Bytes,
    /// Where each bucket's items end in `bytes`.
    pub(super) ends: Vec<u32>,
    /// The buckets whose items are kept.
    pub(super) wanted: Arc<[bool]>,
    /// The partial aggregates of the buckets that have any.
    pub(super) partials: Vec<(u32, Partial)>,
}

/// What a bucket's items of one block came to.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) bytes: Bytes,
    /// A task whose watermark has come so far wants the late items by themselves.
    pub(super) late_at_ms: i64,
}

impl Block {
    fn size(&self) -> usize {
        let partials = self.partials.iter();
        let partials: usize = partials.map(|(_, p)| p.bytes.len() + size_of::<Partial>()).sum();
        self.bytes.len() + partials + size_of::<Self>() + 4 * self.ends.len()
    }

    fn keeps(&self, bucket: u32) -> bool {
        self.wanted[bucket as usize]
    }

    fn piece(&self, want: Want, combine: Option<&dyn Combine>) -> Option<Piece> {
        let piece = |is_partial, bytes| {
            let (base_offset, base_time_ms) = (self.from, self.base_time_ms);
            Piece { base_offset, base_time_ms, is_partial, bytes }
        };
        let bucket = want.bucket as usize;
        let begin = if bucket == 0 { 0 } else { self.ends[bucket - 1] as usize };
        let bytes = self.bytes.slice(begin..self.ends[bucket] as usize);
        match self.partial(want, &bytes, combine) {
            Some(rows) => Some(piece(true, rows)),
            None => (!bytes.is_empty()).then(|| piece(false, bytes)),
        }
    }

    /// Partial aggregates of a bucket's items, for who takes all of them.
    fn partial(&self, want: Want, items: &[u8], combine: Option<&dyn Combine>) -> Option<Bytes> {
        let watermark_ms = want.partials.filter(|_| want.from <= self.from)?;
        let at = self.partials.binary_search_by_key(&want.bucket, |(bucket, _)| *bucket).ok()?;
        let partial = &self.partials[at].1;
        if watermark_ms < partial.late_at_ms {
            return Some(partial.bytes.clone());
        }
        let base = (self.from, self.base_time_ms);
        let (items, rows) = (Items::new(items, base), Items::new(&partial.bytes, base));
        Some(combine?.apart(items, rows, watermark_ms).ok()?.into())
    }
}

impl Lane {
    pub(super) fn starting(from: i64) -> Self {
        Self { needs: from, bytes: 0, blocks: VecDeque::new() }
    }

    pub(super) fn start(&self) -> i64 {
        self.blocks.front().map_or(self.needs, |block| block.from)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether the offset `from` is computed.
    pub(super) fn has(&self, from: i64) -> bool {
        self.start() <= from && from < self.needs
    }

    /// Whether the offset `from` is computed with this bucket's items.
    pub(super) fn serves(&self, bucket: u32, from: i64) -> bool {
        let at = self.blocks.partition_point(|block| block.to <= from);
        self.blocks.get(at).is_some_and(|block| block.from <= from && block.keeps(bucket))
    }

    pub(super) fn push(&mut self, block: Block) {
        assert_eq!(block.from, self.needs, "blocks follow each other without a gap");
        self.needs = block.to;
        self.bytes += block.size();
        self.blocks.push_back(block);
    }

    /// End, greatest event time and items from `want.from` on; the lane must serve that.
    pub(super) fn pieces(
        &self,
        want: Want,
        combine: Option<&dyn Combine>,
    ) -> (i64, i64, Vec<Piece>) {
        let Want { bucket, from, bytes_max, .. } = want;
        let first = self.blocks.partition_point(|block| block.to <= from);
        let (mut to, mut time_ms, mut size) = (from, i64::MIN, 0);
        let mut pieces = Vec::new();
        for block in self.blocks.range(first..) {
            let piece = block.piece(want, combine);
            let more = piece.as_ref().map_or(0, |piece| piece.bytes.len());
            if !block.keeps(bucket) || (to > from && size + more > bytes_max) {
                break;
            }
            size += more;
            to = block.to;
            time_ms = time_ms.max(block.time_ms);
            pieces.extend(piece);
        }
        (to, time_ms, pieces)
    }

    pub(super) fn drop_below(&mut self, offset: i64) {
        while let Some(block) = self.blocks.pop_front_if(|block| block.to <= offset) {
            self.bytes -= block.size();
        }
    }

    /// Whether another feed fits, after dropping what lies below `slowest` if need be.
    pub(super) fn make_room(&mut self, slowest: i64) -> bool {
        if self.bytes >= super::LANE_BYTES_MAX {
            self.drop_below(slowest);
        }
        self.bytes < super::LANE_BYTES_MAX
    }
}
