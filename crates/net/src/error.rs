//! What can go wrong here, and what the caller can do about it.

use std::net::SocketAddr;
use thiserror::Error;

/// The room could not be opened.
#[derive(Debug, Error)]
pub enum Error {
    /// Choose another port, or end the process that holds this one.
    #[error("{address} is taken by {by}")]
    PortTaken { address: SocketAddr, by: String },
    /// The address is not one of this machine, or needs rights this process lacks.
    #[error("cannot listen on {address}: {because}")]
    Listen { address: SocketAddr, because: String },
    /// The bytes are not a peer's key.
    #[error("not a peer key: {0}")]
    Key(String),
    /// The transport could not be built; nothing to do but report it.
    #[error("cannot start the transport: {0}")]
    Transport(String),
}

/// Why a dial did not end in a connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DialError {
    /// Write it as `host:port`.
    #[error("`{address}` is not an address of the form host:port: {because}")]
    Address { address: String, because: String },
    /// Nothing listens there: is the peer running, is the port right?
    #[error("{0} refused the connection")]
    Refused(String),
    /// Nobody answered in time: a firewall, a frozen peer, or a door that waits for another
    /// protocol.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// Something else listens there.
    #[error("{address} does not speak the mesh's protocol: {because}")]
    WrongProtocol { address: String, because: String },
    /// The peer there has another secret: the token is of another mesh. The handshake starts from the version of our
    /// protocol as well, and cannot tell which of the two differs.
    #[error("{0} has another mesh secret, or another version of the protocol")]
    WrongSecret(String),
    /// No way leads there.
    #[error("{address} cannot be reached: {because}")]
    Unreachable { address: String, because: String },
    /// The address is our own.
    #[error("{0} is this peer's own address")]
    Ourselves(String),
    /// The peer has reached its limit of connections; try again later.
    #[error("{address} refuses new connections: {because}")]
    Limit { address: String, because: String },
    /// This peer is stopping.
    #[error("the network of this peer has stopped")]
    Stopped,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    /// The peer takes bytes more slowly than they are sent: keep the frame and slow down.
    #[error("the queue to the peer is full")]
    Full,
    /// No connection carries this lane: wait for `Event::Up`.
    #[error("the peer is not connected")]
    Down,
    /// The frame is larger than the lane allows: cut it.
    #[error("a frame of {bytes} bytes is larger than {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
}
