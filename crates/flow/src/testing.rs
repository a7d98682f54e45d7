//! A mesh in memory, for users' own pipelines inside `cargo test`.
//!
//! One seed gives everything: how events are cut into batches and chunks, in which order tasks run, which of them
//! die before or after a commit and come back from what was committed. What a test sees is what a mesh with the
//! same events would have answered; time passes only by [`TestMesh::advance`].
//!
//! ```
//! use flow::testing::TestMesh;
//!
//! let mut mesh = TestMesh::of(|mesh| {
//!     mesh.pipeline("words").read("lines").key_by(|line| line.key()).count().view("lines_by_key");
//! })
//! .seed(7);
//! mesh.send("lines", "a", "one");
//! mesh.send("lines", "a", "two");
//! mesh.run();
//! assert_eq!(mesh.view("lines_by_key").get("a"), Some(2.into()));
//! ```

mod dice;
mod fold;
mod replace;
mod schedule;
mod view;

pub use view::TestView;

use crate::exchange::Exchange;
use crate::{Event, Pipelines, StageCode, Tally, Task, TaskStreams};
use dice::Dice;
use fold::Fold;
use model::entry::Commit;
use model::hash::bucket_of;
use model::{BatchBuilder, PartitionId, StageId, StreamId, TaskId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where time begins: 2026-01-01T00:00:00Z.
const BEGIN_MS: i64 = 1_767_225_600_000;
/// Partitions of a stream that no pipeline reads.
const PARTITIONS: u32 = 16;

/// A seeded mesh in memory. See the module.
#[derive(Debug)]
pub struct TestMesh {
    pipelines: Pipelines,
    dice: Dice,
    crashes: bool,
    now_ms: i64,
    streams: BTreeMap<String, (StreamId, u32)>,
    stages: BTreeMap<StageId, Placed>,
    fold: Fold,
    /// Sent, not cut into batches yet.
    waiting: Vec<(PartitionId, Event)>,
    keyless: u32,
    tasks: BTreeMap<TaskId, Running>,
    /// Each peer has its own.
    exchanges: BTreeMap<(usize, StageId, PartitionId), Exchange>,
    turns: u64,
    /// The last id that was drawn.
    drawn: u128,
    /// Commits of tasks that died before they heard of them; they may still arrive.
    adrift: Vec<Commit>,
    tally: Tally,
}

/// A stage with the ids of its streams.
#[derive(Debug)]
struct Placed {
    code: Arc<StageCode>,
    sources: Vec<crate::SourceStream>,
    output: Option<StreamId>,
    sides: Vec<StreamId>,
    dead: StreamId,
}

impl Placed {
    fn writes(&self) -> impl Iterator<Item = StreamId> {
        self.output.into_iter().chain(self.sides.iter().copied()).chain([self.dead])
    }
}

/// A task that may be dead at the moment.
#[derive(Debug, Default)]
struct Running {
    task: Option<Task>,
    /// The peer it runs at.
    peer: usize,
    /// It has seen all there is.
    is_quiet: bool,
    parked: u32,
}

impl TestMesh {
    /// A mesh that runs these pipelines. Panics if they are described wrongly.
    #[track_caller]
    pub fn new(pipelines: Pipelines) -> Self {
        if let Err(error) = pipelines.check() {
            panic!("{error}");
        }
        let mut mesh = Self {
            pipelines,
            dice: Dice::new(0),
            crashes: true,
            now_ms: BEGIN_MS,
            streams: BTreeMap::new(),
            stages: BTreeMap::new(),
            fold: Fold::default(),
            waiting: Vec::new(),
            keyless: 0,
            tasks: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            turns: 0,
            drawn: 1_000,
            adrift: Vec::new(),
            tally: Tally::default(),
        };
        mesh.register();
        mesh
    }

    /// A mesh that runs what the closure describes: the one given to `shoal::main`.
    #[track_caller]
    pub fn of(describe: impl FnOnce(&mut Pipelines)) -> Self {
        let mut pipelines = Pipelines::new();
        describe(&mut pipelines);
        Self::new(pipelines)
    }

    /// Another course of things; every seed must give the same answers.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.dice = Dice::new(seed);
        self
    }

    /// Tasks do not die: for looking at one thing at a time.
    #[must_use]
    pub fn calm(mut self) -> Self {
        self.crashes = false;
        self
    }

    /// Appends an event with the mesh's present time.
    pub fn send(&mut self, stream: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.send_at(stream, key, value, self.now_ms);
    }

    /// Appends an event with its own timestamp, ms since 1970.
    pub fn send_at(
        &mut self,
        stream: &str,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        time_ms: i64,
    ) {
        let (key, value) = (key.as_ref().to_vec().into(), value.as_ref().to_vec().into());
        let event = Event { key: Some(key), value: Some(value), time_ms, ..Event::default() };
        self.send_event(stream, event);
    }

    /// Appends a value as JSON, with the mesh's present time.
    #[track_caller]
    pub fn send_json<V: Serialize>(&mut self, stream: &str, key: impl AsRef<[u8]>, value: &V) {
        let value = serde_json::to_vec(value).expect("the value of send_json is JSON");
        self.send(stream, key, value);
    }

    /// Appends an event; one without a key goes to the partitions in turn.
    pub fn send_event(&mut self, stream: &str, event: Event) {
        let (stream, partitions) = self.stream_id(stream, PARTITIONS);
        let partition = match &event.key {
            Some(key) => bucket_of(key, partitions),
            None => {
                self.keyless = self.keyless.wrapping_add(1);
                self.keyless % partitions
            }
        };
        self.waiting.push((PartitionId { stream, partition }, event));
    }

    /// Lets time pass: what is sent next is so much younger, and partitions may become idle in the next run.
    pub fn advance(&mut self, by: Duration) {
        self.now_ms += i64::try_from(by.as_millis()).unwrap_or(0);
    }

    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Runs until every task has seen everything there is. Panics if a stage can never go on.
    pub fn run(&mut self) {
        self.append_waiting();
        self.settle();
    }

    /// A view's rows as they are now. Panics if no stage has this view.
    #[track_caller]
    pub fn view(&self, name: &str) -> TestView<'_> {
        let found = self.stages.iter().find_map(|(id, placed)| {
            let (of, format) = placed.code.view.as_ref()?;
            (of == name).then_some((id, placed, format))
        });
        let Some((stage, placed, format)) = found else {
            panic!("no stage has a view {name:?}");
        };
        TestView { fold: &self.fold, stage: *stage, buckets: placed.code.buckets, format }
    }

    /// All events of a stream, partition by partition.
    pub fn events(&self, stream: &str) -> Vec<Event> {
        match self.streams.get(stream) {
            Some((id, partitions)) => (0..*partitions)
                .flat_map(|partition| self.fold.events(PartitionId { stream: *id, partition }))
                .collect(),
            None => Vec::new(),
        }
    }

    /// The dead letters of a stage, named `<pipeline>.<stage>`; headers `cause`, `stream`, `partition`, `offset`,
    /// `attempt` say why and where from.
    pub fn dead(&self, stage: &str) -> Vec<Event> {
        self.events(&format!("{stage}.dead"))
    }

    /// How many rows of state and timers a stage, named `<pipeline>.<stage>`, keeps besides those of its view.
    #[track_caller]
    pub fn kept(&self, stage: &str) -> usize {
        let named =
            |placed: &&Placed| format!("{}.{}", placed.code.pipeline, placed.code.name) == stage;
        let Some((id, placed)) = self.stages.iter().find(|(_, placed)| named(placed)) else {
            panic!("there is no stage {stage:?}");
        };
        let tasks = (0..placed.code.buckets).map(|bucket| TaskId { stage: *id, bucket });
        tasks.map(|task| self.fold.kept(task)).sum()
    }

    /// What all tasks have done, work that was lost in a crash included.
    pub fn tally(&self) -> Tally {
        self.tasks
            .values()
            .filter_map(|running| running.task.as_ref())
            .fold(self.tally, |sum, t| add(sum, t.tally()))
    }

    fn stream_id(&mut self, name: &str, partitions: u32) -> (StreamId, u32) {
        let next = StreamId(self.streams.len() as u128 + 1);
        *self.streams.entry(name.to_owned()).or_insert((next, partitions))
    }

    fn register(&mut self) {
        let mut drawn = self.drawn;
        let registrations = self.pipelines.registrations(&mut || {
            drawn += 1;
            drawn
        });
        for registration in registrations {
            for spec in registration.stages {
                let code = self.pipelines.stage(&registration.pipeline, &spec.name);
                let code = code.expect("what is registered is held");
                let id = self.stage_id(&code).unwrap_or(spec.id);
                let mut sources = Vec::new();
                for (name, _, partitions) in &spec.sources {
                    let (stream, partitions) = self.stream_id(name, *partitions);
                    sources.push(crate::SourceStream { stream, partitions });
                }
                let output = spec.output.map(|(name, _)| self.stream_id(&name, spec.buckets).0);
                let mut sides = Vec::new();
                for (name, _) in &spec.sides {
                    sides.push(self.stream_id(name, spec.buckets).0);
                }
                let dead = self.stream_id(&code.dead(), spec.buckets).0;
                for bucket in 0..spec.buckets {
                    let running =
                        Running { peer: bucket as usize % schedule::PEERS, ..Running::default() };
                    self.tasks.entry(TaskId { stage: id, bucket }).or_insert(running);
                }
                self.stages.insert(id, Placed { code, sources, output, sides, dead });
            }
        }
        self.drawn = drawn;
    }

    fn append_waiting(&mut self) {
        let mut open: BTreeMap<PartitionId, BatchBuilder> = BTreeMap::new();
        for (partition, event) in std::mem::take(&mut self.waiting) {
            let batch = open.entry(partition).or_default();
            let headers: Vec<(String, Option<&[u8]>)> = event
                .headers
                .iter()
                .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.as_deref()))
                .collect();
            let headers: Vec<_> = headers.iter().map(|(name, v)| (name.as_str(), *v)).collect();
            batch.push(event.time_ms, event.key.as_deref(), event.value.as_deref(), &headers);
            if self.dice.chance(10) {
                self.fold.append(partition, std::mem::take(batch));
            }
        }
        for (partition, batch) in open {
            self.fold.append(partition, batch);
        }
    }

    fn streams_of(&self, id: TaskId) -> TaskStreams {
        let placed = &self.stages[&id.stage];
        let partition = |stream| PartitionId { stream, partition: id.bucket };
        TaskStreams {
            output: placed.output.map(partition),
            sides: placed.sides.iter().copied().map(partition).collect(),
            dead: partition(placed.dead),
            sources: placed.sources.clone(),
        }
    }
}

fn add(a: Tally, b: Tally) -> Tally {
    Tally {
        items: a.items + b.items,
        rows: a.rows + b.rows,
        late: a.late + b.late,
        dead: a.dead + b.dead,
        failures: a.failures + b.failures,
    }
}
