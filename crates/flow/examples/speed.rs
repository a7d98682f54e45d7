//! How many events a second one core takes through the exchange and through a task: a keyed count over 116-byte
//! events with 10,000 keys, 1,000 events a batch.
//!
//! Run with `cargo run --release -p flow --example speed`.

use flow::{
    Action, Chunk, Context, Event, Exchange, Failure, Input, Pipelines, Processor, Restored,
    SourceStream, StageCode, Task, TaskStreams,
};
use model::{Batch, BatchBuilder, PartitionId, StageId, StreamId, TaskId};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const EVENTS: usize = 2_000_000;
const BATCH: usize = 1_000;
const KEYS: usize = 10_000;
/// Batches that a driver feeds at once: with 4, nearly every event touches a row of its own; with 32, four share one.
const FEEDS: [usize; 2] = [4, 32];

struct CountingBolt;

impl Processor for CountingBolt {
    fn process(&mut self, _: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let key = ctx.key().to_vec();
        let count = ctx.row(&key).get::<u64>()?.unwrap_or(0) + 1;
        ctx.row(&key).put(&count)
    }
}

fn batches() -> Vec<Batch> {
    let value = [b'x'; 104];
    let mut made = Vec::new();
    for batch in 0..EVENTS / BATCH {
        let mut builder = BatchBuilder::new();
        for n in 0..BATCH {
            let key = format!("key-{:08}", (batch * BATCH + n) * 7_919 % KEYS);
            builder.push(1_000_000 + n as i64, Some(key.as_bytes()), Some(&value), &[]);
        }
        let batch_of = builder.build().expect("it has events");
        made.push(batch_of.placed((batch * BATCH) as i64, 1));
    }
    made
}

fn measure(name: &str, code: &Arc<StageCode>, batches: &[Batch], feed: usize) {
    let source = PartitionId { stream: StreamId(1), partition: 0 };
    let mut exchange = Exchange::new(Arc::clone(code), source, 0, 0);
    let streams = TaskStreams {
        output: None,
        sides: Vec::new(),
        dead: PartitionId { stream: StreamId(2), partition: 0 },
        sources: vec![SourceStream { stream: StreamId(1), partitions: 1 }],
    };
    let task = |bucket| {
        let id = TaskId { stage: StageId(1), bucket };
        Task::new(id, Arc::clone(code), Restored::default(), streams.clone()).expect("it is new")
    };
    let mut tasks: Vec<Task> = (0..code.buckets).map(task).collect();
    let (mut exchanging, mut working, mut bytes) = (0.0, 0.0, 0);
    for fed in batches.chunks(feed) {
        let begin = cpu_s();
        let from = exchange.needs();
        exchange.feed(from, fed, i64::MAX);
        let ask = |bucket| exchange.chunk(0, bucket, from, 1 << 20).expect("it is computed");
        let chunks: Vec<Chunk> = (0..code.buckets).map(ask).collect();
        exchanging += cpu_s() - begin;
        bytes += chunks.iter().map(Chunk::size).sum::<usize>();
        let begin = cpu_s();
        for (task, chunk) in tasks.iter_mut().zip(chunks) {
            step(task, chunk);
        }
        working += cpu_s() - begin;
    }
    let counted: u64 = tasks.iter().map(|task| task.tally().items).sum();
    assert_eq!(counted, EVENTS as u64, "every event is an item");
    let per_s = |seconds: f64| EVENTS as f64 / seconds / 1e6;
    println!(
        "{name:8} by {feed:2} batches: exchange {:5.2} M events/s, task {:5.2} M events/s, {:.1} bytes an item",
        per_s(exchanging),
        per_s(working),
        bytes as f64 / EVENTS as f64
    );
}

/// This thread's CPU time, since the machine may be busy; the wall clock where Linux does not tell.
fn cpu_s() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = told.and_then(|told| told.split(' ').next()?.parse::<f64>().ok());
    ns.map_or_else(
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        |ns| ns / 1e9,
    )
}

fn step(task: &mut Task, chunk: Chunk) {
    let mut actions = Vec::new();
    let mut input = Input::Chunks(vec![chunk]);
    loop {
        task.step(0, input, &mut actions).expect("driven rightly");
        match actions.pop() {
            Some(Action::Commit(commit)) => {
                input = Input::Committed { sequence: commit.sequence + 1 };
            }
            _ => return,
        }
    }
}

fn main() {
    let mut pipelines = Pipelines::new();
    let pipeline = pipelines.pipeline("p");
    pipeline.read("events").key_by(|e| e.key()).count().view("counts");
    pipeline.read("events").key_by(|e| e.key()).sum(|e| e.value().len() as u64).view("sums");
    let hour = flow::Tumbling::of(std::time::Duration::from_secs(3_600));
    pipeline.read("events").key_by(|e| e.key()).window(hour).count().view("windows");
    pipeline.read("events").key_by(|e| e.key()).process(|| CountingBolt).view("bolt");
    let batches = batches();
    for stage in ["counts", "sums", "windows", "bolt"] {
        let code = pipelines.stage("p", stage).expect("it is described");
        for feed in FEEDS {
            measure(stage, &code, &batches, feed);
        }
    }
}
