//! What can happen to the membership machine.

use bytes::Bytes;

/// One input of [`crate::Mesh::step`].
#[derive(Clone, Debug)]
pub enum Input {
    /// The peer with this key may be a member (it was dialled, or stands in the roster): ask it who
    /// is here.
    Join { key: Vec<u8> },
    /// A packet of another member, from the gossip lane.
    Packet { bytes: Bytes },
    /// A timer asked for by `Action::Timer` is due.
    Timer { token: u64 },
    /// A connection to this peer stands: what was believed of it is asked again at once.
    Up { key: Vec<u8> },
    /// The connection to this peer broke: it is suspect until it is heard.
    Down { key: Vec<u8> },
    /// The peer has left the roster: its traces are dropped.
    Forget { key: Vec<u8> },
    /// This peer leaves: it says so to the others, and is silent from then on.
    Leave,
}
