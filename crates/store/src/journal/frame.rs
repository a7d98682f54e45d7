//! The frame: what one group commit writes. A head with a checksum of its own, the shards it holds, the body.
//!
//! Layout, little-endian: magic u32, version u8, 3 zero bytes, segment u64, number u64, synced u64, synced byte u64,
//! place u64, body length u32, shard count u32, body CRC-32 u32, head CRC-32 u32 (over all before it and the shards),
//! shards u16 each, body. A frame begins at a multiple of 512 bytes, so it shares no sector with another, and a
//! scan that has lost its way finds the next one.
//!
//! Promises that a head which decodes was written at this very place of this very segment: what an older use of the
//! file has left behind, or what a client has put into an event, is not taken for one.

use crate::Error;
use model::ShardId;

/// Frames begin at multiples of this: a disk's sector.
pub const ALIGN: usize = 512;
/// Bytes of a head without its shards.
pub const HEAD_BYTES: usize = 64;
/// The largest frame: what is gathered for one group commit is far below it.
pub const FRAME_BYTES_MAX: usize = 256 << 20;
const MAGIC: u32 = u32::from_le_bytes(*b"shJf");
const VERSION: u8 = 1;

/// The head of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The segment's id: the number of its first frame.
    pub segment: u64,
    /// Frames are numbered from 1 through all segments.
    pub number: u64,
    /// All frames up to this number were on disk when this one was written.
    pub synced: u64,
    /// All bytes of this segment below this were on disk when this frame was written.
    pub synced_byte: u64,
    /// Where in the segment the frame begins.
    pub place: u64,
    pub body_bytes: u32,
    pub body_crc: u32,
    /// The shards that have records in the frame, in order.
    pub shards: Vec<ShardId>,
}

/// Bytes a frame takes in its segment.
pub fn frame_bytes(shards: usize, body_bytes: usize) -> usize {
    (HEAD_BYTES + 2 * shards + body_bytes).next_multiple_of(ALIGN)
}

impl Head {
    pub fn body_at(&self) -> usize {
        HEAD_BYTES + 2 * self.shards.len()
    }

    pub fn frame_bytes(&self) -> usize {
        frame_bytes(self.shards.len(), self.body_bytes as usize)
    }

    /// Writes the head into the room that was left for it at the beginning of `frame`.
    pub fn encode(&self, frame: &mut [u8]) {
        let shards = self.shards.len() as u32;
        frame[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        frame[4..8].copy_from_slice(&[VERSION, 0, 0, 0]);
        let words = [self.segment, self.number, self.synced, self.synced_byte, self.place];
        for (i, word) in words.iter().enumerate() {
            frame[8 + 8 * i..16 + 8 * i].copy_from_slice(&word.to_le_bytes());
        }
        frame[48..52].copy_from_slice(&self.body_bytes.to_le_bytes());
        frame[52..56].copy_from_slice(&shards.to_le_bytes());
        frame[56..60].copy_from_slice(&self.body_crc.to_le_bytes());
        for (i, shard) in self.shards.iter().enumerate() {
            let at = HEAD_BYTES + 2 * i;
            frame[at..at + 2].copy_from_slice(&shard.0.to_le_bytes());
        }
        let crc = head_crc(frame, self.shards.len());
        frame[60..64].copy_from_slice(&crc.to_le_bytes());
    }

    /// The head at `place` of a segment's bytes, if there is a sound one of this segment.
    ///
    /// Fails if a newer version has written it.
    pub fn decode(bytes: &[u8], segment: u64, place: usize) -> Result<Option<Self>, Error> {
        let Some(head) = bytes.get(place..).filter(|rest| rest.len() >= HEAD_BYTES) else {
            return Ok(None);
        };
        if u32_at(head, 0) != MAGIC {
            return Ok(None);
        }
        let shards = u32_at(head, 52) as usize;
        if shards > usize::from(u16::MAX) + 1 || head.len() < HEAD_BYTES + 2 * shards {
            return Ok(None);
        }
        if head_crc(head, shards) != u32_at(head, 60) {
            return Ok(None);
        }
        if u64_at(head, 8) != segment || u64_at(head, 40) != place as u64 {
            return Ok(None);
        }
        if head[4] > VERSION {
            return Err(newer(format!("journal segment {segment:016x}"), head[4]));
        }
        let listed = head[HEAD_BYTES..HEAD_BYTES + 2 * shards].chunks_exact(2);
        Ok(Some(Self {
            segment,
            number: u64_at(head, 16),
            synced: u64_at(head, 24),
            synced_byte: u64_at(head, 32),
            place: place as u64,
            body_bytes: u32_at(head, 48),
            body_crc: u32_at(head, 56),
            shards: listed.map(|b| ShardId(u16::from_le_bytes([b[0], b[1]]))).collect(),
        }))
    }

    /// The frame's body in its segment's bytes, if it is whole and sound.
    pub fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let from = self.place as usize + self.body_at();
        let body = bytes.get(from..from + self.body_bytes as usize)?;
        (crc32fast::hash(body) == self.body_crc).then_some(body)
    }
}

/// What a reader says of bytes that a newer version has written.
pub fn newer(what: String, version: u8) -> Error {
    Error::Newer {
        what,
        written_by: format!("format {version}"),
        this: format!("format {VERSION} ({})", env!("CARGO_PKG_VERSION")),
    }
}

fn head_crc(frame: &[u8], shards: usize) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&frame[..60]);
    crc.update(&frame[HEAD_BYTES..HEAD_BYTES + 2 * shards]);
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
