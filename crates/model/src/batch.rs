//! The batch: Kafka's record batch v2, the unit from the client's socket to the disk, the neighbour and the reader.
//!
//! Layout (KIP-98): base offset i64, length i32, leader epoch i32, magic i8 = 2, CRC-32C u32 (of all that follows),
//! attributes i16, last offset delta i32, base and max timestamp i64 (ms), producer id i64, producer epoch i16,
//! base sequence i32, record count i32, records. All big-endian.
//!
//! Promises that a [`Batch`] has passed every check of its header and checksum. Never decompresses unless asked,
//! and then never beyond the bound it is given.

mod build;
mod compression;
mod record;

pub use build::BatchBuilder;
pub use compression::Codec;
pub use record::{HEADERS_MAX, Record, Records};

use bytes::{Bytes, BytesMut};
use thiserror::Error;

/// Bytes of the header, records excluded.
pub const HEADER_BYTES: usize = 61;
/// Bytes before `batch length` starts to count.
pub const LENGTH_END: usize = 12;
/// Bits of the attributes.
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// The smallest encoded record: length, attributes, two deltas, two null lengths, header count.
const RECORD_BYTES_MIN: usize = 7;

/// Why bytes are not a batch. `Corrupt` is the client's CORRUPT_MESSAGE, the rest INVALID_RECORD or by name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("{0} bytes are too few for a batch")]
    Short(usize),
    #[error("the batch says it has {said} bytes and has {found}")]
    Length { said: i64, found: usize },
    #[error("message format {0} is not supported, only 2 is")]
    Magic(i8),
    #[error("the checksum differs")]
    Checksum,
    #[error("{count} events do not fit into {bytes} bytes")]
    Count { count: i32, bytes: usize },
    #[error("the last offset delta {last} does not fit {count} events")]
    Delta { last: i32, count: i32 },
    #[error("compression type {0} is not known")]
    Compression(i16),
    #[error("the events decompress to more than {0} bytes")]
    Bomb(usize),
    #[error("the events do not decompress: {0}")]
    Decompress(String),
    #[error("an event is malformed: {0}")]
    Record(&'static str),
    #[error("a client may not send control batches")]
    Control,
}

/// A checked batch; cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
}

impl Batch {
    /// Checks the first batch of `bytes` and returns it with how many bytes it takes.
    ///
    /// Fails if a length lies, the checksum differs, the magic is not 2 or the counts contradict each other.
    pub fn first(bytes: &Bytes) -> Result<(Self, usize), Error> {
        let found = bytes.len();
        if found < HEADER_BYTES {
            return Err(Error::Short(found));
        }
        let said = i64::from(i32_at(bytes, 8)) + LENGTH_END as i64;
        if said < HEADER_BYTES as i64 || said > found as i64 {
            return Err(Error::Length { said, found });
        }
        let size = said as usize;
        let batch = Self { bytes: bytes.slice(..size) };
        batch.check()?;
        Ok((batch, size))
    }

    /// Checks that `bytes` are exactly one batch.
    pub fn one(bytes: Bytes) -> Result<Self, Error> {
        let (batch, size) = Self::first(&bytes)?;
        if size != bytes.len() {
            return Err(Error::Length { said: size as i64, found: bytes.len() });
        }
        Ok(batch)
    }

    /// Takes bytes that this peer has checked before (a committed entry, a segment whose frame was valid).
    ///
    /// Checks lengths and counts but not the checksum again.
    pub fn trusted(bytes: Bytes) -> Result<Self, Error> {
        let found = bytes.len();
        if found < HEADER_BYTES {
            return Err(Error::Short(found));
        }
        let said = i64::from(i32_at(&bytes, 8)) + LENGTH_END as i64;
        if said != found as i64 {
            return Err(Error::Length { said, found });
        }
        let batch = Self { bytes };
        batch.check_counts()?;
        Ok(batch)
    }

    fn check(&self) -> Result<(), Error> {
        let magic = self.bytes[16] as i8;
        if magic != 2 {
            return Err(Error::Magic(magic));
        }
        if crc32c::crc32c(&self.bytes[21..]) != u32_at(&self.bytes, 17) {
            return Err(Error::Checksum);
        }
        self.check_counts()
    }

