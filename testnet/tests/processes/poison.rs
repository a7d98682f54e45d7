//! One event in ten thousand that user code cannot take, under load: the rest is counted as if it were not there.

use crate::counting::same;
use shoal::kafka_client::{Producer, Settings};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testnet::clients::block_on;
use testnet::scene::{Scene, Setting};

const EVENTS: u64 = 400_000;
const PER_SECOND: u64 = 50_000;
const POISON_EVERY: u64 = 10_000;
const WORDS: u64 = 1_000;
/// How long after the last acknowledgement everything may take to be counted: what falls behind takes longer.
const KEEPS_UP: Duration = Duration::from_secs(10);

fn is_poison(number: u64) -> bool {
    number % POISON_EVERY == 7
}

async fn send(bootstrap: Vec<String>) -> anyhow::Result<()> {
    let settings = Settings { bootstrap, stream: "lines".into(), batch_events_max: 1000 };
    let mut producer = Producer::connect(settings).await?;
    let partitions = u64::from(producer.partitions());
    let (mut pushed, start) = (0, Instant::now());
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    while pushed < EVENTS || producer.outstanding() > 0 {
        tokio::select! {
            news = producer.news() => news?,
            _ = tick.tick() => {}
        }
        let due = (start.elapsed().as_secs_f64() * PER_SECOND as f64) as u64;
        while pushed < due.min(EVENTS) && producer.outstanding() < 200_000 {
            let word = format!("word-{}", pushed % WORDS);
            let line = if is_poison(pushed) { "boom in the chain" } else { &word };
            producer.push((pushed % partitions) as u32, 0, b"", line.as_bytes(), pushed);
            pushed += 1;
        }
        producer.flush()?;
        producer.take_acks();
    }
    Ok(())
}

#[test]
fn poison_is_set_aside_with_its_cause_and_every_other_event_is_counted_once() {
    let scene = Scene::up(Setting::words(3));
    block_on(send(scene.kafka())).expect("every event is acknowledged");
    let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
    for number in (0..EVENTS).filter(|number| !is_poison(*number)) {
        *wanted.entry(format!("word-{}", number % WORDS)).or_default() += 1;
    }
    let start = Instant::now();
    scene.eventually("exact counts", KEEPS_UP, || {
        let counts = scene.counts(1, "word_counts", "leader").map_err(|e| e.to_string())?;
        same(&wanted, &counts)
    });
    println!("all is counted {:?} after the last acknowledgement", start.elapsed());
    let poison = (0..EVENTS).filter(|number| is_poison(*number)).count();
    scene.eventually("all poison", KEEPS_UP, || {
        let (_, body) =
            scene.get(2, "/v1/dead/words.word_counts?max=1000").map_err(|e| e.to_string())?;
        let letters = body["letters"].as_array().cloned().unwrap_or_default();
        let says = |letter: &&serde_json::Value| {
            let cause = letter["cause"].as_str().unwrap_or_default();
            cause.contains("a stateless stage fails on purpose")
                && letter["about"]["stream"] == "lines"
                && letter["attempt"] == 3
        };
        let told = letters.iter().filter(says).count();
        if (told, letters.len()) == (poison, poison) {
            return Ok(());
        }
        Err(format!("{told} of {} letters say why, {poison} are expected", letters.len()))
    });
}
