//! New versions of pipelines take over what old ones kept, or are refused with the first row they cannot read.

use crate::{BEGIN_MS, SEEDS, numbers};
use flow::testing::TestMesh;
use flow::{Context, Declared, Event, Failure, Keyed, Pipelines, Processor, Tumbling, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::time::Duration;

static TOTAL: Value<u64> = Value::new("total");

struct First;

impl Processor for First {
    fn process(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let total = ctx.value(&TOTAL).get()?.unwrap_or(0) + event.value().len() as u64;
        ctx.value(&TOTAL).put(&total)?;
        ctx.row(ctx.key()).put(&total)
    }
    fn states(&self) -> Vec<&'static dyn Declared> {
        vec![&TOTAL]
    }
}

#[derive(Serialize, Deserialize)]
struct Both {
    total: u64,
    events: u64,
}

static BOTH: Value<Both> = Value::new("total").version(2, |old| {
    // What was counted before nobody knows any more.
    Ok(Both { total: old.read()?, events: 0 })
});

struct Second;

impl Processor for Second {
    fn process(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let mut both = ctx.value(&BOTH).get()?.unwrap_or(Both { total: 0, events: 0 });
        both.total += event.value().len() as u64;
        both.events += 1;
        ctx.value(&BOTH).put(&both)?;
        ctx.row(ctx.key()).put(&both)
    }
    fn states(&self) -> Vec<&'static dyn Declared> {
        vec![&BOTH]
    }
}

fn keyed(mesh: &mut Pipelines, version: u32) -> Keyed<Event> {
    mesh.pipeline("p").version(version).read_with("events", 2).key_by(|e| e.key())
}

fn first(mesh: &mut Pipelines) {
    keyed(mesh, 1).process(|| First).buckets(3).view("totals");
}

fn send(mesh: &mut TestMesh, seed: u64) -> u64 {
    let mut draw = numbers(seed);
    let mut total = 0;
    for n in 0..50 {
        let size = draw(9);
        total += size;
        mesh.send("events", ["a", "b", "c"][n % 3], "x".repeat(size as usize));
    }
    mesh.run();
    total
}

fn total(mesh: &TestMesh, of: impl Fn(&Json) -> u64) -> u64 {
    mesh.view("totals").rows().values().map(of).sum()
}

#[test]
fn a_new_version_goes_on_with_what_the_old_one_kept() {
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(first).seed(seed);
        let before = send(&mut mesh, seed);
        assert_eq!(total(&mesh, |row| row.as_u64().unwrap()), before);
        let second = |mesh: &mut Pipelines| {
            keyed(mesh, 2).process(|| Second).buckets(3).view("totals");
        };
        mesh.replace(second).unwrap();
        let after = send(&mut mesh, seed + 1);
        assert_eq!(total(&mesh, |row| row["total"].as_u64().unwrap()), before + after);
        assert_eq!(total(&mesh, |row| row["events"].as_u64().unwrap()), 50, "seed {seed}");
    }
}

fn refusal(describe: impl Fn(&mut Pipelines)) -> String {
    let mut mesh = TestMesh::of(first).seed(3);
    let before = send(&mut mesh, 3);
    let refused = mesh.replace(describe).unwrap_err().to_string();
    // The old version is still there, and at work.
    let after = send(&mut mesh, 4);
    assert_eq!(total(&mesh, |row| row.as_u64().unwrap()), before + after);
    refused
}

#[test]
fn a_version_that_cannot_read_what_is_kept_is_refused_with_the_first_row() {
    static STRANGE: Value<Vec<String>> = Value::new("total");
    struct Strange(&'static [&'static dyn Declared]);
    impl Processor for Strange {
        fn process(&mut self, _: &Event, _: &mut Context<'_>) -> Result<(), Failure> {
            Ok(())
        }
        fn states(&self) -> Vec<&'static dyn Declared> {
            self.0.to_vec()
        }
    }
    let refused = refusal(|mesh| {
        let declared: &'static [&'static dyn Declared] = Box::leak(Box::new([&STRANGE as _]));
        keyed(mesh, 2).process(move || Strange(declared)).buckets(3).view("totals");
    });
    assert!(refused.contains("\"p.totals\" version 2 cannot read row"), "{refused}");
    assert!(refused.contains("kept by version 1") && refused.contains("total"), "{refused}");
    let refused = refusal(|mesh| {
        keyed(mesh, 2).process(|| Strange(&[])).buckets(3).view("totals");
    });
    assert!(refused.contains("this version declares no such"), "{refused}");
    let refused = refusal(|mesh| {
        keyed(mesh, 2).process(|| Second).buckets(4).view("totals");
    });
    assert!(refused.contains("its buckets are fixed"), "{refused}");
    let refused = refusal(|mesh| {
        keyed(mesh, 1).process(|| Second).buckets(3).view("totals");
    });
    assert!(refused.contains("give the pipeline a new version"), "{refused}");
}

#[test]
fn an_aggregate_of_another_type_is_refused_and_one_of_the_same_goes_on() {
    let mean = |mesh: &mut Pipelines, version| {
        let windows = keyed(mesh, version).window(Tumbling::of(Duration::from_secs(60)));
        windows.mean(|e| e.value().len() as f64).buckets(3).view("means");
    };
    let mut mesh = TestMesh::of(|mesh| mean(mesh, 1)).seed(2);
    mesh.send_at("events", "a", "xx", BEGIN_MS);
    mesh.run();
    let top = |mesh: &mut Pipelines| {
        let windows = keyed(mesh, 2).window(Tumbling::of(Duration::from_secs(60)));
        windows.top(2, |e| e.time_ms, |e| e.offset).buckets(3).view("means");
    };
    let refused = mesh.replace(top).unwrap_err().to_string();
    assert!(refused.contains("cannot read row \"a@2013-01-01T05:00:00Z\""), "{refused}");
    mesh.replace(|mesh| mean(mesh, 2)).unwrap();
    mesh.send_at("events", "a", "xxxx", BEGIN_MS);
    mesh.run();
    assert_eq!(mesh.view("means").get("a@2013-01-01T05:00:00Z"), Some(json!(3.0)));
}

#[test]
fn a_newer_version_may_drop_a_stage_and_add_one() {
    let mut mesh = TestMesh::of(first).seed(5);
    send(&mut mesh, 5);
    let other = |mesh: &mut Pipelines| {
        keyed(mesh, 2).count().buckets(2).view("counts");
    };
    mesh.replace(other).unwrap();
    mesh.run();
    let counts = mesh.view("counts").rows();
    assert_eq!(counts.values().map(|row| row.as_u64().unwrap()).sum::<u64>(), 50);
}
