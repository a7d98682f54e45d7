//! Who a member is, and which of two claims to be it is the newer.

use model::{PeerId, catalogue::Addresses};
use serde::{Deserialize, Serialize};

/// One life of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The public key's hash: what makes two lives the same peer.
    pub key: Vec<u8>,
    /// Its place in the roster; 0 while it has none.
    pub peer: PeerId,
    /// Grows with each start of the process; kept on disk.
    pub incarnation: u64,
    /// Grows when the mesh wrongly said it was gone and it came back within the same life; never kept. Apart from the
    /// incarnation, so that a real restart always wins over any number of comebacks.
    pub renewals: u32,
    /// Where it can be reached.
    pub addresses: Addresses,
}
