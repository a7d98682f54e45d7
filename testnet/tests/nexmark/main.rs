//! Nexmark through real peers: its events enter through the Kafka door at three copies, one in twenty out of order;
//! one peer is killed in the middle; and every query must answer what DuckDB computes of the same events at once.
//!
//! `SHOAL_NEXMARK_EVENTS=1000000 SHOAL_NEXMARK_RATE=20000 cargo test -p testnet --test nexmark` is the long form.
//! Without DuckDB (from PyPI, installed beside the build) it says SKIPPED.

mod answers;

use answers::Expected;
use examples::nexmark::{Any, PARTITIONS, last_of, made, mixed};
use shoal::kafka_client::{Producer, Settings};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testnet::binaries;
use testnet::clients::{block_on, python};
use testnet::scene::{Scene, Setting};

/// How long the answers may take once every event is acknowledged.
const SETTLE: Duration = Duration::from_secs(60);

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name)
        .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn every_query_equals_its_batch_computation_through_a_kill() {
    let python = match python(&["duckdb==1.5.6"]) {
        Ok(python) => python,
        Err(why) => return println!("SKIPPED: {why}"),
    };
    let events: Vec<Any> = made(number("SHOAL_NEXMARK_EVENTS", 20_000)).collect();
    let rate = number("SHOAL_NEXMARK_RATE", 2_000);
    let binary = binaries::with_nexmark();
    let mut scene = Scene::up(Setting { peers: 3, binary, arguments: Vec::new() });
    let oracle = ask_oracle(&python, &events, scene.folder());
    let start = Instant::now();
    let killed = send(&mut scene, &events, rate);
    let took = start.elapsed();
    assert!(killed, "the kill was in the middle");
    scene.net.ready(Duration::from_secs(30)).expect("the killed peer is back");
    let output = oracle.wait_with_output().expect("our child");
    assert!(output.status.success(), "the oracle failed");
    let expected = Expected::read(&output.stdout);
    let answered = Instant::now();
    scene.eventually("the oracle's answers", SETTLE, || expected.differs(&scene, 1));
    println!(
        "{} events in {took:.1?}; {} rows and events of {} queries equal {:.1?} later",
        events.len(),
        expected.rows(),
        expected.queries(),
        answered.elapsed()
    );
    for peer in 2..=3 {
        scene.eventually("the same of each peer", SETTLE, || expected.differs(&scene, peer));
    }
}

/// Starts the computation of what must be answered.
fn ask_oracle(python: &Path, events: &[Any], folder: &Path) -> Child {
    let path = folder.join("events.jsonl");
    let mut file = BufWriter::new(File::create(&path).expect("a file for the events"));
    for event in events {
        serde_json::to_writer(&mut file, event).expect("JSON");
        file.write_all(b"\n").expect("room");
    }
    file.flush().expect("room");
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/nexmark/oracle.py");
    let mut command = Command::new(python);
    command.arg(oracle).arg(path).env("PYTHONDONTWRITEBYTECODE", "1").stdout(Stdio::piped());
    command.spawn().expect("Python starts")
}

/// Sends all events, at `rate` a second, and kills a peer in the middle; it is back before the end. False if there
/// was no time for that.
fn send(scene: &mut Scene, events: &[Any], rate: usize) -> bool {
    let settings =
        Settings { bootstrap: scene.kafka(), stream: "nexmark".into(), batch_events_max: 500 };
    let mut sent = Sending { killed: None, is_back: false };
    block_on(async {
        let mut producer = Producer::connect(settings).await?;
        assert_eq!(producer.partitions(), PARTITIONS);
        let mut order = mixed(events).into_iter().enumerate().peekable();
        let (mut pushed, start) = (0, Instant::now());
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while order.peek().is_some() || producer.outstanding() > 0 {
            tokio::select! {
                news = producer.news() => news?,
                _ = tick.tick() => {}
            }
            let due = (start.elapsed().as_secs_f64() * rate as f64) as usize;
            let is_due = |(n, _): &(usize, &Any)| *n < due;
            while producer.outstanding() < 50_000
                && let Some((n, event)) = order.next_if(is_due)
            {
                push(&mut producer, n as u32 % PARTITIONS, event);
                pushed += 1;
            }
            producer.flush()?;
            producer.take_acks();
            sent.disturb(scene, pushed * 100 / events.len());
        }
        for partition in 0..PARTITIONS {
            push(&mut producer, partition, &last_of(events, partition));
        }
        while producer.outstanding() > 0 {
            producer.flush()?;
            producer.news().await?;
        }
        Ok(())
    })
    .expect("every event is acknowledged");
    sent.is_back
}

fn push(producer: &mut Producer, partition: u32, event: &Any) {
    let json = serde_json::to_vec(event).expect("JSON");
    producer.push(partition, event.date_time(), b"", &json, 0);
}

/// What happens to the second peer meanwhile.
struct Sending {
    killed: Option<Instant>,
    is_back: bool,
}

impl Sending {
    fn disturb(&mut self, scene: &mut Scene, percent: usize) {
        if percent >= 40 && self.killed.is_none() {
            scene.net.kill(2).expect("p2 runs");
            self.killed = Some(Instant::now());
        }
        let waited = self.killed.is_some_and(|at| at.elapsed() > Duration::from_secs(3));
        if waited && !self.is_back {
            scene.net.launch(2).expect("p2 starts");
            self.is_back = true;
        }
    }
}
