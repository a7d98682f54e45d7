//! `/metrics` as Prometheus reads it: well formed, few series, and they move with what happens.

use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use testnet::scene::{Scene, Setting};

/// Values by name and labels.
type Samples = BTreeMap<String, f64>;

/// Labels that have a few values, whatever users make.
const FEW: [&str; 3] = ["le", "state", "version"];

#[test]
fn metrics_are_well_formed_few_and_move_with_what_happens() {
    let mut scene = Scene::up(Setting::words(3));
    let before = parsed(&scene.text(1, "/metrics"));
    let events: Vec<_> =
        (0..500).map(|i| json!({ "value": format!("word{} twice", i % 7) })).collect();
    let (status, body) =
        scene.post(1, "/v1/streams/lines/events", &json!({ "events": events })).expect("an answer");
    assert_eq!(status, 200, "{body}");
    scene.eventually("all words are counted", Duration::from_secs(20), || {
        let counts = scene.counts(2, "word_counts", "leader").map_err(|e| e.to_string())?;
        let sum: u64 = counts.values().sum();
        (sum == 1_000).then_some(()).ok_or(format!("{sum} of 1000"))
    });
    let after = parsed(&scene.text(1, "/metrics"));
    let moved = |name: &str| after[name] - before.get(name).copied().unwrap_or(0.0);
    assert_eq!(moved("shoal_events_in_total"), 500.0);
    assert!(moved("shoal_bytes_in_total") > 500.0 * 10.0);
    assert!(moved("shoal_append_latency_seconds_count") >= 1.0);
    assert!(moved("shoal_fsync_seconds_count") >= 1.0);
    let latency: f64 = (1..=3)
        .map(|peer| parsed(&scene.text(peer, "/metrics"))["shoal_event_latency_seconds_count"])
        .sum();
    assert!(latency >= 1.0, "no task measured how long an event took");
    assert_eq!(after["shoal_members{state=\"alive\"}"], 3.0);
    let led: f64 =
        (1..=3).map(|peer| parsed(&scene.text(peer, "/metrics"))["shoal_shards_led"]).sum();
    assert_eq!(led, 64.0);
    let (status, body) = scene.get(1, "/v1/streams/lines/events?partition=0").expect("an answer");
    let read = body["events"].as_array().map_or(0, Vec::len) as f64;
    assert!(status == 200 && read > 0.0, "{body}");
    assert_eq!(parsed(&scene.text(1, "/metrics"))["shoal_events_out_total"], read);
    few_series(&scene);
    let changes = after["shoal_shard_owner_changes_total"];
    scene.net.kill(3).expect("p3 runs");
    scene.eventually("the others take over", Duration::from_secs(10), || {
        let now = parsed(&scene.text(1, "/metrics"));
        let seen = now["shoal_members{state=\"gone\"}"] == 1.0;
        let took = now["shoal_shard_owner_changes_total"] > changes;
        (seen && took).then_some(()).ok_or(format!("{now:?}"))
    });
}

/// What users make adds no series at `/metrics`, and one each at `/metrics/internal`.
fn few_series(scene: &Scene) {
    let before = parsed(&scene.text(2, "/metrics"));
    for i in 0..20 {
        let new = json!({ "name": format!("many-{i}"), "partitions": 1 });
        assert_eq!(scene.post(2, "/v1/streams", &new).expect("an answer").0, 201);
        let event = json!({ "events": [{ "value": "x" }] });
        let path = format!("/v1/streams/many-{i}/events");
        assert_eq!(scene.post(2, &path, &event).expect("an answer").0, 200);
    }
    let after = parsed(&scene.text(2, "/metrics"));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for name in after.keys() {
        let labels = name.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
        for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
            let label = pair.split_once('=').map_or(pair, |(label, _)| label);
            assert!(FEW.contains(&label), "{name} has the label {label}");
        }
    }
    let internal: usize = (1..=3)
        .map(|peer| parsed(&scene.text(peer, "/metrics/internal")))
        .map(|found| found.keys().filter(|name| name.contains("stream=\"many-")).count())
        .sum();
    assert_eq!(internal, 20, "each stream of one partition is led by one peer");
}

/// Reads the text form of OpenMetrics, strictly: a family has its type before its samples, a counter ends in
/// `_total`, a histogram's counts grow with its bounds, and the end is marked.
fn parsed(text: &str) -> Samples {
    let mut samples = Samples::new();
    let mut family = (String::new(), String::new());
    let mut low: f64 = 0.0;
    let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end mark in\n{text}"));
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            assert!(["TYPE", "HELP", "UNIT"].contains(&what), "{line}");
            if what == "TYPE" {
                family = (name.to_owned(), words.next().unwrap_or("").to_owned());
                assert!(["counter", "gauge", "histogram"].contains(&&*family.1), "{line}");
                assert!(name.starts_with("shoal_"), "{line}");
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number in {line}"));
        let bare = name.split('{').next().unwrap_or(name);
        let suffix = bare.strip_prefix(&*family.0).unwrap_or_else(|| panic!("{line} has no type"));
        let fits: &[&str] = match &*family.1 {
            "counter" => &["_total"],
            "histogram" => &["_sum", "_count", "_bucket"],
            _ => &[""],
        };
        assert!(fits.contains(&suffix), "{line} is no {}", family.1);
        if suffix == "_bucket" {
            let first = !samples.keys().any(|known| known.starts_with(&format!("{bare}{{")));
            assert!(first || value >= low, "{line} is below the last");
            low = value;
        }
        assert!(samples.insert(name.to_owned(), value).is_none(), "{name} is there twice");
    }
    samples
}
