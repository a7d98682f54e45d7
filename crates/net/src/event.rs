//! What the network tells: peers that come and go, and the frames they send.
//!
//! Promises that `Up` comes before the first frame of a connection, and that what waits here has a
//! bound in bytes, lane by lane: a flood on one lane never holds back another. Never drops a frame.

use crate::{key::PeerKey, lane::Lane};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Which of a peer's connections stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Reach {
    /// Requests, gossip and bulk can be sent.
    pub main: bool,
    /// Consensus can be sent.
    pub consensus: bool,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection of this peer stands now; `reach` says which do. Told once for each that is
    /// gained.
    Up { peer: PeerKey, reach: Reach },
    /// A connection of this peer was lost, with all that was on its way; `reach` says what is left.
    Down { peer: PeerKey, reach: Reach },
    /// A peer sent a frame.
    Frame { peer: PeerKey, lane: Lane, bytes: Bytes },
    /// Somebody could not connect to us, or we to a known peer. Told at most once in 10 s for an
    /// address.
    Refused { address: String, why: String },
}

/// Where events come out. Dropping it stops the readers.
pub struct Events {
    queue: mpsc::UnboundedReceiver<Queued>,
}

/// An event and the room it takes until it is taken.
pub(crate) struct Queued {
    pub event: Event,
    /// Frames only: what else waits here is bounded by the number of connections.
    pub _room: Option<OwnedSemaphorePermit>,
}

impl Events {
    pub(crate) fn channel() -> (mpsc::UnboundedSender<Queued>, Self) {
        let (sender, queue) = mpsc::unbounded_channel();
        (sender, Self { queue })
    }

    /// The next event; none when the network has stopped.
    pub async fn recv(&mut self) -> Option<Event> {
        self.queue.recv().await.map(|queued| queued.event)
    }

    /// The next event if one waits.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.queue.try_recv().ok().map(|queued| queued.event)
    }
}

impl Reach {
    pub fn both(self) -> bool {
        self.main && self.consensus
    }
    pub fn none(self) -> bool {
        !self.main && !self.consensus
    }
}