    fn check_counts(&self) -> Result<(), Error> {
        let count = i32_at(&self.bytes, 57);
        let bytes = self.bytes.len() - HEADER_BYTES;
        let plain = self.codec()? == Codec::None;
        if count < 1 || (plain && (count as usize).saturating_mul(RECORD_BYTES_MIN) > bytes) {
            return Err(Error::Count { count, bytes });
        }
        let last = i32_at(&self.bytes, 23);
        // A compacted batch has holes, so the delta may exceed the count; it can never fall below it.
        if last < count - 1 {
            return Err(Error::Delta { last, count });
        }
        Ok(())
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
    pub fn base_offset(&self) -> i64 {
        i64_at(&self.bytes, 0)
    }
    pub fn leader_epoch(&self) -> i32 {
        i32_at(&self.bytes, 12)
    }
    pub fn attributes(&self) -> i16 {
        i16::from_be_bytes([self.bytes[21], self.bytes[22]])
    }
    /// The offset after the last event.
    pub fn next_offset(&self) -> i64 {
        self.base_offset() + i64::from(self.last_offset_delta()) + 1
    }
    pub fn last_offset_delta(&self) -> i32 {
        i32_at(&self.bytes, 23)
    }
    pub fn base_time_ms(&self) -> i64 {
        i64_at(&self.bytes, 27)
    }
    pub fn max_time_ms(&self) -> i64 {
        i64_at(&self.bytes, 35)
    }
    /// -1 when the producer is not idempotent.
    pub fn producer_id(&self) -> i64 {
        i64_at(&self.bytes, 43)
    }
    pub fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes([self.bytes[51], self.bytes[52]])
    }
    pub fn base_sequence(&self) -> i32 {
        i32_at(&self.bytes, 53)
    }
    pub fn count(&self) -> i32 {
        i32_at(&self.bytes, 57)
    }
    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL != 0
    }
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL != 0
    }
    /// What ends a transaction in a partition: a control batch of one event, as Kafka writes it.
    pub fn marker(producer: i64, epoch: i16, commit: bool, time_ms: i64) -> Self {
        let mut builder = BatchBuilder::new().producer(producer, epoch, -1);
        // Version and kind; version and the coordinator's epoch, which nobody reads.
        let kind = [0, 0, 0, u8::from(commit)];
        builder.push(time_ms, Some(&kind), Some(&[0; 6]), &[]);
        builder.control().build().expect("it has one event")
    }

    /// The same place without its events: what readers see of a transaction that was given up.
    pub fn hollow(&self) -> Self {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        bytes[22] |= CONTROL as u8;
        Self { bytes: bytes.freeze() }
    }

    pub fn codec(&self) -> Result<Codec, Error> {
        Codec::of(self.attributes())
    }

    /// The same batch at another place: base offset and leader epoch lie outside the checksum.
    pub fn placed(&self, base_offset: i64, leader_epoch: i32) -> Self {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
        Self { bytes: bytes.freeze() }
    }

    /// The events, decompressed to at most `bytes_max`; the iterator fails on the first malformed one.
    pub fn records(&self, bytes_max: usize) -> Result<Records, Error> {
        let plain = self.plain(bytes_max)?;
        // A copy of its own: events are handed out as shares of it, and a batch's bytes are shared with the whole
        // frame it came in, whose count of shares other threads are changing all the time.
        let plain = match self.codec()? {
            Codec::None => Bytes::copy_from_slice(&plain),
            _ => plain,
        };
        Ok(Records::new(plain, self.base_offset(), self.base_time_ms(), self.count()))
    }

    /// The encoded events behind the header, decompressed to at most `bytes_max`.
    pub fn plain(&self, bytes_max: usize) -> Result<Bytes, Error> {
        let payload = self.bytes.slice(HEADER_BYTES..);
        match self.codec()? {
            Codec::None => Ok(payload),
            codec => compression::expand(codec, payload, bytes_max),
        }
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({}+{}, {} bytes)", self.base_offset(), self.count(), self.size())
    }
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Batch {
        let mut builder = BatchBuilder::new();
        builder.push(1_000, Some(b"k"), Some(b"v1"), &[("h", Some(b"x"))]);
        builder.push(1_005, None, None, &[]);
        builder.build().expect("two events")
    }

    #[test]
    fn what_is_built_is_read_back() {
        let batch = Batch::one(sample().placed(40, 3).bytes().clone()).expect("valid");
        assert_eq!((batch.base_offset(), batch.next_offset(), batch.leader_epoch()), (40, 42, 3));
        let events: Vec<Record> =
            batch.records(1 << 20).expect("plain").collect::<Result<_, _>>().expect("well-formed");
        assert_eq!(events[0].offset, 40);
        assert_eq!(events[0].key.as_deref(), Some(&b"k"[..]));
        assert_eq!(events[0].value.as_deref(), Some(&b"v1"[..]));
        assert_eq!((events[1].offset, events[1].time_ms), (41, 1_005));
        assert_eq!((events[1].key.clone(), events[1].value.clone()), (None, None));
    }

    #[test]
    fn any_flipped_bit_under_the_checksum_is_found() {
        let good = sample().bytes().clone();
        for at in 16..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert!(Batch::one(bad.into()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused_without_allocation() {
        let mut bad = sample().bytes().to_vec();
        bad[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(matches!(Batch::one(bad.clone().into()), Err(Error::Length { .. })));
        bad[8..12].copy_from_slice(&(-1i32).to_be_bytes());
        assert!(matches!(Batch::one(bad.into()), Err(Error::Length { .. })));
        assert_eq!(Batch::one(Bytes::from_static(b"GET / HTTP/1.1")), Err(Error::Short(14)));
    }
}
