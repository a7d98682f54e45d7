//! Windows of every kind, early and late firing, against a computation over all values at once.

use crate::{BEGIN_MS, SEEDS, numbers, row_key, rows, said};
use flow::testing::TestMesh;
use flow::{Flow, Global, Hopping, Keyed, Pipelines, Session, Tumbling, Windowed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

type Visit = (String, i64, i64);

const KEYS: [&str; 4] = ["a", "b", "x@2013-01-01T00:00:00Z", ""];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn visits(mesh: &Pipelines) -> Keyed<Visit> {
    let visits: Flow<Visit> = mesh.clone().pipeline("p").read_with("visits", 3).json();
    visits.event_time(|v| v.1, seconds(60)).key_by(|v| v.0.clone())
}

/// Sends visits up to a minute out of order; returns them.
fn send(mesh: &mut TestMesh, seed: u64, count: i64, step_ms: i64) -> Vec<Visit> {
    let mut draw = numbers(seed);
    let mut sent = Vec::new();
    for n in 0..count {
        let time_ms = BEGIN_MS + n * step_ms - draw(59_000) as i64;
        let visit: Visit = (KEYS[draw(4) as usize].to_owned(), time_ms, draw(100) as i64);
        mesh.send_json("visits", n.to_string(), &visit);
        sent.push(visit);
        if n % 90 == 89 {
            mesh.run();
        }
    }
    mesh.run();
    sent
}

/// Events far ahead in every partition: all windows close.
fn close(mesh: &mut TestMesh) {
    for n in 0..64 {
        let end: Visit = ("end".into(), BEGIN_MS + 100_000_000, 0);
        mesh.send_json("visits", n.to_string(), &end);
    }
    mesh.run();
}

fn hopping(mesh: &mut Pipelines) {
    let windows = || visits(mesh).window(Hopping::of(seconds(30), seconds(12)).offset(seconds(5)));
    windows().count().view("counts").to("closed");
    windows().max(|v| v.2).view("greatest");
}

#[test]
fn a_value_is_in_every_hopping_window_that_holds_its_time() {
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(hopping).seed(seed);
        let sent = send(&mut mesh, seed, 300, 500);
        let mut expected: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (key, time_ms, number) in &sent {
            // Every window there could be, asked one by one.
            for start in (*time_ms - 31_000..=*time_ms).filter(|s| (s - 5_000) % 12_000 == 0) {
                if start + 30_000 > *time_ms {
                    expected.entry(row_key(key, start)).or_default().push(*number);
                }
            }
        }
        let counts = rows(expected.iter().map(|(key, all)| (key, all.len())));
        assert_eq!(mesh.view("counts").rows(), counts, "seed {seed}");
        let greatest = rows(expected.iter().map(|(k, all)| (k, json!(all.iter().max()))));
        assert_eq!(mesh.view("greatest").rows(), greatest, "seed {seed}");
        assert_eq!(mesh.tally().late, 0);
        close(&mut mesh);
        let closed: Vec<(String, String)> =
            counts.iter().map(|(key, count)| (key.clone(), count.to_string())).collect();
        assert_eq!(said(&mesh, "closed"), closed, "seed {seed}: each window closes once");
        assert!(mesh.view("greatest").kept() <= 6, "seed {seed}: closed windows leave state");
    }
}

fn sessions(mesh: &mut Pipelines) {
    let windows = || visits(mesh).window(Session::of(seconds(8)));
    windows().count().view("counts").to("closed");
    windows().sum(|v| v.2).view("sums");
    windows().top(2, |v| v.2, |v| v.1).view("best");
}

/// (key, start) → numbers and times of each session, by sorting.
fn sessions_of(sent: &[Visit]) -> BTreeMap<String, Vec<(i64, i64)>> {
    let mut sorted = sent.to_vec();
    sorted.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut sessions: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    let mut at: Option<(String, i64, i64)> = None;
    for (key, time_ms, number) in sorted {
        let start = match &at {
            Some((of, start, last)) if *of == key && time_ms - last < 8_000 => *start,
            _ => time_ms,
        };
        sessions.entry(row_key(&key, start)).or_default().push((number, time_ms));
        at = Some((key, start, time_ms));
    }
    sessions
}

