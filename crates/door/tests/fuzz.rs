//! Fuzz targets: any bytes are a request, a refusal or a reject, and what is taken can be answered and read.
//!
//! `cargo test -p door --test fuzz` runs each for a moment; `cargo bolero test -p door --test fuzz NAME` for as long as
//! one likes, led by coverage.

use bolero::check;
use bytes::Bytes;
use door::kafka::{Ask, KafkaError, decode, encode};
use model::batch::HEADER_BYTES;
use model::{Batch, BatchBuilder};
use std::time::Duration;

/// For each target in an ordinary run of the tests.
const TIME: Duration = Duration::from_secs(1);
/// Produce v7: not flexible, so that it is easily written by hand.
const PRODUCE: (i16, i16) = (0, 7);

/// A request's head, without a client's name.
fn head((api, version): (i16, i16)) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(api.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(7i32.to_be_bytes());
    bytes.extend((-1i16).to_be_bytes());
    bytes
}

/// Decodes, and answers what was taken.
fn walk(frame: Vec<u8>) {
    let Ok(request) = decode(Bytes::from(frame)) else { return };
    let silent = request.head.silent;
    let reply = encode(&request.head, request.ask.refuse(KafkaError::NotLeader));
    assert_eq!(reply.is_none(), silent, "it is answered unless its client wants no answer");
}

#[test]
fn any_bytes_are_decoded_or_rejected() {
    check!().with_test_time(TIME).for_each(|bytes: &[u8]| walk(bytes.to_vec()));
}

#[test]
fn any_body_of_any_api_is_decoded_or_rejected() {
    check!().with_test_time(TIME).with_type::<(u8, u8, Vec<u8>)>().for_each(
        |(api, version, body)| {
            let what = (i16::from(api % 72), i16::from(version % 14));
            walk([head(what), body.clone()].concat());
        },
    );
}

/// What a client says in the header of a batch, and its events.
type Odd = (i16, i32, (i64, i64), (i64, i16, i32), i32, Vec<u8>);

/// A batch whose length and checksum are right, whatever else it says.
fn sealed((attributes, delta, times, producer, count, events): &Odd) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.push(0, None, None, &[]);
    let mut bytes = builder.build().expect("an event").bytes()[..HEADER_BYTES].to_vec();
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    bytes[23..27].copy_from_slice(&delta.to_be_bytes());
    bytes[27..35].copy_from_slice(&times.0.to_be_bytes());
    bytes[35..43].copy_from_slice(&times.1.to_be_bytes());
    bytes[43..51].copy_from_slice(&producer.0.to_be_bytes());
    bytes[51..53].copy_from_slice(&producer.1.to_be_bytes());
    bytes[53..57].copy_from_slice(&producer.2.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes.extend(events);
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn produce(batch: &[u8]) -> Vec<u8> {
    let mut ask = head(PRODUCE);
    ask.extend((-1i16).to_be_bytes());
    ask.extend((-1i16).to_be_bytes());
    ask.extend(5_000i32.to_be_bytes());
    ask.extend(1i32.to_be_bytes());
    ask.extend(4i16.to_be_bytes());
    ask.extend(b"rain");
    ask.extend(1i32.to_be_bytes());
    ask.extend(0i32.to_be_bytes());
    ask.extend((batch.len() as i32).to_be_bytes());
    ask.extend(batch);
    ask
}

fn taken(batch: &[u8]) -> Option<Batch> {
    let request = decode(Bytes::from(produce(batch))).expect("only the batch is odd");
    let Ask::Produce(ask) = request.ask else { panic!("a produce was asked") };
    let part = ask.parts.into_iter().next().expect("a part was sent");
    part.batches.ok().and_then(|batches| batches.into_iter().next())
}

/// A batch that is taken has exactly the events it says, one offset each, at times there are.
fn read(batch: &Batch) {
    let events: Result<Vec<_>, _> = batch.records(64 << 20).expect("it opens").collect();
    let events = events.expect("it is well-formed");
    assert_eq!(events.len(), batch.count() as usize);
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.offset, batch.base_offset() + at as i64);
        assert!(door::TIME_MS.contains(&event.time_ms), "{}", event.time_ms);
    }
}

#[test]
fn a_batch_that_is_taken_can_be_read() {
    check!().with_test_time(TIME).with_type::<Odd>().for_each(|odd| {
        if let Some(batch) = taken(&sealed(odd)) {
            read(&batch);
        }
    });
}

/// The same, but near to what clients send: few bytes of a good batch are others.
#[test]
fn a_batch_with_a_few_wrong_bytes_is_refused_or_can_be_read() {
    let mut builder = BatchBuilder::new();
    builder.push(5, Some(b"k"), Some(b"v"), &[("h", Some(b"x")), ("null", None)]);
    builder.push(9, None, None, &[]);
    let good = builder.build().expect("two events").bytes().to_vec();
    assert!(taken(&good).is_some());
    check!().with_test_time(TIME).with_type::<Vec<(u8, u8)>>().for_each(|wrong| {
        let mut bytes = good.clone();
        for (at, byte) in wrong.iter().take(4) {
            let at = 21 + usize::from(*at) % (bytes.len() - 21);
            bytes[at] = *byte;
        }
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        if let Some(batch) = taken(&bytes) {
            read(&batch);
        }
    });
}
