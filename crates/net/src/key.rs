//! A peer's public name between peers: the hash of its public key.
//!
//! Promises that a value is a well-formed key hash and cheap to clone. Never holds a secret.

use crate::error::Error;
use libp2p::{PeerId, identity::Keypair};
use std::{fmt, str::FromStr, sync::Arc};

/// Who a peer is to other peers, proven by the handshake. Shown in base58.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(Arc<[u8]>);

impl PeerKey {
    /// Checks bytes that were stored or came from a peer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let peer = PeerId::from_bytes(bytes).map_err(|e| Error::Key(e.to_string()))?;
        Ok(Self::of(&peer))
    }

    /// The key that a peer with this seed has.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self::of(&keypair(seed).public().to_peer_id())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn of(peer: &PeerId) -> Self {
        Self(peer.to_bytes().into())
    }

    pub(crate) fn peer_id(&self) -> PeerId {
        PeerId::from_bytes(&self.0).expect("checked when the key was made")
    }
}

/// The key pair that a stored seed stands for.
pub(crate) fn keypair(seed: [u8; 32]) -> Keypair {
    Keypair::ed25519_from_bytes(seed).expect("any 32 bytes are an ed25519 secret")
}

impl FromStr for PeerKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let peer = PeerId::from_str(text).map_err(|e| Error::Key(e.to_string()))?;
        Ok(Self::of(&peer))
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer_id().fmt(f)
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_bytes_and_text() {
        let key = PeerKey::from_seed([7; 32]);
        assert_eq!(PeerKey::from_bytes(key.bytes()).expect("own bytes"), key);
        assert_eq!(key.to_string().parse::<PeerKey>().expect("own text"), key);
        assert!(PeerKey::from_bytes(b"nonsense").is_err());
    }
}
