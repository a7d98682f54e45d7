//! Addresses as people write them, `host:port`, and as the transport wants them.
//!
//! Promises that a malformed address is told before anything is dialled.

use crate::{error::DialError, limits};
use libp2p::{
    Multiaddr,
    multiaddr::{Multiaddr as Parts, Protocol},
};
use std::net::{IpAddr, SocketAddr};

/// The socket addresses behind `host:port`, as the system's resolver sees them.
pub(crate) async fn resolve(address: &str) -> Result<Vec<SocketAddr>, DialError> {
    if let Ok(known) = address.parse::<SocketAddr>() {
        return Ok(vec![known]);
    }
    check(address)?;
    let found = tokio::time::timeout(limits::DIAL_TIMEOUT, tokio::net::lookup_host(address))
        .await
        .map_err(|_| unreachable(address, "its name was not resolved in time"))?
        .map_err(|e| unreachable(address, &format!("its name is not known: {e}")))?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.dedup();
    found.truncate(limits::ADDRESSES_PER_NAME_MAX);
    match found.is_empty() {
        true => Err(unreachable(address, "its name has no address")),
        false => Ok(found),
    }
}

fn check(address: &str) -> Result<(), DialError> {
    let because = match address.rsplit_once(':') {
        None => "there is no port",
        Some(("", _)) => "there is no host",
        Some((host, _)) if host.contains(':') => "an IPv6 address needs brackets",
        Some((_, port)) if port.parse::<u16>().is_err() => "the port is not a number up to 65535",
        Some(_) => return Ok(()),
    };
    Err(DialError::Address { address: address.to_owned(), because: because.to_owned() })
}

fn unreachable(address: &str, because: &str) -> DialError {
    DialError::Unreachable { address: address.to_owned(), because: because.to_owned() }
}

/// The same address in the transport's words.
pub(crate) fn multiaddr(address: SocketAddr) -> Multiaddr {
    let host = match address.ip() {
        IpAddr::V4(ip) => Protocol::Ip4(ip),
        IpAddr::V6(ip) => Protocol::Ip6(ip),
    };
    Parts::empty().with(host).with(Protocol::Tcp(address.port()))
}

/// The socket address that the transport speaks of.
pub(crate) fn socket_addr(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// Shows the transport's address as people write it.
pub(crate) fn shown(address: &Multiaddr) -> String {
    socket_addr(address).map_or_else(|| address.to_string(), |found| found.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_malformed_address_says_what_is_wrong() {
        for (address, because) in [
            ("localhost", "there is no port"),
            (":80", "there is no host"),
            ("::1:80", "an IPv6 address needs brackets"),
            ("localhost:99999", "the port is not a number up to 65535"),
        ] {
            match resolve(address).await {
                Err(DialError::Address { because: found, .. }) => assert_eq!(found, because),
                other => panic!("{address}: {other:?}"),
            }
        }
        assert!(resolve("localhost:80").await.is_ok());
        assert_eq!(resolve("[::1]:80").await.expect("an address").len(), 1);
    }

    #[test]
    fn an_address_survives_the_transports_words() {
        for text in ["127.0.0.1:7946", "[::1]:7946"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(socket_addr(&multiaddr(address)), Some(address));
            assert_eq!(shown(&multiaddr(address)), text);
        }
    }
}
