//! Pipelines give the answers of a plain fold over the same events, whatever dies on the way.
#![allow(clippy::unwrap_used)] // a test that cannot go on should say where

use flow::testing::TestMesh;
use flow::{Context, Event, Failure, Pipelines, Processor, Tumbling};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const SEEDS: u64 = 40;

fn word_count(mesh: &mut Pipelines) {
    mesh.pipeline("word_count")
        .read("lines")
        .flat_map(|e: &Event| e.text().split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .key_by(|word| word.clone())
        .count()
        .view("words");
}

const WORDS: [&str; 7] = ["a", "bee", "see", "dee", "e", "Straße", "x@2013-01-01T00:00:00Z"];

/// Any numbers: a small generator of its own, so that tests do not share the mesh's luck.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
    move |bound| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    }
}

#[test]
fn words_are_counted_once_whatever_dies() {
    for seed in 0..SEEDS {
        let mut draw = numbers(seed);
        let mut mesh = TestMesh::of(word_count).seed(seed);
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for round in 0..3 {
            for n in 0..100 {
                let words: Vec<&str> =
                    (0..draw(6)).map(|_| WORDS[draw(WORDS.len() as u64) as usize]).collect();
                for word in &words {
                    *expected.entry((*word).to_owned()).or_default() += 1;
                }
                mesh.send("lines", format!("{round}-{n}"), words.join(" "));
            }
            mesh.run();
        }
        let rows: BTreeMap<String, Value> =
            expected.iter().map(|(word, count)| (word.clone(), (*count).into())).collect();
        assert_eq!(mesh.view("words").rows(), rows, "seed {seed}");
        for (word, count) in &expected {
            assert_eq!(mesh.view("words").get(word), Some((*count).into()), "seed {seed}");
        }
    }
}

#[test]
fn a_small_mesh_takes_less_than_a_tenth_of_a_second() {
    let begin = Instant::now();
    let mut mesh = TestMesh::of(word_count).seed(7);
    mesh.send("lines", "1", "to be or not to be");
    mesh.run();
    assert_eq!(mesh.view("words").get("be"), Some(2.into()));
    assert!(begin.elapsed() < Duration::from_millis(100), "it took {:?}", begin.elapsed());
}

#[test]
fn running_aggregates_equal_a_plain_fold() {
    let describe = |mesh: &mut Pipelines| {
        let flights = || mesh.clone().pipeline("flights").read("flights").json::<(String, i64)>();
        let keyed = || flights().key_by(|f| f.0.clone());
        keyed().sum(|f| f.1).view("sums");
        keyed().mean(|f| f.1 as f64).buckets(3).view("means");
        keyed()
            .aggregate(
                || (i64::MAX, i64::MIN),
                |s: &mut (i64, i64), f| *s = (s.0.min(f.1), s.1.max(f.1)),
                |s| json!({"min": s.0, "max": s.1}),
            )
            .view("ranges");
    };
    for seed in 0..SEEDS / 4 {
        let mut draw = numbers(seed);
        let mut mesh = TestMesh::of(describe).seed(seed);
        let mut all: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for _ in 0..300 {
            let (key, number) = (WORDS[draw(5) as usize], draw(1_000) as i64 - 500);
            all.entry(key).or_default().push(number);
            mesh.send_json("flights", key, &(key, number));
        }
        mesh.run();
        for (key, numbers) in all {
            let sum: i64 = numbers.iter().sum();
            assert_eq!(mesh.view("sums").get(key), Some(sum.into()), "seed {seed}");
            let mean = sum as f64 / numbers.len() as f64;
            assert_eq!(mesh.view("means").get(key), Some(mean.into()), "seed {seed}");
            let range = json!({"min": numbers.iter().min(), "max": numbers.iter().max()});
            assert_eq!(mesh.view("ranges").get(key), Some(range), "seed {seed}");
        }
    }
}

const BEGIN_MS: i64 = 1_357_016_400_000;

fn windows(mesh: &mut Pipelines) {
    let flights = || {
        mesh.clone()
            .pipeline("flights")
            .read_with("flights", 4)
            .json::<(String, i64, f64)>()
            .event_time(|f| f.1, Duration::from_secs(300))
            .key_by(|f| f.0.clone())
            .window(Tumbling::of(Duration::from_secs(60)))
    };
    flights().count().view("counts").to("closed");
    flights().mean(|f| f.2).view("means");
}

