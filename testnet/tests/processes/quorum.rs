//! A majority that is gone: what is left refuses, says so, and has made nothing up when the others are back.

use model::BatchBuilder;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use testnet::raw::Raw;
use testnet::scene::{Scene, Setting};

const PARTITIONS: i32 = 4;
const NOT_LEADER: i16 = 6;
const TIMED_OUT: i16 = 7;
const NOT_ENOUGH: i16 = 19;

/// What was sent, by what was said of it. What was not decided in time may come yet, or never: it is in neither.
#[derive(Default)]
struct Sent {
    acknowledged: BTreeSet<String>,
    refused: BTreeSet<String>,
}

fn produce(scene: &Scene, partition: i32, value: &str) -> i16 {
    let mut builder = BatchBuilder::new();
    builder.push(1_700_000_000_000, None, Some(value.as_bytes()), &[]);
    let batch = builder.build().expect("an event");
    let mut raw = Raw::connect(&scene.kafka()[0]).expect("the port is open");
    raw.produce("own", partition, batch.bytes()).expect("an answer").0
}

fn append(scene: &Scene, partition: i32, value: &str) -> (u16, String) {
    let body = json!({ "events": [{ "value": value }], "partition": partition });
    let (status, said) = scene.post(1, "/v1/streams/own/events", &body).expect("an answer");
    (status, said["code"].as_str().unwrap_or_default().to_owned())
}

fn values(scene: &Scene, partition: i32) -> Result<Vec<String>, String> {
    let path = format!("/v1/streams/own/events?partition={partition}&offset=0");
    let (status, body) = scene.get(2, &path).map_err(|error| error.to_string())?;
    let events = body["events"].as_array().filter(|_| status == 200).ok_or(body.to_string())?;
    Ok(events.iter().filter_map(|event| Some(event["value"].as_str()?.to_owned())).collect())
}

/// Which peers are missing, since when, and what brings them back.
fn names_who_is_away(problem: &serde_json::Value) {
    let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
    for words in ["p2 for ", "p3 for ", " s"] {
        assert!(text("because").contains(words), "{problem}");
    }
    assert!(text("try").contains("data folder of p"), "{problem}");
}

#[test]
fn without_a_majority_all_is_refused_and_only_what_was_acknowledged_is_there_afterwards() {
    let mut scene = Scene::up(Setting::counting(3));
    let new = json!({"name": "own", "partitions": PARTITIONS});
    assert_eq!(scene.post(1, "/v1/streams", &new).expect("an answer").0, 201);
    let mut sent = Sent::default();
    for partition in 0..PARTITIONS {
        let value = format!("before-{partition}");
        assert_eq!(append(&scene, partition, &value).0, 200);
        sent.acknowledged.insert(value);
    }
    let counted = json!({"events": [{"key": "a", "value": "x"}]});
    assert_eq!(scene.post(1, "/v1/streams/bench/events", &counted).expect("an answer").0, 200);
    scene.eventually("a count at every peer", Duration::from_secs(10), || {
        let counts = scene.counts(1, "bench_counts", "any").map_err(|error| error.to_string())?;
        if counts.get("a") == Some(&1) { Ok(()) } else { Err(format!("{counts:?}")) }
    });

    for peer in [2, 3] {
        scene.net.kill(peer).expect("it runs");
    }
    let row = |consistency: &str| {
        let path = format!("/v1/views/bench_counts/rows/a?consistency={consistency}");
        scene.get(1, &path).expect("an answer")
    };
    scene.eventually("an answer that says that it is stale", Duration::from_secs(10), || {
        let (status, body) = row("any");
        let stale = status == 200 && body["stale"] == true && body["value"] == 1;
        if stale { Ok(()) } else { Err(body.to_string()) }
    });
    // Each of these is waited for: side by side it takes as long as one.
    let scene_of_all = &scene;
    std::thread::scope(|scope| {
        let producing: Vec<_> = (0..PARTITIONS)
            .map(|it| scope.spawn(move || produce(scene_of_all, it, &format!("kafka-{it}"))))
            .collect();
        let appending = scope.spawn(|| append(scene_of_all, 0, "http"));
        let (status, body) = row("leader");
        let code = body["code"].as_str().unwrap_or_default();
        assert!(["SH0501", "SH0504"].contains(&code), "{status} {body}");
        names_who_is_away(&body);
        for (partition, code) in producing.into_iter().enumerate() {
            match code.join().expect("an answer") {
                NOT_LEADER | NOT_ENOUGH => sent.refused.insert(format!("kafka-{partition}")),
                code => {
                    assert_eq!(code, TIMED_OUT, "kafka-{partition}");
                    false
                }
            };
        }
        let (status, code) = appending.join().expect("an answer");
        match code.as_str() {
            "SH0501" => assert!(sent.refused.insert("http".to_owned())),
            code => assert_eq!((status, code), (504, "SH0504")),
        }
    });

    for peer in [2, 3] {
        scene.net.launch(peer).expect("it starts");
    }
    let found = scene.eventually("the events at another peer", Duration::from_secs(20), || {
        let all: Result<Vec<_>, _> = (0..PARTITIONS).map(|it| values(&scene, it)).collect();
        Ok::<_, String>(all?.concat())
    });
    let once: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(once.len(), found.len(), "an event is there twice: {found:?}");
    assert!(sent.acknowledged.is_subset(&once), "an acknowledged event is missing: {found:?}");
    assert!(sent.refused.is_disjoint(&once), "a refused event is there: {found:?}");
}
