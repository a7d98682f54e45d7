//! Runs a stage's stateless chain over batches and sorts what comes out by bucket.

use super::lane::{Block, Lane, Partial};
use crate::carry::Failure;
use crate::chain::{Pass, RunEvent};
use crate::chunk::{Item, Items, put_item};
use crate::core::{Combine, Partials};
use crate::event::Event;
use crate::key::bucket_of_row;
use crate::retry::{Meant, meant};
use crate::stage::{SourceCode, StageCode};
use bytes::Bytes;
use model::Batch;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Items of a block; then the next one begins.
const BLOCK_BYTES: usize = 128 << 10;
/// Items that one event may become.
const EVENT_BYTES_MAX: usize = 4 << 20;
/// What the events of one batch may decompress to.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// How often user code may fail at one event before it becomes an error item.
pub(crate) const ATTEMPTS_MAX: u32 = 3;
/// An event's own time field may be ahead of its timestamp by so much and still move the watermark: one event
/// from the far future must not make all others late.
const FUTURE_MS_MAX: i64 = 24 * 3_600_000;

/// Where a chain puts its items: a buffer a bucket, for the block being built.
pub(crate) struct Sink {
    code: Arc<StageCode>,
    source_index: usize,
    partition: u32,
    /// `<pipeline>.<stage>`: whom events that are tried again name.
    stage: String,
    /// For whom the current event is.
    meant: Meant,
    buckets: Vec<Vec<u8>>,
    /// The buckets whose items are kept.
    wanted: Arc<[bool]>,
    /// The buckets that got items, kept or not, since that was last asked.
    pub(super) news: Vec<bool>,
    /// Scratch for the item being made: its key and its value.
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// The buckets that got items of the current event, with their sizes before.
    touched: Vec<(u32, usize)>,
    event_bytes: usize,
    block_bytes: usize,
    from: i64,
    base_time_ms: Option<i64>,
    time_ms: i64,
    offset: i64,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sink({} bytes)", self.block_bytes)
    }
}

impl Sink {
    pub(super) fn new(code: Arc<StageCode>, source_index: usize, partition: u32) -> Self {
        assert!(source_index < code.sources.len(), "the stage has this source");
        let buckets = vec![Vec::new(); code.buckets as usize];
        let stage = format!("{}.{}", code.pipeline, code.name);
        Self {
            code,
            source_index,
            partition,
            stage,
            meant: Meant::All,
            wanted: vec![true; buckets.len()].into(),
            news: vec![false; buckets.len()],
            buckets,
            key: Vec::new(),
            value: Vec::new(),
            touched: Vec::new(),
            event_bytes: 0,
            block_bytes: 0,
            from: 0,
            base_time_ms: None,
            time_ms: i64::MIN,
            offset: 0,
        }
    }

    pub(super) fn combine(&self) -> Option<&dyn Combine> {
        self.code.combine.as_deref()
    }

    /// From now on, keeps the items of these buckets only.
    pub(super) fn want(&mut self, wanted: Vec<bool>) {
        if self.wanted[..] != wanted[..] {
            self.wanted = wanted.into();
        }
    }

    /// How far back events may still come after one of `time_ms`.
    pub(super) fn watermark(&self, time_ms: i64) -> i64 {
        match time_ms {
            i64::MIN => i64::MIN,
            time_ms => time_ms.saturating_sub(self.source().out_of_order_ms),
        }
    }

    fn source(&self) -> &SourceCode {
        &self.code.sources[self.source_index]
    }

    /// Computes the events of a batch that lie in [lane.needs or the open block's end, `below`).
    pub(super) fn batch(&mut self, batch: &Batch, lane: &mut Lane, below: i64) {
        if batch.is_control() {
            return;
        }
        let records = match batch.records(BATCH_BYTES_MAX) {
            Ok(records) => records,
            Err(error) => return self.unreadable(batch, batch.base_offset(), &error, lane),
        };
        let mut next = batch.base_offset();
        // Shared once a batch: counting its shares event by event costs more than the events.
        let code = Arc::clone(&self.code);
        let run = &*code.sources[self.source_index].run;
        for record in records {
            match record {
                Ok(record) if record.offset < lane.needs || record.offset >= below => {}
                Ok(record) => {
                    next = record.offset + 1;
                    self.event(&Event::of(record, self.partition), run, lane);
                }
                // What follows in the batch cannot be read either: one item stands for all of it.
                Err(error) => return self.unreadable(batch, next, &error, lane),
            }
        }
    }

    fn unreadable(
        &mut self,
        batch: &Batch,
        offset: i64,
        error: &model::batch::Error,
        lane: &mut Lane,
    ) {
        let time_ms = batch.base_time_ms();
        let event = Event { time_ms, offset: offset.max(lane.needs), ..Event::default() };
        self.begin(&event, lane);
        self.fail(&event, &Failure::new(format!("the batch cannot be read: {error}")));
    }

    fn begin(&mut self, event: &Event, lane: &mut Lane) {
        if self.block_bytes >= BLOCK_BYTES {
            self.finish(lane, event.offset);
        }
        self.from = lane.needs;
        self.base_time_ms.get_or_insert(event.time_ms);
        self.offset = event.offset;
    }

