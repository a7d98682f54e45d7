//! How tasks pull their keys from one source partition: each range is computed once and serves every bucket.
//!
//! E1 Chunks are pure functions of (stage, bucket, range): where blocks end does not change what a task folds.
//!    Nor does whether a block's items come as they are or as partial aggregates, which end with their block: who
//!    asks from inside a block gets the items, and so does each that may be late where it goes.
//! E2 An event is whole: all its items are in the chunks, or one error item that says why not.
//! E3 No more than [`LANE_BYTES_MAX`] and one feed are held a lane, and there are two lanes.
//!
//! Two lanes: `ahead` follows the end of the partition; a bucket that fell out of it (its task was elsewhere, or
//! slow) is served by `behind`, computed again from older segments, until it meets `ahead`. A lane that is full
//! waits for its slowest bucket, but no longer than [`LAGGARD_MS`]. Items are kept only for buckets whose tasks ask
//! here: a peer that runs a third of the tasks holds a third of the items.

mod lane;
mod sink;

pub(crate) use sink::{ATTEMPTS_MAX, Sink};

use crate::chunk::{Activity, Chunk};
use crate::stage::StageCode;
use lane::Lane;
use model::{Batch, PartitionId};
use std::sync::Arc;

/// Bytes of items that a lane holds for buckets that have not asked for them yet.
pub(crate) const LANE_BYTES_MAX: usize = 1 << 20;
/// A bucket that has not asked for so long is not waited for.
const LAGGARD_MS: u64 = 2_000;

/// The exchange of one stage over one source partition, at the peer that leads the partition's shard.
#[derive(Debug)]
pub struct Exchange {
    source: PartitionId,
    ahead: Lane,
    behind: Option<Lane>,
    asked: Vec<Asked>,
    born_ms: u64,
    /// The last time that was said.
    now_ms: u64,
    sink: Sink,
}

