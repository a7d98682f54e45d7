//! One answer of the exchange: what a range of one source partition means to one bucket.
//!
//! Promises to be a pure function of stage, bucket and [from, to). Items are not objects but bytes, shared by all
//! buckets of a range; they are read in place.

use crate::Error;
use bytes::Bytes;
use model::PartitionId;
use serde::{Deserialize, Serialize};

/// Items of the offsets [from, to) of one source partition, for one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    pub source: PartitionId,
    pub from: i64,
    pub to: i64,
    /// No event of the range's blocks lies further back than this; `i64::MIN` if they have none.
    pub watermark_ms: i64,
    pub activity: Activity,
    pub pieces: Vec<Piece>,
}

/// Whether a source partition holds the watermark back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// Nobody says: it is idle when it has had nothing for a time.
    Unsaid,
    /// The stage that writes it says its watermark, and is at work.
    Active,
    /// The stage that writes it says that its own sources are idle.
    Idle,
}

/// Items of one computed block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Offsets and times of the items count from here.
    pub base_offset: i64,
    pub base_time_ms: i64,
    /// Partial aggregates, to be folded as a whole: each value is `count` and what so many items came to, or 0 and
    /// one item's own.
    pub is_partial: bool,
    pub bytes: Bytes,
}

/// One item, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The source event's offset; several items of one event have the same.
    pub offset: i64,
    /// Event time.
    pub time_ms: i64,
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// Why the stateless chain could not make items of the event; key and value are then the event's own.
    pub failed: Option<&'a str>,
}

impl Chunk {
    /// The answer of a source that has nothing new.
    pub fn nothing(source: PartitionId, at: i64) -> Self {
        let (watermark_ms, activity) = (i64::MIN, Activity::Unsaid);
        Self { source, from: at, to: at, watermark_ms, activity, pieces: Vec::new() }
    }

    /// For a source that a stage writes: the writing task's watermark, and whether it is idle, committed before
    /// the partition's end was `end`. What the partition gets behind that end lies behind this watermark.
    pub fn promise(&mut self, (watermark_ms, is_idle): (i64, bool), end: i64) {
        // What lies unread is to be waited for, whatever its writer does now.
        let is_read = self.to >= end;
        self.activity = if is_idle && is_read { Activity::Idle } else { Activity::Active };
        if is_read {
            self.watermark_ms = self.watermark_ms.max(watermark_ms);
        }
    }

    /// Bytes of all items.
    pub fn size(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.len()).sum()
    }

    /// The items from `from` on, in order; ends at the first malformed one, with an error. Rows of partial aggregates
    /// are told as they are.
    pub fn items(&self) -> impl Iterator<Item = Result<Item<'_>, Error>> {
        let from = self.from;
        self.pieces
            .iter()
            .flat_map(Items::of)
            .filter(move |item| item.as_ref().map_or(true, |item| item.offset >= from))
    }
}

/// Appends one item to a block's bytes; `write` says key and value.
pub(crate) fn put_item(
    out: &mut Vec<u8>,
    (base_offset, base_time_ms): (i64, i64),
    item: &Item<'_>,
) {
    put_number(out, item.offset.wrapping_sub(base_offset) as u64);
    put_number(out, zigzag(item.time_ms.wrapping_sub(base_time_ms)));
    put_number(out, (item.key.len() as u64) << 1 | u64::from(item.failed.is_some()));
    out.extend_from_slice(item.key);
    put_number(out, item.value.len() as u64);
    out.extend_from_slice(item.value);
    if let Some(cause) = item.failed {
        put_number(out, cause.len() as u64);
        out.extend_from_slice(cause.as_bytes());
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What [`put_number`] wrote, and what follows it.
pub(crate) fn read_number(bytes: &[u8]) -> Result<(u64, &[u8]), Error> {
    let (mut value, mut rest) = (0u64, bytes);
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(Error::Chunk("it ends inside a number"))?;
        rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value, rest));
        }
    }
    Err(Error::Chunk("a number has more than ten bytes"))
}

/// Reads the items of one piece or block.
#[derive(Clone)]
pub(crate) struct Items<'a> {
    rest: &'a [u8],
    base_offset: i64,
    base_time_ms: i64,
}

impl<'a> Items<'a> {
    pub(crate) fn of(piece: &'a Piece) -> Self {
        Self::new(&piece.bytes, (piece.base_offset, piece.base_time_ms))
    }

    pub(crate) fn new(bytes: &'a [u8], (base_offset, base_time_ms): (i64, i64)) -> Self {
        Self { rest: bytes, base_offset, base_time_ms }
    }

    /// Where offsets and times count from.
    pub(crate) fn base(&self) -> (i64, i64) {
        (self.base_offset, self.base_time_ms)
    }

    /// Bytes that are not read yet.
    pub(crate) fn size(&self) -> usize {
        self.rest.len()
    }

    fn number(&mut self) -> Result<u64, Error> {
        let (value, rest) = read_number(self.rest)?;
        self.rest = rest;
        Ok(value)
    }

    fn blob(&mut self, size: u64) -> Result<&'a [u8], Error> {
        let size = usize::try_from(size).map_err(|_| Error::Chunk("a length is too large"))?;
        let (blob, rest) =
            self.rest.split_at_checked(size).ok_or(Error::Chunk("a length passes the end"))?;
        self.rest = rest;
        Ok(blob)
    }

    fn item(&mut self) -> Result<Item<'a>, Error> {
        let offset = self.base_offset.wrapping_add(self.number()? as i64);
        let time = self.number()?;
        let time_ms = self.base_time_ms.wrapping_add((time >> 1) as i64 ^ -((time & 1) as i64));
        let head = self.number()?;
        let key = self.blob(head >> 1)?;
        let size = self.number()?;
        let value = self.blob(size)?;
        let failed = if head & 1 == 1 {
            let size = self.number()?;
            let cause = std::str::from_utf8(self.blob(size)?);
            Some(cause.map_err(|_| Error::Chunk("a cause is no text"))?)
        } else {
            None
        };
        Ok(Item { offset, time_ms, key, value, failed })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.item();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_survive_their_encoding_and_no_cut_is_taken_for_an_item() {
        let failed = Item { offset: 9, time_ms: -4, key: b"", value: b"raw", failed: Some("no") };
        let whole = Item { offset: 7, time_ms: 5_000, key: b"k", value: b"", failed: None };
        let mut bytes = Vec::new();
        put_item(&mut bytes, (7, 9_000), &whole);
        let first = bytes.len();
        put_item(&mut bytes, (7, 9_000), &failed);
        let chunk = |bytes: &[u8]| Chunk {
            source: PartitionId::default(),
            from: 7,
            to: 10,
            watermark_ms: 0,
            activity: Activity::Unsaid,
            pieces: vec![Piece {
                base_offset: 7,
                base_time_ms: 9_000,
                is_partial: false,
                bytes: Bytes::copy_from_slice(bytes),
            }],
        };
        let full = chunk(&bytes);
        let items: Vec<_> = full.items().collect::<Result<_, _>>().expect("own bytes");
        assert_eq!(items, [whole, failed]);
        for cut in (1..bytes.len()).filter(|cut| *cut != first) {
            assert!(chunk(&bytes[..cut]).items().any(|item| item.is_err()), "cut at {cut}");
        }
        let later = Chunk { from: 8, ..full.clone() };
        assert_eq!(later.items().count(), 1);
    }
}
