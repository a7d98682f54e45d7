//! Processors with typed state, timers of both times and side outputs, against a model in plain maps.

use crate::{BEGIN_MS, SEEDS, numbers, rows, said};
use flow::testing::TestMesh;
use flow::{Context, Declared, Event, Failure, List, Map, Pipelines, Processor, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

static LAST: Value<String> = Value::new("last").ttl(Duration::from_secs(10));
static WORDS: List<String> = List::new("words").ttl(Duration::from_secs(20));
static COUNTS: Map<String, u64> = Map::new("counts");

/// Keeps the last word for ten seconds, all words of the last twenty, and how often each came.
struct Memory;

impl Processor for Memory {
    fn process(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let word = event.text().into_owned();
        let last = ctx.value(&LAST).get()?;
        if word == "forget" {
            ctx.value(&LAST).remove()?;
            ctx.list(&WORDS).remove()?;
            return ctx.map(&COUNTS).clear();
        }
        ctx.value(&LAST).put(&word)?;
        ctx.list(&WORDS).push(&word)?;
        let count = ctx.map(&COUNTS).get(&word)?.unwrap_or(0) + 1;
        ctx.map(&COUNTS).put(&word, &count)?;
        if word == "rare" {
            ctx.map(&COUNTS).remove(&"common".to_owned())?;
        }
        let words = ctx.list(&WORDS).get()?;
        let counts: BTreeMap<String, u64> = ctx.map(&COUNTS).entries()?.into_iter().collect();
        ctx.count("words", 1)?;
        let key = ctx.key();
        ctx.row(key).put(&json!({"last": last, "words": words, "counts": counts}))
    }

    fn states(&self) -> Vec<&'static dyn Declared> {
        vec![&LAST, &WORDS, &COUNTS]
    }
}

#[derive(Default)]
struct Model {
    last: Option<(i64, String)>,
    words: Vec<(i64, String)>,
    counts: BTreeMap<String, u64>,
}

#[test]
fn typed_state_lives_as_long_as_it_says_and_leaves_nothing_behind() {
    let describe = |mesh: &mut Pipelines| {
        let events = mesh.pipeline("p").read_with("words", 1);
        let events = events.event_time(|e| e.time_ms, Duration::ZERO).key_by(|e| e.key());
        events.process(|| Memory).buckets(2).view("memory");
    };
    for seed in 0..SEEDS {
        let mut draw = numbers(seed);
        let mut mesh = TestMesh::of(describe).seed(seed);
        let mut models: BTreeMap<&str, Model> = BTreeMap::new();
        let mut expected = BTreeMap::new();
        let mut now = BEGIN_MS;
        // One at a time, so that the watermark stands at the time of the event before each.
        for _ in 0..60 {
            let watermark = now;
            now += draw(7_000) as i64;
            let key = ["a", "b"][draw(2) as usize];
            let word = ["common", "common", "rare", "forget"][draw(4) as usize];
            mesh.send_at("words", key, word, now);
            mesh.run();
            for model in models.values_mut() {
                // What is put at t with a life of 10 s is there at t + 10 s, and gone one millisecond later.
                model.last.take_if(|(at, _)| watermark > *at + 10_000);
                model.words.retain(|(at, _)| watermark <= *at + 20_000);
            }
            let model = models.entry(key).or_default();
            let last = model.last.as_ref().map(|(_, word)| word.clone());
            if word == "forget" {
                *model = Model::default();
                continue;
            }
            model.last = Some((now, word.to_owned()));
            model.words.push((now, word.to_owned()));
            *model.counts.entry(word.to_owned()).or_default() += 1;
            if word == "rare" {
                model.counts.remove("common");
            }
            let words: Vec<_> = model.words.iter().map(|(_, word)| word).collect();
            let row = json!({"last": last, "words": words, "counts": model.counts});
            expected.insert(key, row);
        }
        assert_eq!(mesh.view("memory").rows(), rows(expected), "seed {seed}");
        mesh.send_at("words", "a", "forget", now + 60_000);
        mesh.send_at("words", "b", "forget", now + 60_000);
        mesh.run();
        assert_eq!(mesh.view("memory").kept(), 0, "seed {seed}");
    }
}

/// Answers each event half a minute of processing time later, unless it is called off.
struct Reminder;

impl Processor for Reminder {
    fn process(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let (key, now) = (ctx.key(), ctx.now_ms());
        if event.text() == "off" {
            let at: i64 = ctx.state(key).get()?.unwrap_or(0);
            ctx.cancel_clock(at);
            return ctx.state(key).remove();
        }
        ctx.state(key).put(&(now + 30_000))?;
        ctx.set_clock(now + 30_000)
    }

    fn on_clock(&mut self, at_ms: i64, ctx: &mut Context<'_>) -> Result<(), Failure> {
        assert!(ctx.key() != b"poison", "this key is poison");
        let key = ctx.key();
        ctx.state(key).remove()?;
        ctx.emit(key, &(ctx.now_ms() - at_ms))
    }
}

