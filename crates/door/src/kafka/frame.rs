//! The length before each frame, and the reasons to close a connection.

use super::wire::Flaw;
use thiserror::Error;

/// The usual limit of one frame: Kafka's `socket.request.max.bytes`.
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;
/// Key, version and correlation: what every request has.
const HEAD_BYTES_MIN: i32 = 8;

/// Why a connection is closed; the text is for the log and never holds a payload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reject {
    #[error("looks like TLS: this listener is plaintext")]
    Tls,
    #[error("looks like HTTP: this is the Kafka port, HTTP has another")]
    Http,
    #[error("looks like another peer: this is the Kafka port, the mesh has another")]
    Mesh,
    #[error("looks like SSH: this is the Kafka port")]
    Ssh,
    #[error("frame length {0} is negative")]
    Negative(i32),
    #[error("frame length {0} is shorter than a request's header")]
    Short(i32),
    #[error("frame length {size} exceeds {limit}")]
    TooLarge { size: i32, limit: usize },
    #[error("API {api} (version {version}) is not offered")]
    Api { api: i16, version: i16 },
    #[error("version {version} of API {api} is not offered")]
    Version { api: i16, version: i16 },
    #[error("request of API {api} version {version} is malformed: {flaw}")]
    Malformed { api: i16, version: i16, flaw: Flaw },
}

impl Reject {
    /// The reason without its numbers, to count by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Mesh => "mesh",
            Self::Ssh => "SSH",
            Self::Negative(_) => "negative",
            Self::Short(_) => "short",
            Self::TooLarge { .. } => "large",
            Self::Api { .. } | Self::Version { .. } => "API",
            Self::Malformed { .. } => "malformed",
        }
    }
}

/// The size of the frame that `head` announces, at most `limit`. Nothing may be allocated before
/// this says yes, and then only as bytes arrive.
pub fn frame_size(head: [u8; 4], limit: usize) -> Result<usize, Reject> {
    let said = i32::from_be_bytes(head);
    let size = usize::try_from(said).map_err(|_| guess(head).unwrap_or(Reject::Negative(said)))?;
    if size > limit {
        return Err(guess(head).unwrap_or(Reject::TooLarge { size: said, limit }));
    }
    if said < HEAD_BYTES_MIN {
        return Err(Reject::Short(said));
    }
    Ok(size)
}

/// What the first bytes are, if they are the beginning of another protocol.
fn guess(head: [u8; 4]) -> Option<Reject> {
    match &head {
        [0x16, 0x03, 0..=4, _] => Some(Reject::Tls),
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"CONN" | b"TRAC"
        | b"PRI " => Some(Reject::Http),
        b"\x13/mu" => Some(Reject::Mesh),
        b"SSH-" => Some(Reject::Ssh),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_lie_and_other_protocols_are_told_apart() {
        let check = |head: &[u8; 4]| frame_size(*head, FRAME_BYTES_MAX);
        assert_eq!(check(&[0, 0, 0, 8]), Ok(8));
        assert_eq!(check(&[0, 0, 0, 7]), Err(Reject::Short(7)));
        assert_eq!(check(&[0; 4]), Err(Reject::Short(0)));
        assert_eq!(check(&[0xff; 4]), Err(Reject::Negative(-1)));
        let limit = FRAME_BYTES_MAX;
        assert_eq!(check(&(limit as i32).to_be_bytes()), Ok(limit));
        let size = limit as i32 + 1;
        assert_eq!(check(&size.to_be_bytes()), Err(Reject::TooLarge { size, limit }));
        let size = i32::MAX;
        assert_eq!(check(&size.to_be_bytes()), Err(Reject::TooLarge { size, limit }));
        assert_eq!(check(&[0x16, 3, 1, 0]), Err(Reject::Tls));
        assert_eq!(check(b"GET "), Err(Reject::Http));
        assert_eq!(check(b"POST"), Err(Reject::Http));
        assert_eq!(check(b"\x13/mu"), Err(Reject::Mesh));
        assert_eq!(check(b"SSH-"), Err(Reject::Ssh));
    }
}