#[test]
fn windows_equal_a_batch_computation_over_events_out_of_order() {
    for seed in 0..SEEDS {
        let mut draw = numbers(seed);
        let mut mesh = TestMesh::of(windows).seed(seed);
        let mut expected: BTreeMap<String, (u64, f64)> = BTreeMap::new();
        for n in 0..400 {
            let key = WORDS[draw(4) as usize];
            // Two seconds a step, and up to five minutes late: within the bound.
            let time_ms = BEGIN_MS + n * 2_000 - draw(299_000) as i64;
            let number = draw(100) as f64;
            mesh.send_json("flights", format!("{n}"), &(key, time_ms, number));
            let start = time_ms - time_ms.rem_euclid(60_000);
            let row = String::from_utf8(flow::row_key_of_window(key.as_bytes(), start)).unwrap();
            let (count, sum) = expected.entry(row).or_default();
            *count += 1;
            *sum += number;
            if n % 150 == 0 {
                mesh.run();
            }
        }
        mesh.run();
        let counts: BTreeMap<String, Value> =
            expected.iter().map(|(key, (count, _))| (key.clone(), (*count).into())).collect();
        assert_eq!(mesh.view("counts").rows(), counts, "seed {seed}");
        for (key, (count, sum)) in &expected {
            assert_eq!(mesh.view("means").get(key), Some((sum / *count as f64).into()));
        }
        assert_eq!(mesh.tally().late, 0, "seed {seed}");
        // One event far ahead a partition closes every window: each is emitted exactly once, as it ended.
        for n in 0..200 {
            mesh.send_json("flights", format!("{n}"), &("end", BEGIN_MS + 9_000_000, 0.0));
        }
        mesh.run();
        let closed = mesh.events("closed");
        let emitted: BTreeMap<String, Value> = closed
            .iter()
            .map(|e| {
                let key = String::from_utf8(e.key().to_vec()).unwrap();
                (key, serde_json::from_slice(e.value()).unwrap())
            })
            .collect();
        assert_eq!(closed.len(), emitted.len(), "seed {seed}: a window closed twice");
        assert_eq!(emitted, counts, "seed {seed}");
        assert!(mesh.view("means").kept() <= 2, "seed {seed}: state of closed windows is kept");
    }
}

#[test]
fn what_comes_too_late_is_a_dead_letter_that_says_so() {
    let mut mesh = TestMesh::of(windows).seed(3);
    for n in 0..64 {
        mesh.send_json("flights", format!("{n}"), &("a", BEGIN_MS + 3_600_000, 1.0));
    }
    mesh.run();
    mesh.send_json("flights", "late", &("a", BEGIN_MS, 1.0));
    mesh.run();
    let dead = mesh.dead("flights.counts");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].header("cause").as_deref(), Some("late"));
    assert_eq!(dead[0].header("stream").as_deref(), Some("flights"));
    assert_eq!(mesh.view("counts").rows().len(), 1);
    let shown: Value = serde_json::from_slice(mesh.dead("flights.means")[0].value()).unwrap();
    assert_eq!(shown, json!(1.0));
}

#[test]
fn what_is_late_but_allowed_changes_its_window_and_is_emitted_again() {
    let describe = |mesh: &mut Pipelines| {
        let events = mesh.pipeline("p").read_with("events", 1);
        let events = events.event_time(|e| e.time_ms, Duration::ZERO).key_by(|e| e.key());
        let windows = events.window(Tumbling::of(Duration::from_secs(60)));
        let windows = windows.allow_late(Duration::from_secs(600));
        windows.sum(|_| 1u64).buckets(1).view("sums").to("closed");
    };
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(describe).seed(seed);
        let closed = |mesh: &TestMesh| -> Vec<String> {
            let events = mesh.events("closed");
            events.iter().map(|e| format!("{:?}={}", e.key(), e.text())).collect()
        };
        mesh.send_at("events", "a", "", BEGIN_MS);
        mesh.send_at("events", "b", "", BEGIN_MS + 200_000);
        mesh.run();
        let first = "b\"a@2013-01-01T05:00:00Z\"=1";
        assert_eq!(closed(&mesh), [first], "seed {seed}");
        mesh.send_at("events", "a", "", BEGIN_MS + 1);
        mesh.run();
        let again = "b\"a@2013-01-01T05:00:00Z\"=2";
        assert_eq!(closed(&mesh), [first, again], "seed {seed}");
        mesh.send_at("events", "c", "", BEGIN_MS + 2);
        mesh.run();
        let new = "b\"c@2013-01-01T05:00:00Z\"=1";
        assert_eq!(closed(&mesh), [first, again, new], "seed {seed}");
        mesh.send_at("events", "b", "", BEGIN_MS + 660_000);
        mesh.run();
        mesh.send_at("events", "a", "", BEGIN_MS + 1);
        mesh.run();
        assert_eq!(mesh.view("sums").get("a@2013-01-01T05:00:00Z"), Some(2.into()), "seed {seed}");
        assert_eq!(mesh.dead("p.sums").len(), 1, "seed {seed}");
    }
}

