//! Builds one of the two swarms: TCP, a handshake that proves the mesh's secret, many streams on a
//! connection.

use crate::{behaviour::Lanes, error::Error, lane::Group, limits};
use libp2p::{
    Swarm, SwarmBuilder,
    connection_limits::{self, ConnectionLimits},
    identity::Keypair,
    noise, ping,
    swarm::NetworkBehaviour,
    tcp, yamux,
};

/// Names the protocol and its version in every handshake.
const LABEL: &[u8] = b"shoal mesh 1\0";

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub limits: connection_limits::Behaviour,
    pub lanes: Lanes,
    pub ping: ping::Behaviour,
}

pub(crate) fn build(
    group: Group,
    keys: &Keypair,
    secret: &[u8],
) -> Result<Swarm<Behaviour>, Error> {
    // The handshake starts from the hash of this, so both ends must say the same and neither sends
    // it.
    let prologue = [LABEL, secret].concat();
    let failed = |e: &dyn std::error::Error| Error::Transport(e.to_string());
    let swarm = SwarmBuilder::with_existing_identity(keys.clone())
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            move |keys: &Keypair| noise::Config::new(keys).map(|c| c.with_prologue(prologue)),
            yamux::Config::default,
        )
        .map_err(|e| failed(&e))?
        .with_behaviour(|_| Behaviour {
            limits: connection_limits::Behaviour::new(connection_limits()),
            lanes: Lanes::new(group),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(limits::PING_INTERVAL)
                    .with_timeout(limits::PING_TIMEOUT),
            ),
        })
        .map_err(|e| failed(&e))?
        .with_swarm_config(|c| c)
        .with_connection_timeout(limits::DIAL_TIMEOUT)
        .build();
    Ok(swarm)
}

fn connection_limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits::PENDING_INCOMING_MAX))
        .with_max_established_incoming(Some(limits::ESTABLISHED_INCOMING_MAX))
        .with_max_established_per_peer(Some(limits::ESTABLISHED_PER_PEER_MAX))
}
