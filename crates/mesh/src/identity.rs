//! Who a member is, and which of two claims to be it is the newer.
//!
//! Promises that an identity that came from a peer is small enough to travel in a packet.

use crate::limits;
use model::{PeerId, catalogue::Addresses};
use serde::{Deserialize, Serialize};

/// One life of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Identity {
    /// The public key's hash: what makes two lives the same peer.
    pub key: Vec<u8>,
    /// Its place in the roster; 0 while it has none.
    pub peer: PeerId,
    /// Grows with each start of the process; kept on disk.
    pub incarnation: u64,
    /// Grows when the mesh wrongly said it was gone and it came back within the same life; never
    /// kept. Apart from the incarnation, so that a real restart always wins over any number of
    /// comebacks.
    pub renewals: u32,
    /// Where it can be reached.
    pub addresses: Addresses,
}

impl Identity {
    /// Somebody of whom only the key is known: enough to ask who is there.
    pub(crate) fn of_key(key: Vec<u8>) -> Self {
        let (peer, addresses) = (PeerId(0), Addresses::default());
        Self { key, peer, incarnation: 0, renewals: 0, addresses }
    }

    /// Says what is too large to travel.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.key.is_empty() || self.key.len() > limits::KEY_BYTES_MAX {
            return Err(format!("a key of {} bytes", self.key.len()));
        }
        let Addresses { mesh, consensus, kafka, http } = &self.addresses;
        let too_long = |address: &&&String| address.len() > limits::ADDRESS_BYTES_MAX;
        match [mesh, consensus, kafka, http].iter().find(too_long) {
            Some(address) => Err(format!("an address of {} bytes", address.len())),
            None => Ok(()),
        }
    }
}

impl foca::Identity for Identity {
    type Addr = Vec<u8>;

    fn addr(&self) -> Vec<u8> {
        self.key.clone()
    }

    fn renew(&self) -> Option<Self> {
        Some(Self { renewals: self.renewals.checked_add(1)?, ..self.clone() })
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        (self.incarnation, self.renewals) > (other.incarnation, other.renewals)
    }
}

/// An identity as it arrives.
#[derive(Deserialize)]
struct Unchecked {
    key: Vec<u8>,
    peer: PeerId,
    incarnation: u64,
    renewals: u32,
    addresses: Addresses,
}

impl TryFrom<Unchecked> for Identity {
    type Error = String;

    fn try_from(arrived: Unchecked) -> Result<Self, String> {
        let Unchecked { key, peer, incarnation, renewals, addresses } = arrived;
        let identity = Self { key, peer, incarnation, renewals, addresses };
        identity.check().map(|()| identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Identity as _;

    #[test]
    fn a_restart_wins_over_any_comeback() {
        let first = Identity { incarnation: 3, ..Identity::of_key(vec![1]) };
        let renewed = first.renew().expect("there is room");
        let restarted = Identity { incarnation: 4, ..first.clone() };
        assert!(renewed.win_addr_conflict(&first) && !first.win_addr_conflict(&renewed));
        assert!(restarted.win_addr_conflict(&renewed) && !renewed.win_addr_conflict(&restarted));
        assert!(!first.win_addr_conflict(&first));
        assert_eq!(renewed.addr(), restarted.addr());
    }

    #[test]
    fn an_identity_that_is_too_large_is_refused() {
        let mut identity = Identity::of_key(vec![1; limits::KEY_BYTES_MAX]);
        identity.addresses.mesh = "x".repeat(limits::ADDRESS_BYTES_MAX);
        assert_eq!(identity.check(), Ok(()));
        identity.addresses.http = "x".repeat(limits::ADDRESS_BYTES_MAX + 1);
        assert!(identity.check().is_err());
        assert!(Identity::of_key(Vec::new()).check().is_err());
        assert!(Identity::of_key(vec![1; limits::KEY_BYTES_MAX + 1]).check().is_err());
    }
}
