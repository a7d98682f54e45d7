//! A view at position n is the fold of the first n events, and what was consumed, changed and emitted is one.
//!
//! The pipelines' meaning, said a second time over the committed events: no chunks, no restarts, no tasks.

use super::super::pipelines::{OUT_OF_ORDER, POISON, Row, WINDOW, number_of};
use bytes::Bytes;
use flow::{Pipelines, bucket_of_row, row_key_of_window};
use model::entry::{Commit, row};
use model::{Batch, Catalogue, PartitionId, Record, StageId, TaskId};
use replica::Fold;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Committed batches by partition and base offset.
type Logs = BTreeMap<PartitionId, BTreeMap<i64, Bytes>>;
/// Rows of one task as they must be.
type Rows = BTreeMap<Bytes, Bytes>;

pub struct Views {
    code: Arc<Pipelines>,
    rows: BTreeMap<TaskId, Rows>,
    /// What `sums` and `echoes` know of a key.
    sums: BTreeMap<(StageId, Bytes), Row>,
    /// Events of each window, and whether it was emitted.
    windows: BTreeMap<(StageId, Bytes), (u64, bool)>,
    /// Where those end that were not, by their task.
    open: BTreeMap<TaskId, BTreeSet<(i64, Bytes)>>,
    /// Of each source of a task: the time of the youngest event that was read, whosever bucket it was for, and the
    /// watermark that was committed.
    read: BTreeMap<TaskId, BTreeMap<PartitionId, (i64, i64)>>,
}

/// What a commit carried, in the words of this file.
struct Carried {
    /// Consumed events of the task's bucket, in order.
    consumed: Vec<Record>,
    emitted: Vec<Record>,
    dead: Vec<Record>,
    changed: Rows,
    /// The times of the youngest events in what the task read, for its bucket or for another.
    youngest: BTreeMap<PartitionId, i64>,
}

impl Views {
    pub fn new(code: Arc<Pipelines>) -> Self {
        Self {
            code,
            rows: BTreeMap::new(),
            sums: BTreeMap::new(),
            windows: BTreeMap::new(),
            open: BTreeMap::new(),
            read: BTreeMap::new(),
        }
    }

    /// A commit is applied.
    pub fn commit(
        &mut self,
        commit: &Commit,
        catalogue: &Catalogue,
        logs: &Logs,
    ) -> Result<(), String> {
        let id = commit.task.stage;
        let (pipeline, stage) = catalogue.stage(id).ok_or("a stage that nobody registered")?;
        let code = self.code.stage(&pipeline.name, &stage.name).ok_or("code that nobody has")?;
        let buckets = code.buckets;
        let mut carried = Carried::of(commit, stage.output.map(|output| output.0), buckets, logs)?;
        let said = match stage.name.as_str() {
            "sums" => self.sums(id, &mut carried, true),
            "echoes" => self.sums(id, &mut carried, false),
            _ => self.windows(commit, &mut carried),
        };
        let rows = said.map_err(|why| format!("{} {:?}: {why}", stage.name, commit.task))?;
        if rows != carried.changed {
            let (found, task) = (&carried.changed, commit.task);
            return Err(format!("{task:?} changes {found:?} of its view, it must change {rows:?}"));
        }
        self.rows.entry(commit.task).or_default().extend(rows);
        Ok(())
    }

