//! Peers as real processes: killed, paused, cut off from power, and asked nonsense.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testnet::clients::{self, History, Load};
use testnet::power::{self, Images};
use testnet::scene::{Scene, Setting};

fn load(scene: &Scene, events: u64, per_second: u64) -> Load {
    let stream = "bench".to_owned();
    Load { bootstrap: scene.kafka(), stream, events, keys: 1000, per_second }
}

/// Runs a load on a thread of its own; `at` breaks things in the middle.
fn run(load: Load, at: impl FnMut(u64)) -> History {
    clients::block_on(clients::run(load, at)).expect("every event is acknowledged")
}

/// Every acknowledged event has one offset, and every event is counted once, at every peer.
fn check_counts(scene: &Scene, history: &History, keys: u64) {
    history.check_offsets().expect("offsets are a function");
    let expected = history.expected_counts(keys);
    for peer in 1..=scene.net.peers().len() {
        scene.eventually("exact counts", Duration::from_secs(30), || {
            let counts = scene.counts(peer, "bench_counts", "leader").map_err(|e| e.to_string())?;
            same(&expected, &counts)
        });
    }
    for peer in 1..=scene.net.peers().len() {
        scene.eventually("equal copies", Duration::from_secs(10), || {
            let counts = scene.counts(peer, "bench_counts", "any").map_err(|e| e.to_string())?;
            same(&expected, &counts)
        });
    }
}

fn same(expected: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let (want, have): (u64, u64) = (expected.values().sum(), found.values().sum());
    let first = expected.iter().find(|(key, count)| found.get(*key) != Some(count));
    Err(format!("{want} counted were expected, {have} found; first difference {first:?}"))
}

#[test]
fn a_million_events_are_counted_once_through_a_kill() {
    let mut scene = Scene::up(Setting::counting(3));
    let mut killed = None;
    let mut started = false;
    let load = load(&scene, 1_000_000, 60_000);
    let history = run(load, |pushed| {
        if pushed > 300_000 && killed.is_none() {
            scene.net.kill(2).expect("p2 runs");
            killed = Some(Instant::now());
        }
        if killed.is_some_and(|at| at.elapsed() > Duration::from_secs(4)) && !started {
            started = true;
            scene.net.launch(2).expect("p2 starts");
        }
    });
    assert!(started, "the kill was in the middle");
    println!("longest gap {:?}, {} retries", history.longest_gap, history.retries);
    assert!(
        history.longest_gap < Duration::from_secs(2),
        "a shard stood still {:?}",
        history.longest_gap
    );
    check_counts(&scene, &history, 1000);
}

#[test]
fn the_busiest_leader_dies_three_times_in_a_row() {
    let mut scene = Scene::up(Setting::counting(3));
    let mut kills = 0;
    let mut victim: Option<(usize, Instant)> = None;
    let load = load(&scene, 400_000, 20_000);
    let history = run(load, |pushed| {
        if let Some((peer, at)) = victim {
            if at.elapsed() > Duration::from_secs(2) {
                scene.net.launch(peer).expect("the victim starts");
                victim = None;
            }
        } else if kills < 3 && pushed > 50_000 + kills * 100_000 {
            let asked = kills as usize % 3 + 1;
            let peer = scene.busiest_leader(asked, "bench").expect("a leader");
            scene.net.kill(peer).expect("it runs");
            victim = Some((peer, Instant::now()));
            kills += 1;
        }
    });
    if let Some((peer, _)) = victim {
        scene.net.launch(peer).expect("the victim starts");
    }
    assert_eq!(kills, 3);
    check_counts(&scene, &history, 1000);
}

#[test]
fn all_peers_die_at_once_and_go_on() {
    let mut scene = Scene::up(Setting::counting(3));
    let mut done = false;
    let load = load(&scene, 200_000, 20_000);
    let history = run(load, |pushed| {
        if pushed > 80_000 && !done {
            done = true;
            for peer in 1..=3 {
                scene.net.kill(peer).expect("it runs");
            }
            for peer in 1..=3 {
                scene.net.launch(peer).expect("it starts");
            }
        }
    });
    assert!(done);
    check_counts(&scene, &history, 1000);
}

