//! Computed blocks, one after the other without a gap.

use crate::chunk::Piece;
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
}

impl Block {
    fn size(&self) -> usize {
        self.bytes.len() + size_of::<Self>() + 4 * self.ends.len()
    }

    fn keeps(&self, bucket: u32) -> bool {
        self.wanted[bucket as usize]
    }

    fn piece(&self, bucket: usize) -> Option<Piece> {
        let begin = if bucket == 0 { 0 } else { self.ends[bucket - 1] as usize };
        let bytes = self.bytes.slice(begin..self.ends[bucket] as usize);
        (!bytes.is_empty()).then(|| Piece {
            base_offset: self.from,
            base_time_ms: self.base_time_ms,
            bytes,
        })
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

    /// End, greatest event time and items from `from` on; the lane must serve `from`.
    pub(super) fn pieces(
        &self,
        bucket: u32,
        from: i64,
        bytes_max: usize,
    ) -> (i64, i64, Vec<Piece>) {
        let first = self.blocks.partition_point(|block| block.to <= from);
        let (mut to, mut time_ms, mut size) = (from, i64::MIN, 0);
        let mut pieces = Vec::new();
        for block in self.blocks.range(first..) {
            let piece = block.piece(bucket as usize);
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
