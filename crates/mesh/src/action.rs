//! What the membership machine asks for.

use crate::Identity;
use bytes::Bytes;

/// One action of [`crate::Mesh::step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a packet on the gossip lane to the peer with this key. It may be lost.
    Send { to: Vec<u8>, packet: Bytes },
    /// Give `Input::Timer` with this token after this time. There is no need to cancel one.
    Timer { after_us: u64, token: u64 },
    /// These members changed; each is told as it is now.
    Changed(Vec<Member>),
}

/// A peer as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub identity: Identity,
    pub state: State,
    /// When this state began, in the time of `step`.
    pub since_us: u64,
}

/// What is believed of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    Alive,
    /// It did not answer; it has a moment to say that it lives.
    Suspect,
    Gone,
}
