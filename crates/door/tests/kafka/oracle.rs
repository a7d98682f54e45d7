//! The other side of the wire.

use bytes::{Buf, Bytes, BytesMut};
use door::kafka::{self, Head, Reply, Request, versions};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use model::{Batch, BatchBuilder};
use std::ops::RangeInclusive;

pub const CORRELATION: i32 = 0x0102_0304;

/// A request's frame as a client sends it, without its length.
pub fn frame<R: Encodable>(api: ApiKey, version: i16, request: &R) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(CORRELATION)
        .with_client_id(Some(text("tester")));
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes, api.request_header_version(version)).expect("a header");
    request.encode(&mut bytes, version).expect("a request of this version");
    bytes.freeze()
}

/// The request as the door reads it.
pub fn asked<R: Encodable>(api: ApiKey, version: i16, request: &R) -> Request {
    let request = kafka::decode(frame(api, version, request)).expect("a valid request");
    let Head { correlation, api: read_api, version: read_version, client_id, .. } = &request.head;
    assert_eq!((*correlation, *read_api, *read_version), (CORRELATION, api as i16, version));
    assert_eq!(client_id.as_deref(), Some("tester"));
    request
}

/// The reply as a client of this version reads it; nothing may be left over.
pub fn answered<R: Decodable>(head: &Head, reply: Reply) -> R {
    let api = ApiKey::try_from(head.api).expect("a known API");
    let mut bytes = kafka::encode(head, reply).expect("a reply");
    let size = bytes.get_i32();
    assert_eq!(size as usize, bytes.len(), "the length counts what follows it");
    let header = ResponseHeader::decode(&mut bytes, api.response_header_version(head.version));
    assert_eq!(header.expect("a header").correlation_id, CORRELATION);
    let reply = R::decode(&mut bytes, head.version).expect("a reply of this version");
    assert!(bytes.is_empty(), "{} bytes are left over in version {}", bytes.len(), head.version);
    reply
}

/// The versions that are offered and that the oracle can write.
pub fn offered(api: ApiKey) -> RangeInclusive<i16> {
    let offer = versions::offer(api as i16).expect("an offered API");
    let known = api.valid_versions();
    offer.min.max(known.min)..=offer.max.min(known.max)
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A batch of that many events, as a client sends it.
pub fn batch(count: usize) -> Batch {
    let mut builder = BatchBuilder::new();
    for i in 0..count {
        builder.push(1_000 + i as i64, Some(b"key"), Some(format!("value {i}").as_bytes()), &[]);
    }
    builder.build().expect("at least one event")
}

/// Castagnoli's CRC, bit by bit.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
