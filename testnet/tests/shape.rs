//! The mesh changes its shape under load: peers join, leave, are drained, replaced and removed, and nobody notices.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testnet::clients::{self, History, Load};
use testnet::scene::{Scene, Setting};

const KEYS: u64 = 1000;
/// What a move may cost a shard, and what a kill may.
const MOVE_PAUSE: Duration = Duration::from_secs(1);
const KILL_PAUSE: Duration = Duration::from_secs(2);

/// What a view reader saw.
#[derive(Debug, Default)]
struct Reads {
    answered: u64,
    failed: Vec<String>,
    slowest: Duration,
}

/// When what happened, from the moment on at which every key was counted.
struct Timeline {
    start: Instant,
    told: Vec<(Duration, String)>,
}

impl Timeline {
    fn tell(&mut self, what: impl Into<String>) {
        let (at, what) = (self.start.elapsed(), what.into());
        println!("{:6.2} s  {what}", at.as_secs_f64());
        self.told.push((at, what));
    }

    /// Prints the times in which a shard stood still, and finds that none was too long.
    fn check(&self, history: &History, most: impl Fn(Duration) -> Duration) {
        let mut failed = Vec::new();
        for (at, gap) in &history.gaps {
            let Some(at) = at.checked_duration_since(self.start) else { continue };
            println!("{:6.2} s  a partition stood still for {gap:.2?}", at.as_secs_f64());
            if *gap > most(at) {
                failed.push((at, *gap));
            }
        }
        assert_eq!(failed, [], "longer than allowed");
    }
}

/// Load and a reader on threads of their own while `story` goes on.
fn under_load(
    scene: &mut Scene,
    readers: &[usize],
    story: impl FnOnce(&mut Scene, &mut Timeline),
) -> (Timeline, History, Reads) {
    let load = Load {
        bootstrap: scene.kafka(),
        stream: "bench".to_owned(),
        events: 3_000_000,
        keys: KEYS,
        per_second: 10_000,
    };
    let peers: Vec<String> =
        readers.iter().map(|p| scene.net.peers()[p - 1].http.clone()).collect();
    let (stop, pushed) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            let run = clients::run_until(load, &stop, |n| pushed.store(n, Ordering::Relaxed));
            clients::block_on(run).expect("every event is acknowledged")
        });
        // The load ends however the story does.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = End(&stop);
        scene.eventually("every key is counted", Duration::from_secs(20), || {
            assert!(!writer.is_finished(), "the load ended early");
            let counts = scene.counts(1, "bench_counts", "leader").map_err(|e| e.to_string())?;
            if counts.len() == KEYS as usize { Ok(()) } else { Err(format!("{}", counts.len())) }
        });
        let reader = threads.spawn(|| read(&peers, &stop));
        let mut timeline = Timeline { start: Instant::now(), told: Vec::new() };
        story(scene, &mut timeline);
        timeline.tell(format!("{} events pushed", pushed.load(Ordering::Relaxed)));
        drop(end);
        let history = writer.join().expect("the writer");
        (timeline, history, reader.join().expect("the reader"))
    })
}

