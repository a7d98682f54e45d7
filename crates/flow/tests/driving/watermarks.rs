//! What a task's watermark promises to whoever reads what the task emits.

use crate::{DEAD, SOURCE, batch, chunk_of, code, commit_of, task_of};
use flow::{
    Activity, Chunk, Input, Restored, SourceStream, StageCode, Task, TaskStreams, Tumbling,
};
use model::{Batch, BatchBuilder, PartitionId, StageId, StreamId, TaskId};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn an_empty_chunk_that_makes_a_timer_due_is_committed_at_once() {
    let code = code(1, |mesh| {
        let events = mesh.pipeline("p").read_with("events", 1);
        let events = events.event_time(|e| e.time_ms, Duration::ZERO);
        let keyed = events.filter(|e| e.text() == "yes").key_by(|e| e.key());
        keyed.window(Tumbling::of(Duration::from_millis(1))).count().buckets(1).to("closed");
    });
    let mut task = task_of(&code, Restored::default()).unwrap();
    let mut actions = Vec::new();
    let chunk = chunk_of(&code, 0, &[batch(0, &[("a", "yes")])]);
    task.step(0, Input::Chunks(vec![chunk]), &mut actions).unwrap();
    assert!(commit_of(&mut actions).emitted.is_empty());
    task.step(0, Input::Committed { sequence: 1 }, &mut actions).unwrap();
    let chunk = chunk_of(&code, 1, &[batch(1, &[("b", "no")])]);
    assert_eq!(chunk.items().count(), 0);
    task.step(0, Input::Chunks(vec![chunk]), &mut actions).unwrap();
    let commit = commit_of(&mut actions);
    assert_eq!(commit.emitted.len(), 1);
    assert_eq!(commit.watermark_ms, 1);
    let emitted = Batch::one(commit.batches[0].clone()).unwrap();
    let event = emitted.records(1 << 20).unwrap().next().unwrap().unwrap();
    assert_eq!(event.key.as_deref(), Some(&b"a@1970-01-01T00:00:00Z"[..]));
    assert_eq!(event.value.as_deref(), Some(&b"1"[..]));
}

/// Counts in windows of a millisecond, half a second out of order.
fn closing(partitions: u32) -> Arc<StageCode> {
    code(1, |mesh| {
        let events = mesh.pipeline("p").read_with("events", partitions);
        let events =
            events.event_time(|e| e.time_ms, Duration::from_millis(500)).key_by(|e| e.key());
        events.window(Tumbling::of(Duration::from_millis(1))).count().buckets(1).to("closed");
    })
}

fn one(base: i64, time_ms: i64, key: &str) -> Batch {
    let mut builder = BatchBuilder::new();
    builder.push(time_ms, Some(key.as_bytes()), None, &[]);
    builder.build().unwrap().placed(base, 1)
}

#[test]
fn a_watermark_is_committed_when_all_it_closes_is_committed() {
    let code = closing(1);
    let mut task = task_of(&code, Restored::default()).unwrap();
    let mut actions = Vec::new();
    // Each window's event takes most of a megabyte, so that one commit cannot hold all of them.
    let log: Vec<Batch> =
        (0..9).map(|n| one(n, n, &format!("{n}{}", "x".repeat(900_000)))).collect();
    let mut at = 0;
    let mut sequence = 0;
    while at < 9 {
        let chunk = chunk_of(&code, at, &log[at as usize..]);
        task.step(0, Input::Chunks(vec![chunk]), &mut actions).unwrap();
        commit_of(&mut actions);
        sequence += 1;
        task.step(0, Input::Committed { sequence }, &mut actions).unwrap();
        at = task.positions().next().unwrap().1;
    }
    let chunk = chunk_of(&code, 9, &[one(9, 1_000, "end")]);
    task.step(0, Input::Chunks(vec![chunk]), &mut actions).unwrap();
    let (mut closed, mut split) = (0, 0);
    while !actions.is_empty() {
        let commit = commit_of(&mut actions);
        let of = |bytes: &bytes::Bytes| Batch::one(bytes.clone()).unwrap();
        closed += commit.batches.iter().map(|batch| of(batch).count()).sum::<i32>();
        // The window that begins at n ends at n + 1.
        let promised = commit.watermark_ms.min(9);
        assert!(i64::from(closed) >= promised, "{closed} closed, {promised} are promised");
        split += 1;
        sequence += 1;
        task.step(0, Input::Committed { sequence }, &mut actions).unwrap();
    }
    assert!(closed == 9 && split > 2 && task.watermark_ms() == 500);
}