/// What a bucket asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    pub bucket: u32,
    /// Its position.
    pub from: i64,
    /// About so many bytes are answered, at least one block.
    pub bytes_max: usize,
    /// Partial aggregates are welcome, to a task whose watermark is this; none: each item by itself.
    pub partials: Option<i64>,
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
            born_ms: now_ms,
            now_ms,
            sink: Sink::new(code, source_index, source.partition),
        }
    }

    /// The offset behind everything computed so far.
    pub fn needs(&self) -> i64 {
        self.ahead.needs
    }

    /// How many buckets it serves.
    pub fn buckets(&self) -> u32 {
        self.asked.len() as u32
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.ahead.bytes + self.behind.as_ref().map_or(0, |lane| lane.bytes)
    }

    /// What a bucket gets from its position on.
    ///
    /// An empty chunk with `from == to` means: wait, a slower bucket of this lane must catch up first.
    pub fn chunk(&mut self, now_ms: u64, want: Want) -> Result<Chunk, Miss> {
        let Want { bucket, from, .. } = want;
        self.now_ms = now_ms;
        self.asked[bucket as usize] = Asked { from: Some(from), at_ms: now_ms };
        self.drop_passed();
        if let Some(lane) = self.lane_with(bucket, from) {
            let (to, time_ms, pieces) = lane.pieces(want, self.sink.combine());
            let watermark_ms = self.sink.watermark(time_ms);
            let (source, activity) = (self.source, Activity::Unsaid);
            return Ok(Chunk { source, from, to, watermark_ms, activity, pieces });
        }
        if from > self.ahead.needs || (self.ahead.is_empty() && self.behind.is_none()) {
            let old = std::mem::replace(&mut self.ahead, Lane::starting(from));
            if !old.is_empty() {
                self.behind = Some(old);
            }
        }
        let lane = if from == self.ahead.needs {
            &mut self.ahead
        } else {
            let needed = |lane: &Lane| {
                self.asked.iter().enumerate().any(|(bucket, asked)| {
                    let is_at = |at| at <= lane.needs && !self.ahead.serves(bucket as u32, at);
                    asked.is_recent(now_ms) && asked.from.is_some_and(is_at)
                })
            };
            // A lane that passed `from` without this bucket's items begins again there, with them; one that has
            // not come so far is waited for, if somebody drives it.
            let comes = |lane: &Lane| lane.needs == from || (lane.needs < from && needed(lane));
            let kept = self.behind.take().filter(|lane| lane.start() <= from && comes(lane));
            self.behind.insert(kept.unwrap_or_else(|| Lane::starting(from)))
        };
        let room = lane.needs == from && has_room(&self.asked, now_ms, lane, from);
        if room { Err(Miss { feed_from: from }) } else { Ok(Chunk::nothing(self.source, from)) }
    }

    /// Where whoever feeds ahead of the questions goes on. None: the buckets must come first, since none has asked
    /// yet, or the lane is full.
    pub fn ahead(&mut self, now_ms: u64) -> Option<i64> {
        self.now_ms = now_ms;
        let (start, needs) = (self.ahead.start(), self.ahead.needs);
        let in_lane = |asked: &Asked| asked.from.is_some_and(|at| start <= at && at <= needs);
        let followed = self.asked.iter().any(in_lane);
        let room = followed && has_room(&self.asked, now_ms, &mut self.ahead, needs);
        room.then_some(needs)
    }

    /// Tells the buckets that got items since this was last asked.
    pub fn news(&mut self, mut tell: impl FnMut(u32)) {
        for (bucket, news) in self.sink.news.iter_mut().enumerate() {
            if std::mem::take(news) {
                tell(bucket as u32);
            }
        }
    }

    /// Computes the range from `from` (a [`Miss`]'s) to the end of `batches`, or to `below` (the first offset that
    /// is not stable) if there is no batch: what lies between was trimmed or compacted away.
    ///
    /// Feeds that no lane waits for are ignored. `batches` should be 1 MiB or so together.
    pub fn feed(&mut self, from: i64, batches: &[Batch], below: i64) {
        let is_young = self.now_ms.saturating_sub(self.born_ms) < LAGGARD_MS;
        let (lane, wanted): (_, Vec<bool>) = if self.ahead.needs == from {
            let start = self.ahead.start();
            // Whoever was last seen in this lane comes back to it, however long the partition was quiet.
            let wants = |asked: &Asked| asked.from.map_or(is_young, |at| at >= start);
            (&mut self.ahead, self.asked.iter().map(wants).collect())
        } else if let Some(lane) = self.behind.as_mut().filter(|lane| lane.needs == from) {
            let wants = |asked: &Asked| asked.from.is_some() && asked.is_recent(self.now_ms);
            (lane, self.asked.iter().map(wants).collect())
        } else {
            return;
        };
        self.sink.want(wanted);
        for batch in batches {
            if batch.next_offset() > lane.needs && batch.base_offset() < below {
                self.sink.batch(batch, lane, below);
            }
        }
        let end = batches.last().map_or(below, |batch| batch.next_offset().min(below));
        self.sink.finish(lane, end);
    }

    fn lane_with(&self, bucket: u32, from: i64) -> Option<&Lane> {
        let lanes = [Some(&self.ahead), self.behind.as_ref()];
        lanes.into_iter().flatten().find(|lane| lane.serves(bucket, from))
    }

    /// What everybody in `ahead` has passed is not kept, and a lane that nobody needs ends.
    fn drop_passed(&mut self) {
        if self.now_ms.saturating_sub(self.born_ms) < LAGGARD_MS {
            return;
        }
        let start = self.ahead.start();
        let places = || self.asked.iter().filter_map(|asked| asked.from);
        if let Some(slowest) = places().filter(|at| *at >= start).min() {
            self.ahead.drop_below(slowest);
        }
        let recent = self.asked.iter().filter(|asked| asked.is_recent(self.now_ms));
        let served = |at: i64| at >= self.ahead.start();
        if recent.filter_map(|asked| asked.from).all(served) && self.serves_all() {
            self.behind = None;
        }
    }

    /// Whether nobody in `ahead`'s range needs `behind` for items that `ahead` left out.
    fn serves_all(&self) -> bool {
        self.asked.iter().enumerate().all(|(bucket, asked)| {
            !asked.is_recent(self.now_ms)
                || asked
                    .from
                    .is_none_or(|at| !self.ahead.has(at) || self.ahead.serves(bucket as u32, at))
        })
    }
}

/// Whether another feed fits into a lane, perhaps after dropping what all have passed.
fn has_room(asked: &[Asked], now_ms: u64, lane: &mut Lane, from: i64) -> bool {
    let start = lane.start();
    // Buckets of the other lane are not waited for; those that never asked would begin at the start.
    let recent = asked.iter().filter(|asked| asked.is_recent(now_ms));
    let slowest = recent.map(|asked| asked.from.unwrap_or(start)).filter(|at| *at >= start);
    lane.make_room(slowest.min().unwrap_or(from))
}

impl Asked {
    fn is_recent(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) < LAGGARD_MS
    }
}
