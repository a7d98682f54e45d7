//! Joins, tables and duplicates against nested loops over all values at once.

use crate::{BEGIN_MS, SEEDS, numbers, said};
use flow::testing::TestMesh;
use flow::{Keyed, Pipelines, Within};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Key, time, and a number of its own.
type Mark = (String, i64, u64);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn marks(mesh: &Pipelines, stream: &str, partitions: u32) -> Keyed<Mark> {
    let marks = mesh.clone().pipeline("p").read_with(stream, partitions).json::<Mark>();
    marks.event_time(|m| m.1, seconds(30)).key_by(|m| m.0.clone())
}

/// Sends marks to both streams, up to half a minute out of order; returns what was sent to each.
fn send(mesh: &mut TestMesh, seed: u64, count: u64) -> [Vec<Mark>; 2] {
    let mut draw = numbers(seed);
    let mut sent = [Vec::new(), Vec::new()];
    for n in 0..count {
        let side = draw(2) as usize;
        let time_ms = BEGIN_MS + n as i64 * 700 - draw(30_000) as i64;
        let mark: Mark = (["a", "b", ""][draw(3) as usize].to_owned(), time_ms, n);
        mesh.send_json(["left", "right"][side], n.to_string(), &mark);
        sent[side].push(mark);
        if n % 60 == 59 {
            mesh.run();
        }
    }
    mesh.run();
    sent
}

/// Events far ahead in every partition, of keys that meet nobody.
fn close(mesh: &mut TestMesh) {
    for n in 0..64 {
        for side in ["left", "right"] {
            let end: Mark = (format!("end of {side}"), BEGIN_MS + 100_000_000, 0);
            mesh.send_json(side, n.to_string(), &end);
        }
    }
    mesh.run();
}

fn pairs(sent: &[Vec<Mark>; 2], meet: impl Fn(i64, i64) -> bool) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for left in &sent[0] {
        let near = sent[1].iter().filter(|right| right.0 == left.0 && meet(left.1, right.1));
        pairs.extend(near.map(|right| (left.0.clone(), format!("{}-{}", left.2, right.2))));
    }
    pairs.sort();
    pairs
}

fn alone(sent: &[Vec<Mark>; 2], meet: impl Fn(i64, i64) -> bool) -> Vec<(String, String)> {
    let met = |left: &&Mark| !sent[1].iter().any(|r| r.0 == left.0 && meet(left.1, r.1));
    let alone = sent[0].iter().filter(met).map(|left| (left.0.clone(), format!("{}-", left.2)));
    alone.collect()
}

fn name(left: &Mark, right: Option<&Mark>) -> String {
    format!("{}-{}", left.2, right.map_or(String::new(), |right| right.2.to_string()))
}

fn joins(mesh: &mut Pipelines) {
    let join = |within| marks(mesh, "left", 3).join(marks(mesh, "right", 2), within);
    join(Within::of(seconds(5))).inner(|l, r| name(l, Some(r))).to("near");
    let between = Within::between(seconds(10), seconds(2));
    join(between).left(name).buckets(5).to("between");
    join(Within::window(seconds(20))).inner(|l, r| name(l, Some(r))).to("windows");
}

fn near(left: i64, right: i64) -> bool {
    left.abs_diff(right) <= 5_000
}

fn between(left: i64, right: i64) -> bool {
    (left - 10_000..=left + 2_000).contains(&right)
}

#[test]
fn a_join_finds_every_pair_once_and_a_left_join_those_that_meet_nobody() {
    let mut lonely = 0;
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(joins).seed(seed);
        let sent = send(&mut mesh, seed, 240);
        assert_eq!(said(&mesh, "near"), pairs(&sent, near), "seed {seed}");
        let window = |left: i64, right: i64| left / 20_000 == right / 20_000;
        assert_eq!(said(&mesh, "windows"), pairs(&sent, window), "seed {seed}");
        let alone = alone(&sent, between);
        lonely += alone.len();
        close(&mut mesh);
        let mut all = [pairs(&sent, between), alone].concat();
        all.sort();
        // Those that close the test are alone themselves, and wait for what may come behind them.
        assert_eq!(said(&mesh, "between"), all, "seed {seed}");
        assert_eq!(mesh.tally().late, 0, "seed {seed}");
        assert_eq!(
            mesh.kept("p.windows"),
            64 * 2 + 2,
            "seed {seed}: only the end and its timers wait"
        );
    }
    assert!(lonely > 20, "some meet nobody");
}

#[test]
fn a_stream_is_joined_with_itself() {
    let describe = |mesh: &mut Pipelines| {
        let join = marks(mesh, "left", 3).join(marks(mesh, "left", 3), Within::of(seconds(5)));
        join.inner(|l, r| format!("{}-{}", l.2, r.2)).to("near");
    };
    for seed in 0..SEEDS / 4 {
        let mut mesh = TestMesh::of(describe).seed(seed);
        let [left, _] = send(&mut mesh, seed, 100);
        assert_eq!(said(&mesh, "near"), pairs(&[left.clone(), left], near), "seed {seed}");
    }
}

