//! Peers that end without a word, alone and all together, and whose disks lose what was not synced.

use crate::counting::{check_counts, check_gaps, check_log, load, run};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testnet::power::{self, Images};
use testnet::scene::{Scene, Setting};
use testnet::still::Still;

#[test]
fn a_million_events_are_counted_once_through_a_kill() {
    let mut scene = Scene::up(Setting::counting(3));
    let mut killed = None;
    let mut started = false;
    let history = run(load(&scene, 1_000_000, 60_000), |pushed| {
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
    check_gaps(&history);
    check_counts(&scene, &history);
    check_log(&scene, &history);
}

#[test]
fn the_busiest_leader_dies_three_times_in_a_row() {
    let mut scene = Scene::up(Setting::counting(3));
    let mut kills = 0;
    let mut victim: Option<(usize, Instant)> = None;
    let history = run(load(&scene, 1_000_000, 60_000), |pushed| {
        if let Some((peer, at)) = victim {
            if at.elapsed() > Duration::from_secs(2) {
                scene.net.launch(peer).expect("the victim starts");
                victim = None;
            }
        } else if kills < 3 && pushed > 150_000 + kills * 250_000 {
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
    check_gaps(&history);
    check_counts(&scene, &history);
    check_log(&scene, &history);
}

#[test]
fn all_peers_die_at_once_and_go_on() {
    let mut scene = Scene::up(Setting::counting(3));
    let mut done = false;
    let history = run(load(&scene, 1_000_000, 60_000), |pushed| {
        if pushed > 400_000 && !done {
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
    // With a majority gone shards do stand still: how long is told, and judged by nobody.
    println!("longest gap {:?}, {} retries", history.longest_gap, history.retries);
    check_counts(&scene, &history);
    check_log(&scene, &history);
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
    let history = run(load(&scene, 200_000, 10_000), |pushed| {
        if cuts < 3 && pushed > 40_000 + cuts * 50_000 {
            cuts += 1;
            let pids = (1..=3).map(|peer| scene.process(peer));
            let still = Still::hold(pids).expect("they stand");
            mounted.cut().expect("the power is cut");
            for peer in 1..=3 {
                scene.net.kill(peer).expect("it runs");
            }
            still.ended();
            mounted.unmount().expect("the dead disks are let go");
            mounted.mount().expect("the power is back");
            for peer in 1..=3 {
                scene.net.launch(peer).expect("it starts");
            }
        }
    });
    assert_eq!(cuts, 3);
    check_counts(&scene, &history);
    check_log(&scene, &history);
    for peer in 1..=3 {
        scene.net.kill(peer).expect("it runs");
    }
    mounted.unmount().expect("the disks are let go");
}
