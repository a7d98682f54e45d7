//! Reaching peers: those that are known again and again, others when they are asked for.
//!
//! Promises that a dial never runs beside another to the same known peer, and that a peer that
//! refuses is not dialled in a circle.

use super::{Asked, Command, Drive};
use crate::{
    address,
    contact::{Contact, Dial},
    error::DialError,
    failure,
    key::PeerKey,
    limits,
};
use libp2p::{
    PeerId,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{net::SocketAddr, time::Instant};
use tokio::sync::oneshot;

impl Drive {
    pub(super) fn on_know(&mut self, peer: PeerId, address: String) {
        let (us, now) = (*self.swarm.local_peer_id(), Instant::now());
        let known = self.state.contacts.values().filter(|c| c.address.is_some()).count();
        if peer == us || (known >= limits::KNOWN_PEERS_MAX && !address.is_empty()) {
            tracing::warn!(%peer, known, "not dialled: our own key, or too many peers");
            return;
        }
        let contact = self.state.contacts.entry(peer).or_insert_with(|| Contact::new(us > peer));
        let is_new = contact.address.is_none();
        contact.address = Some(address).filter(|address| !address.is_empty());
        contact.failures = 0;
        if !contact.links.is_empty() || contact.is_dialling() {
            return;
        }
        let delayed = is_new && us > peer;
        contact.plan(if delayed { now + limits::YIELD_FIRST_DIAL } else { now });
        self.dial_if_due(peer, now);
    }

    pub(super) fn on_forget(&mut self, peer: PeerId) {
        let Some(contact) = self.state.contacts.get_mut(&peer) else { return };
        contact.address = None;
        contact.dial = Dial::Idle;
        let links: Vec<_> = contact.links.iter_mut().map(|link| link.id).collect();
        for id in links {
            self.close(peer, id);
        }
        self.drop_if_over(peer);
    }

    pub(super) fn on_nudge(&mut self, peer: PeerId) {
        let Some(contact) = self.state.contacts.get_mut(&peer) else { return };
        if contact.links.is_empty() && matches!(contact.dial, Dial::At(_)) {
            contact.failures = 0;
            let now = Instant::now();
            contact.plan(now);
            self.dial_if_due(peer, now);
        }
    }

    /// Dials a peer whose time has come: it is not connected, or its connection is silent.
    pub(super) fn dial_if_due(&mut self, peer: PeerId, now: Instant) {
        let Some(contact) = self.state.contacts.get_mut(&peer) else { return };
        let Some(address) = contact.address.clone() else { return };
        match contact.dial {
            Dial::At(at) if at <= now => contact.dial = Dial::Idle,
            Dial::Idle => {}
            Dial::At(_) | Dial::Resolving | Dial::Running(_) => return,
        }
        if !contact.links.is_empty() && !contact.is_doubtful(now) {
            return;
        }
        contact.dial = Dial::Resolving;
        if let Ok(found) = address.parse() {
            self.on_resolved(peer, Ok(vec![found]));
            return;
        }
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let found = address::resolve(&address).await;
            // the drive has stopped: nobody wants to know
            drop(sender.send(Command::Resolved { peer, found }));
        });
    }

    pub(super) fn on_resolved(&mut self, peer: PeerId, found: Result<Vec<SocketAddr>, DialError>) {
        let luck = self.draw();
        let Some(contact) = self.state.contacts.get_mut(&peer) else { return };
        if contact.dial != Dial::Resolving {
            return;
        }
        let addresses = match found {
            Ok(found) => found.into_iter().map(address::multiaddr).collect(),
            Err(error) => {
                contact.on_failure(Instant::now(), luck);
                return self.refuse(peer.to_string(), peer.to_string(), error.to_string());
            }
        };
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(addresses)
            .allocate_new_port()
            .build();
        contact.dial = Dial::Running(opts.connection_id());
        if let Err(error) = self.swarm.dial(opts) {
            tracing::debug!(%peer, %error, "not dialled");
            contact.on_failure(Instant::now(), luck);
        }
    }

    pub(super) fn on_dial(
        &mut self,
        address: SocketAddr,
        shown: String,
        reply: oneshot::Sender<Result<PeerKey, DialError>>,
    ) {
        let opts = DialOpts::unknown_peer_id()
            .address(address::multiaddr(address))
            .allocate_new_port()
            .build();
        let id = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => drop(self.state.asked.insert(id, Asked { shown, reply })),
            // who asked may have given up
            Err(error) => drop(reply.send(Err(failure::of_dial(&shown, &error)))),
        }
    }

    pub(super) fn on_dial_failed(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        error: &libp2p::swarm::DialError,
    ) {
        if let Some(Asked { shown, reply }) = self.state.asked.remove(&id) {
            let error = failure::of_dial(&shown, error);
            // who waits for a peer to start asks again and again
            if self.state.refusals.is_due(&shown, Instant::now()) {
                tracing::warn!(address = shown, %error, "dial failed");
            }
            return drop(reply.send(Err(error)));
        }
        let luck = self.draw();
        let Some((peer, contact)) =
            peer.and_then(|peer| self.state.contacts.get_mut(&peer).map(|c| (peer, c)))
        else {
            return;
        };
        if contact.dial != Dial::Running(id) {
            return;
        }
        contact.on_failure(Instant::now(), luck);
        let address = contact.address.clone().unwrap_or_default();
        match failure::of_dial(&address, error) {
            // it is not there now: what a dead peer looks like
            error @ (DialError::Refused(_) | DialError::Timeout(_)) => {
                tracing::debug!(%peer, %error, "dial failed");
            }
            error => self.refuse(address.clone(), address, error.to_string()),
        }
    }

    /// A number in 0..1 (xorshift).
    pub(super) fn draw(&mut self) -> f64 {
        let luck = &mut self.state.luck;
        *luck ^= *luck << 13;
        *luck ^= *luck >> 7;
        *luck ^= *luck << 17;
        (*luck >> 11) as f64 / (1u64 << 53) as f64
    }
}