    fn event(&mut self, event: &Event, run: &RunEvent, lane: &mut Lane) {
        self.begin(event, lane);
        self.meant = meant(event, &self.stage);
        if self.meant == Meant::Others {
            return;
        }
        let mut attempt = 1;
        loop {
            self.touched.clear();
            self.event_bytes = 0;
            let pass = Pass::new();
            let caught = catch_unwind(AssertUnwindSafe(|| run(event, &pass, self)));
            let (time_ms, fault) = pass.outcome();
            if time_ms > i64::MIN {
                let sane = event.time_ms.saturating_add(FUTURE_MS_MAX);
                self.time_ms = self.time_ms.max(time_ms.min(sane));
            }
            let failure = match (caught, fault) {
                (Ok(()), None) => return,
                (Ok(()), Some(fault)) => fault,
                (Err(payload), _) => Failure::of_panic(payload.as_ref()),
            };
            self.take_back();
            if attempt == ATTEMPTS_MAX {
                return self.fail(event, &failure);
            }
            attempt += 1;
        }
    }

    fn take_back(&mut self) {
        while let Some((bucket, size)) = self.touched.pop() {
            let items = &mut self.buckets[bucket as usize];
            self.block_bytes -= items.len() - size;
            items.truncate(size);
        }
    }

    /// Puts the item whose key and value stand in the scratch. Without a key, the event's place decides.
    pub(crate) fn put(&mut self, time_ms: i64, keyless: bool) -> Result<(), Failure> {
        self.event_bytes += self.key.len() + self.value.len() + 8;
        if self.event_bytes > EVENT_BYTES_MAX {
            return Err(Failure::new(format!(
                "one event became more than {EVENT_BYTES_MAX} bytes of items"
            )));
        }
        let buckets = self.code.buckets;
        let bucket = if keyless {
            self.bucket_of_place(self.offset)
        } else {
            bucket_of_row(&self.key, buckets)
        };
        if matches!(self.meant, Meant::Bucket(only) if only != bucket) {
            return Ok(());
        }
        self.news[bucket as usize] = true;
        if !self.wanted[bucket as usize] {
            return Ok(());
        }
        let items = &mut self.buckets[bucket as usize];
        let before = items.len();
        let item =
            Item { offset: self.offset, time_ms, key: &self.key, value: &self.value, failed: None };
        put_item(items, (self.from, self.base_time_ms.unwrap_or(time_ms)), &item);
        self.block_bytes += items.len() - before;
        self.touched.push((bucket, before));
        Ok(())
    }

    /// An event that failed has no bucket of its own: its place decides.
    fn fail(&mut self, event: &Event, failure: &Failure) {
        let bucket = self.bucket_of_place(event.offset);
        self.news[bucket as usize] = true;
        if !self.wanted[bucket as usize] {
            return;
        }
        let items = &mut self.buckets[bucket as usize];
        let before = items.len();
        let item = Item {
            offset: event.offset,
            time_ms: event.time_ms,
            key: event.key.as_deref().unwrap_or_default(),
            value: event.value(),
            failed: Some(&failure.cause()),
        };
        put_item(items, (self.from, self.base_time_ms.unwrap_or(event.time_ms)), &item);
        self.block_bytes += items.len() - before;
    }

    fn bucket_of_place(&self, offset: i64) -> u32 {
        let place = u64::from(self.partition).wrapping_add(offset as u64);
        (place % u64::from(self.code.buckets)) as u32
    }

    /// Closes the block at `to` and gives it to the lane.
    pub(super) fn finish(&mut self, lane: &mut Lane, to: i64) {
        if to <= lane.needs {
            return;
        }
        let mut bytes = Vec::with_capacity(self.block_bytes);
        let mut ends = Vec::with_capacity(self.buckets.len());
        for items in &mut self.buckets {
            bytes.extend_from_slice(items);
            ends.push(u32::try_from(bytes.len()).expect("a block is far below 4 GiB"));
            items.clear();
        }
        let base_time_ms = self.base_time_ms.take().unwrap_or(0);
        let bytes = Bytes::from(bytes);
        let partials = self.partials(&bytes, &ends, (lane.needs, base_time_ms));
        lane.push(Block {
            from: lane.needs,
            to,
            base_time_ms,
            time_ms: std::mem::replace(&mut self.time_ms, i64::MIN),
            bytes,
            ends,
            wanted: Arc::clone(&self.wanted),
            partials,
        });
        self.block_bytes = 0;
    }

    /// What the items of each bucket come to, where that is worth it.
    fn partials(&self, bytes: &[u8], ends: &[u32], base: (i64, i64)) -> Vec<(u32, Partial)> {
        let Some(combine) = &self.code.combine else { return Vec::new() };
        let begins = [0].into_iter().chain(ends.iter().copied());
        let of = |(bucket, (begin, end)): (u32, (u32, u32))| {
            let items = Items::new(&bytes[begin as usize..end as usize], base);
            if items.size() == 0 {
                return None;
            }
            // Who folds the items one by one finds out which of them fails, and says so.
            let combined = catch_unwind(AssertUnwindSafe(|| combine.combine(items)));
            let Partials { bytes, late_at_ms } = combined.ok()?.ok()??;
            Some((bucket, Partial { bytes: bytes.into(), late_at_ms }))
        };
        (0..).zip(begins.zip(ends.iter().copied())).filter_map(of).collect()
    }
}
