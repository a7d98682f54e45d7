//! Folders that are not this peer's, or not this version's: refused with their codes, or taken for whose they are.

use crate::data;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testnet::scene::{Scene, Setting};

/// What the second peer says when it does not start with such a folder.
fn refuses(scene: &mut Scene, code: &str, spoil: impl FnOnce(&Path)) {
    scene.net.kill(2).expect("it runs");
    let data = data(scene, 2);
    let kept = data.with_extension("kept");
    let copied = Command::new("cp").arg("-aT").arg(&data).arg(&kept).status().expect("cp runs");
    assert!(copied.success());
    spoil(&data);
    let problem = scene.net.start(2).expect_err("it must not start");
    assert_eq!(problem.code, code, "{problem}");
    fs::remove_dir_all(&data).expect("it is there");
    fs::rename(&kept, &data).expect("it is put back");
    scene.net.start(2).expect("it starts with its own folder");
}

#[test]
fn a_newer_a_foreign_and_a_rotten_folder_are_refused_with_their_codes() {
    let mut scene = Scene::up(Setting::plain(3));
    let head = |data: &Path| fs::read_to_string(data.join("head")).expect("a head");
    refuses(&mut scene, "SH0204", |data| {
        let newer = head(data).replacen("shoal-data 1", "shoal-data 9", 1);
        fs::write(data.join("head"), newer).expect("it is writable");
    });
    refuses(&mut scene, "SH0207", |data| {
        let rotten = head(data).replacen("peer 2", "peer 3", 1);
        fs::write(data.join("head"), rotten).expect("it is writable");
    });
    refuses(&mut scene, "SH0203", |data| {
        fs::remove_file(data.join("head")).expect("it is there");
        fs::write(data.join("letters.txt"), "dear").expect("it is writable");
    });
    let other = data(&scene, 3);
    refuses(&mut scene, "SH0202", |data| {
        // Another peer's folder, which runs: its lock says so.
        fs::remove_dir_all(data).expect("it is there");
        std::os::unix::fs::symlink(other, data).expect("a link");
    });
    scene.net.ready(Duration::from_secs(30)).expect("all is well again");
}

/// A folder says who a peer is: at another's place it is still that one, and the one whose place it took is missed.
#[test]
fn a_stopped_peers_folder_at_anothers_place_is_that_peer_and_the_other_is_missed() {
    let mut scene = Scene::up(Setting::plain(3));
    [2, 3].into_iter().for_each(|peer| scene.net.kill(peer).expect("it runs"));
    let (own, other) = (data(&scene, 2), data(&scene, 3));
    let kept = own.with_extension("kept");
    fs::rename(&own, &kept).expect("it is set aside");
    fs::rename(&other, &own).expect("it is moved");
    scene.net.start(2).expect("it starts");
    scene.eventually("it is the third", Duration::from_secs(20), || {
        let (_, members) = scene.get(2, "/v1/members").map_err(|e| e.to_string())?;
        let (_, health) = scene.get(1, "/v1/health").map_err(|e| e.to_string())?;
        let missed = health["verdict"].as_str().unwrap_or_default();
        let told = members["me"] == 3 && missed.contains("peers that do not answer: p2");
        told.then_some(()).ok_or(format!("{members} {health}"))
    });
    scene.net.kill(2).expect("it runs");
    fs::rename(&own, &other).expect("it is moved back");
    fs::rename(&kept, &own).expect("it is put back");
    [2, 3].into_iter().for_each(|peer| scene.net.start(peer).expect("it starts with its own"));
    scene.net.ready(Duration::from_secs(30)).expect("all is well again");
}
