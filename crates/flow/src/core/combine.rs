//! The local phase of two-phase aggregation: a bucket's items of one block become one row a key and pane.
//!
//! Known as local-global aggregation (Flink) or map-side combine (Spark). A pane is the times that lie in the same
//! windows; for a running aggregate all times are one. Promises: folding the rows comes to what folding the items
//! does, as long as nothing fails; then the task asks again for the items themselves. Items that may be late for the
//! task that asks are rows by themselves. Never crosses a block, and never changes what user code is told of a failure.

use super::{Fixed, Kept, Timing};
use crate::Error;
use crate::carry::Failure;
use crate::chunk::{Item, Items, put_item, put_number, read_number};
use std::collections::BTreeMap;
use std::sync::Arc;

/// After so many items it must pay, or no further one is tried: where keys are many, it costs little.
const PROBE: usize = 64;
/// What an item takes besides its key and value, at least.
const ITEM_BYTES: usize = 4;

/// Makes partial aggregates of a block's items.
pub(crate) trait Combine: Send + Sync {
    /// The rows, if they are clearly fewer than the items. User code runs, and may fail or panic.
    fn combine(&self, items: Items<'_>) -> Result<Option<Partials>, Failure>;
    /// The same rows for a task whose watermark has come further: items that may be late are rows by themselves.
    fn apart(&self, items: Items<'_>, rows: Items<'_>, watermark_ms: i64)
    -> Result<Vec<u8>, Error>;
}

/// The partial aggregates of one block and bucket.
#[derive(Debug)]
pub(crate) struct Partials {
    pub(crate) bytes: Vec<u8>,
    /// A task whose watermark has come so far may find one of the items late: it wants that by itself.
    pub(crate) late_at_ms: i64,
}

/// Combines what an aggregate keeps.
pub(crate) struct Combining<K> {
    kept: Arc<K>,
    /// None: running values.
    windows: Option<(Fixed, Timing)>,
}

/// The items of one key and pane.
struct Group<'a, V> {
    key: &'a [u8],
    value: V,
    count: u64,
    /// What they take as they are.
    bytes: usize,
    /// The offset of the last one, and the greatest time.
    offset: i64,
    time_ms: i64,
    /// They travel as they are: one alone, or those that take less so.
    is_apart: bool,
}

/// Groups in the order of their first items.
struct Groups<'a, V> {
    /// By key and pane.
    places: BTreeMap<(&'a [u8], (i64, u64)), usize>,
    groups: Vec<Group<'a, V>>,
}

impl<K: Kept> Combining<K> {
    pub(crate) fn running(kept: Arc<K>) -> Self {
        Self { kept, windows: None }
    }

    pub(crate) fn windowed(kept: Arc<K>, fixed: Fixed, timing: Timing) -> Self {
        Self { kept, windows: Some((fixed, timing)) }
    }

    /// The pane of a time, and when its first window is late.
    fn pane(&self, time_ms: i64) -> ((i64, u64), i64) {
        let Some((fixed, timing)) = &self.windows else { return ((0, 0), i64::MAX) };
        let (pane, earliest_ms) = fixed.pane(time_ms);
        (pane, fixed.end_of(earliest_ms).saturating_add(timing.late_ms))
    }

    /// None: it does not pay.
    fn group<'a>(&self, items: Items<'a>) -> Result<Option<Groups<'a, K::Value>>, Failure> {
        let (mut places, mut groups, mut count) = (BTreeMap::new(), Vec::<Group<'_, _>>::new(), 0);
        for item in items {
            let item = item?;
            if item.failed.is_some() {
                continue;
            }
            if count == PROBE && !pays(groups.len(), count) {
                return Ok(None);
            }
            count += 1;
            let Item { key, offset, time_ms, .. } = item;
            let at = *places.entry((key, self.pane(time_ms).0)).or_insert(groups.len());
            if at == groups.len() {
                let (value, is_apart) = (self.kept.start(), false);
                groups.push(Group { key, value, count: 0, bytes: 0, offset, time_ms, is_apart });
            }
            let group = &mut groups[at];
            self.kept.add(&mut group.value, item.value)?;
            group.count += 1;
            group.bytes += ITEM_BYTES + key.len() + item.value.len();
            group.offset = offset;
            group.time_ms = group.time_ms.max(time_ms);
        }
        Ok(pays(groups.len(), count).then_some(Groups { places, groups }))
    }
}

impl<K: Kept> Combine for Combining<K> {
    fn combine(&self, items: Items<'_>) -> Result<Option<Partials>, Failure> {
        let (base, bytes) = (items.base(), items.size());
        let Some(Groups { places, mut groups }) = self.group(items.clone())? else {
            return Ok(None);
        };
        let mut out = Vec::new();
        for group in &mut groups {
            let (offset, time_ms, key) = (group.offset, group.time_ms, group.key);
            let mut value = Vec::new();
            put_number(&mut value, group.count);
            value.extend_from_slice(&self.kept.keep(&group.value)?);
            group.is_apart = group.count == 1 || key.len() + value.len() > group.bytes;
            if !group.is_apart {
                put_item(
                    &mut out,
                    base,
                    &Item { offset, time_ms, key, value: &value, failed: None },
                );
            }
        }
        let mut late_at_ms = i64::MAX;
        let mut value = Vec::new();
        for item in items {
            let item = item?;
            let (pane, late_ms) = self.pane(item.time_ms);
            let is_apart = || places.get(&(item.key, pane)).is_none_or(|at| groups[*at].is_apart);
            if item.failed.is_none() {
                late_at_ms = late_at_ms.min(late_ms);
            }
            if item.failed.is_some() || is_apart() {
                put_apart(&mut out, base, &item, &mut value);
            }
        }
        Ok((out.len() < bytes).then_some(Partials { bytes: out, late_at_ms }))
    }

    fn apart(
        &self,
        items: Items<'_>,
        rows: Items<'_>,
        watermark_ms: i64,
    ) -> Result<Vec<u8>, Error> {
        let (base, mut out, mut value) = (items.base(), Vec::new(), Vec::new());
        // All items of a pane are late or none is, and a row's time is one of its items'.
        let is_late =
            |item: &Item<'_>| item.failed.is_none() && self.pane(item.time_ms).1 <= watermark_ms;
        for row in rows {
            let row = row?;
            if !is_late(&row) {
                put_item(&mut out, base, &row);
            }
        }
        for item in items {
            let item = item?;
            if is_late(&item) {
                put_apart(&mut out, base, &item, &mut value);
            }
        }
        Ok(out)
    }
}

/// Writes an item as a row by itself; `value` is scratch.
fn put_apart(out: &mut Vec<u8>, base: (i64, i64), item: &Item<'_>, value: &mut Vec<u8>) {
    value.clear();
    put_number(value, 0);
    value.extend_from_slice(item.value);
    put_item(out, base, &Item { value, ..*item });
}

/// Whether so many rows instead of items are worth their making.
fn pays(rows: usize, items: usize) -> bool {
    rows * 4 <= items * 3
}

/// How many items a row of partial aggregates stands for (0: it is one item, as it was), and what they came to.
pub(crate) fn read_partial(value: &[u8]) -> Result<(u64, &[u8]), Error> {
    read_number(value)
}