#[test]
fn values_see_the_table_of_their_own_time() {
    let describe = |mesh: &mut Pipelines| {
        let join = || marks(mesh, "left", 3).as_of(marks(mesh, "right", 2));
        join().left(name).to("then");
        join().inner(|l, r| name(l, Some(r))).to("known");
    };
    let mut unknown = 0;
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(describe).seed(seed);
        let sent = send(&mut mesh, seed, 240);
        close(&mut mesh);
        let then = |left: &Mark| {
            let versions = sent[1].iter().filter(|r| r.0 == left.0 && r.1 <= left.1);
            versions.max_by_key(|right| right.1).cloned()
        };
        let seen: Vec<(&Mark, Option<Mark>)> = sent[0].iter().map(|l| (l, then(l))).collect();
        let shown =
            |(left, right): &(&Mark, Option<Mark>)| (left.0.clone(), name(left, right.as_ref()));
        let mut all: Vec<_> = seen.iter().map(shown).collect();
        all.sort();
        assert_eq!(said(&mesh, "then"), all, "seed {seed}");
        let known = seen.iter().filter(|(_, right)| right.is_some());
        let mut known: Vec<_> = known.map(shown).collect();
        known.sort();
        unknown += all.len() - known.len();
        assert_eq!(said(&mesh, "known"), known, "seed {seed}");
        // A version a key, and those that nobody has asked for since: not all that there ever were.
        assert!(mesh.kept("p.then") < 64 * 4 + sent[1].len() / 2, "{}", mesh.kept("p.then"));
    }
    assert!(unknown > 5, "some values have no version");
}

#[test]
fn a_lookup_sees_the_last_value_of_its_key() {
    let describe = |mesh: &mut Pipelines| {
        let join = || marks(mesh, "left", 3).lookup(marks(mesh, "right", 2));
        join().left(name).to("found");
    };
    for seed in 0..SEEDS / 4 {
        let mut mesh = TestMesh::of(describe).seed(seed);
        let mut send = |stream, key: &str, n: u64| {
            mesh.send_json(stream, key, &(key.to_owned(), BEGIN_MS - n as i64, n));
            mesh.run();
        };
        send("left", "a", 1);
        send("right", "a", 2);
        send("left", "a", 3);
        send("right", "a", 4);
        send("left", "a", 5);
        send("left", "b", 6);
        let expected = [("a", "1-"), ("a", "3-2"), ("a", "5-4"), ("b", "6-")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(said(&mesh, "found"), expected, "seed {seed}");
        assert_eq!(mesh.kept("p.found"), 1, "seed {seed}: one row a key of the table");
    }
}

#[test]
fn what_is_late_for_a_join_is_a_dead_letter_unless_it_is_allowed() {
    let describe = |mesh: &mut Pipelines| {
        let keyed = |stream| {
            let events = mesh.clone().pipeline("p").read_with(stream, 1);
            events.event_time(|e| e.time_ms, Duration::ZERO).key_by(|e| e.key())
        };
        let join = |within| keyed("left").join(keyed("right"), within);
        let show = |l: &flow::Event, r: Option<&flow::Event>| {
            format!("{}-{}", l.text(), r.map_or(String::new(), |r| r.text().into_owned()))
        };
        let within = Within::of(seconds(10));
        join(within).left(show).buckets(1).to("strict");
        join(within.allow_late(seconds(30))).left(show).buckets(1).to("patient");
    };
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(describe).seed(seed);
        let mut send = |stream, value, ms| {
            mesh.send_at(stream, "k", value, BEGIN_MS + ms);
            mesh.run();
        };
        send("right", "r", 0);
        send("left", "later", 39_000);
        send("right", "later", 39_000);
        send("left", "l", 9_000);
        send("left", "alone", 11_000);
        let dead = mesh.dead("p.strict");
        assert_eq!(dead.iter().map(|e| e.text().into_owned()).collect::<Vec<_>>(), ["l", "alone"]);
        assert!(dead.iter().all(|e| e.header("cause").as_deref() == Some("late")));
        let said: Vec<String> = mesh.events("patient").iter().map(|e| e.text().into()).collect();
        assert_eq!(said, ["later-later", "l-r"], "seed {seed}: the other may still meet somebody");
        assert!(mesh.dead("p.patient").is_empty(), "seed {seed}");
    }
}

