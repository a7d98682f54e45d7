//! How many events a second one core takes through the exchange and through a task: a keyed count over 116-byte
//! events with 10,000 keys, 1,000 events a batch, each key as often as the others or by Zipf's law with 1.5; in two
//! phases, and in one where the name says so.
//!
//! Run with `cargo run --release -p flow --example speed`.

use flow::{
    Action, Chunk, Context, Event, Exchange, Failure, Input, Pipelines, Processor, Restored,
    SourceStream, StageCode, Task, TaskStreams, Want,
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

/// Ranks by Zipf's law with exponent 1.5, drawn by splitmix64.
fn zipf() -> impl FnMut(usize) -> usize {
    let mut ends: Vec<f64> = Vec::new();
    for rank in 1..=KEYS {
        ends.push(ends.last().unwrap_or(&0.0) + (rank as f64).powf(-1.5));
    }
    let most = ends.last().copied().unwrap_or(0.0);
    move |nth| {
        let mut z = (nth as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let at = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 * most;
        ends.partition_point(|end| *end <= at)
    }
}

fn batches(mut key_of: impl FnMut(usize) -> usize) -> Vec<Batch> {
    let value = [b'x'; 104];
    let mut made = Vec::new();
    for batch in 0..EVENTS / BATCH {
        let mut builder = BatchBuilder::new();
        for n in 0..BATCH {
            let key = format!("key-{:08}", key_of(batch * BATCH + n));
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
        let partials = Some(i64::MIN);
        let want = |bucket| Want { bucket, from, bytes_max: 1 << 20, partials };
        let ask = |bucket| exchange.chunk(0, want(bucket)).expect("it is computed");
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
    let rows: Vec<u64> = tasks.iter().map(|task| task.tally().rows).collect();
    let (most, sum) = (rows.iter().max().copied().unwrap_or(0), rows.iter().sum::<u64>());
    println!(
        "{name:9} by {feed:2} batches: exchange {:5.2} M events/s, task {:5.2} M events/s, both \
         {:5.2}; {:.1} bytes an event, {:.3} rows, the busiest bucket has {:.2} of the mean",
        per_s(exchanging),
        per_s(working),
        per_s(exchanging + working),
        bytes as f64 / EVENTS as f64,
        sum as f64 / EVENTS as f64,
        most as f64 * rows.len() as f64 / sum as f64,
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
    let keyed = || pipeline.read("events").key_by(|e| e.key());
    let hour = flow::Tumbling::of(std::time::Duration::from_secs(3_600));
    keyed().count().view("counts");
    keyed().count().one_phase().view("counts 1");
    keyed().sum(|e| e.value().len() as u64).view("sums");
    keyed().sum(|e| e.value().len() as u64).one_phase().view("sums 1");
    keyed().window(hour).count().view("windows");
    keyed().window(hour).count().one_phase().view("windows 1");
    pipeline.read("events").key_by(|e| e.key()).process(|| CountingBolt).view("bolt");
    let uniform = batches(|nth| nth * 7_919 % KEYS);
    let skewed = batches(zipf());
    for (keys, batches) in [("as often", &uniform), ("Zipf 1.5", &skewed)] {
        println!("keys: {keys}");
        for stage in ["counts 1", "counts", "sums 1", "sums", "windows 1", "windows", "bolt"] {
            let code = pipelines.stage("p", stage).expect("it is described");
            FEEDS.iter().for_each(|feed| measure(stage, &code, batches, *feed));
        }
    }
}
