//! Produce: what is taken, what is refused and with which code.

use crate::oracle::{answered, asked, batch, crc32c, offered, topic};
use bytes::Bytes;
use door::BATCH_BYTES_LIMIT;
use door::kafka::*;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use model::{Batch, BatchBuilder};

fn produce(acks: i16, topics: Vec<(&str, Vec<Option<Bytes>>)>) -> ProduceRequest {
    let topics = topics.into_iter().map(|(name, parts)| {
        let parts = parts.into_iter().enumerate().map(|(index, records)| {
            PartitionProduceData::default().with_index(index as i32).with_records(records)
        });
        TopicProduceData::default().with_name(topic(name)).with_partition_data(parts.collect())
    });
    let ask = ProduceRequest::default().with_acks(acks).with_timeout_ms(1_500);
    ask.with_topic_data(topics.collect())
}

/// The code with which one partition's bytes are refused.
fn refusal(version: i16, records: Option<Bytes>) -> Option<i16> {
    let request = asked(ApiKey::Produce, version, &produce(-1, vec![("rain", vec![records])]));
    let Ask::Produce(ask) = request.ask else { panic!("a produce was asked") };
    ask.parts[0].batches.as_ref().err().map(|refused| refused.error.code())
}

/// A batch with bytes changed below the checksum, which is then made right again.
fn changed(batch: &Batch, at: usize, bytes: &[u8]) -> Option<Bytes> {
    let mut changed = batch.bytes().to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c(&changed[21..]);
    changed[17..21].copy_from_slice(&crc.to_be_bytes());
    Some(Bytes::from(changed))
}

#[test]
fn batches_are_slices_of_the_request_in_every_version() {
    for version in offered(ApiKey::Produce) {
        let (one, two) = (batch(3), batch(1));
        let both = Bytes::from([&one.bytes()[..], &two.bytes()[..]].concat());
        let topics = vec![
            ("rain", vec![Some(one.bytes().clone()), Some(both)]),
            ("snow", vec![Some(two.bytes().clone())]),
        ];
        let frame = crate::oracle::frame(ApiKey::Produce, version, &produce(-1, topics));
        let memory = frame.as_ptr_range();
        let request = decode(frame).expect("a valid request");
        let Ask::Produce(ask) = &request.ask else { panic!("a produce was asked") };
        assert_eq!((ask.acks, ask.timeout_ms, &ask.transactional), (-1, 1_500, &None));
        let parts: Vec<_> = ask.parts.iter().map(|p| (&*p.stream, p.partition)).collect();
        assert_eq!(parts, [("rain", 0), ("rain", 1), ("snow", 0)]);
        assert_eq!(ask.parts[0].batches, Ok(vec![one.clone()]));
        assert_eq!(ask.parts[1].batches, Ok(vec![one, two.clone()]));
        assert_eq!(ask.parts[2].batches, Ok(vec![two]));
        for batch in ask.parts.iter().flat_map(|part| part.batches.as_ref().expect("taken")) {
            assert!(memory.contains(&batch.bytes().as_ptr()), "the batch was copied");
        }
        check_produced(&request.head);
    }
}

fn check_produced(head: &Head) {
    let part = |stream: &str, partition, result| ProducedPart {
        stream: stream.into(),
        partition,
        start_offset: 7,
        result,
    };
    let parts = vec![
        part("rain", 0, Ok(41)),
        part("rain", 1, Err(Refused::new(KafkaError::CorruptMessage, "the checksum differs"))),
        part("snow", 0, Err(KafkaError::NotLeader.into())),
    ];
    let reply: ProduceResponse = answered(head, Reply::Produce(parts));
    assert_eq!(reply.responses.len(), 2);
    let rain = &reply.responses[0];
    let (good, bad) = (&rain.partition_responses[0], &rain.partition_responses[1]);
    assert_eq!((&rain.name, good.index, good.error_code), (&topic("rain"), 0, 0));
    assert_eq!((good.base_offset, good.log_append_time_ms), (41, -1));
    assert_eq!(good.log_start_offset, if head.version >= 5 { 7 } else { -1 });
    assert_eq!((bad.index, bad.error_code, bad.base_offset), (1, 2, -1));
    assert_eq!(bad.log_start_offset, if head.version >= 5 { 7 } else { -1 });
    let message = (head.version >= 8).then_some("the checksum differs");
    assert_eq!(bad.error_message.as_deref(), message);
    let snow = &reply.responses[1];
    assert_eq!((&snow.name, snow.partition_responses[0].error_code), (&topic("snow"), 6));
    assert_eq!(snow.partition_responses[0].error_message, None);
}

