//! Events inside a batch, read without copying.

use super::Error;
use bytes::Bytes;

/// One event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub time_ms: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Headers of one event; more is malformed.
pub const HEADERS_MAX: i64 = 10_000;

/// Iterates over the events of one batch.
#[derive(Debug)]
pub struct Records {
    bytes: Bytes,
    at: usize,
    base_offset: i64,
    base_time_ms: i64,
    left: i32,
}

impl Records {
    pub(super) fn new(bytes: Bytes, base_offset: i64, base_time_ms: i64, count: i32) -> Self {
        Self { bytes, at: 0, base_offset, base_time_ms, left: count }
    }

    fn varint(&mut self) -> Result<i64, Error> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(Error::Record("it ends inside a number"))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(Error::Record("a number has more than ten bytes"))
    }

    fn blob(&mut self) -> Result<Option<Bytes>, Error> {
        let size = self.varint()?;
        if size == -1 {
            return Ok(None);
        }
        let size = usize::try_from(size).map_err(|_| Error::Record("a length is negative"))?;
        let end = self.at.checked_add(size).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Error::Record("a length passes the end of the batch"))?;
        let blob = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(Some(blob))
    }

    fn record(&mut self) -> Result<Record, Error> {
        let size = self.varint()?;
        let size = usize::try_from(size).map_err(|_| Error::Record("its size is negative"))?;
        let end = self.at.checked_add(size).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Error::Record("its size passes the end of the batch"))?;
        if size == 0 {
            return Err(Error::Record("it is empty"));
        }
        self.at += 1;
        let time_delta = self.varint()?;
        let offset_delta = self.varint()?;
        let key = self.blob()?;
        let value = self.blob()?;
        let count = self.varint()?;
        if !(0..=HEADERS_MAX).contains(&count) {
            return Err(Error::Record("its header count is out of range"));
        }
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = self.blob()?.ok_or(Error::Record("a header has no name"))?;
            headers.push((name, self.blob()?));
        }
        if self.at != end {
            return Err(Error::Record("its size is wrong"));
        }
        Ok(Record {
            offset: self.base_offset.wrapping_add(offset_delta),
            time_ms: self.base_time_ms.wrapping_add(time_delta),
            key,
            value,
            headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let record = self.record();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}