    /// Each event counts once; `emits` each count once, in order, or takes counts that come so.
    fn sums(&mut self, id: StageId, carried: &mut Carried, emits: bool) -> Result<Rows, String> {
        let mut rows = Rows::new();
        let mut emitted: BTreeMap<Bytes, Vec<u64>> = BTreeMap::new();
        let mut dead = 0;
        for event in &carried.consumed {
            let key = event.key.clone().unwrap_or_default();
            let text = text_of(event);
            if text.starts_with(POISON) {
                dead += 1;
                continue;
            }
            let number = number_of(&text).map_err(|failure| failure.cause())?;
            let (count, sum) = self.sums.entry((id, key.clone())).or_default();
            (*count, *sum) = (*count + 1, *sum + number);
            if !emits && number != *count {
                return Err(format!("count {number} of {key:?} comes as number {count}"));
            }
            emitted.entry(key.clone()).or_default().push(*count);
            rows.insert(key, json(&(*count, *sum)));
        }
        let mut found: BTreeMap<Bytes, Vec<u64>> = BTreeMap::new();
        for event in &carried.emitted {
            let number = number_of(&text_of(event)).map_err(|failure| failure.cause())?;
            found.entry(event.key.clone().unwrap_or_default()).or_default().push(number);
        }
        if emits && found != emitted || !emits && !found.is_empty() {
            return Err(format!("{found:?} are emitted for {emitted:?}"));
        }
        if carried.dead.len() != dead {
            return Err(format!("{} dead letters for {dead} events", carried.dead.len()));
        }
        Ok(rows)
    }

    /// Each event counts in its window, or is dead because it is late; a window is emitted once, with the commit whose
    /// watermark is its end. No watermark is ahead of what was read.
    fn windows(&mut self, commit: &Commit, carried: &mut Carried) -> Result<Rows, String> {
        let (task, watermark_ms) = (commit.task, commit.watermark_ms);
        let id = task.stage;
        let sources = self.read.entry(task).or_default();
        for step in &commit.moves {
            let (youngest_ms, at_ms) = sources.entry(step.source).or_insert((i64::MIN, i64::MIN));
            let read_ms = carried.youngest.get(&step.source).copied().unwrap_or(i64::MIN);
            *youngest_ms = read_ms.max(*youngest_ms);
            let most_ms = youngest_ms.saturating_sub(OUT_OF_ORDER.as_millis() as i64);
            if step.watermark_ms > most_ms {
                return Err(format!("{step:?} promises more than {most_ms}"));
            }
            *at_ms = step.watermark_ms;
        }
        let most_ms = sources.values().map(|(_, at_ms)| *at_ms).max().unwrap_or(i64::MIN);
        if watermark_ms > most_ms {
            return Err(format!("its watermark is {watermark_ms}, its sources' at most {most_ms}"));
        }
        let open = self.open.entry(task).or_default();
        let size_ms = WINDOW.as_millis() as i64;
        let start_of = |event: &Record| event.time_ms - event.time_ms.rem_euclid(size_ms);
        let row_of = |event: &Record| {
            let key = event.key.clone().unwrap_or_default();
            Bytes::from(row_key_of_window(&key, start_of(event)))
        };
        let mut events: BTreeMap<Bytes, i64> = BTreeMap::new();
        let mut ends: BTreeMap<Bytes, i64> = BTreeMap::new();
        for event in &carried.consumed {
            *events.entry(row_of(event)).or_default() += 1;
            ends.insert(row_of(event), start_of(event) + size_ms);
        }
        for letter in &carried.dead {
            if start_of(letter) + size_ms > watermark_ms {
                return Err(format!("{letter:?} is not late at {watermark_ms}"));
            }
            *events.entry(row_of(letter)).or_default() -= 1;
        }
        let mut rows = Rows::new();
        for (key, more) in events {
            let more = u64::try_from(more).map_err(|_| "a dead letter without an event")?;
            if more > 0 {
                let (count, is_over) = self.windows.entry((id, key.clone())).or_default();
                if *is_over {
                    return Err(format!("{key:?} changes after it was emitted"));
                }
                *count += more;
                open.insert((ends[&key], key.clone()));
                rows.insert(key, Bytes::copy_from_slice(&count.to_le_bytes()));
            }
        }
        for event in &carried.emitted {
            let key = event.key.clone().unwrap_or_default();
            let (count, is_over) = self.windows.entry((id, key.clone())).or_default();
            let said = number_of(&text_of(event)).map_err(|failure| failure.cause())?;
            if std::mem::replace(is_over, true) || said != *count {
                return Err(format!("{key:?} is emitted as {said}, it has {count}"));
            }
            open.retain(|(_, there)| *there != key);
        }
        match open.first() {
            Some((end_ms, key)) if *end_ms <= watermark_ms => {
                Err(format!("{key:?} ended at {end_ms} and is not emitted at {watermark_ms}"))
            }
            _ => Ok(rows),
        }
    }

