//! Any bytes are a request, a refusal or a reject; never a panic, and what is taken can be
//! answered.

use crate::oracle::{batch, frame, offered, text, topic};
use bytes::Bytes;
use door::kafka::{Ask, KafkaError, decode, encode};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use std::time::{Duration, Instant};

const SEED: u64 = 0x5eed_0d00;
const TIME: Duration = Duration::from_millis(2_000);

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One valid request of each API and version.
fn corpus() -> Vec<Bytes> {
    let mut corpus = Vec::new();
    for v in offered(ApiKey::ConsumerGroupHeartbeat) {
        let parts = consumer_group_heartbeat_request::TopicPartitions::default();
        let ask = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text("readers")))
            .with_member_id(text("m1"))
            .with_member_epoch(3)
            .with_subscribed_topic_names(Some(vec![topic("rain")]))
            .with_topic_partitions(Some(vec![parts.with_partitions(vec![0, 1])]));
        corpus.push(frame(ApiKey::ConsumerGroupHeartbeat, v, &ask));
    }
    for v in offered(ApiKey::ApiVersions) {
        corpus.push(frame(ApiKey::ApiVersions, v, &ApiVersionsRequest::default()));
    }
    for v in offered(ApiKey::Metadata) {
        let wanted = MetadataRequestTopic::default().with_name(Some(topic("rain")));
        let ask = MetadataRequest::default().with_topics(Some(vec![wanted.clone(), wanted]));
        corpus.push(frame(ApiKey::Metadata, v, &ask));
    }
    for v in offered(ApiKey::InitProducerId) {
        corpus.push(frame(ApiKey::InitProducerId, v, &InitProducerIdRequest::default()));
    }
    for v in offered(ApiKey::Produce) {
        let part = PartitionProduceData::default().with_records(Some(batch(3).bytes().clone()));
        let rain = TopicProduceData::default().with_name(topic("rain"));
        let rain = rain.with_partition_data(vec![part.clone(), part.with_index(1)]);
        corpus.push(frame(
            ApiKey::Produce,
            v,
            &ProduceRequest::default().with_acks(-1).with_topic_data(vec![rain]),
        ));
    }
    for v in offered(ApiKey::Fetch) {
        let rain = FetchTopic::default().with_topic(topic("rain"));
        let rain = rain.with_partitions(vec![FetchPartition::default(); 3]);
        corpus.push(frame(ApiKey::Fetch, v, &FetchRequest::default().with_topics(vec![rain])));
    }
    for v in offered(ApiKey::ListOffsets) {
        let rain = ListOffsetsTopic::default().with_name(topic("rain"));
        let rain = rain.with_partitions(vec![ListOffsetsPartition::default(); 3]);
        let ask = ListOffsetsRequest::default().with_topics(vec![rain]);
        corpus.push(frame(ApiKey::ListOffsets, v, &ask));
    }
    for v in offered(ApiKey::CreateTopics) {
        let setting = CreatableTopicConfig::default().with_name(text("cleanup.policy"));
        let new = CreatableTopic::default().with_name(topic("rain")).with_num_partitions(3);
        let ask = CreateTopicsRequest::default()
            .with_topics(vec![new.with_replication_factor(3).with_configs(vec![setting])]);
        corpus.push(frame(ApiKey::CreateTopics, v, &ask));
    }
    corpus
}

fn mutate(frame: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.next() as u8),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 if bytes.len() >= at + 4 => {
                let odd = [i32::MAX, -1, -2, i32::MIN, 0, 65_537][dice.below(6)];
                bytes[at..at + 4].copy_from_slice(&odd.to_be_bytes());
            }
            4 if bytes.len() >= at + 4 => bytes[at..at + 4].fill(0xff),
            5 => bytes.extend((0..dice.below(40)).map(|_| dice.next() as u8)),
            6 if bytes.len() > 3 => bytes[3] = dice.below(16) as u8,
            _ if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            _ => {}
        }
    }
    bytes
}

/// Decodes, and answers what was taken.
fn walk(bytes: Vec<u8>) -> bool {
    let Ok(request) = decode(Bytes::from(bytes)) else { return false };
    if let Ask::Produce(ask) = &request.ask {
        for batch in ask.parts.iter().filter_map(|part| part.batches.as_ref().ok()).flatten() {
            assert!(batch.next_offset() > batch.base_offset());
        }
    }
    let silent = request.head.silent;
    let reply = encode(&request.head, request.ask.refuse(KafkaError::NotLeader));
    assert_eq!(reply.is_none(), silent);
    true
}

#[test]
fn no_bytes_make_the_door_panic() {
    let corpus = corpus();
    assert!(corpus.iter().all(|frame| walk(frame.to_vec())), "the corpus is valid");
    let mut dice = Dice(SEED);
    let (mut rounds, mut taken) = (0u64, 0u64);
    let start = Instant::now();
    while start.elapsed() < TIME {
        for _ in 0..100 {
            let bytes = match dice.below(10) {
                0 => (0..dice.below(200)).map(|_| dice.next() as u8).collect(),
                _ => mutate(&corpus[dice.below(corpus.len())], &mut dice),
            };
            taken += u64::from(walk(bytes));
            rounds += 1;
        }
    }
    println!("{rounds} requests, {taken} taken, seed {SEED:#x}");
    assert!(taken > 0 && taken < rounds);
}

#[test]
fn every_cut_of_every_valid_request_is_rejected_or_complete() {
    for frame in corpus() {
        for cut in 0..frame.len() {
            walk(frame[..cut].to_vec());
        }
    }
}

#[test]
fn what_is_taken_can_be_read() {
    let good = batch(5);
    let mut dice = Dice(SEED);
    let (mut rounds, mut taken) = (0u64, 0u64);
    let start = Instant::now();
    while start.elapsed() < TIME / 4 {
        let mut bytes = good.bytes().to_vec();
        for _ in 0..=dice.below(3) {
            let at = 21 + dice.below(bytes.len() - 21);
            bytes[at] = if dice.below(2) == 0 { dice.next() as u8 } else { bytes[at] ^ 1 };
        }
        // The checksum is made right again, or nothing behind it would ever be looked at.
        let crc = crate::oracle::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let part = PartitionProduceData::default().with_records(Some(bytes.into()));
        let rain = TopicProduceData::default().with_name(topic("rain"));
        let rain = rain.with_partition_data(vec![part]);
        let ask = ProduceRequest::default().with_acks(-1).with_topic_data(vec![rain]);
        let request = decode(frame(ApiKey::Produce, 9, &ask)).expect("only the batch is odd");
        let Ask::Produce(ask) = request.ask else { panic!("a produce was asked") };
        rounds += 1;
        let Ok(batches) = &ask.parts[0].batches else { continue };
        taken += 1;
        if batches[0].attributes() & 7 == 0 {
            let events: Result<Vec<_>, _> = batches[0].records(1 << 20).expect("plain").collect();
            let events = events.expect("well-formed");
            assert_eq!(events.len(), batches[0].count() as usize);
            assert!(events.iter().enumerate().all(|(at, event)| event.offset == at as i64));
        }
    }
    println!("{rounds} batches, {taken} taken, seed {SEED:#x}");
    assert!(taken > 0 && taken < rounds);
}