#[test]
fn what_is_not_a_clients_batch_is_refused_by_its_own_code() {
    let good = batch(2);
    let bytes = good.bytes();
    assert_eq!(refusal(7, Some(bytes.clone())), None);
    assert_eq!(refusal(7, None), Some(87), "null");
    assert_eq!(refusal(7, Some(Bytes::new())), Some(87), "empty");
    assert_eq!(refusal(7, Some(bytes.slice(..60))), Some(2), "half a header");
    assert_eq!(refusal(7, Some(bytes.slice(..bytes.len() - 1))), Some(2), "cut off");
    let tail = Bytes::from([&bytes[..], b"tail"].concat());
    assert_eq!(refusal(7, Some(tail)), Some(2), "bytes behind the batch");
    let mut wrong = bytes.to_vec();
    wrong[70] ^= 1;
    assert_eq!(refusal(7, Some(wrong.into())), Some(2), "checksum");
    let mut lies = bytes.to_vec();
    lies[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(refusal(7, Some(lies.into())), Some(2), "length");
    let mut old = bytes.to_vec();
    old[16] = 1;
    assert_eq!(refusal(7, Some(old.into())), Some(87), "message format 1");
    assert_eq!(refusal(7, changed(&good, 57, &i32::MAX.to_be_bytes())), Some(2), "count");
    assert_eq!(refusal(7, changed(&good, 57, &(-1i32).to_be_bytes())), Some(2), "negative count");
    assert_eq!(refusal(7, changed(&good, 57, &1i32.to_be_bytes())), Some(87), "holes");
    assert_eq!(refusal(7, changed(&good, 61, &[0x7e])), Some(87), "an event's size");
    assert_eq!(refusal(7, changed(&good, 64, &[2])), Some(87), "an offset delta");
    assert_eq!(refusal(7, changed(&good, 65, &[0x7f])), Some(87), "a key's length");
    assert_eq!(refusal(7, changed(&good, 23, &i32::MAX.to_be_bytes())), Some(87), "delta");
    assert_eq!(refusal(7, changed(&good, 0, &i64::MAX.to_be_bytes())), Some(87), "base offset");
    assert_eq!(refusal(7, changed(&good, 21, &0x20i16.to_be_bytes())), Some(87), "control");
    assert_eq!(refusal(7, changed(&good, 21, &0x10i16.to_be_bytes())), Some(48), "transaction");
    assert_eq!(refusal(7, changed(&good, 21, &7i16.to_be_bytes())), Some(76), "codec");
    assert_eq!(refusal(7, changed(&good, 21, &4i16.to_be_bytes())), Some(2), "no zstd");
    assert_eq!(refusal(6, changed(&good, 21, &4i16.to_be_bytes())), Some(76), "zstd too early");
    assert_eq!(refusal(7, changed(&good, 43, &9i64.to_be_bytes())), Some(87), "no sequence");
}

#[test]
fn one_byte_too_many_is_too_large_and_only_for_its_partition() {
    let sized = |size: usize| {
        let filled = |value: usize| {
            let mut builder = BatchBuilder::new();
            builder.push(0, None, Some(&vec![b'x'; value]), &[]);
            builder.build().expect("one event")
        };
        let rest = filled(size - 100).size() - (size - 100);
        let batch = filled(size - rest);
        assert_eq!(batch.size(), size);
        batch.bytes().clone()
    };
    let (most, more) = (sized(BATCH_BYTES_LIMIT), sized(BATCH_BYTES_LIMIT + 1));
    let ask = produce(1, vec![("rain", vec![Some(most), Some(more), None])]);
    let request = asked(ApiKey::Produce, 9, &ask);
    let Ask::Produce(ask) = request.ask else { panic!("a produce was asked") };
    let codes: Vec<_> =
        ask.parts.iter().map(|p| p.batches.as_ref().err().map(|r| r.error.code())).collect();
    assert_eq!(codes, [None, Some(10), Some(87)]);
}

#[test]
fn idempotent_batches_keep_their_producer() {
    let mut builder = BatchBuilder::new().producer(1 << 40, 2, 7);
    builder.push(0, None, None, &[]);
    let batch = builder.build().expect("one event");
    let ask = produce(-1, vec![("rain", vec![Some(batch.bytes().clone())])]);
    let Ask::Produce(ask) = asked(ApiKey::Produce, 9, &ask).ask else { panic!() };
    let batch = &ask.parts[0].batches.as_ref().expect("taken")[0];
    let producer = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
    assert_eq!(producer, (1 << 40, 2, 7));
}

#[test]
fn other_acks_than_minus_one_zero_and_one_are_refused_for_every_partition() {
    for version in offered(ApiKey::Produce) {
        let good = || Some(batch(1).bytes().clone());
        let ask = produce(2, vec![("rain", vec![good(), good()]), ("a/b", vec![good()])]);
        let request = asked(ApiKey::Produce, version, &ask);
        let Ask::Answered(reply) = request.ask else { panic!("the door knows the answer") };
        let reply: ProduceResponse = answered(&request.head, reply);
        let codes = reply.responses.iter().flat_map(|t| &t.partition_responses);
        assert_eq!(codes.map(|p| p.error_code).collect::<Vec<_>>(), [21, 21, 17]);
    }
}

#[test]
fn acks_0_gets_no_reply_whatever_happens() {
    for version in offered(ApiKey::Produce) {
        let ask = produce(0, vec![("rain", vec![Some(batch(1).bytes().clone()), None])]);
        let request = asked(ApiKey::Produce, version, &ask);
        assert!(request.head.silent);
        let reply = request.ask.refuse(KafkaError::NotLeader);
        assert_eq!(encode(&request.head, reply), None);
    }
}

#[test]
fn produce_0_to_2_are_listed_and_refused() {
    // The oracle no longer knows them: api, version, correlation, client id; acks, time-out, one
    // topic "t" with partition 4 and two bytes.
    let body = [
        0, 0, 0, 0, 0, 0, 0, 9, 0, 1, b'c', // head
        0xff, 0xff, 0, 0, 0, 100, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 2, 1, 2,
    ];
    for version in 0..=2u8 {
        let mut frame = body.to_vec();
        frame[3] = version;
        let request = decode(frame.into()).expect("a valid request");
        let Ask::Answered(reply) = request.ask else { panic!("the door knows the answer") };
        let mut expected = vec![0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 4, 0, 35];
        expected.extend([0xff; 8]);
        if version == 2 {
            expected.extend([0xff; 8]);
        }
        if version >= 1 {
            expected.extend([0; 4]);
        }
        let reply = encode(&request.head, reply).expect("a reply");
        assert_eq!(reply[..4], (expected.len() as i32).to_be_bytes());
        assert_eq!(reply[4..], expected);
    }
}