#[test]
fn three_power_cuts_of_all_peers_lose_nothing_acknowledged() {
    if let Err(why) = power::possible() {
        println!("SKIPPED: {why}");
        return;
    }
    let images = tempfile::TempDir::new().expect("a temporary folder");
    let mut scene = Scene::up(Setting::counting(3));
    for peer in 1..=3 {
        scene.net.kill(peer).expect("it runs");
    }
    let data = |peer: usize| scene.folder().join(format!("p{peer}/data"));
    let folders: Vec<PathBuf> = (1..=3).map(data).collect();
    let mounted = Images::make(images.path(), &folders, 700).expect("images are mounted");
    for peer in 1..=3 {
        scene.net.launch(peer).expect("it starts");
    }
    let mut cuts = 0;
    let load = load(&scene, 200_000, 10_000);
    let history = run(load, |pushed| {
        if cuts < 3 && pushed > 40_000 + cuts * 50_000 {
            cuts += 1;
            mounted.cut().expect("the power is cut");
            for peer in 1..=3 {
                // It may have ended by itself when its disk did.
                let _ = scene.net.kill(peer);
            }
            mounted.unmount().expect("the dead disks are let go");
            mounted.mount().expect("the power is back");
            for peer in 1..=3 {
                scene.net.launch(peer).expect("it starts");
            }
        }
    });
    assert_eq!(cuts, 3);
    check_counts(&scene, &history, 1000);
    for peer in 1..=3 {
        scene.net.kill(peer).expect("it runs");
    }
    mounted.unmount().expect("the disks are let go");
}

#[test]
fn a_paused_leader_is_replaced_and_wakes_without_harm() {
    let scene = Scene::up(Setting::counting(3));
    let mut paused = None;
    let mut woken = false;
    let pause = Duration::from_secs(30);
    let load = load(&scene, 200_000, 5_000);
    let history = run(load, |pushed| {
        if pushed > 10_000 && paused.is_none() {
            let peer = scene.busiest_leader(1, "bench").expect("a leader");
            scene.net.pause(peer).expect("it runs");
            paused = Some((peer, Instant::now()));
        }
        if let Some((peer, at)) = paused
            && at.elapsed() > pause
            && !woken
        {
            woken = true;
            scene.net.resume(peer).expect("it wakes");
        }
    });
    assert!(woken);
    check_counts(&scene, &history, 1000);
}

#[test]
fn bad_input_over_http_gets_a_clear_error_and_breaks_nothing() {
    let scene = Scene::up(Setting::plain(3));
    let event = serde_json::json!({"events": [{"value": "x"}]});
    let (status, body) = scene.post(1, "/v1/streams/none/events", &event).expect("an answer");
    assert_eq!((status, body["code"].as_str()), (404, Some("SH0301")), "{body}");
    for name in ["../x", "a\0b", &"x".repeat(250)] {
        let new = serde_json::json!({"name": name, "partitions": 1});
        let (status, body) = scene.post(2, "/v1/streams", &new).expect("an answer");
        assert_eq!((status, body["code"].as_str()), (400, Some("SH0002")), "{body}");
    }
    let new = serde_json::json!({"name": "small", "partitions": 1});
    assert_eq!(scene.post(3, "/v1/streams", &new).expect("an answer").0, 201);
    let large = serde_json::json!({"events": [{"value": "x".repeat(2 << 20)}]});
    let (status, body) = scene.post(1, "/v1/streams/small/events", &large).expect("an answer");
    assert_eq!((status, body["code"].as_str()), (413, Some("SH0401")), "{body}");
    let (status, body) = scene.get(1, "/v1/views/none/rows/a").expect("an answer");
    assert_eq!((status, body["code"].as_str()), (404, Some("SH0303")), "{body}");
    let (status, _) = scene.post(1, "/v1/streams/small/events", &event).expect("an answer");
    assert_eq!(status, 200);
    let (status, body) =
        scene.get(2, "/v1/streams/small/events?partition=0&offset=0").expect("an answer");
    assert_eq!((status, body["events"][0]["value"].as_str()), (200, Some("x")), "{body}");
    let (status, body) =
        scene.get(3, "/v1/streams/small/events?partition=0&offset=9").expect("an answer");
    assert_eq!(body["code"].as_str(), Some("SH0403"), "{status} {body}");
}

