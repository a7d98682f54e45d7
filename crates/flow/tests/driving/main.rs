//! What the driver of exchanges and tasks relies on.
#![allow(clippy::unwrap_used)] // a test that cannot go on should say where

mod phases;
mod watermarks;

use bytes::Bytes;
use flow::{
    Action, Chunk, Context, Error, Event, Exchange, Failure, Input, Miss, Pipelines, Processor,
    Restored, SourceStream, StageCode, Task, TaskStreams, Want, bucket_of_row,
};
use model::entry::Commit;
use model::{Batch, BatchBuilder, PartitionId, StageId, StreamId, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;

const SOURCE: PartitionId = PartitionId { stream: StreamId(1), partition: 0 };
const DEAD: PartitionId = PartitionId { stream: StreamId(9), partition: 0 };

fn batch(base: i64, events: &[(&str, &str)]) -> Batch {
    let mut builder = BatchBuilder::new();
    for (n, (key, value)) in events.iter().enumerate() {
        builder.push(base + n as i64, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    }
    builder.build().unwrap().placed(base, 1)
}

fn code(buckets: u32, describe: impl FnOnce(&mut Pipelines)) -> Arc<StageCode> {
    let mut pipelines = Pipelines::new();
    describe(&mut pipelines);
    pipelines.check().unwrap();
    let registration = pipelines.registrations(&mut || 1).remove(0);
    let stage = &registration.stages[0];
    assert_eq!(stage.buckets, buckets);
    pipelines.stage(&registration.pipeline, &stage.name).unwrap()
}

fn counting(buckets: u32) -> Arc<StageCode> {
    code(buckets, |mesh| {
        let events = mesh.pipeline("p").read_with("events", 1);
        events.key_by(|e| e.key()).count().buckets(buckets).view("counts");
    })
}

fn task_of(code: &Arc<StageCode>, restored: Restored) -> Result<Task, Error> {
    let id = TaskId { stage: StageId(1), bucket: 0 };
    let sources = vec![SourceStream { stream: SOURCE.stream, partitions: 1 }];
    let output = code.output.as_ref().map(|_| PartitionId { stream: StreamId(8), partition: 0 });
    Task::new(
        id,
        Arc::clone(code),
        restored,
        TaskStreams { output, sides: Vec::new(), dead: DEAD, sources },
    )
}

/// Each item by itself.
fn want(bucket: u32, from: i64, bytes_max: usize) -> Want {
    Want { bucket, from, bytes_max, partials: None }
}

fn chunk_of(code: &Arc<StageCode>, from: i64, batches: &[Batch]) -> Chunk {
    let mut exchange = Exchange::new(Arc::clone(code), SOURCE, 0, 0);
    assert_eq!(exchange.chunk(0, want(0, from, 1 << 20)), Err(Miss { feed_from: from }));
    exchange.feed(from, batches, i64::MAX);
    exchange.chunk(0, want(0, from, 1 << 20)).unwrap()
}

fn commit_of(actions: &mut Vec<Action>) -> Commit {
    let commits = actions.drain(..).filter_map(|action| match action {
        Action::Commit(commit) => Some(*commit),
        _ => None,
    });
    let commits: Vec<Commit> = commits.collect();
    assert_eq!(commits.len(), 1);
    commits.into_iter().next().unwrap()
}

#[test]
fn a_range_is_computed_once_and_serves_every_bucket() {
    let code = counting(4);
    let mut exchange = Exchange::new(Arc::clone(&code), SOURCE, 0, 0);
    let events: Vec<(String, &str)> = (0..100).map(|n| (format!("{n}"), "")).collect();
    let events: Vec<(&str, &str)> = events.iter().map(|(key, v)| (key.as_str(), *v)).collect();
    assert_eq!(exchange.chunk(0, want(3, 0, 1)), Err(Miss { feed_from: 0 }));
    exchange.feed(0, &[batch(0, &events[..60]), batch(60, &events[60..])], 100);
    assert_eq!(exchange.needs(), 100);
    let mut seen = Vec::new();
    for bucket in 0..4 {
        let chunk = exchange.chunk(0, want(bucket, 0, 1 << 20)).unwrap();
        assert_eq!((chunk.from, chunk.to), (0, 100));
        for item in chunk.items() {
            let item = item.unwrap();
            assert_eq!(bucket_of_row(item.key, 4), bucket);
            seen.push(item.offset);
        }
        // From the middle of a block on, it is the same items without the first.
        let rest = exchange.chunk(0, want(bucket, 50, 1 << 20)).unwrap();
        let all = chunk.items().filter(|item| item.as_ref().unwrap().offset >= 50).count();
        assert_eq!(rest.items().count(), all);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<i64>>());
}

#[test]
fn a_chunk_survives_the_wire() {
    let chunk = chunk_of(&counting(1), 0, &[batch(0, &[("a", ""), ("b", "")])]);
    let bytes = model::codec::encode(1, &chunk);
    assert_eq!(model::codec::decode::<Chunk>(1, &bytes).unwrap(), chunk);
}

#[test]
fn holes_are_passed_and_what_is_not_stable_is_not() {
    let code = counting(1);
    let chunk = chunk_of(&code, 0, &[batch(10, &[("a", "")]), batch(20, &[("a", "")])]);
    assert_eq!((chunk.from, chunk.to, chunk.items().count()), (0, 21, 2));
    let mut exchange = Exchange::new(code, SOURCE, 0, 0);
    assert_eq!(exchange.chunk(0, want(0, 0, 1)), Err(Miss { feed_from: 0 }));
    exchange.feed(0, &[], 7);
    let chunk = exchange.chunk(0, want(0, 0, 1)).unwrap();
    assert_eq!((chunk.to, chunk.watermark_ms), (7, i64::MIN));
}

/// One exchange over a log, and where each bucket that asks it is.
struct Driven {
    exchange: Exchange,
    log: Vec<Batch>,
    at: BTreeMap<u32, i64>,
}

impl Driven {
    /// Over `count` batches of ten events, each key once.
    fn new(buckets: u32, count: i64, value: &str) -> Self {
        let code = code(buckets, |mesh| {
            let events = mesh.pipeline("p").read_with("events", 1);
            events.key_by(|e| e.key()).to("copy").buckets(buckets);
        });
        let of = |n: i64| {
            let keys: Vec<String> = (0..10).map(|k| format!("{}", n * 10 + k)).collect();
            let events: Vec<(&str, &str)> = keys.iter().map(|k| (k.as_str(), value)).collect();
            batch(n * 10, &events)
        };
        let log = (0..count).map(of).collect();
        Self { exchange: Exchange::new(code, SOURCE, 0, 0), log, at: BTreeMap::new() }
    }

    /// Lets buckets ask, so many times each, at a moment. What they get must be whole.
    fn ask(&mut self, buckets: &[u32], times: usize, now_ms: u64) {
        for bucket in buckets.iter().cycle().take(buckets.len() * times) {
            self.ask_one(*bucket, now_ms, 1 << 16);
            assert!(self.exchange.size() < 5 << 20, "E3: an exchange is bounded");
        }
    }

    fn ask_one(&mut self, bucket: u32, now_ms: u64, bytes_max: usize) {
        let end = self.log.last().unwrap().next_offset();
        let from = *self.at.entry(bucket).or_insert(0);
        match self.exchange.chunk(now_ms, want(bucket, from, bytes_max)) {
            Ok(chunk) => {
                let offsets = chunk.items().map(|item| item.unwrap().offset);
                let whole = (from..chunk.to).filter(|offset| self.bucket_of(*offset) == bucket);
                assert!(offsets.eq(whole), "bucket {bucket} misses something from {from} on");
                self.at.insert(bucket, chunk.to);
            }
            Err(miss) if miss.feed_from >= end => {}
            Err(miss) => {
                let log = &self.log;
                let first = log.partition_point(|batch| batch.next_offset() <= miss.feed_from);
                let fed = &log[first..(first + 4).min(log.len())];
                self.exchange.feed(miss.feed_from, fed, end);
            }
        }
    }

    /// Of the event at this offset, whose key is the offset.
    fn bucket_of(&self, offset: i64) -> u32 {
        bucket_of_row(format!("{offset}").as_bytes(), self.exchange.buckets())
    }
}

#[test]
fn a_bucket_that_stays_behind_neither_stops_the_others_nor_misses_anything() {
    let mut driven = Driven::new(2, 1_000, &"x".repeat(1_000));
    // Both ask; then bucket 1 is away. At first bucket 0 waits for it, then it does not.
    driven.ask(&[0, 1], 2, 0);
    driven.ask(&[0], 500, 1_000);
    assert!(driven.at[&0] < 10_000, "a lane that is full waits for a bucket that may come");
    driven.ask(&[0], 2_000, 10_000);
    assert_eq!(driven.at[&0], 10_000);
    assert!(driven.at[&1] < 1_000);
    driven.ask(&[0, 1], 2_000, 11_000);
    assert_eq!(driven.at[&1], 10_000);
    let size = driven.exchange.size();
    assert!(size < 100_000, "what all have passed is dropped: {size}");
}

#[test]
fn items_are_kept_for_buckets_that_ask_here_and_computed_again_for_one_that_comes_later() {
    let mut driven = Driven::new(4, 2_000, &"x".repeat(100));
    let later = driven.log.split_off(1_000);
    driven.ask(&[0], 2_000, 10_000);
    let size = driven.exchange.size();
    assert!(size < 100_000, "{size} bytes for one bucket at its end");
    assert_eq!(driven.at[&0], 10_000);
    // Two tasks come here at places of their own, and all go on together.
    driven.log.extend(later);
    driven.at.extend([(2, 500), (3, 5)]);
    driven.ask(&[0, 2, 3], 6_000, 20_000);
    assert_eq!(driven.at, BTreeMap::from([(0, 20_000), (2, 20_000), (3, 20_000)]));
}

#[test]
fn a_lane_that_went_on_without_a_bucket_gives_it_no_hole() {
    let mut driven = Driven::new(3, 3_000, "");
    driven.ask(&[0], 100, 5_000);
    // 1 comes, is away for long, and 2 drives its lane on without it; then 1 is back, from its last commit on.
    driven.ask(&[1], 2, 10_000);
    let at = driven.at[&1];
    assert!(at > 0 && at < driven.at[&0]);
    driven.at.insert(2, at);
    driven.ask(&[2], 20, 20_000);
    driven.at.insert(1, 0);
    driven.ask(&[1, 2], 8_000, 20_100);
    assert_eq!((driven.at[&1], driven.at[&2]), (30_000, 30_000));
}

#[test]
fn a_commit_moves_positions_and_rows_together() {
    let code = counting(1);
    let mut task = task_of(&code, Restored { term: 4, ..Restored::default() }).unwrap();
    let mut actions = Vec::new();
    let chunk = chunk_of(&code, 0, &[batch(0, &[("a", ""), ("b", ""), ("a", "")])]);
    task.step(0, Input::Chunks(vec![chunk.clone()]), &mut actions).unwrap();
    let commit = commit_of(&mut actions);
    assert_eq!((commit.sequence, commit.term, commit.version), (0, 4, 1));
    assert_eq!((commit.moves[0].from, commit.moves[0].to), (0, 3));
    let first = commit.changes.iter().next();
    assert_eq!(first, Some((&b"\0a"[..], Some(&2u64.to_le_bytes()[..]))));
    assert_eq!(task.step(0, Input::Chunks(vec![]), &mut actions), Err(Error::Busy));
    let wrong = task.step(0, Input::Committed { sequence: 2 }, &mut actions);
    assert_eq!(wrong, Err(Error::Sequence { found: 2, expected: 1 }));
    task.step(0, Input::Committed { sequence: 1 }, &mut actions).unwrap();
    assert_eq!(task.positions().collect::<Vec<_>>(), [(SOURCE, 3)]);
    let gap = task.step(0, Input::Chunks(vec![chunk]), &mut actions);
    assert_eq!(gap, Err(Error::Gap { source_partition: SOURCE, expected: 3, found: 0 }));
    let other = PartitionId { partition: 1, ..SOURCE };
    let strange = task.step(0, Input::Chunks(vec![Chunk::nothing(other, 0)]), &mut actions);
    assert_eq!(strange, Err(Error::NotASource(other)));
    // Built again from what was committed, it goes on where it was.
    let owned = |(key, value): (&[u8], Option<&[u8]>)| {
        (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value.unwrap()))
    };
    let rows = commit.changes.iter().map(owned).collect();
    let positions = BTreeMap::from([(SOURCE, (3, 2))]);
    let restored = Restored { term: 5, sequence: 1, positions, rows, ..Restored::default() };
    let mut task = task_of(&code, restored).unwrap();
    let chunk = chunk_of(&code, 3, &[batch(3, &[("a", "")])]);
    task.step(0, Input::Chunks(vec![chunk]), &mut actions).unwrap();
    let commit = commit_of(&mut actions);
    let first = commit.changes.iter().next();
    assert_eq!(first, Some((&b"\0a"[..], Some(&3u64.to_le_bytes()[..]))));
}

#[test]
fn code_that_is_older_than_what_runs_is_refused() {
    let newer = task_of(&counting(1), Restored { version: 2, ..Restored::default() });
    assert_eq!(newer.err(), Some(Error::Version { running: 2, held: 1 }));
}

#[test]
fn positions_that_only_moved_are_committed_with_the_next_entry_or_after_ten_seconds() {
    let code = code(1, |mesh| {
        let events = mesh.pipeline("p").read_with("events", 1);
        events.filter(|e| e.text() == "yes").key_by(|e| e.key()).count().buckets(1).view("counts");
    });
    let mut task = task_of(&code, Restored::default()).unwrap();
    let mut actions = Vec::new();
    let chunk = chunk_of(&code, 0, &[batch(0, &[("a", "no"), ("a", "no")])]);
    task.step(1_000, Input::Chunks(vec![chunk]), &mut actions).unwrap();
    task.step(10_999, Input::Time, &mut actions).unwrap();
    assert!(actions.is_empty());
    assert_eq!(task.positions().next(), Some((SOURCE, 2)));
    task.step(11_000, Input::Time, &mut actions).unwrap();
    let commit = commit_of(&mut actions);
    assert_eq!((commit.moves[0].from, commit.moves[0].to, commit.changes.count()), (0, 2, 0));
    task.step(11_000, Input::Committed { sequence: 1 }, &mut actions).unwrap();
    task.step(30_000, Input::Time, &mut actions).unwrap();
    let chunk = chunk_of(&code, 2, &[batch(2, &[("a", "no")])]);
    task.step(30_000, Input::Chunks(vec![chunk]), &mut actions).unwrap();
    assert!(actions.is_empty());
    let chunk = chunk_of(&code, 3, &[batch(3, &[("a", "yes")])]);
    task.step(30_000, Input::Chunks(vec![chunk]), &mut actions).unwrap();
    let commit = commit_of(&mut actions);
    assert_eq!((commit.moves[0].from, commit.moves[0].to), (2, 4));
}

struct Wide;

impl Processor for Wide {
    fn process(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let count: usize = event.text().parse()?;
        for n in 0..count {
            ctx.state(format!("{}-{n}", ctx.key_text())).put(&"x".repeat(100_000))?;
        }
        Ok(())
    }
}

#[test]
fn a_commit_is_bounded_whatever_events_change() {
    let code = code(1, |mesh| {
        let events = mesh.pipeline("p").read_with("events", 1);
        events.key_by(|e| e.key()).process(|| Wide).buckets(1).stage("wide");
    });
    let mut task = task_of(&code, Restored::default()).unwrap();
    let mut actions = Vec::new();
    // The fourth changes ten megabytes by itself: it can never be committed.
    let log = batch(0, &[("a", "15"), ("b", "15"), ("c", "15"), ("d", "100"), ("e", "15")]);
    let (mut changes, mut dead, mut sequence) = (0, 0, 0);
    for _ in 0..12 {
        let from = task.positions().next().unwrap().1;
        let chunk = if from < 5 {
            chunk_of(&code, from, std::slice::from_ref(&log))
        } else {
            Chunk::nothing(SOURCE, from)
        };
        task.step(0, Input::Chunks(vec![chunk]), &mut actions).unwrap();
        for action in std::mem::take(&mut actions) {
            if let Action::Commit(commit) = action {
                let op = model::Op::Commit(commit.clone());
                assert!(op.size() < 8 << 20, "an operation has at most 8 MiB");
                changes += commit.changes.count();
                dead += commit.batches.len();
                sequence += 1;
                task.step(0, Input::Committed { sequence }, &mut actions).unwrap();
            }
        }
    }
    assert_eq!((changes, dead, task.tally().failures), (60, 1, 3));
}

struct Unopened;

impl Processor for Unopened {
    fn open(&mut self, _: &mut Context<'_>) -> Result<(), Failure> {
        Err(Failure::new("the model is missing"))
    }
    fn process(&mut self, _: &Event, _: &mut Context<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn a_stage_that_cannot_open_is_parked_by_name() {
    let code = code(1, |mesh| {
        let events = mesh.pipeline("p").read_with("events", 1);
        events.key_by(|e| e.key()).process(|| Unopened).buckets(1).view("v");
    });
    let mut task = task_of(&code, Restored::default()).unwrap();
    let chunk = chunk_of(&code, 0, &[batch(0, &[("a", "")])]);
    let parked = task.step(0, Input::Chunks(vec![chunk]), &mut Vec::new());
    let cause = "the model is missing".to_owned();
    assert_eq!(parked, Err(Error::Parked { stage: "p.v".into(), cause }));
    assert_eq!(task.positions().next(), Some((SOURCE, 0)));
}
