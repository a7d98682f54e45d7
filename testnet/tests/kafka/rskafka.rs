//! rskafka, a client in Rust that speaks low versions (Fetch 4, Metadata 4): it has no groups and no transactions.

use chrono::{DateTime, TimeZone, Utc};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};
use testnet::scene::{Scene, Setting};

const PARTITIONS: i32 = 3;
const CODECS: [Compression; 5] = [
    Compression::NoCompression,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
/// For one answer: the client itself tries again without end.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T, E: std::fmt::Display>(what: &str, work: impl Future<Output = Result<T, E>>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    let done = done.unwrap_or_else(|_| panic!("{what}: no answer within {PATIENCE:?}"));
    done.unwrap_or_else(|error| panic!("{what}: {error}"))
}

async fn of(client: &Client, stream: &str, partition: i32) -> PartitionClient {
    let found = client.partition_client(stream, partition, UnknownTopicHandling::Retry);
    soon("find the leader", found).await
}

fn at(ms: i64) -> DateTime<Utc> {
    Utc.timestamp_millis_opt(ms).single().expect("a time")
}

fn event(key: Option<&str>, value: Option<&str>, ms: i64) -> Record {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let headers = BTreeMap::from([("h".to_owned(), b"x".to_vec())]);
    Record { key: key.map(bytes), value: value.map(bytes), headers, timestamp: at(ms) }
}

#[test]
fn rskafka_works_unchanged() {
    let scene = Scene::up(Setting::plain(3));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("threads").block_on(async {
        let began = Instant::now();
        let builder = ClientBuilder::new(scene.kafka()).client_id("matrix");
        let client = soon("connect", builder.build()).await;
        plain(&client).await;
        seek(&client).await;
        long_poll(&client).await;
        admin(&client).await;
        println!("rskafka 0.6.0: plain, codecs, seek, wait and admin in {:.1?}", began.elapsed());
    });
}

/// What was written in each codec comes back as it was: keys, nulls, headers, times, in order.
async fn plain(client: &Client) {
    let controller = client.controller_client().expect("a controller");
    soon("create", controller.create_topic("plain", PARTITIONS, 1, 5_000)).await;
    for partition in 0..PARTITIONS {
        let partition = of(client, "plain", partition).await;
        let mut expected = Vec::new();
        for codec in CODECS {
            let ms = 1_700_000_000_000 + expected.len() as i64;
            let events = vec![
                event(Some("k"), Some("v"), ms),
                event(None, Some("no key"), ms + 1),
                event(Some("no value"), None, ms + 2),
            ];
            let offsets = soon("produce", partition.produce(events.clone(), codec)).await;
            let next = expected.len() as i64;
            assert_eq!(offsets, [next, next + 1, next + 2], "{codec:?}");
            expected.extend(events);
        }
        let fetched = partition.fetch_records(0, 1..1_000_000, 1_000);
        let (found, high) = soon("fetch", fetched).await;
        assert_eq!(high, expected.len() as i64);
        for (n, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!((found.offset, &found.record), (n as i64, expected));
        }
        assert_eq!(found.len(), expected.len());
    }
}

/// From the middle of a batch, from both ends, and from below what was trimmed.
async fn seek(client: &Client) {
    let controller = client.controller_client().expect("a controller");
    soon("create", controller.create_topic("seek", 1, 1, 5_000)).await;
    let partition = of(client, "seek", 0).await;
    let events = (0..50).map(|n| event(None, Some(&n.to_string()), 1_700_000_000_000 + n));
    soon("produce", partition.produce(events.collect(), Compression::Lz4)).await;
    let (found, _) = soon("fetch", partition.fetch_records(30, 1..1_000_000, 1_000)).await;
    assert_eq!(found.first().map(|it| it.offset), Some(30), "it starts where it was asked to");
    assert_eq!(found.last().map(|it| it.offset), Some(49));
    assert_eq!(soon("earliest", partition.get_offset(OffsetAt::Earliest)).await, 0);
    assert_eq!(soon("latest", partition.get_offset(OffsetAt::Latest)).await, 50);
    soon("trim", partition.delete_records(20, 5_000)).await;
    assert_eq!(soon("earliest", partition.get_offset(OffsetAt::Earliest)).await, 20);
    let below = partition.fetch_records(3, 1..1_000_000, 1_000).await;
    let error = below.expect_err("it is trimmed").to_string();
    assert!(error.contains("OffsetOutOfRange"), "{error}");
}

/// A fetch at the end waits for what comes, and no longer than it may.
async fn long_poll(client: &Client) {
    let partition = of(client, "seek", 0).await;
    let began = Instant::now();
    let (found, high) = soon("fetch", partition.fetch_records(50, 1..1_000_000, 500)).await;
    assert!(found.is_empty() && high == 50, "{found:?} below {high}");
    let waited = began.elapsed();
    assert!((400..5_000).contains(&waited.as_millis()), "it waited {waited:?}");
    let writing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let event = vec![event(None, Some("late"), 1_700_000_000_100)];
        soon("produce", partition.produce(event, Compression::NoCompression)).await
    };
    let reading = soon("fetch", partition.fetch_records(50, 1..1_000_000, 20_000));
    let began = Instant::now();
    let ((found, _), offsets) = tokio::join!(reading, writing);
    assert_eq!((found.len(), offsets), (1, vec![50]));
    assert!(began.elapsed() < Duration::from_secs(10), "news came after {:?}", began.elapsed());
}

async fn admin(client: &Client) {
    let controller = client.controller_client().expect("a controller");
    let names = async || -> Vec<String> {
        let streams = soon("list", client.list_topics()).await;
        streams.into_iter().map(|stream| stream.name).collect()
    };
    assert_eq!(names().await, ["plain", "seek"]);
    let again = controller.create_topic("seek", 7, 1, 5_000).await;
    let error = again.expect_err("it is there").to_string();
    assert!(error.contains("TopicAlreadyExists"), "{error}");
    soon("delete", controller.delete_topic("plain", 5_000)).await;
    let until = Instant::now() + PATIENCE;
    while names().await.contains(&"plain".to_owned()) {
        assert!(Instant::now() < until, "it is still listed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
