//! The four codecs of Kafka's batches, each read through a bound so that a bomb stops at it.

use super::Error;
use bytes::Bytes;
use std::io::Read;

/// How the events of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub(super) fn of(attributes: i16) -> Result<Self, Error> {
        match attributes & 0x07 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(Error::Compression(other)),
        }
    }
}

/// Decompresses to at most `bytes_max`.
pub(super) fn expand(codec: Codec, bytes: Bytes, bytes_max: usize) -> Result<Bytes, Error> {
    match codec {
        Codec::None => Ok(bytes),
        Codec::Gzip => read_capped(flate2::read::MultiGzDecoder::new(&bytes[..]), bytes_max),
        Codec::Lz4 => read_capped(lz4_flex::frame::FrameDecoder::new(&bytes[..]), bytes_max),
        Codec::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(&bytes[..]).map_err(failed)?;
            read_capped(decoder, bytes_max)
        }
        Codec::Snappy => snappy(&bytes, bytes_max),
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Decompress(error.to_string())
}

fn read_capped(reader: impl Read, bytes_max: usize) -> Result<Bytes, Error> {
    let mut out = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut out).map_err(failed)?;
    if out.len() > bytes_max {
        return Err(Error::Bomb(bytes_max));
    }
    Ok(out.into())
}

/// The framing that Java clients put around raw snappy blocks (`snappy-java`): magic, two versions, then blocks.
const JAVA_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

fn snappy(bytes: &[u8], bytes_max: usize) -> Result<Bytes, Error> {
    let Some(framed) = bytes.strip_prefix(JAVA_MAGIC) else {
        let mut out = Vec::new();
        snappy_block(bytes, bytes_max, &mut out)?;
        return Ok(out.into());
    };
    let mut rest = framed.get(8..).ok_or_else(|| failed("the snappy header is cut"))?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (size, after) =
            rest.split_at_checked(4).ok_or_else(|| failed("a snappy block is cut"))?;
        let size = u32::from_be_bytes(size.try_into().expect("four bytes")) as usize;
        let (block, after) =
            after.split_at_checked(size).ok_or_else(|| failed("a snappy block is cut"))?;
        snappy_block(block, bytes_max, &mut out)?;
        rest = after;
    }
    Ok(out.into())
}

fn snappy_block(block: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let size = snap::raw::decompress_len(block).map_err(failed)?;
    // The length is read from the block itself: it is checked before a byte is reserved for it.
    if out.len().saturating_add(size) > bytes_max {
        return Err(Error::Bomb(bytes_max));
    }
    let start = out.len();
    out.resize(start + size, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(failed)?;
    Ok(())
}