#[test]
fn timers_of_processing_time_fire_once_when_their_time_has_come() {
    let describe = |mesh: &mut Pipelines| {
        let events = mesh.pipeline("p").read_with("asked", 2).key_by(|e| e.key());
        events.process(|| Reminder).buckets(3).to("reminded");
    };
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(describe).seed(seed);
        for key in ["a", "b", "off", "poison"] {
            mesh.send("asked", key, "");
        }
        mesh.run();
        mesh.send("asked", "off", "off");
        mesh.advance(Duration::from_secs(29));
        mesh.run();
        assert!(mesh.events("reminded").is_empty(), "seed {seed}");
        mesh.advance(Duration::from_secs(4));
        mesh.run();
        let late = |key: &str| (key.to_owned(), "3000".to_owned());
        assert_eq!(said(&mesh, "reminded"), [late("a"), late("b")], "seed {seed}");
        let dead = mesh.dead("p.reminded");
        assert_eq!(dead.len(), 1, "seed {seed}");
        assert_eq!(dead[0].header("cause").as_deref(), Some("panic: this key is poison"));
        assert!(dead[0].header("timer").is_some());
        mesh.advance(Duration::from_secs(3_600));
        mesh.run();
        assert_eq!(said(&mesh, "reminded").len(), 2, "seed {seed}: nothing fires twice");
        assert_eq!(mesh.kept("p.reminded"), 1, "seed {seed}: what the failed one kept");
    }
}

struct Sorting;

impl Processor for Sorting {
    fn process(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let number: u64 = event.text().parse()?;
        let side = if number.is_multiple_of(2) { "even" } else { "odd" };
        ctx.emit_to(side, ctx.key(), &number)?;
        assert!(number != 7, "seven");
        ctx.emit("all", &number)
    }
}

#[test]
fn side_outputs_are_committed_with_everything_else() {
    let describe = |mesh: &mut Pipelines| {
        let pipeline = mesh.pipeline("p");
        let numbers = pipeline.read("numbers").key_by(|e| e.key());
        numbers.process(|| Sorting).side("even").side("odd").buckets(4).to("all");
        pipeline
            .read("odd")
            .key_by(|_| "odd")
            .sum(|e| e.text().parse().unwrap_or(0u64))
            .view("sum");
    };
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(describe).seed(seed);
        (0..40).for_each(|n| mesh.send("numbers", n.to_string(), n.to_string()));
        mesh.run();
        assert_eq!(said(&mesh, "even").len(), 20, "seed {seed}");
        assert_eq!(said(&mesh, "odd").len(), 19, "seed {seed}: seven is taken back");
        assert_eq!((said(&mesh, "all").len(), mesh.dead("p.all").len()), (39, 1), "seed {seed}");
        assert_eq!(mesh.view("sum").get("odd"), Some((400 - 7).into()), "seed {seed}");
    }
}

#[test]
fn what_comes_too_late_goes_to_the_late_stream_if_there_is_one() {
    let describe = |mesh: &mut Pipelines| {
        let events = mesh.pipeline("p").read_with("events", 1);
        let events = events.event_time(|e| e.time_ms, Duration::ZERO).key_by(|e| e.key());
        let windows = events.window(flow::Tumbling::of(Duration::from_secs(10)));
        windows.sum(|e| e.value().len() as u64).late_to("late").buckets(1).view("sums");
    };
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(describe).seed(seed);
        mesh.send_at("events", "a", "xx", BEGIN_MS + 60_000);
        mesh.run();
        mesh.send_at("events", "a", "xxx", BEGIN_MS);
        mesh.run();
        assert_eq!(said(&mesh, "late"), [("a".to_owned(), "3".to_owned())], "seed {seed}");
        let late = &mesh.events("late")[0];
        assert_eq!((late.time_ms, late.header("offset").as_deref()), (BEGIN_MS, Some("1")));
        assert_eq!(mesh.dead("p.sums").len(), 0);
    }
}

type Way = fn(u64, &mut Context<'_>) -> Result<(), Failure>;

/// Emits, changes or sets timers without end, whatever it is told.
struct Endless(Way);

impl Processor for Endless {
    fn process(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        if event.text() == "poison" {
            // It does not care for errors either.
            for n in 0..240_000 {
                drop((self.0)(n, ctx));
            }
        }
        ctx.emit("fine", &1)
    }
}

#[test]
fn a_processor_without_end_costs_its_event_and_nobody_else() {
    static BIG: Map<u64, String> = Map::new("big");
    let ways: [Way; 3] = [
        |n, ctx| ctx.emit("x".repeat(100), &n),
        |n, ctx| ctx.map(&BIG).put(&n, &"x".repeat(100)),
        |n, ctx| ctx.set_timer(n as i64),
    ];
    for way in ways {
        let describe = |mesh: &mut Pipelines| {
            let events = mesh.pipeline("p").read_with("events", 1).key_by(|e| e.key());
            events.process(move || Endless(way)).buckets(1).to("said");
        };
        let mut mesh = TestMesh::of(describe).calm();
        for n in 0..30 {
            mesh.send("events", format!("key {n}"), if n == 17 { "poison" } else { "" });
        }
        mesh.run();
        assert_eq!(said(&mesh, "said").len(), 29);
        let dead = mesh.dead("p.said");
        assert_eq!(dead.len(), 1);
        assert!(dead[0].header("cause").unwrap().contains("more than the 7340032 bytes"));
        assert_eq!(dead[0].header("offset").as_deref(), Some("17"));
    }
}
