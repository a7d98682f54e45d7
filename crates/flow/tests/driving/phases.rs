//! Two-phase aggregation comes to what folding each event does: rows, what is emitted, what is late, what is dead.

use crate::{SOURCE, batch, code, counting, want};
use bytes::Bytes;
use flow::{
    Action, Exchange, Hopping, Input, Pipelines, Restored, SourceStream, StageCode, Tally, Task,
    TaskStreams, Tumbling, Want,
};
use model::entry::{Commit, row};
use model::{Batch, BatchBuilder, PartitionId, StageId, StreamId, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: u32 = 2;
const BUCKETS: u32 = 2;
/// What the aggregates that fail take at most, running and in a window.
const CAPS: [u64; 2] = [3_000, 250];
/// Far beyond any commit that is held back.
const LATER_MS: u64 = 1 << 40;

type Trade = (String, i64, u32);

/// Every running aggregate that merges.
const RUNNING: [&str; 9] =
    ["count", "sum", "min", "max", "mean", "distinct", "top", "quantiles", "capped"];
/// Windows of each kind but sessions, with each way of firing.
const WINDOWED: [&str; 6] = ["tumbling", "hopping", "early", "closing", "every", "window_capped"];

fn describe(mesh: &mut Pipelines, name: &str) {
    let events = mesh.pipeline("p").read_with("events", PARTITIONS).json::<Trade>();
    let keyed = events.event_time(|t| t.1, Duration::from_millis(40)).key_by(|t| t.0.clone());
    let cap = CAPS[usize::from(WINDOWED.contains(&name))];
    let capped = move |sum: &mut u64, more: u64| {
        assert!(*sum + more <= cap, "too much");
        *sum += more;
    };
    let add = move |sum: &mut u64, t: &Trade| capped(sum, t.2.into());
    let tumbling = Tumbling::of(Duration::from_millis(50));
    let hopping = Hopping::of(Duration::from_millis(50), Duration::from_millis(20));
    let some = Duration::from_millis(15);
    let table = match name {
        "count" => keyed.count(),
        "sum" => keyed.sum(|t| i64::from(t.2)),
        "min" => keyed.min(|t| t.2),
        "max" => keyed.max(|t| t.2),
        "mean" => keyed.mean(|t| f64::from(t.2)),
        "distinct" => keyed.distinct(|t| t.2),
        "top" => keyed.top(3, |t| t.2, |t| t.1),
        "quantiles" => keyed.quantiles(&[0.5, 0.9], |t| f64::from(t.2)),
        "capped" => keyed.aggregate_merging(|| 0, add, capped, |sum| *sum),
        "tumbling" => keyed.window(tumbling).count(),
        "hopping" => keyed.window(hopping).allow_late(some).sum(|t| i64::from(t.2)),
        "early" => keyed.window(hopping).early_count(3).top(2, |t| t.2, |t| t.1),
        "closing" => keyed.window(tumbling).on_close().mean(|t| f64::from(t.2)),
        "every" => keyed.window(tumbling).early_every(some).distinct(|t| t.2),
        "window_capped" => {
            let windows = keyed.window(hopping).keep_rows(some);
            windows.aggregate_merging(|| 0, add, capped, |sum| *sum)
        }
        other => panic!("no stage is called {other}"),
    };
    let stage = table.late_to("late").buckets(BUCKETS).stage(name).view("rows");
    // A running aggregate tells each key once a commit, however many those are: only its rows are compared.
    if WINDOWED.contains(&name) {
        stage.to("closed");
    }
}

/// What was emitted: stream, key, value, time.
type Said = (StreamId, Bytes, Bytes, i64);

/// One task with what is committed of it.
struct Side {
    code: Arc<StageCode>,
    takes_partials: bool,
    task: Option<Task>,
    restored: Restored,
    rows: BTreeMap<Bytes, Bytes>,
    said: Vec<Said>,
    tally: Tally,
}

impl Side {
    fn new(code: &Arc<StageCode>, takes_partials: bool) -> Self {
        Self {
            code: Arc::clone(code),
            takes_partials,
            task: None,
            restored: Restored { watermark_ms: i64::MIN, ..Restored::default() },
            rows: BTreeMap::new(),
            said: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn task(&mut self) -> &mut Task {
        self.task.get_or_insert_with(|| {
            let streams = TaskStreams {
                output: self.code.output.as_ref().map(|_| partition(8, 0)),
                sides: vec![partition(7, 0)],
                dead: partition(9, 0),
                sources: vec![SourceStream { stream: SOURCE.stream, partitions: PARTITIONS }],
            };
            let rows = self.rows.iter().map(|(key, value)| (key.clone(), value.clone()));
            let restored = Restored { rows: rows.collect(), ..self.restored.clone() };
            let id = TaskId { stage: StageId(1), bucket: 0 };
            Task::new(id, Arc::clone(&self.code), restored, streams).unwrap()
        })
    }

    /// It dies; what was not committed is gone.
    fn die(&mut self) {
        if let Some(task) = self.task.take() {
            let tally = task.tally();
            self.tally.items += tally.items;
            self.tally.rows += tally.rows;
            self.tally.late += tally.late;
            self.tally.dead += tally.dead;
        }
    }

    fn apply(&mut self, commit: &Commit) {
        assert_eq!(commit.sequence, self.restored.sequence);
        self.restored.sequence += 1;
        self.restored.version = commit.version;
        self.restored.watermark_ms = commit.watermark_ms;
        for step in &commit.moves {
            let old = self.restored.positions.insert(step.source, (step.to, step.watermark_ms));
            assert_eq!(old.map_or(0, |(at, _)| at), step.from);
        }
        for (key, value) in commit.changes.iter() {
            let key = Bytes::copy_from_slice(key);
            match value {
                Some(value) => drop(self.rows.insert(key, Bytes::copy_from_slice(value))),
                None => drop(self.rows.remove(&key)),
            }
        }
        for (to, batch) in commit.emitted.iter().zip(&commit.batches) {
            for record in Batch::one(batch.clone()).unwrap().records(usize::MAX).unwrap() {
                let record = record.unwrap();
                let (key, value) =
                    (record.key.unwrap_or_default(), record.value.unwrap_or_default());
                self.said.push((to.stream, key, value, record.time_ms));
            }
        }
    }

    /// Folds everything that is fed, dying in between if the dice say so.
    fn run(&mut self, exchanges: &mut [Exchange], ends: &[i64], dies: &mut dyn FnMut() -> bool) {
        loop {
            let takes_partials = self.takes_partials;
            let task = self.task();
            let partials = task.partials().filter(|_| takes_partials);
            let at: Vec<i64> = task.positions().map(|(_, at)| at).collect();
            if at == ends {
                break;
            }
            let mut chunks = Vec::new();
            for (exchange, from) in exchanges.iter_mut().zip(at) {
                let want = Want { partials, ..want(0, from, 1 << 20) };
                // Where nothing is fed beyond, there is nothing to ask for.
                chunks.extend(exchange.chunk(0, want));
            }
            let mut actions = Vec::new();
            task.step(0, Input::Chunks(chunks), &mut actions).unwrap();
            self.carry_out(actions, dies);
        }
        let mut actions = Vec::new();
        self.task().step(LATER_MS, Input::Time, &mut actions).unwrap();
        self.carry_out(actions, &mut || false);
    }

    fn carry_out(&mut self, mut actions: Vec<Action>, dies: &mut dyn FnMut() -> bool) {
        loop {
            let commit = actions.drain(..).find_map(|action| match action {
                Action::Commit(commit) => Some(commit),
                Action::Failed { .. } | Action::Dead { .. } => None,
            });
            let Some(commit) = commit else { return };
            if dies() {
                return self.die();
            }
            self.apply(&commit);
            if dies() {
                return self.die();
            }
            let sequence = self.restored.sequence;
            let task = self.task.as_mut().unwrap();
            task.step(0, Input::Committed { sequence }, &mut actions).unwrap();
        }
    }

    /// What others see: rows of the view and, by stream, what was emitted.
    fn seen(&self) -> (BTreeMap<Bytes, Bytes>, Vec<Said>) {
        let rows = self.rows.iter().filter(|(key, _)| key[0] == row::VIEW);
        let mut said = self.said.clone();
        said.sort();
        (rows.map(|(key, value)| (key.clone(), value.clone())).collect(), said)
    }
}

fn partition(stream: u128, partition: u32) -> PartitionId {
    PartitionId { stream: StreamId(stream), partition }
}

fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
    move |bound| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    }
}

/// Events of few keys, out of order, some late, some that do not parse.
fn batch_of(draw: &mut dyn FnMut(u64) -> u64, most: u64, base: i64, now_ms: i64) -> Batch {
    let mut builder = BatchBuilder::new();
    for _ in 0..=draw(most) {
        let key =
            ["hot", "hot", "hot", "b", "c", "Straße", "x@2013-01-01T00:00:00Z"][draw(7) as usize];
        let back = if draw(40) == 0 { draw(400) } else { draw(50) };
        let trade: Trade = (key.into(), now_ms - back as i64, draw(20) as u32);
        let value = serde_json::to_vec(&trade).unwrap();
        let value = if draw(50) == 0 { &b"nonsense"[..] } else { &value };
        builder.push(now_ms, None, Some(value), &[]);
    }
    builder.build().unwrap().placed(base, 1)
}

/// What one course of things came to in both ways.
fn compare(name: &str, seed: u64) -> (Tally, Tally) {
    let code = code(BUCKETS, |mesh| describe(mesh, name));
    let mut draw = numbers(seed);
    // Sketches are larger than a few values; too many values fail too often.
    let most = if seed.is_multiple_of(4) && !name.ends_with("capped") { 400 } else { 30 };
    let exchange =
        |of: u32| Exchange::new(Arc::clone(&code), PartitionId { partition: of, ..SOURCE }, 0, 0);
    let mut logs: Vec<Vec<Batch>> = vec![Vec::new(); PARTITIONS as usize];
    let mut exchanges: Vec<Exchange> = (0..PARTITIONS).map(exchange).collect();
    let mut sides = [Side::new(&code, false), Side::new(&code, true)];
    for round in 0..12 {
        for (of, log) in logs.iter_mut().enumerate() {
            let begin = log.last().map_or(0, Batch::next_offset);
            // Another replica computes now, from anywhere: its blocks end elsewhere, also around the tasks' places.
            let is_new = draw(4) == 0;
            for _ in 0..=draw(3) {
                let base = log.last().map_or(0, Batch::next_offset);
                log.push(batch_of(&mut draw, most, base, 1_000 + round * 40));
            }
            if is_new {
                exchanges[of] = exchange(of as u32);
            }
            let mut left = if is_new {
                &log[..]
            } else {
                &log[log.partition_point(|b| b.next_offset() <= begin)..]
            };
            while !left.is_empty() {
                let (fed, rest) = left.split_at(1 + draw(left.len() as u64) as usize);
                exchanges[of].feed(fed[0].base_offset(), fed, i64::MAX);
                left = rest;
            }
        }
        let ends: Vec<i64> = logs.iter().map(|log| log.last().unwrap().next_offset()).collect();
        for side in &mut sides {
            side.run(&mut exchanges, &ends, &mut || draw(6) == 0);
            if draw(5) == 0 {
                side.die();
            }
        }
    }
    let [mut one, mut two] = sides;
    assert_eq!(one.seen(), two.seen(), "{name}, seed {seed}");
    one.die();
    two.die();
    assert_eq!(one.restored.watermark_ms, two.restored.watermark_ms);
    (one.tally, two.tally)
}

#[test]
fn both_phases_come_to_what_one_does_through_lateness_failures_and_deaths() {
    for name in RUNNING.iter().chain(&WINDOWED) {
        let (mut late, mut dead, mut items, mut rows) = (0, 0, 0, 0);
        for seed in 0..12 {
            let (one, two) = compare(name, seed);
            assert!(one.rows == one.items, "the one phase gets each event");
            (late, dead) = (late + two.late, dead + two.dead);
            (items, rows) = (items + two.items, rows + two.rows);
        }
        let most = if name.ends_with("capped") { items } else { items * 3 / 4 };
        assert!(rows < most, "{name}: {items} items came in {rows} rows");
        assert!(late > 0 || RUNNING.contains(name), "{name}: nothing was late");
        assert!(dead > 0, "{name}: nothing failed");
    }
}

/// Batches of 100 events whose keys are distributed by Zipf's law.
fn zipf(exponent: f64, keys: u32, count: usize) -> Vec<Batch> {
    let weights = (1..=keys).map(|rank| f64::from(rank).powf(-exponent));
    let mut ends: Vec<f64> = Vec::new();
    weights.for_each(|weight| ends.push(ends.last().unwrap_or(&0.0) + weight));
    let mut draw = numbers(7);
    let mut key = || {
        let at = draw(1 << 30) as f64 / f64::from(1 << 30) * ends.last().unwrap();
        format!("key-{}", ends.partition_point(|end| *end <= at))
    };
    let batch_of = |n: usize| {
        let keys: Vec<String> = (0..100).map(|_| key()).collect();
        let events: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "")).collect();
        batch(n as i64 * 100, &events)
    };
    (0..count).map(batch_of).collect()
}

#[test]
fn keys_by_zipf_1_5_give_the_busiest_bucket_at_most_half_more_rows_than_the_mean() {
    let code = counting(16);
    let log = zipf(1.5, 10_000, 2_000);
    let (mut one, mut two) = ([0; 16], [0; 16]);
    let mut exchange = Exchange::new(code, SOURCE, 0, 0);
    let mut from = 0;
    for fed in log.chunks(100) {
        exchange.feed(from, fed, i64::MAX);
        for bucket in 0..16 {
            let want = want(bucket, from, 1 << 20);
            let chunk = exchange.chunk(0, want).unwrap();
            one[bucket as usize] += chunk.items().count();
            let chunk = exchange.chunk(0, Want { partials: Some(i64::MIN), ..want }).unwrap();
            two[bucket as usize] += chunk.items().count();
        }
        from = exchange.needs();
    }
    let skew = |rows: &[usize; 16]| {
        *rows.iter().max().unwrap() as f64 * 16.0 / rows.iter().sum::<usize>() as f64
    };
    assert_eq!(one.iter().sum::<usize>(), 200_000, "each event is an item");
    assert!(skew(&one) > 5.0, "{one:?}");
    assert!(skew(&two) <= 1.5, "{two:?} of {one:?}");
}