    /// Holds a task's rows in a fold against those that must be there.
    pub fn matches(&self, task: TaskId, fold: &Fold) -> Result<(), String> {
        let none = Rows::new();
        let must = self.rows.get(&task).unwrap_or(&none);
        let found = fold.scan(task, &[row::VIEW], usize::MAX);
        let found = found.into_iter().filter(|(key, _)| key.first() == Some(&row::VIEW));
        let found: Rows = found.map(|(key, value)| (key.slice(1..), value)).collect();
        if found != *must {
            return Err(format!("the view of {task:?} is {found:?}, it must be {must:?}"));
        }
        Ok(())
    }
}

impl Carried {
    fn of(
        commit: &Commit,
        output: Option<u128>,
        buckets: u32,
        logs: &Logs,
    ) -> Result<Self, String> {
        let (mut consumed, mut youngest) = (Vec::new(), BTreeMap::new());
        let mut moves = commit.moves.clone();
        moves.sort_by_key(|step| step.source);
        for step in moves {
            let empty = BTreeMap::new();
            let log = logs.get(&step.source).unwrap_or(&empty);
            let end = log.last_key_value().map_or(Ok(0), |(_, last)| records_end(last))?;
            if step.to > end {
                return Err(format!(
                    "{:?} is consumed to {}, it ends at {end}",
                    step.source, step.to
                ));
            }
            let first = log.range(..=step.from).next_back().map_or(0, |(base, _)| *base);
            for (_, bytes) in log.range(first..step.to.max(first)) {
                for record in records(bytes)? {
                    let inside = record.offset >= step.from && record.offset < step.to;
                    let key = record.key.clone().unwrap_or_default();
                    if inside {
                        let at = youngest.entry(step.source).or_insert(record.time_ms);
                        *at = record.time_ms.max(*at);
                    }
                    if inside && bucket_of_row(&key, buckets) == commit.task.bucket {
                        consumed.push(record);
                    }
                }
            }
        }
        let (mut emitted, mut dead) = (Vec::new(), Vec::new());
        for (partition, bytes) in commit.emitted.iter().zip(&commit.batches) {
            let to = if Some(partition.stream.0) == output { &mut emitted } else { &mut dead };
            to.extend(records(bytes)?);
        }
        let changes = commit.changes.iter().filter(|(key, _)| key.first() == Some(&row::VIEW));
        let changed = changes.map(|(key, value)| {
            let value = Bytes::copy_from_slice(value.ok_or("a row is removed")?);
            Ok((Bytes::copy_from_slice(&key[1..]), value))
        });
        let changed = changed.collect::<Result<_, String>>()?;
        Ok(Self { consumed, emitted, dead, changed, youngest })
    }
}

fn records(bytes: &Bytes) -> Result<Vec<Record>, String> {
    let batch = Batch::trusted(bytes.clone()).map_err(|error| error.to_string())?;
    let records = batch.records(usize::MAX).map_err(|error| error.to_string())?;
    records.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn records_end(bytes: &Bytes) -> Result<i64, String> {
    Ok(Batch::trusted(bytes.clone()).map_err(|error| error.to_string())?.next_offset())
}

fn text_of(event: &Record) -> String {
    String::from_utf8_lossy(event.value.as_deref().unwrap_or_default()).into_owned()
}

fn json(row: &Row) -> Bytes {
    serde_json::to_vec(row).expect("numbers are JSON").into()
}