/// Asks a counted key linearizably, at one peer after the other, and at the next where nobody answers: as a balancer of
/// load does.
fn read(peers: &[String], stop: &AtomicBool) -> Reads {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .new_agent();
    let mut reads = Reads::default();
    for number in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
        let key = clients::key(number as u64 * 7 % KEYS);
        let start = Instant::now();
        let ask = |peer: &String| {
            let path = format!("/v1/views/bench_counts/rows/{key}?consistency=leader");
            (peer.clone(), agent.get(format!("http://{peer}{path}")).call())
        };
        let mut answers =
            peers.iter().cycle().skip(number % peers.len()).take(peers.len()).map(ask);
        let first = answers.next().expect("there is a peer");
        let (peer, answer) = match first {
            (_, Err(_)) => answers.find(|(_, answer)| answer.is_ok()).unwrap_or(first),
            first => first,
        };
        match answer {
            Ok(answer) if answer.status() == 200 => reads.answered += 1,
            Ok(mut answer) => {
                let text = answer.body_mut().read_to_string().unwrap_or_default();
                reads.failed.push(format!("{peer} {key}: {} {text}", answer.status()));
            }
            Err(error) => reads.failed.push(format!("{peer} {key}: {error}")),
        }
        reads.slowest = reads.slowest.max(start.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    reads
}

/// Waits until every shard has the voters that the ring wants, as each of `peers` sees it.
fn settled(scene: &Scene, peers: &[usize], limit: Duration) -> Duration {
    let start = Instant::now();
    for peer in peers {
        scene.eventually("all shards are where the ring wants them", limit, || {
            let (status, body) = scene.get(*peer, "/v1/ring").map_err(|e| e.to_string())?;
            let rows = body["rows"].as_array().cloned().unwrap_or_default();
            let sorted = |ids: &Value| {
                let mut ids: Vec<_> =
                    ids.as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
                ids.sort_unstable();
                ids
            };
            let off = rows.iter().find(|row| {
                row["leader"].is_null()
                    || sorted(&row["voters"]) != sorted(&row["target"])
                    || sorted(&row["learners"]) != [] as [i64; 0]
            });
            match off {
                None if status == 200 && !rows.is_empty() => Ok(()),
                off => Err(format!("{status} {off:?}")),
            }
        });
    }
    start.elapsed()
}

/// Every acknowledged event is counted once, at each of `peers`, by the leader and by every copy.
fn check(scene: &Scene, peers: &[usize], history: &History) {
    history.check_offsets().expect("offsets are a function");
    let expected = history.expected_counts(KEYS);
    for consistency in ["leader", "any"] {
        for peer in peers {
            scene.eventually("exact counts", Duration::from_secs(20), || {
                let counts = scene.counts(*peer, "bench_counts", consistency);
                same(&expected, &counts.map_err(|e| e.to_string())?)
            });
        }
    }
}

fn same(expected: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let (want, have): (u64, u64) = (expected.values().sum(), found.values().sum());
    Err(format!("{want} counted were expected, {have} found"))
}

fn wish(scene: &Scene, asked: usize, verb: &str, peer: usize, shrink: bool) -> (u16, Value) {
    let body = json!({"peer": peer, "shrink": shrink});
    scene.post(asked, &format!("/v1/mesh/{verb}"), &body).expect("an answer")
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

/// Its bounds are times, which hold where nothing else runs on the machine: by name.
#[test]
#[ignore = "a bound of 1 s for a pause holds on a quiet machine only"]
fn three_peers_become_four_six_and_three_again_through_a_kill_in_the_middle_of_a_move() {
    let mut scene = Scene::up(Setting::counting(3));
    let stay = [2, 3, 5];
    let (told, history, reads) = under_load(&mut scene, &[2, 3], |scene, timeline| {
        timeline.tell("p4 joins");
        assert_eq!(scene.net.add(&[]).expect("p4 joins"), 4);
        settled(scene, &[1, 4], Duration::from_secs(30));
        timeline.tell("3 -> 4 is done; p5 and p6 join");
        assert_eq!(scene.net.join(&[]).expect("p5 joins"), 5);
        assert_eq!(scene.net.join(&[]).expect("p6 joins"), 6);
        scene.net.kill(4).expect("it runs");
        timeline.tell("p4 is killed");
        std::thread::sleep(Duration::from_secs(1));
        scene.net.launch(4).expect("it starts");
        settled(scene, &[2, 5, 6], Duration::from_secs(30));
        timeline.tell("4 -> 6 is done; p1, p4 and p6 leave");
        for peer in [1, 4, 6] {
            let answer = wish(scene, 3, "leave", peer, false);
            assert_eq!(answer.0, 200, "{answer:?}");
        }
        for peer in [1, 4, 6] {
            scene.eventually("it leaves", Duration::from_secs(40), || {
                match scene.net.state(peer) {
                    shoal::testnet::State::Down => Ok(()),
                    other => Err(format!("p{peer} is {other:?}")),
                }
            });
            assert!(scene.net.log_tail(peer, 5).contains("has left the mesh"), "p{peer}");
            scene.net.retire(peer).expect("it is out");
        }
        settled(scene, &stay, Duration::from_secs(10));
        timeline.tell("6 -> 3 is done");
    });
    println!("{} acknowledged, {} retries", history.acked_events, history.retries);
    println!("{} reads, the slowest {:?}", reads.answered, reads.slowest);
    assert_eq!(reads.failed, [] as [String; 0], "no read fails");
    check(&scene, &stay, &history);
    let killed = told.told.iter().find(|(_, what)| what.contains("killed")).expect("told").0;
    told.check(&history, |at| {
        if at > killed && at < killed + KILL_PAUSE { KILL_PAUSE } else { MOVE_PAUSE }
    });
    scene.eventually("the lead is shared evenly", Duration::from_secs(40), || {
        let (_, body) = scene.get(2, "/v1/members").map_err(|e| e.to_string())?;
        let members = body["members"].as_array().cloned().unwrap_or_default();
        let leads: Vec<_> = members.iter().filter_map(|member| member["leads"].as_u64()).collect();
        // 64 shards of three peers, and 1.3 of the even share.
        if leads.iter().all(|leads| *leads <= 28) { Ok(()) } else { Err(format!("{leads:?}")) }
    });
}

#[test]
fn what_the_mesh_cannot_do_is_refused_with_the_reason_and_the_way_out() {
    let mut scene = Scene::up(Setting::plain(3));
    let removal = wish(&scene, 1, "remove", 3, false);
    assert_eq!(code(&removal), (409, "SH0508"), "{removal:?}");
    assert!(removal.1["try"].as_str().is_some_and(|fix| fix.contains("shoal leave p3")));
    let drain = wish(&scene, 2, "drain", 3, false);
    assert_eq!(code(&drain), (409, "SH0506"), "{drain:?}");
    assert!(drain.1["try"].as_str().is_some_and(|fix| fix.contains("--shrink")), "{drain:?}");
    assert_eq!(code(&wish(&scene, 2, "drain", 9, false)), (404, "SH0305"));

    let refused = |scene: &mut Scene, arguments: &[&str], code: &str, fix: &str| {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let problem = scene.net.join(&arguments).expect_err("refused");
        assert_eq!(problem.code, code, "{problem}");
        assert!(problem.because.contains(fix), "{problem}");
        let last = scene.net.peers().len();
        scene.net.retire(last).expect("it did not join");
    };
    refused(&mut scene, &["--name", "p2"], "SH0105", "--replace p2");
    refused(&mut scene, &["--shards", "128"], "SH0104", "--shards 64");
    refused(&mut scene, &["--replace", "p2"], "SH0508", "shoal leave p2");

    scene.net.kill(3).expect("it runs");
    scene.eventually("p3 is dead", Duration::from_secs(30), || {
        let answer = wish(&scene, 1, "leave", 3, false);
        if code(&answer).1 == "SH0101" { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let name = ["--name".to_owned(), "p3".to_owned(), "--replace".to_owned(), "p3".to_owned()];
    let new = scene.net.add(&name).expect("it takes the dead one's place");
    settled(&scene, &[1, 2, new], Duration::from_secs(30));
    let (_, body) = scene.get(1, "/v1/members").expect("an answer");
    let ids: Vec<_> = body["members"].as_array().into_iter().flatten().collect();
    assert_eq!(ids.len(), 3, "{body}");
    // The dead one comes back with its folder: it is told, and does no harm.
    scene.net.launch(3).expect("it starts");
    scene.eventually("p3 hears that it is out", Duration::from_secs(20), || {
        let tail = scene.net.log_tail(3, 5);
        if tail.contains("SH0106") { Ok(()) } else { Err(tail) }
    });
}

/// A view whose rows lie in one shard, and are more than any message or buffer holds at once.
#[test]
fn a_shard_with_more_rows_than_a_message_holds_moves_whole() {
    const ROWS: usize = 900;
    const BATCHES: usize = 84;
    let arguments = vec!["--demo-pipelines".into(), "bench:1".into()];
    let mut scene = Scene::up(Setting { arguments, ..Setting::plain(1) });
    let key = |number: usize| format!("{number:06}{}", "k".repeat(1000));
    for batch in 0..BATCHES {
        let event = |at: usize| json!({"key": key(batch * ROWS + at), "value": "v"});
        let body = json!({"events": (0..ROWS).map(event).collect::<Vec<Value>>()});
        let (status, said) = scene.post(1, "/v1/streams/bench/events", &body).expect("an answer");
        assert_eq!(status, 200, "{said}");
    }
    let all = |scene: &Scene, peer: usize, consistency: &str| {
        let counts = scene.counts(peer, "bench_counts", consistency).map_err(|e| e.to_string())?;
        let whole = counts.len() == ROWS * BATCHES && counts.values().all(|count| *count == 1);
        if whole { Ok(()) } else { Err(format!("{} rows", counts.len())) }
    };
    scene.eventually("every row", Duration::from_secs(30), || all(&scene, 1, "leader"));
    // A checkpoint later the log begins above them: who joins needs the rows themselves.
    std::thread::sleep(Duration::from_secs(6));
    for peer in [2, 3] {
        assert_eq!(scene.net.add(&[]).expect("it joins"), peer);
    }
    settled(&scene, &[1, 2, 3], Duration::from_secs(60));
    for peer in [2, 3] {
        scene.eventually("every row here", Duration::from_secs(20), || all(&scene, peer, "any"));
    }
    // What they hold is enough to go on with.
    scene.net.kill(1).expect("it runs");
    scene.eventually("another leads", Duration::from_secs(20), || all(&scene, 2, "leader"));
}

/// Ends a peer in good order and waits until it has ended.
fn terminate(scene: &Scene, peer: usize) {
    let pid = scene.pid(peer).to_string();
    let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status();
    assert!(sent.expect("kill runs").success());
    scene.eventually("it ends", Duration::from_secs(15), || match scene.net.state(peer) {
        shoal::testnet::State::Down => Ok(()),
        other => Err(format!("p{peer} is {other:?}")),
    });
}

/// About one run in five has a read for which a shard had no leader for the 2 s that it is held.
#[test]
#[ignore = "does not always hold: a shard may be without a leader for 2 s while its peers restart one after the other"]
fn all_peers_are_restarted_twice_under_load_and_no_request_fails() {
    let mut scene = Scene::up(Setting::counting(3));
    let (told, history, reads) = under_load(&mut scene, &[1, 2, 3], |scene, timeline| {
        for peer in [1, 2, 3, 1, 2, 3] {
            terminate(scene, peer);
            timeline.tell(format!("p{peer} has ended"));
            scene.net.launch(peer).expect("it starts");
            scene.net.ready(Duration::from_secs(30)).expect("the mesh is whole");
            timeline.tell(format!("p{peer} is back"));
        }
    });
    println!("{} acknowledged, {} retries", history.acked_events, history.retries);
    println!("{} reads, the slowest {:?}", reads.answered, reads.slowest);
    assert_eq!(reads.failed, [] as [String; 0], "no read fails");
    check(&scene, &[1, 2, 3], &history);
    told.check(&history, |_| KILL_PAUSE);
}

/// `SHOAL_KILLS=50` is the long form.
#[test]
fn moves_whose_ends_are_killed_at_any_moment_end_nevertheless() {
    let kills = std::env::var("SHOAL_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(5);
    let mut scene = Scene::up(Setting::counting(3));
    assert_eq!(scene.net.add(&[]).expect("p4 joins"), 4);
    settled(&scene, &[1, 4], Duration::from_secs(30));
    let load = Load {
        bootstrap: scene.kafka(),
        stream: "bench".to_owned(),
        events: 100_000,
        keys: KEYS,
        per_second: 20_000,
    };
    let history = clients::block_on(clients::run(load, |_| {})).expect("all are acknowledged");
    let mut dice = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id());
    let mut throw = |below: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };
    for kill in 0..kills {
        // Even ones empty p4, odd ones fill it again; either end of the moves dies.
        let verb = if kill % 2 == 0 { "drain" } else { "undrain" };
        scene.eventually("p4 is told", Duration::from_secs(20), || {
            match wish(&scene, 1, verb, 4, false) {
                (200, _) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        let (victim, after) = (if throw(2) == 0 { 4 } else { 1 + throw(3) as usize }, throw(800));
        std::thread::sleep(Duration::from_millis(after));
        println!("{verb}: p{victim} is killed after {after} ms");
        scene.net.kill(victim).expect("it runs");
        scene.net.launch(victim).expect("it starts");
        settled(&scene, &[1, 4], Duration::from_secs(60));
    }

    check(&scene, &[1, 2, 3, 4], &history);
}
