//! What is left of a damaged copy is kept until another is whole, or until a person says that it may go.

use crate::{cut, data, files, written};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testnet::ask::Asker;
use testnet::clients::{self, Load};
use testnet::hand::Line;
use testnet::scene::{Scene, Setting};

/// A load that a checkpoint holds when this returns, and more after it.
fn loaded(scene: &Scene) {
    for events in [600, 400] {
        let (bootstrap, stream) = (scene.kafka(), "bench".to_owned());
        let load = Load { bootstrap, stream, events, keys: 100, per_second: 2_000 };
        clients::block_on(clients::run(load, |_| {})).expect("every event is acknowledged");
        std::thread::sleep(Duration::from_secs(5));
    }
}

/// Cuts the segment file that holds the most in half.
fn halve_a_segment(data: &Path) -> PathBuf {
    let segments = files(&data.join("segments"));
    let is_segment = |path: &&PathBuf| path.extension().is_some_and(|e| e == "seg");
    let segment = segments.iter().find(is_segment).expect("there are some");
    cut(segment, written(segment) / 2);
    segment.clone()
}

fn counted(scene: &Scene, peer: usize) {
    scene.eventually("exact counts", Duration::from_secs(30), || {
        let counts = scene.counts(peer, "bench_counts", "leader").map_err(|e| e.to_string())?;
        let all = counts.len() == 100 && counts.values().all(|count| *count == 10);
        all.then_some(()).ok_or(format!("{counts:?}"))
    });
}

#[test]
fn the_only_copy_of_a_shard_is_not_given_up_without_a_persons_word() {
    let mut scene = Scene::up(Setting::counting(1));
    loaded(&scene);
    scene.net.kill(1).expect("it runs");
    let data = data(&scene, 1);
    let kept = data.with_extension("kept");
    let copied = Command::new("cp").arg("-aT").arg(&data).arg(&kept).status().expect("cp runs");
    assert!(copied.success());
    let spoilt = halve_a_segment(&data);
    let left = fs::read(&spoilt).expect("it is there");
    let problem = scene.net.start(1).expect_err("it must not start");
    assert_eq!(problem.code, "SH0208", "{problem}");
    let partition = spoilt.parent().expect("a folder").display().to_string();
    assert!(problem.because.contains(&partition), "it names what is damaged: {problem}");
    assert!(problem.because.contains("--without-damaged"), "and a way out: {problem}");
    assert_eq!(fs::read(&spoilt).expect("it is there"), left, "nothing was touched");

    let shown = data.display().to_string();
    let hand = Line::start(&["--data", &shown, "--without-damaged"]).begin();
    let asker = Asker::new(Duration::from_secs(5));
    scene.eventually("it works without the shard", Duration::from_secs(20), || {
        let ports = fs::read(data.join("ports.json")).map_err(|e| e.to_string())?;
        let ports: serde_json::Value = serde_json::from_slice(&ports).map_err(|e| e.to_string())?;
        let http = ports["http"].as_str().ok_or("no port")?;
        let (_, body) = asker.get(http, "/v1/health").map_err(|e| e.to_string())?;
        let verdict = body["verdict"].as_str().unwrap_or_default();
        let told = verdict.contains("1 of 64 shards have no leader") && verdict.contains("aside");
        if told { Ok(()) } else { Err(body.to_string()) }
    });
    let aside = files(&data.join("aside"));
    assert!(aside.iter().any(|path| fs::read(path).is_ok_and(|bytes| bytes == left)), "{aside:?}");
    drop(hand);

    fs::remove_dir_all(&data).expect("it is there");
    fs::rename(&kept, &data).expect("it is put back");
    scene.net.start(1).expect("it starts with what it had");
    counted(&scene, 1);
}

#[test]
fn what_a_damaged_replica_has_left_is_kept_until_another_is_whole() {
    let mut scene = Scene::up(Setting::counting(3));
    loaded(&scene);
    (1..=3).for_each(|peer| scene.net.kill(peer).expect("it runs"));
    let data = data(&scene, 2);
    let spoilt = halve_a_segment(&data);
    let left = fs::read(&spoilt).expect("it is there");
    let is_kept = || {
        let aside = files(&data.join("aside"));
        let has = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes == left);
        aside.iter().any(has).then_some(()).ok_or(format!("{aside:?}"))
    };
    scene.net.launch(2).expect("it starts");
    scene.eventually("the peer answers", Duration::from_secs(20), || {
        scene.get(2, "/v1/health").map(drop).map_err(|e| e.to_string())
    });
    is_kept().expect("its files are set aside");
    // Nobody can give it another one yet, and another start is no reason to let go.
    scene.net.kill(2).expect("it runs");
    scene.net.launch(2).expect("it starts");
    scene.eventually("health says so", Duration::from_secs(20), || {
        let (_, body) = scene.get(2, "/v1/health").map_err(|e| e.to_string())?;
        let told = body["verdict"].as_str().is_some_and(|verdict| verdict.contains("aside"));
        if told { Ok(()) } else { Err(body.to_string()) }
    });
    is_kept().expect("its files are set aside still");
    [1, 3].into_iter().for_each(|peer| scene.net.launch(peer).expect("it starts"));
    scene.net.ready(Duration::from_secs(60)).expect("the mesh is back");
    (1..=3).for_each(|peer| counted(&scene, peer));
    scene.eventually("what was damaged goes", Duration::from_secs(30), || {
        if data.join("aside").exists() { Err("it is there".to_owned()) } else { Ok(()) }
    });
}
