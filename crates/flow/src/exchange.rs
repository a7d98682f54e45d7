//! How tasks pull their keys from one source partition: each range is computed once and serves every bucket.
//!
//! E1 Chunks are pure functions of (stage, bucket, range): where blocks end does not change what a task folds.
//! E2 An event is whole: all its items are in the chunks, or one error item that says why not.
//! E3 No more than [`LANE_BYTES_MAX`] and one feed are held a lane, and there are two lanes.
//!
//! Two lanes: `ahead` follows the end of the partition; a bucket that fell out of it (its task was elsewhere, or
//! slow) is served by `behind`, computed again from older segments, until it meets `ahead`. A lane that is full
//! waits for its slowest bucket, but no longer than [`LAGGARD_MS`].

mod lane;
mod sink;

pub(crate) use sink::{ATTEMPTS_MAX, Sink};

use crate::chunk::Chunk;
use crate::stage::StageCode;
use lane::Lane;
use model::{Batch, PartitionId};
use std::sync::Arc;

/// Bytes of items that a lane holds for buckets that have not asked for them yet.
pub(crate) const LANE_BYTES_MAX: usize = 2 << 20;
/// A bucket that has not asked for so long is not waited for.
const LAGGARD_MS: u64 = 2_000;

/// The exchange of one stage over one source partition, at the peer that leads the partition's shard.
#[derive(Debug)]
pub struct Exchange {
    source: PartitionId,
    ahead: Lane,
    behind: Option<Lane>,
    asked: Vec<Asked>,
    sink: Sink,
}

/// The last position a bucket asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    from: Option<i64>,
    at_ms: u64,
}

/// The range is not computed: read batches from `feed_from` on, [`Exchange::feed`] them, ask again. If the
/// partition has nothing there yet, the answer is [`Chunk::nothing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    pub feed_from: i64,
}

impl Exchange {
    /// The exchange of `code`'s source number `source_index` over one of that stream's partitions.
    ///
    /// `now_ms` is any monotonic time, here and in [`Exchange::chunk`].
    pub fn new(
        code: Arc<StageCode>,
        source: PartitionId,
        source_index: usize,
        now_ms: u64,
    ) -> Self {
        let buckets = code.buckets as usize;
        Self {
            source,
            ahead: Lane::starting(0),
            behind: None,
            asked: vec![Asked { from: None, at_ms: now_ms }; buckets],
            sink: Sink::new(code, source_index, source.partition),
        }
    }

    /// The offset behind everything computed so far.
    pub fn needs(&self) -> i64 {
        self.ahead.needs
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.ahead.bytes + self.behind.as_ref().map_or(0, |lane| lane.bytes)
    }

    /// What `bucket` gets from its position `from` on: about `bytes_max` bytes, at least one block.
    ///
    /// An empty chunk with `from == to` means: wait, a slower bucket of this lane must catch up first.
    pub fn chunk(
        &mut self,
        now_ms: u64,
        bucket: u32,
        from: i64,
        bytes_max: usize,
    ) -> Result<Chunk, Miss> {
        self.asked[bucket as usize] = Asked { from: Some(from), at_ms: now_ms };
        self.drop_passed(now_ms);
        if let Some(lane) = self.lane_with(from) {
            let (to, time_ms, pieces) = lane.pieces(bucket, from, bytes_max);
            let watermark_ms = self.sink.watermark(time_ms);
            return Ok(Chunk { source: self.source, from, to, watermark_ms, pieces });
        }
        if from > self.ahead.needs || (self.ahead.is_empty() && self.behind.is_none()) {
            let old = std::mem::replace(&mut self.ahead, Lane::starting(from));
            if !old.is_empty() {
                self.behind = Some(old);
            }
        }
        if from != self.ahead.needs {
            self.prepare_behind(now_ms, from);
        }
        let lane = match &mut self.behind {
            Some(lane) if from != self.ahead.needs => lane,
            _ => &mut self.ahead,
        };
        let start = lane.start();
        // Buckets of the other lane are not waited for; those that never asked would begin at the start.
        let awaited = |asked: &&Asked| now_ms.saturating_sub(asked.at_ms) < LAGGARD_MS;
        let slowest = self.asked.iter().filter(awaited).map(|asked| asked.from.unwrap_or(start));
        let slowest = slowest.filter(|at| *at >= start).min().unwrap_or(from);
        let room = lane.needs == from && lane.make_room(slowest);
        if room { Err(Miss { feed_from: from }) } else { Ok(Chunk::nothing(self.source, from)) }
    }

    /// Computes the range from `from` (a [`Miss`]'s) to the end of `batches`, or to `below` (the first offset that
    /// is not stable) if there is no batch: what lies between was trimmed or compacted away.
    ///
    /// Feeds that no lane waits for are ignored. `batches` should be 1 MiB or so together.
    pub fn feed(&mut self, from: i64, batches: &[Batch], below: i64) {
        let lane = if self.ahead.needs == from {
            &mut self.ahead
        } else if let Some(lane) = self.behind.as_mut().filter(|lane| lane.needs == from) {
            lane
        } else {
            return;
        };
        for batch in batches {
            if batch.next_offset() > lane.needs && batch.base_offset() < below {
                self.sink.batch(batch, lane, below);
            }
        }
        let end = batches.last().map_or(below, |batch| batch.next_offset().min(below));
        self.sink.finish(lane, end);
    }

    fn lane_with(&self, from: i64) -> Option<&Lane> {
        [Some(&self.ahead), self.behind.as_ref()].into_iter().flatten().find(|lane| lane.has(from))
    }

    /// Sees that there is a lane for a position below `ahead`: the one there is, or one that starts there.
    fn prepare_behind(&mut self, now_ms: u64, from: i64) {
        let used = |lane: &Lane| {
            self.asked.iter().any(|asked| {
                now_ms.saturating_sub(asked.at_ms) < LAGGARD_MS
                    && asked.from.is_some_and(|at| at <= lane.needs)
            })
        };
        let kept = self.behind.take().filter(|lane| lane.start() <= from && used(lane));
        self.behind = Some(kept.unwrap_or_else(|| Lane::starting(from)));
    }

    /// When every bucket asks regularly, what all have passed is not kept, and a lane that none needs ends.
    fn drop_passed(&mut self, now_ms: u64) {
        let current = |asked: &Asked| now_ms.saturating_sub(asked.at_ms) < LAGGARD_MS;
        let mut slowest = i64::MAX;
        for asked in &self.asked {
            match asked.from.filter(|_| current(asked)) {
                Some(from) => slowest = slowest.min(from),
                None => return,
            }
        }
        self.ahead.drop_below(slowest);
        if slowest >= self.ahead.start() {
            self.behind = None;
        }
    }
}