#[test]
fn sessions_are_what_sorting_by_time_finds_however_their_values_arrive() {
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(sessions).seed(seed);
        let sent = send(&mut mesh, seed, 250, 1_500);
        let expected = sessions_of(&sent);
        assert!(expected.len() > 20 && expected.values().any(|values| values.len() > 3));
        let counts = rows(expected.iter().map(|(key, values)| (key, values.len())));
        assert_eq!(mesh.view("counts").rows(), counts, "seed {seed}");
        let sum = |values: &[(i64, i64)]| values.iter().map(|(number, _)| number).sum::<i64>();
        let sums = rows(expected.iter().map(|(key, values)| (key, sum(values))));
        assert_eq!(mesh.view("sums").rows(), sums, "seed {seed}");
        let best = |values: &[(i64, i64)]| -> Value {
            let mut values = values.to_vec();
            values.sort_by_key(|(number, time_ms)| (-number, *time_ms));
            values.iter().take(2).map(|(_, time_ms)| *time_ms).collect::<Vec<_>>().into()
        };
        let best = rows(expected.iter().map(|(key, values)| (key, best(values))));
        assert_eq!(mesh.view("best").rows(), best, "seed {seed}");
        close(&mut mesh);
        let closed: Vec<(String, String)> =
            counts.iter().map(|(key, count)| (key.clone(), count.to_string())).collect();
        assert_eq!(said(&mesh, "closed"), closed, "seed {seed}: each session closes once");
        assert!(mesh.view("sums").kept() <= 3, "seed {seed}: closed sessions leave state");
    }
}

/// How often each number of visits was the greatest of its window: windows over windows.
fn windows_of_windows(mesh: &mut Pipelines) {
    let windows = visits(mesh).window(Tumbling::of(seconds(10)));
    windows.count().buckets(5).to("counts");
    let counts = mesh.pipeline("p").read("counts").flat_map(|e| {
        let (_, start_ms) = e.window()?;
        Some((start_ms, e.text().parse::<u64>().ok()?))
    });
    let greatest = counts.key_by(|_| "all").window(Tumbling::of(seconds(10)));
    greatest.max(|(_, count)| *count).buckets(3).view("greatest").to("closed");
}

#[test]
fn a_stage_trusts_the_watermark_of_the_stage_that_it_reads_from() {
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(windows_of_windows).seed(seed);
        let sent = send(&mut mesh, seed, 200, 1_000);
        close(&mut mesh);
        let mut counts: BTreeMap<(i64, &str), u64> = BTreeMap::new();
        for (key, time_ms, _) in &sent {
            *counts.entry((time_ms - time_ms.rem_euclid(10_000), key)).or_default() += 1;
        }
        let mut greatest: BTreeMap<String, u64> = BTreeMap::new();
        for ((start_ms, _), count) in counts {
            let most = greatest.entry(row_key("all", start_ms)).or_default();
            *most = (*most).max(count);
        }
        let expected: Vec<_> =
            greatest.iter().map(|(k, most)| (k.clone(), most.to_string())).collect();
        assert_eq!(mesh.tally().late, 0, "seed {seed}");
        // All closed without a moment's waiting for idle partitions: five buckets, four keys.
        assert_eq!(said(&mesh, "closed"), expected, "seed {seed}");
    }
}

fn by_timestamp(mesh: &Pipelines) -> Keyed<flow::Event> {
    let events = mesh.clone().pipeline("p").read_with("events", 1);
    events.event_time(|e| e.time_ms, Duration::ZERO).key_by(|e| e.key())
}

fn calm(describe: impl Fn(Windowed<flow::Event>), windows: impl Into<flow::Windows>) -> TestMesh {
    let windows = windows.into();
    TestMesh::of(|mesh| describe(by_timestamp(mesh).window(windows))).calm()
}

fn at(mesh: &mut TestMesh, key: &str, ms: i64) {
    mesh.send_at("events", key, "", BEGIN_MS + ms);
    mesh.run();
}

fn pair(key: &str, start_ms: i64, value: i64) -> (String, String) {
    (row_key(key, BEGIN_MS + start_ms), value.to_string())
}

#[test]
fn early_firings_by_time_tell_what_changed_since_the_last_and_the_close_tells_all() {
    let fire = |w: Windowed<flow::Event>| {
        let w = w.early_every(seconds(10));
        w.sum(|_| 1).buckets(1).view("sums").to("told");
    };
    let mut mesh = calm(fire, Tumbling::of(seconds(60)));
    let row = |mesh: &TestMesh| mesh.view("sums").get(&pair("a", 0, 0).0);
    at(&mut mesh, "a", 1_000);
    at(&mut mesh, "a", 2_000);
    assert_eq!((said(&mesh, "told").len(), row(&mesh)), (0, None), "nothing is due yet");
    at(&mut mesh, "other", 10_000);
    assert_eq!(said(&mesh, "told"), [pair("a", 0, 2)]);
    assert_eq!(row(&mesh), Some(2.into()));
    at(&mut mesh, "other", 30_000);
    let told = said(&mesh, "told");
    assert_eq!(told.iter().filter(|(key, _)| key.starts_with('a')).count(), 1, "nothing new");
    at(&mut mesh, "a", 31_000);
    at(&mut mesh, "other", 75_000);
    let told: Vec<_> =
        said(&mesh, "told").into_iter().filter(|(key, _)| key.starts_with('a')).collect();
    assert_eq!(told, [pair("a", 0, 2), pair("a", 0, 3), pair("a", 0, 3)], "40 s, and the close");
}

