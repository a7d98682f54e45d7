//! The pipelines that every simulated peer holds, and what their code does.
//!
//! Three stages: `sums` (a processor with rows, state and output), `echoes` (reads what `sums` emits: once more
//! through the mesh), and `windows` (timers and watermarks).

use flow::{Context, Event, Failure, Pipelines, Processor, Tumbling};
use std::time::Duration;

pub const SOURCE: &str = "orders";
pub const PARTITIONS: u32 = 4;
pub const BUCKETS: u32 = 4;
/// What `sums` emits.
pub const CHANGES: &str = "changes";
pub const WINDOW: Duration = Duration::from_secs(5);
/// How much later an earlier event may still come; what was held up for longer is late.
pub const OUT_OF_ORDER: Duration = Duration::from_secs(2);
/// An event whose value begins so fails whoever works on it.
pub const POISON: &str = "poison";

/// A row of `sums` and `echoes`: how many events, and the sum of their numbers.
pub type Row = (u64, u64);

/// Counts and sums a key's events, and emits each new count.
struct Sums;

impl Processor for Sums {
    fn process(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let number = number_of(&event.text())?;
        let key = ctx.key_text().into_owned();
        // Kept twice, as state and as a row: they must never differ.
        let (count, sum) = ctx.state(&key).get::<Row>()?.unwrap_or_default();
        let row = (count + 1, sum + number);
        ctx.state(&key).put(&row)?;
        ctx.row(&key).put(&row)?;
        ctx.emit(&key, &row.0)
    }
}

/// Takes the counts that `sums` emits, which must come one by one.
struct Echoes;

impl Processor for Echoes {
    fn process(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let count = number_of(&event.text())?;
        let key = ctx.key_text().into_owned();
        let (seen, sum) = ctx.row(&key).get::<Row>()?.unwrap_or_default();
        ctx.row(&key).put(&(seen + 1, sum + count))
    }
}

pub fn number_of(text: &str) -> Result<u64, Failure> {
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().map_err(|_| Failure::new(format!("{first:?} is no number")))
}

/// What the product's `main` would describe.
pub fn described() -> Pipelines {
    let mut mesh = Pipelines::new();
    let orders = mesh.pipeline("orders");
    let read = || orders.read_with(SOURCE, PARTITIONS);
    let key = |event: &Event| event.key();
    read().key_by(key).process(|| Sums).buckets(BUCKETS).view("sums").to(CHANGES);
    let changes = orders.read_with(CHANGES, BUCKETS);
    changes.key_by(key).process(|| Echoes).buckets(BUCKETS).view("echoes");
    let slow = OUT_OF_ORDER;
    let timed =
        read().event_time(|event: &Event| event.time_ms, slow).idle_after(Duration::from_secs(3));
    timed
        .key_by(key)
        .window(Tumbling::of(WINDOW))
        .count()
        .buckets(BUCKETS)
        .view("windows")
        .to("closed");
    mesh.check().expect("the simulator's pipelines are described rightly");
    mesh
}
