//! Builds batches for those of our own doors that do not get them from a client: HTTP, stages, `bench`.

use super::{Batch, Error, HEADER_BYTES};
use bytes::Bytes;

/// Collects events and builds one uncompressed batch.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    records: Vec<u8>,
    scratch: Vec<u8>,
    count: i32,
    base_time_ms: i64,
    max_time_ms: i64,
    producer: Option<(i64, i16, i32)>,
    attributes: i16,
}

impl BatchBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the batch one of an idempotent producer.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer = Some((id, epoch, base_sequence));
        self
    }

    /// Makes the batch part of its producer's transaction.
    pub fn transactional(mut self) -> Self {
        self.attributes |= super::TRANSACTIONAL;
        self
    }

    /// Makes the batch one that clients do not show.
    pub(super) fn control(mut self) -> Self {
        self.attributes |= super::TRANSACTIONAL | super::CONTROL;
        self
    }

    /// Adds one event; `time_ms` counts from 1970.
    pub fn push(
        &mut self,
        time_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        if self.count == 0 {
            self.base_time_ms = time_ms;
            self.max_time_ms = time_ms;
        }
        self.max_time_ms = self.max_time_ms.max(time_ms);
        let record = &mut self.scratch;
        record.clear();
        record.push(0);
        put_varint(record, time_ms.wrapping_sub(self.base_time_ms));
        put_varint(record, i64::from(self.count));
        put_bytes(record, key);
        put_bytes(record, value);
        put_varint(record, headers.len() as i64);
        for (name, value) in headers {
            put_bytes(record, Some(name.as_bytes()));
            put_bytes(record, *value);
        }
        put_varint(&mut self.records, self.scratch.len() as i64);
        self.records.extend_from_slice(&self.scratch);
        self.count += 1;
    }

    pub fn count(&self) -> usize {
        self.count as usize
    }
    /// Size of the batch if it were built now.
    pub fn size(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Builds the batch at base offset 0; fails when it has no event.
    pub fn build(self) -> Result<Batch, Error> {
        if self.count == 0 {
            return Err(Error::Count { count: 0, bytes: 0 });
        }
        let (id, epoch, sequence) = self.producer.unwrap_or((-1, -1, -1));
        let size = HEADER_BYTES + self.records.len();
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&0i64.to_be_bytes());
        bytes.extend_from_slice(&((size - super::LENGTH_END) as i32).to_be_bytes());
        bytes.extend_from_slice(&0i32.to_be_bytes());
        bytes.push(2);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.attributes.to_be_bytes());
        bytes.extend_from_slice(&(self.count - 1).to_be_bytes());
        bytes.extend_from_slice(&self.base_time_ms.to_be_bytes());
        bytes.extend_from_slice(&self.max_time_ms.to_be_bytes());
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&epoch.to_be_bytes());
        bytes.extend_from_slice(&sequence.to_be_bytes());
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes.extend_from_slice(&self.records);
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Batch::trusted(Bytes::from(bytes))
    }
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