#[test]
fn an_idle_partition_does_not_hold_windows_open() {
    let describe = |mesh: &mut Pipelines| {
        let events = mesh.pipeline("p").read("events").key_by(|e| e.key());
        events.window(Tumbling::of(Duration::from_secs(1))).count().to("closed");
    };
    // A task that comes back waits anew; here it is to wait once.
    let mut mesh = TestMesh::of(describe).calm();
    mesh.send("events", "a", "");
    mesh.send_at("events", "a", "", mesh.now_ms() + 120_000);
    mesh.run();
    assert_eq!(mesh.events("closed").len(), 0, "other partitions may still have something");
    mesh.advance(Duration::from_secs(11));
    mesh.run();
    assert_eq!(mesh.events("closed").len(), 1);
}

/// Storm's classic: counts words, keeps the counts, says when one is round.
struct CountingBolt;

impl Processor for CountingBolt {
    fn process(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        assert!(event.text() != "poison", "this word is poison");
        let word = event.text().into_owned();
        let count = ctx.row(&word).get::<u64>()?.unwrap_or(0) + 1;
        if count % 10 == 0 {
            ctx.emit(&word, &format!("{word} {count}"))?;
        }
        ctx.row(&word).put(&count)
    }
}

fn bolt(mesh: &mut Pipelines) {
    let words = mesh.pipeline("storm").read("words").key_by(|e| e.text().into_owned());
    // Two buckets: poison has company.
    words.process(|| CountingBolt).buckets(2).view("counts").to("round");
}

#[test]
fn a_panic_on_one_event_costs_that_event_alone() {
    for seed in 0..SEEDS {
        let mut draw = numbers(seed);
        let mut mesh = TestMesh::of(bolt).seed(seed);
        let mut expected: BTreeMap<String, Value> = BTreeMap::new();
        let mut poison = 0;
        for n in 0..300 {
            let word = if n % 50 == 7 { "poison" } else { WORDS[draw(4) as usize] };
            mesh.send("words", format!("{n}"), word);
            if word == "poison" {
                poison += 1;
            } else {
                let count = expected.get(word).and_then(Value::as_u64).unwrap_or(0) + 1;
                expected.insert(word.to_owned(), count.into());
            }
        }
        mesh.run();
        assert_eq!(mesh.view("counts").rows(), expected, "seed {seed}");
        let rounds: u64 = expected.values().map(|count| count.as_u64().unwrap() / 10).sum();
        assert_eq!(mesh.events("round").len() as u64, rounds, "seed {seed}");
        let dead = mesh.dead("storm.counts");
        assert_eq!(dead.len(), poison, "seed {seed}");
        for letter in dead {
            assert_eq!(letter.header("cause").as_deref(), Some("panic: this word is poison"));
            assert_eq!(letter.header("stage").as_deref(), Some("storm.counts"));
            assert_eq!(letter.header("attempt").as_deref(), Some("3"));
            assert_eq!(letter.text(), "poison");
        }
        assert!(mesh.tally().failures >= 3 * poison as u64);
    }
}

#[test]
fn events_that_fail_before_they_have_a_key_are_dead_letters_too() {
    let describe = |mesh: &mut Pipelines| {
        let numbers = mesh.pipeline("p").read("numbers").json::<u64>();
        numbers.map(|n| 100 / n).key_by(|_| "all").sum(|n| *n).view("sum");
    };
    for seed in 0..SEEDS / 4 {
        let mut mesh = TestMesh::of(describe).seed(seed);
        for value in ["1", "2", "no number", "0", "4", "{\"a\":1}"] {
            mesh.send("numbers", value, value);
        }
        mesh.run();
        assert_eq!(mesh.view("sum").get("all"), Some(175.into()), "seed {seed}");
        let mut dead: Vec<String> =
            mesh.dead("p.sum").iter().map(|e| e.text().into_owned()).collect();
        dead.sort();
        assert_eq!(dead, ["0", "no number", "{\"a\":1}"], "seed {seed}");
    }
}

#[test]
fn an_event_that_spoils_what_its_key_comes_to_is_found_among_many() {
    let describe = |mesh: &mut Pipelines| {
        let numbers = mesh.pipeline("p").read_with("numbers", 1).json::<u64>();
        let keyed = numbers.key_by(|n| (n % 2).to_string()).aggregate(
            || 0u64,
            |sum: &mut u64, n| *sum += n,
            |sum| if *sum > 1_000_000 { panic!("too much") } else { *sum },
        );
        keyed.buckets(1).view("sums");
    };
    for seed in 0..SEEDS / 4 {
        let mut mesh = TestMesh::of(describe).seed(seed);
        for n in 0..400u64 {
            mesh.send("numbers", "k", if n == 100 { "2000000".into() } else { n.to_string() });
        }
        mesh.run();
        let dead: Vec<String> = mesh.dead("p.sums").iter().map(|e| e.text().into_owned()).collect();
        assert_eq!(dead, ["2000000"], "seed {seed}");
        let even: u64 = (0..400).filter(|n| n % 2 == 0 && *n != 100).sum();
        assert_eq!(mesh.view("sums").get("0"), Some(even.into()), "seed {seed}");
        assert_eq!(mesh.view("sums").get("1"), Some((1..400).step_by(2).sum::<u64>().into()));
    }
}

