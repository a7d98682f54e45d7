//! A sparse index of one segment: a mark for the first batch in each stretch of bytes.
//!
//! Kept in `<base>.idx` beside the segment, 32 bytes a mark: offset, place, latest time before it (i64/u64
//! little-endian), CRC-32 of these, 4 zero bytes. Only a hint: it is written without sync, a mark with a wrong checksum
//! ends it, and where no batch begins at the last one, all are built anew.

use super::frame::Head;

pub const MARK_BYTES: usize = 32;

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub offset: i64,
    pub place: u64,
    /// The latest event time of all batches before this one.
    pub time_before: i64,
}

/// The marks of one segment, in order.
#[derive(Clone, Debug, Default)]
pub struct Index {
    marks: Vec<Mark>,
    /// How many of them are in the file.
    saved: usize,
    /// The latest event time of all batches.
    max_time: Option<i64>,
}

impl Index {
    /// Reads a file's marks, those that lie below `end`.
    pub fn decode(bytes: &[u8], end: u64) -> Self {
        let mut marks: Vec<Mark> = Vec::new();
        for mark in bytes.chunks_exact(MARK_BYTES) {
            let crc = u32::from_le_bytes(mark[24..28].try_into().expect("four bytes"));
            let word = |at: usize| mark[at..at + 8].try_into().expect("eight bytes");
            let found = Mark {
                offset: i64::from_le_bytes(word(0)),
                place: u64::from_le_bytes(word(8)),
                time_before: i64::from_le_bytes(word(16)),
            };
            let after = marks.last().is_none_or(|m| m.place < found.place);
            if crc32fast::hash(&mark[..24]) != crc || !after || found.place >= end {
                break;
            }
            marks.push(found);
        }
        let max_time = marks.last().map(|mark| mark.time_before);
        Self { saved: marks.len(), marks, max_time }
    }

    /// Forgets the marks at or above `offset`; what the last one that stays begins must be walked again.
    pub fn cut(&mut self, offset: i64) {
        self.marks.retain(|mark| mark.offset < offset);
        self.saved = 0;
        self.max_time = self.marks.last().map(|mark| mark.time_before);
    }

    /// The segment is damaged: any time may be in it.
    pub fn any_time(&mut self) {
        self.max_time = Some(i64::MAX);
    }

    /// Takes note of a batch that lies at `place`.
    pub fn add(&mut self, head: &Head, place: u64, every: u64) {
        let far = self.marks.last().is_none_or(|mark| place >= mark.place + every);
        if far {
            let time_before = self.max_time.unwrap_or(i64::MIN);
            self.marks.push(Mark { offset: head.base, place, time_before });
        }
        self.max_time = Some(self.max_time.map_or(head.max_time, |max| max.max(head.max_time)));
    }

    /// Where to begin to look for the batch that holds `offset`.
    pub fn before_offset(&self, offset: i64) -> u64 {
        let after = self.marks.partition_point(|mark| mark.offset <= offset);
        after.checked_sub(1).map_or(0, |i| self.marks[i].place)
    }

    /// Where to begin to look for the first batch with a time at or after `time`.
    pub fn before_time(&self, time: i64) -> u64 {
        let after = self.marks.partition_point(|mark| mark.time_before < time);
        after.checked_sub(1).map_or(0, |i| self.marks[i].place)
    }

    /// The last mark: from there on the segment must be walked to know its end.
    pub fn last(&self) -> Option<Mark> {
        self.marks.last().copied()
    }

    /// `None` if the segment is empty.
    pub fn max_time(&self) -> Option<i64> {
        self.max_time
    }

    /// The marks that are not in the file yet, encoded, and where in the file they go.
    pub fn unsaved(&self) -> (u64, Vec<u8>) {
        let mut bytes = Vec::new();
        for mark in &self.marks[self.saved..] {
            let from = bytes.len();
            bytes.extend_from_slice(&mark.offset.to_le_bytes());
            bytes.extend_from_slice(&mark.place.to_le_bytes());
            bytes.extend_from_slice(&mark.time_before.to_le_bytes());
            let crc = crc32fast::hash(&bytes[from..]);
            bytes.extend_from_slice(&crc.to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
        }
        ((self.saved * MARK_BYTES) as u64, bytes)
    }

    pub fn set_saved(&mut self) {
        self.saved = self.marks.len();
    }
}
