//! The four codecs of Kafka's batches, each read through a bound so that a bomb stops at it.

use super::Error;
use bytes::Bytes;
use std::io::Read;

/// What a block of snappy can come to, for each of its bytes: a copy of at most 64 takes three.
const SNAPPY_RATIO: usize = 32;

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
    if size > block.len().saturating_mul(SNAPPY_RATIO) {
        return Err(failed("a snappy block says a length that it cannot have"));
    }
    if out.len().saturating_add(size) > bytes_max {
        return Err(Error::Bomb(bytes_max));
    }
    let start = out.len();
    out.resize(start + size, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_snappy_block_that_says_more_than_it_can_hold_reserves_nothing() {
        // A length of 64 MiB, and nothing behind it.
        let lie = Bytes::from_static(&[0x80, 0x80, 0x80, 0x20]);
        let error = expand(Codec::Snappy, lie, 64 << 20).expect_err("it cannot be");
        assert!(error.to_string().contains("a length that it cannot have"), "{error}");
        let honest = vec![7u8; 1 << 20];
        let packed = snap::raw::Encoder::new().compress_vec(&honest).expect("it fits");
        let back = expand(Codec::Snappy, packed.into(), 1 << 20).expect("it is honest");
        assert!(back[..] == honest[..]);
    }

    #[test]
    fn a_bomb_of_each_codec_stops_at_its_bound() {
        const BOUND: usize = 1 << 20;
        let packed = |codec: Codec, bytes: &[u8]| -> Bytes {
            let mut out = Vec::new();
            match codec {
                Codec::None => out.extend_from_slice(bytes),
                Codec::Gzip => {
                    let mut encoder = flate2::write::GzEncoder::new(&mut out, Default::default());
                    encoder.write_all(bytes).expect("memory takes all");
                    encoder.finish().expect("memory takes all");
                }
                Codec::Snappy => {
                    out = snap::raw::Encoder::new().compress_vec(bytes).expect("it fits");
                }
                Codec::Lz4 => {
                    let mut encoder = lz4_flex::frame::FrameEncoder::new(&mut out);
                    encoder.write_all(bytes).expect("memory takes all");
                    encoder.finish().expect("memory takes all");
                }
                Codec::Zstd => out = zstd::stream::encode_all(bytes, 0).expect("memory takes all"),
            }
            out.into()
        };
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let full = vec![0; BOUND];
            let small = packed(codec, &full);
            assert!(small.len() < BOUND / 10, "{codec:?}: {} bytes", small.len());
            assert!(expand(codec, small, BOUND).expect("just fits")[..] == full[..], "{codec:?}");
            for size in [BOUND + 1, 8 * BOUND] {
                let bomb = expand(codec, packed(codec, &vec![0; size]), BOUND);
                assert!(matches!(bomb, Err(Error::Bomb(BOUND))), "{codec:?}, {size} bytes");
            }
        }
    }
}
