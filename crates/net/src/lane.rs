//! The kinds of traffic between peers, and which connection carries each.
//!
//! Promises that a lane's version is part of its name, so that two versions never misread each
//! other.

use crate::limits;
use libp2p::StreamProtocol;

/// One kind of traffic between peers. Order is kept within a lane, not between lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Messages of the shards' consensus, alone on a connection of its own.
    Consensus,
    /// Questions and answers between peers.
    Request,
    /// Who is here.
    Gossip,
    /// Chunks of segments and snapshots.
    Bulk,
}

/// One of the two connections of a pair of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Carries requests, gossip and bulk.
    Main,
    /// Carries consensus.
    Consensus,
}

impl Lane {
    pub const ALL: [Lane; 4] = [Lane::Consensus, Lane::Request, Lane::Gossip, Lane::Bulk];

    pub fn group(self) -> Group {
        match self {
            Lane::Consensus => Group::Consensus,
            Lane::Request | Lane::Gossip | Lane::Bulk => Group::Main,
        }
    }

    /// Bytes that may wait to be sent to one peer.
    pub fn queue_bytes_max(self) -> usize {
        match self {
            Lane::Consensus => limits::CONSENSUS_QUEUE_BYTES_MAX,
            Lane::Request => limits::REQUEST_QUEUE_BYTES_MAX,
            Lane::Gossip => limits::GOSSIP_QUEUE_BYTES_MAX,
            Lane::Bulk => limits::BULK_QUEUE_BYTES_MAX,
        }
    }

    /// The largest frame this lane takes: one that its queue can hold.
    pub fn frame_bytes_max(self) -> usize {
        limits::FRAME_BYTES_MAX.min(self.queue_bytes_max() - limits::FRAME_OVERHEAD_BYTES)
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Lane::Consensus => "/shoal/consensus/1",
            Lane::Request => "/shoal/request/1",
            Lane::Gossip => "/shoal/gossip/1",
            Lane::Bulk => "/shoal/bulk/1",
        })
    }
}

impl Group {
    pub const ALL: [Group; 2] = [Group::Main, Group::Consensus];

    pub(crate) fn lanes(self) -> impl Iterator<Item = Lane> {
        Lane::ALL.into_iter().filter(move |lane| lane.group() == self)
    }
}