#[test]
fn early_firings_by_count_tell_whenever_enough_has_come_in_any_window() {
    let fire = |w: Windowed<flow::Event>| {
        w.early_count(3).count().buckets(1).view("counts").to("told");
    };
    let mut mesh = calm(fire, Session::of(seconds(60)));
    for n in 0..7 {
        at(&mut mesh, "a", n * 1_000);
    }
    assert_eq!(said(&mesh, "told"), [pair("a", 0, 3), pair("a", 0, 6)]);
    assert_eq!(mesh.view("counts").rows(), rows([(pair("a", 0, 0).0, 6)]));
    at(&mut mesh, "b", 200_000);
    assert_eq!(said(&mesh, "told").last(), Some(&pair("a", 0, 7)));

    let mut mesh = calm(fire, Global);
    for n in 0..7 {
        at(&mut mesh, "a", n * 1_000);
    }
    let told = [("a".to_owned(), "3".to_owned()), ("a".to_owned(), "6".to_owned())];
    assert_eq!(said(&mesh, "told"), told);
    assert_eq!(mesh.view("counts").get("a"), Some(6.into()));
}

#[test]
fn a_window_told_only_when_it_closes_has_no_row_before_and_loses_it_when_due() {
    let fire = |w: Windowed<flow::Event>| {
        let w = w.on_close().keep_rows(seconds(100));
        w.count().buckets(1).view("counts");
    };
    for windows in [flow::Windows::from(Tumbling::of(seconds(60))), Session::of(seconds(50)).into()]
    {
        let mut mesh = calm(fire, windows);
        at(&mut mesh, "a", 10_000);
        at(&mut mesh, "a", 5_000 + 10_000);
        assert!(mesh.view("counts").rows().is_empty());
        at(&mut mesh, "b", 70_000);
        assert_eq!(mesh.view("counts").rows().len(), 1, "{windows:?}");
        assert!(mesh.view("counts").rows().values().all(|count| *count == json!(2)));
        at(&mut mesh, "b", 159_000);
        assert_eq!(mesh.view("counts").rows().len(), 2, "{windows:?}");
        at(&mut mesh, "b", 170_000);
        assert!(mesh.view("counts").rows().keys().all(|key| key.starts_with('b')), "{windows:?}");
        at(&mut mesh, "end", 10_000_000);
        assert_eq!((mesh.view("counts").rows().len(), mesh.view("counts").kept()), (0, 3));
    }
}

#[test]
fn a_late_value_reopens_its_session_within_what_is_allowed_and_is_told_again() {
    let fire = |w: Windowed<flow::Event>| {
        w.allow_late(seconds(60)).count().buckets(1).view("counts").to("told");
    };
    let mut mesh = calm(fire, Session::of(seconds(10)));
    at(&mut mesh, "a", 0);
    at(&mut mesh, "a", 15_000);
    at(&mut mesh, "z", 40_000);
    assert_eq!(said(&mesh, "told"), [pair("a", 0, 1), pair("a", 15_000, 1)]);
    // It joins both.
    at(&mut mesh, "a", 8_000);
    assert_eq!(mesh.view("counts").get(&pair("a", 0, 0).0), Some(3.into()));
    assert_eq!(mesh.view("counts").get(&pair("a", 15_000, 0).0), None);
    assert!(said(&mesh, "told").contains(&pair("a", 0, 3)));
    at(&mut mesh, "z", 100_000);
    at(&mut mesh, "a", 8_000);
    assert_eq!(mesh.dead("p.counts").len(), 1, "later than allowed");
    assert_eq!(mesh.dead("p.counts")[0].header("cause").as_deref(), Some("late"));
}

#[test]
fn windows_that_make_no_sense_are_refused_before_anything_starts() {
    let refused = |describe: &dyn Fn(Keyed<flow::Event>)| {
        let mut pipelines = Pipelines::new();
        describe(pipelines.pipeline("p").read("events").key_by(|e| e.key()));
        pipelines.check().unwrap_err().to_string()
    };
    let of =
        |windows: flow::Windows| refused(&|keyed| drop(keyed.window(windows).count().view("v")));
    assert!(of(Tumbling::of(Duration::ZERO).into()).contains("at least one millisecond"));
    let sparse = Hopping::of(seconds(1), seconds(2));
    assert!(of(sparse.into()).contains("leave values out"));
    let dense = Hopping::of(seconds(2_000), seconds(1));
    assert!(of(dense.into()).contains("1,000 windows"));
    assert!(of(Session::of(Duration::ZERO).into()).contains("gap"));
    let unmerged = refused(&|keyed| {
        let windows = keyed.window(Session::of(seconds(1)));
        windows.aggregate(|| 0, |s: &mut u64, _| *s += 1, |s| *s).view("v");
    });
    assert!(unmerged.contains("aggregate_merging") && unmerged.contains("\"v\""), "{unmerged}");
    let silent = refused(&|keyed| drop(keyed.window(Global).on_close().count().view("v")));
    assert!(silent.contains("would say nothing"));
}
