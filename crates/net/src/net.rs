//! The network's handle: what a peer asks of it.
//!
//! Promises that no call here blocks on a peer. Never polls a socket itself.

use crate::{
    error::{DialError, Error, SendError},
    event::Events,
    key::PeerKey,
    lane::Lane,
};
use bytes::Bytes;
use std::net::SocketAddr;

/// What a network is started with.
#[derive(Clone)]
pub struct Config {
    /// The secret of this peer's key, kept in its folder.
    pub key_seed: [u8; 32],
    /// The mesh's secret, with whatever else two peers must agree on.
    pub secret: Vec<u8>,
    pub mesh_listen: SocketAddr,
    pub consensus_listen: SocketAddr,
}

/// A running network. Clones are the same network.
#[derive(Clone)]
pub struct Net {
    key: PeerKey,
}

impl Net {
    /// Opens both listeners and starts the tasks that poll them. Call it inside a tokio runtime.
    pub async fn start(config: Config) -> Result<(Self, Events), Error> {
        let (_, events) = Events::channel();
        Ok((Self { key: PeerKey::from_seed(config.key_seed) }, events))
    }

    /// This peer's own key.
    pub fn local_key(&self) -> &PeerKey {
        &self.key
    }

    /// The addresses in use, (mesh, consensus): real ports where 0 was asked for.
    pub fn listening(&self) -> (SocketAddr, SocketAddr) {
        (SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Keeps both connections to this peer up until [`Net::forget`]. Said again, it refreshes the addresses and
    /// dials at once. Addresses are `host:port`; an empty one is not dialled.
    pub fn know(&self, _peer: PeerKey, _mesh: String, _consensus: String) {}

    /// Stops dialling this peer and closes its connections.
    pub fn forget(&self, _peer: &PeerKey) {}

    /// Connects to `host:port` and learns who is there. The connection stays until the other side closes it.
    pub async fn dial(&self, address: &str) -> Result<PeerKey, DialError> {
        Err(DialError::Refused(address.to_owned()))
    }

    /// Queues a frame. Never waits: a full queue or a missing connection is an error at once.
    pub fn send(&self, _peer: &PeerKey, _lane: Lane, _bytes: Bytes) -> Result<(), SendError> {
        Err(SendError::Down)
    }

    /// Closes everything and ends all tasks.
    pub async fn stop(&self) {}
}