#[test]
fn a_promise_holds_from_the_end_of_the_source_on() {
    let mut chunk = Chunk::nothing(SOURCE, 5);
    chunk.promise((70, false), 6);
    assert_eq!(chunk.watermark_ms, i64::MIN, "offset 5 may still hold anything");
    chunk.promise((70, false), 5);
    assert_eq!(chunk.watermark_ms, 70);
    chunk.promise((60, false), 5);
    assert_eq!(chunk.watermark_ms, 70, "it never falls");
    chunk.promise((80, true), 6);
    assert_eq!(chunk.activity, Activity::Active, "what is not read yet is to be waited for");
    chunk.promise((80, true), 5);
    assert_eq!(chunk.activity, Activity::Idle);
}

/// The buckets of a stage wake one after the other, each with a commit in a shard of its own.
#[test]
fn a_source_that_a_stage_writes_is_idle_when_all_of_that_stage_is() {
    let code = closing(2);
    let sources = vec![SourceStream { stream: SOURCE.stream, partitions: 2 }];
    let output = Some(PartitionId { stream: StreamId(8), partition: 0 });
    let streams = TaskStreams { output, sides: Vec::new(), dead: DEAD, sources };
    let id = TaskId { stage: StageId(1), bucket: 0 };
    let (active, idle) = (Activity::Active, Activity::Idle);
    let cases = [
        (active, active, 7),
        (idle, active, 7),
        (idle, idle, 100),
        (Activity::Unsaid, active, 100),
    ];
    for (activity, others, watermark_ms) in cases {
        let mut task =
            Task::new(id, Arc::clone(&code), Restored::default(), streams.clone()).unwrap();
        let mut actions = Vec::new();
        for now_ms in [0, 60_000] {
            let mut chunks: Vec<Chunk> = [0, 1]
                .map(|partition| Chunk::nothing(PartitionId { partition, ..SOURCE }, 0))
                .into();
            (chunks[0].watermark_ms, chunks[0].activity) = (7, activity);
            (chunks[1].watermark_ms, chunks[1].activity) = (100, others);
            task.step(now_ms, Input::Chunks(chunks), &mut actions).unwrap();
        }
        assert_eq!(task.watermark_ms(), watermark_ms, "{activity:?}, {others:?}");
        task.step(61_000, Input::Time, &mut actions).unwrap();
        let commit = commit_of(&mut actions);
        assert_eq!(commit.watermark_ms, watermark_ms, "others wait for it: it is committed soon");
        assert_eq!(commit.is_idle, others == idle);
    }
}

#[test]
fn a_task_whose_sources_are_all_idle_says_so_soon() {
    let code = closing(1);
    let mut task = task_of(&code, Restored::default()).unwrap();
    let mut actions = Vec::new();
    for now_ms in [0, 10_000] {
        let chunks = vec![Chunk::nothing(SOURCE, 0)];
        task.step(now_ms, Input::Chunks(chunks), &mut actions).unwrap();
    }
    task.step(10_500, Input::Time, &mut actions).unwrap();
    assert!(commit_of(&mut actions).is_idle);
    task.step(10_500, Input::Committed { sequence: 1 }, &mut actions).unwrap();
    let chunk = chunk_of(&code, 0, &[one(0, 5, "a")]);
    task.step(10_600, Input::Chunks(vec![chunk]), &mut actions).unwrap();
    assert!(!commit_of(&mut actions).is_idle);
}
