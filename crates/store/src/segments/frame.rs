//! How a batch lies in a segment: CRC-32 u32 (little-endian) of the batch's header, then the batch.
//!
//! The header's checksum covers what Kafka's own leaves out (base offset, length, epoch) and lets a walk from frame
//! to frame be trusted; the events lie under the batch's own CRC-32C, so an append hashes no event.

use bytes::Bytes;
use model::Batch;
use model::batch::{HEADER_BYTES, LENGTH_END};

/// Checksum and batch header: what it takes to know a frame.
pub const HEAD_BYTES: usize = 4 + HEADER_BYTES;

/// What a frame's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub base: i64,
    pub next: i64,
    pub max_time: i64,
    /// Bytes of the whole frame.
    pub bytes: u64,
}

pub fn put(out: &mut Vec<u8>, batch: &Batch) {
    let bytes = batch.bytes();
    out.extend_from_slice(&crc32fast::hash(&bytes[..HEADER_BYTES]).to_le_bytes());
    out.extend_from_slice(bytes);
}

pub fn frame_bytes(batch: &Batch) -> u64 {
    4 + batch.size() as u64
}

/// Bytes of the batch in a frame.
pub fn batch_bytes(head: &Head) -> usize {
    head.bytes as usize - 4
}

/// The head at the beginning of `bytes`, if it is sound.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let crc = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let header = bytes.get(4..HEAD_BYTES)?;
    if crc32fast::hash(header) != crc {
        return None;
    }
    let base = i64::from_be_bytes(header[..8].try_into().ok()?);
    let length = i32::from_be_bytes(header[8..12].try_into().ok()?);
    let delta = i32::from_be_bytes(header[23..27].try_into().ok()?);
    let max_time = i64::from_be_bytes(header[35..43].try_into().ok()?);
    let bytes = 4 + u64::try_from(length).ok()? + LENGTH_END as u64;
    Some(Head { base, next: base + i64::from(delta) + 1, max_time, bytes })
}

/// The batch of a whole frame, if its events are sound too.
pub fn batch(frame: Bytes) -> Option<Batch> {
    head(&frame)?;
    Batch::one(frame.slice(4..)).ok()
}
