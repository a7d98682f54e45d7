//! The codec of bytes between peers and on disk: bincode 2 in its legacy layout, behind a version byte.
//!
//! Promises that decoding never allocates more than the bytes that are there justify. Never sees a batch's
//! events: batches travel beside the encoded header, not through it.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The largest value that is encoded or decoded, in bytes. Bulk travels as chunks below it.
pub const BYTES_MAX: usize = 64 << 20;

/// Why bytes could not become a value.
#[derive(Debug, Error)]
pub enum Error {
    #[error("nothing to decode")]
    Empty,
    #[error("format version {found} is not known here (this build reads {known})")]
    Version { found: u8, known: u8 },
    #[error("malformed bytes: {0}")]
    Malformed(String),
}

fn config() -> impl bincode::config::Config {
    bincode::config::legacy().with_limit::<BYTES_MAX>()
}

/// Encodes a value behind a version byte.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = vec![version];
    encode_into(&mut bytes, value);
    bytes
}

/// Appends a value, without a version byte, to bytes that carry their own.
pub fn encode_into<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    bincode::serde::encode_into_std_write(value, bytes, config())
        .expect("writing to memory cannot fail and our types encode");
}

/// Decodes a value behind a version byte; every byte must be used.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, Error> {
    let (&found, rest) = bytes.split_first().ok_or(Error::Empty)?;
    if found != version {
        return Err(Error::Version { found, known: version });
    }
    decode_bare(rest)
}

/// Decodes a value that has no version byte of its own; every byte must be used.
pub fn decode_bare<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config())
        .map_err(|e| Error::Malformed(e.to_string()))?;
    if used != bytes.len() {
        return Err(Error::Malformed(format!("{} bytes after the end", bytes.len() - used)));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let mut bytes = vec![1u8];
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(decode::<Vec<u8>>(1, &bytes), Err(Error::Malformed(_))));
        assert!(matches!(decode::<Vec<u8>>(2, &bytes), Err(Error::Version { found: 1, known: 2 })));
        assert!(matches!(decode::<Vec<u8>>(1, &[]), Err(Error::Empty)));
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let mut bytes = encode(1, &7u32);
        assert_eq!(decode::<u32>(1, &bytes).ok(), Some(7));
        bytes.push(0);
        assert!(decode::<u32>(1, &bytes).is_err());
    }
}
