//! Walks a segment from frame to frame, by their heads.

use super::frame::{self, HEAD_BYTES, Head};
use crate::disk::File;
use bytes::Bytes;
use std::io;

/// Bytes read at once; a frame that is larger is not read by a walk but stepped over.
const READ_BYTES: u64 = 256 << 10;

/// A walk; it ends at `end`, or before the first frame whose head is not sound or that is not whole.
pub struct Walk<'a> {
    file: &'a dyn File,
    end: u64,
    place: u64,
    chunk: Bytes,
    chunk_at: u64,
}

impl<'a> Walk<'a> {
    pub fn new(file: &'a dyn File, from: u64, end: u64) -> Self {
        Self { file, end, place: from, chunk: Bytes::new(), chunk_at: from }
    }

    /// Where the next frame begins.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// The next frame's head and place.
    pub fn step(&mut self) -> io::Result<Option<(Head, u64)>> {
        if self.place + HEAD_BYTES as u64 > self.end {
            return Ok(None);
        }
        let within = (self.place - self.chunk_at) as usize;
        if within + HEAD_BYTES > self.chunk.len() {
            self.chunk = read(self.file, self.place, READ_BYTES.min(self.end - self.place))?;
            self.chunk_at = self.place;
        }
        let within = (self.place - self.chunk_at) as usize;
        let Some(head) = self.chunk.get(within..).and_then(frame::head) else { return Ok(None) };
        let place = self.place;
        if place + head.bytes > self.end {
            return Ok(None);
        }
        self.place += head.bytes;
        Ok(Some((head, place)))
    }
}

/// Reads `len` bytes, fewer where the file ends.
pub fn read(file: &dyn File, at: u64, len: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; len as usize];
    let read = file.read_at(&mut bytes, at)?;
    bytes.truncate(read);
    Ok(Bytes::from(bytes))
}