#[test]
fn values_meet_up_to_the_very_end_of_their_time() {
    let describe = |mesh: &mut Pipelines| {
        let keyed = |stream| {
            let events = mesh.clone().pipeline("p").read_with(stream, 1);
            events.event_time(|e| e.time_ms, Duration::ZERO).key_by(|e| e.key())
        };
        let join = keyed("left").join(keyed("right"), Within::of(seconds(10)));
        join.inner(|l, r| format!("{}-{}", l.text(), r.text())).buckets(1).to("pairs");
    };
    let mut mesh = TestMesh::of(describe).calm();
    let mut send = |stream, key, value, ms| {
        mesh.send_at(stream, key, value, BEGIN_MS + ms);
        mesh.run();
    };
    send("left", "k", "l", 0);
    send("left", "other", "", 10_000);
    send("right", "other", "", 10_000);
    // The watermark says 10 s: nothing earlier comes, but this is not earlier.
    send("right", "k", "r", 10_000);
    assert!(said(&mesh, "pairs").contains(&("k".to_owned(), "l-r".to_owned())));
}

#[test]
fn a_key_is_passed_on_once_within_the_time_and_forgotten_after_it() {
    let describe = |mesh: &mut Pipelines| {
        marks(mesh, "left", 3).dedup(seconds(60)).buckets(4).to("once");
    };
    for seed in 0..SEEDS {
        let mut draw = numbers(seed);
        let mut mesh = TestMesh::of(describe).seed(seed);
        let mut first: BTreeMap<String, i64> = BTreeMap::new();
        for n in 0..300u64 {
            // Each id comes some times within half a minute; ids are used again after hours.
            let round = n / 100;
            let time_ms = BEGIN_MS + (round * 10_000_000 + draw(30_000)) as i64;
            let id = format!("{}", draw(40));
            first.entry(format!("{round} {id}")).or_insert(time_ms);
            mesh.send_json("left", n.to_string(), &(id, time_ms, round));
            if n % 100 == 99 {
                mesh.run();
            }
        }
        let passed = mesh.events("once");
        let round_of = |e: &flow::Event| {
            let mark: Mark = serde_json::from_slice(e.value()).unwrap();
            format!("{} {}", mark.2, mark.0)
        };
        let mut passed: Vec<String> = passed.iter().map(round_of).collect();
        passed.sort();
        let mut expected: Vec<String> = first.into_keys().collect();
        expected.sort();
        assert_eq!(passed, expected, "seed {seed}");
        close(&mut mesh);
        assert_eq!(mesh.kept("p.once"), 2, "seed {seed}: the last id and its timer");
    }
}

#[test]
fn one_flow_goes_two_ways() {
    let describe = |mesh: &mut Pipelines| {
        let (even, odd) = mesh.pipeline("p").read("n").json::<u64>().split(|n| n % 2 == 0);
        even.key_by(|_| "all").sum(|n| *n).view("even");
        odd.key_by(|_| "all").sum(|n| *n).view("odd");
    };
    let mut mesh = TestMesh::of(describe).seed(1);
    (0..10u64).for_each(|n| mesh.send_json("n", n.to_string(), &n));
    mesh.run();
    assert_eq!(mesh.view("even").get("all"), Some(20.into()));
    assert_eq!(mesh.view("odd").get("all"), Some(25.into()));
}

#[test]
fn results_that_have_no_rows_need_a_stream() {
    let mut pipelines = Pipelines::new();
    let keyed = || marks(&pipelines, "left", 1);
    keyed().join(keyed(), Within::of(seconds(1))).inner(|_, _| 1).stage("j").view("v");
    let refused = pipelines.check().unwrap_err().to_string();
    assert!(refused.contains("\"j\"") && refused.contains(".to a stream"), "{refused}");
    pipelines = Pipelines::new();
    let other = pipelines.pipeline("q").read("right").json::<Mark>().key_by(|m| m.0.clone());
    pipelines.pipeline("q").read("right").key_by(|e| e.key()).count().view("v");
    let join = marks(&pipelines, "left", 1).join(other, Within::of(seconds(1)));
    join.inner(|_, _| 1).to("s");
    let refused = pipelines.check().unwrap_err().to_string();
    assert!(refused.contains("different pipelines"), "{refused}");
}

#[test]
fn a_windowed_join_takes_less_than_a_tenth_of_a_second() {
    let describe = |mesh: &mut Pipelines| {
        let window = Within::window(seconds(10));
        let join = marks(mesh, "left", 4).join(marks(mesh, "right", 4), window);
        join.inner(|l, r| name(l, Some(r))).to("pairs");
    };
    let meet = |left: i64, right: i64| left / 10_000 == right / 10_000;
    // The best of some: whoever else uses the machine is not the mesh's time.
    let took = (0..5).map(|seed| {
        let begin = Instant::now();
        let mut mesh = TestMesh::of(describe).seed(seed);
        let sent = send(&mut mesh, seed, 20);
        close(&mut mesh);
        assert_eq!(said(&mesh, "pairs"), pairs(&sent, meet));
        begin.elapsed()
    });
    let best = took.min().unwrap();
    assert!(best < Duration::from_millis(100), "it took {best:?}");
}
