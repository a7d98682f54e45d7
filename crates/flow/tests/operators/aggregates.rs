//! Every aggregate, running and in windows, against the list of all values.

use crate::{BEGIN_MS, SEEDS, numbers, row_key};
use flow::testing::TestMesh;
use flow::{Pipelines, Tumbling};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

type Trade = (String, i64, u32);

const KEYS: [&str; 3] = ["a", "b", "Straße"];

fn describe(mesh: &mut Pipelines) {
    let trades = || mesh.clone().pipeline("p").read_with("trades", 3).json::<Trade>();
    let keyed = || trades().key_by(|t| t.0.clone());
    let windows = || keyed().window(Tumbling::of(Duration::from_secs(10)));
    keyed().min(|t| t.1).view("min");
    keyed().max(|t| t.1).view("max");
    keyed().distinct(|t| t.2).view("distinct");
    keyed().top(3, |t| t.1, |t| t.2).view("top");
    keyed().quantiles(&[0.0, 0.5, 0.9, 1.0], |t| t.1 as f64).view("quantiles");
    windows().min(|t| t.1).view("window_min");
    windows().distinct(|t| t.2).view("window_distinct");
    windows().top(3, |t| t.1, |t| t.2).view("window_top");
}

fn top(trades: &[(i64, u32)]) -> Value {
    let mut sorted = trades.to_vec();
    sorted.sort_by_key(|(price, id)| (-price, *id));
    sorted.iter().take(3).map(|(_, id)| *id).collect::<Vec<_>>().into()
}

fn different(trades: &[(i64, u32)]) -> u64 {
    trades.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len() as u64
}

/// The true quantile's value, and that within 1 %.
fn is_quantile(found: &Value, q: f64, trades: &[(i64, u32)]) -> bool {
    let mut sorted: Vec<i64> = trades.iter().map(|(price, _)| *price).collect();
    sorted.sort_unstable();
    let at = (q * (sorted.len() - 1) as f64) as usize;
    let near = |of: i64| (found.as_f64().unwrap() - of as f64).abs() <= of.abs() as f64 * 0.0101;
    near(sorted[at])
}

#[test]
fn aggregates_equal_a_computation_over_all_values_at_once() {
    for seed in 0..SEEDS {
        let mut draw = numbers(seed);
        let mut mesh = TestMesh::of(describe).seed(seed);
        let mut all: BTreeMap<&str, Vec<(i64, u32)>> = BTreeMap::new();
        let mut windows: BTreeMap<String, Vec<(i64, u32)>> = BTreeMap::new();
        for n in 0..400 {
            let key = KEYS[draw(3) as usize];
            let (price, id) = (draw(50) as i64 - 20, draw(40) as u32);
            let time_ms = BEGIN_MS + n * 100;
            let trade: Trade = (key.to_owned(), price, id);
            mesh.send_at("trades", n.to_string(), serde_json::to_vec(&trade).unwrap(), time_ms);
            all.entry(key).or_default().push((price, id));
            let start = time_ms - time_ms.rem_euclid(10_000);
            windows.entry(row_key(key, start)).or_default().push((price, id));
            if n == 150 {
                mesh.run();
            }
        }
        mesh.run();
        for (key, trades) in &all {
            let row = |view: &str| mesh.view(view).get(key).unwrap();
            let prices = || trades.iter().map(|(price, _)| *price);
            assert_eq!(row("min"), json!(prices().min()), "seed {seed}");
            assert_eq!(row("max"), json!(prices().max()), "seed {seed}");
            assert_eq!(row("distinct"), json!(different(trades)), "so few are exact");
            assert_eq!(row("top"), top(trades), "seed {seed}");
            for (name, q) in [("0", 0.0), ("0.5", 0.5), ("0.9", 0.9), ("1", 1.0)] {
                let found = &row("quantiles")[name];
                assert!(is_quantile(found, q, trades), "seed {seed}: {q} is {found}");
            }
        }
        assert_eq!(mesh.view("window_min").rows().len(), windows.len(), "seed {seed}");
        for (key, trades) in &windows {
            let row = |view: &str| mesh.view(view).get(key).unwrap();
            let least = trades.iter().map(|(price, _)| *price).min();
            assert_eq!(row("window_min"), json!(least), "seed {seed}");
            assert_eq!(row("window_distinct"), json!(different(trades)), "seed {seed}");
            assert_eq!(row("window_top"), top(trades), "seed {seed}");
        }
    }
}

#[test]
fn a_sketch_of_many_things_is_within_its_stated_error() {
    let describe = |mesh: &mut Pipelines| {
        let events = mesh.pipeline("p").read_with("visits", 2).key_by(|_| "all");
        events.distinct(|e| e.text().into_owned()).buckets(1).view("visitors");
    };
    let mut mesh = TestMesh::of(describe).seed(3);
    for n in 0..20_000 {
        mesh.send("visits", n.to_string(), (n % 10_000).to_string());
    }
    mesh.run();
    let found = mesh.view("visitors").get("all").unwrap().as_f64().unwrap();
    assert!((found - 10_000.0).abs() < 4.0 * 0.01625 * 10_000.0, "{found}");
}

#[test]
fn a_number_that_cannot_be_kept_is_a_dead_letter_with_its_cause() {
    let describe = |mesh: &mut Pipelines| {
        let numbers = mesh.pipeline("p").read_with("numbers", 2).json::<f64>();
        let keyed = || numbers_of(mesh.clone()).key_by(|_| "all");
        numbers.key_by(|_| "all").max(|n| if *n < 0.0 { f64::NAN } else { *n }).view("max");
        keyed().sum(|n| if *n > 5.0 { u64::MAX } else { 1 }).view("sum");
    };
    fn numbers_of(mut mesh: Pipelines) -> flow::Flow<f64> {
        mesh.pipeline("p").read_with("numbers", 2).json::<f64>()
    }
    for seed in 0..SEEDS {
        let mut mesh = TestMesh::of(describe).seed(seed);
        for number in ["1", "2"] {
            mesh.send("numbers", number, number);
        }
        mesh.run();
        for number in ["-3", "7", "4"] {
            mesh.send("numbers", number, number);
        }
        mesh.run();
        assert_eq!(mesh.view("max").get("all"), Some(json!(7.0)), "seed {seed}");
        let cause = |stage| mesh.dead(stage)[0].header("cause").unwrap().into_owned();
        assert_eq!(cause("p.max"), "values that have no order");
        assert_eq!(mesh.view("sum").get("all"), Some(json!(4)), "seed {seed}");
        assert_eq!(cause("p.sum"), "the sum overflows");
    }
}