#[test]
fn a_failing_event_is_a_dead_letter_and_a_pipeline_survives_the_restart_of_all_peers() {
    let mut scene = Scene::up(Setting::words(3));
    let lines = ["a b a", "boom in the chain", "b a"];
    let events: Vec<_> = lines.iter().map(|line| serde_json::json!({"value": line})).collect();
    let body = serde_json::json!({ "events": events });
    let (status, said) = scene.post(1, "/v1/streams/lines/events", &body).expect("an answer");
    assert_eq!(status, 200, "{said}");
    let wanted = BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 2)]);
    let check = |scene: &Scene, wanted: &BTreeMap<String, u64>| {
        scene.eventually("the counts", Duration::from_secs(30), || {
            let counts = scene.counts(2, "word_counts", "leader").map_err(|e| e.to_string())?;
            same(wanted, &counts)
        });
    };
    check(&scene, &wanted);
    scene.eventually("the dead letter", Duration::from_secs(10), || {
        let mut found = 0;
        for partition in 0..16 {
            let path = format!("/v1/streams/words.word_counts.dead/events?partition={partition}");
            let (_, body) = scene.get(3, &path).map_err(|e| e.to_string())?;
            found += body["events"].as_array().map_or(0, Vec::len);
        }
        if found == 1 { Ok(()) } else { Err(format!("{found} dead letters")) }
    });
    for peer in 1..=3 {
        scene.net.kill(peer).expect("it runs");
    }
    for peer in 1..=3 {
        scene.net.launch(peer).expect("it starts");
    }
    scene.net.ready(Duration::from_secs(30)).expect("the mesh is back");
    let body = serde_json::json!({"events": [{"value": "c a"}]});
    scene.eventually("an append after the restart", Duration::from_secs(20), || {
        let answer = scene.post(2, "/v1/streams/lines/events", &body);
        let (status, said) = answer.map_err(|e| e.to_string())?;
        if status == 200 { Ok(()) } else { Err(said.to_string()) }
    });
    let wanted = BTreeMap::from([("a".to_owned(), 4), ("b".to_owned(), 2), ("c".to_owned(), 1)]);
    check(&scene, &wanted);
}

#[test]
fn what_kafka_python_sends_kcat_prints_at_another_peer() {
    let python = match clients::python(&["kafka-python==3.0.12"]) {
        Ok(python) => python,
        Err(why) => {
            println!("SKIPPED: {why}");
            return;
        }
    };
    if std::process::Command::new("kcat").arg("-V").output().is_err() {
        println!("SKIPPED: it needs kcat");
        return;
    }
    let scene = Scene::up(Setting::plain(3));
    let kafka = scene.kafka();
    let script = format!(
        "from kafka import KafkaProducer\n\
         producer = KafkaProducer(bootstrap_servers='{}')\n\
         producer.send('my_topic', value=b'Hello, world!')\n\
         producer.flush()\n",
        kafka[0]
    );
    let sent = std::process::Command::new(python).args(["-c", &script]).output().expect("it runs");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let read = std::process::Command::new("kcat")
        .args(["-b", &kafka[2], "-C", "-t", "my_topic", "-e", "-q"])
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&read.stdout), "Hello, world!\n");
}