#[test]
fn two_streams_merge_and_one_stream_may_be_merged_with_itself() {
    let describe = |mesh: &mut Pipelines| {
        let pipeline = mesh.pipeline("p");
        let words = pipeline.read_with("left", 3).map(|e| e.text().into_owned());
        let more = pipeline.read_with("right", 5).map(|e| e.text().to_uppercase());
        let again = pipeline.read_with("left", 3).map(|e| e.text().to_uppercase());
        words.merge(more).merge(again).key_by(|w| w.clone()).count().buckets(5).view("counts");
    };
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(describe).seed(seed);
        for n in 0..90 {
            mesh.send(["left", "right"][n % 2], format!("{n}"), "a");
            mesh.send("right", format!("{n}"), "b");
        }
        mesh.run();
        let rows = mesh.view("counts").rows();
        let expected = [("A", 90), ("B", 90), ("a", 45)];
        let expected = expected.map(|(key, count)| (key.to_owned(), Value::from(count)));
        assert_eq!(rows, BTreeMap::from(expected), "seed {seed}");
    }
}

#[test]
fn a_stage_reads_what_another_emits() {
    let describe = |mesh: &mut Pipelines| {
        let pipeline = mesh.pipeline("p");
        // Described in the wrong order on purpose.
        let big = pipeline.read("big").key_by(|e| e.key());
        big.count().view("bigs");
        pipeline.read("all").filter(|e| e.value().len() > 3).to("big").buckets(7);
    };
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(describe).seed(seed);
        for n in 0..200 {
            mesh.send("all", format!("{}", n % 10), "x".repeat(n % 8));
        }
        mesh.run();
        let total: u64 = mesh.view("bigs").rows().values().map(|v| v.as_u64().unwrap()).sum();
        assert_eq!((total, mesh.events("big").len()), (100, 100), "seed {seed}");
    }
}

/// Says who has not been heard of for ten seconds of event time.
#[derive(Default)]
struct Silence;

impl Processor for Silence {
    fn process(&mut self, _: &Event, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let key = ctx.key().to_vec();
        if let Some(last) = ctx.state(&key).get::<i64>()? {
            ctx.cancel_timer(last + 10_000);
        }
        let now = ctx.time_ms();
        ctx.state(&key).put(&now)?;
        ctx.set_timer(now + 10_000)
    }

    fn on_timer(&mut self, at_ms: i64, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let key = ctx.key().to_vec();
        ctx.state(&key).remove()?;
        ctx.row(&key).put(&at_ms)
    }
}

#[test]
fn timers_of_event_time_fire_once_and_leave_nothing_behind() {
    let describe = |mesh: &mut Pipelines| {
        let events = mesh.pipeline("p").read_with("beats", 2);
        let events = events.event_time(|e| e.time_ms, Duration::ZERO);
        events.key_by(|e| e.key()).process(Silence::default).view("silent");
    };
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(describe).seed(seed);
        for second in 0..60 {
            mesh.send_at("beats", "steady", "", second * 1_000);
            mesh.send_at("beats", "other", "", second * 1_000);
            mesh.send_at("beats", "third", "", second * 1_000);
            mesh.send_at("beats", "fourth", "", second * 1_000);
            if second == 20 {
                mesh.send_at("beats", "gone", "", 20_000);
            }
        }
        mesh.run();
        let rows = mesh.view("silent").rows();
        assert_eq!(rows, BTreeMap::from([("gone".to_owned(), json!(30_000))]), "seed {seed}");
        assert_eq!(mesh.view("silent").kept(), 8, "seed {seed}: state and timer of four keys");
    }
}

#[test]
fn the_same_seed_gives_the_same_course() {
    let course = |seed| {
        let mut mesh = TestMesh::of(bolt).seed(seed);
        for n in 0..200 {
            mesh.send("words", format!("{n}"), if n % 20 == 0 { "poison" } else { "fine" });
        }
        mesh.run();
        (mesh.tally(), mesh.events("round"))
    };
    assert_eq!(course(5), course(5));
    assert!((6..12).any(|seed| course(seed) != course(5)), "seeds make a difference");
}
