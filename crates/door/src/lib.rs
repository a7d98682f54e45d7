//! What did the client ask? Kafka's protocol and HTTP's JSON, translated to and from our own words.
//!
//! Promises that no input makes it panic, loop or allocate more than a small multiple of what has
//! arrived. Foreign words (topic, record, broker) stop here. Never opens a socket or a file, never
//! asks a clock, never decides what a request does: `peer` carries the question to a shard and the
//! answer back.

pub mod http;
pub mod kafka;
pub mod trace;

/// The largest batch a client may append; Kafka's own default of `max.message.bytes`.
pub const BATCH_BYTES_MAX: usize = 1_048_588;
/// The largest batch that a stream can be set to take; an entry must hold it.
pub const BATCH_BYTES_LIMIT: usize = 7 << 20;
/// Times an event may have, ms since 1970: -1 for none, and no year of five digits. What lies beyond is a mistake in its
/// unit, and would hold up all that reads by time.
pub const TIME_MS: std::ops::RangeInclusive<i64> = -1..=253_402_300_799_999;
/// Partitions of one stream; each costs every peer some memory for ever.
pub const PARTITIONS_MAX: u32 = 4_096;
