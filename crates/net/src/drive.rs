//! Polls one of the two swarms: keeps one connection to each known peer, and starts what reads and
//! writes on it.
//!
//! Promises: a loss is told at once, and a known peer that was lost is dialled at once, then with
//! growing waits; while a peer has two connections, both ends settle on the same one. Never waits
//! for a peer or a queue.

mod dial;

use crate::{
    address,
    behaviour::Opened,
    contact::{Contact, Dial},
    error::DialError,
    event::Event,
    failure,
    handler::Open,
    key::PeerKey,
    lane::Group,
    limits,
    link::{Change, Link},
    reader::Reader,
    refusals::Refusals,
    shared::Shared,
    swarm::{Behaviour, BehaviourEvent},
    writer::{Route, Writer},
};
use futures::StreamExt;
use libp2p::{
    PeerId, Swarm, ping,
    swarm::{ConnectionId, SwarmEvent},
};
use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Instant};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// What a drive is asked to do. Their number is bounded by those who ask: each writer and each dial
/// waits for its answer, and the roster changes seldom.
pub(crate) enum Command {
    Know {
        peer: PeerId,
        address: String,
    },
    Forget {
        peer: PeerId,
    },
    Dial {
        address: SocketAddr,
        shown: String,
        reply: oneshot::Sender<Result<PeerKey, DialError>>,
    },
    /// A known peer's name has been looked up.
    Resolved {
        peer: PeerId,
        found: Result<Vec<SocketAddr>, DialError>,
    },
    /// A writer wants its lane's stream.
    Open {
        peer: PeerId,
        connection: ConnectionId,
        open: Open,
    },
    /// The other drive has just reached this peer, so it is worth a dial.
    Nudge {
        peer: PeerId,
    },
}

/// Somebody waits for this dial.
struct Asked {
    shown: String,
    reply: oneshot::Sender<Result<PeerKey, DialError>>,
}

pub(crate) struct Drive {
    pub group: Group,
    pub swarm: Swarm<Behaviour>,
    pub commands: mpsc::UnboundedReceiver<Command>,
    /// Our own commands, for those who work for us.
    pub sender: mpsc::UnboundedSender<Command>,
    /// The other drive's commands.
    pub other: mpsc::UnboundedSender<Command>,
    pub shared: Arc<Shared>,
    pub stop: CancellationToken,
    pub state: State,
}

/// What a drive remembers.
pub(crate) struct State {
    contacts: HashMap<PeerId, Contact>,
    asked: HashMap<ConnectionId, Asked>,
    refusals: Refusals,
    ticked: Instant,
    luck: u64,
}

impl State {
    /// `luck` only spreads dials in time; peers have different keys, so it need not be random.
    pub fn new(luck: u64) -> Self {
        Self {
            contacts: HashMap::new(),
            asked: HashMap::new(),
            refusals: Refusals::default(),
            ticked: Instant::now(),
            luck: luck | 1,
        }
    }
}

impl Drive {
    pub async fn run(mut self) {
        let mut tick = interval(limits::TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(command) = self.commands.recv() => self.on_command(command),
                _ = tick.tick() => self.on_tick(),
            }
        }
        for contact in self.state.contacts.values_mut() {
            contact.links.iter_mut().for_each(|link| link.gone.cancel());
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, endpoint.is_dialer());
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, group = ?self.group, ?cause, "connection closed");
                self.on_lost(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failed(connection_id, peer_id, &error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                let who = address::socket_addr(&send_back_addr).map(|found| found.ip().to_string());
                let shown = address::shown(&send_back_addr);
                self.refuse(who.unwrap_or_default(), shown, failure::of_listen(&error));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Lanes(opened)) => self.on_opened(opened),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(event),
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(group = ?self.group, %error, "the listener failed once");
            }
            SwarmEvent::ListenerClosed { reason, .. } => {
                tracing::error!(group = ?self.group, ?reason, "the listener has closed");
            }
            _ => {}
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Know { peer, address } => self.on_know(peer, address),
            Command::Forget { peer } => self.on_forget(peer),
            Command::Dial { address, shown, reply } => self.on_dial(address, shown, reply),
            Command::Resolved { peer, found } => self.on_resolved(peer, found),
            Command::Open { peer, connection, open } => {
                self.swarm.behaviour_mut().lanes.open(peer, connection, open);
            }
            Command::Nudge { peer } => self.on_nudge(peer),
        }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        let slept = now.duration_since(self.state.ticked) > limits::SLEPT_AFTER;
        self.state.ticked = now;
        let peers: Vec<PeerId> = self.state.contacts.keys().copied().collect();
        for peer in peers {
            let Some(contact) = self.state.contacts.get_mut(&peer) else { continue };
            if slept {
                // it was us who were silent
                contact.links.iter_mut().for_each(|link| link.heard = now);
            }
            let change = contact.links.settle(now);
            let retired = contact.links.retired(now);
            self.route(peer, change);
            for id in retired {
                self.close(peer, id);
            }
            self.dial_if_due(peer, now);
        }
    }

    fn on_established(&mut self, peer: PeerId, id: ConnectionId, ours: bool) {
        let (us, now) = (*self.swarm.local_peer_id(), Instant::now());
        let contact = self.state.contacts.entry(peer).or_insert_with(|| Contact::new(us > peer));
        if !contact.is_dialling() || contact.dial == Dial::Running(id) {
            contact.dial = Dial::Idle;
        }
        let change = contact.links.add(Link::new(id, ours, now), now);
        self.route(peer, change);
        if let Some(Asked { reply, .. }) = self.state.asked.remove(&id) {
            // who asked may have given up; the connection stays
            drop(reply.send(Ok(PeerKey::of(&peer))));
        }
        // the other drive stops only with us
        drop(self.other.send(Command::Nudge { peer }));
    }

    fn on_lost(&mut self, peer: PeerId, id: ConnectionId) {
        let (luck, now) = (self.draw(), Instant::now());
        let Some(contact) = self.state.contacts.get_mut(&peer) else { return };
        // one that we closed ourselves was taken out then
        let Some(link) = contact.links.get(id) else { return };
        let lived = now.duration_since(link.since);
        let change = contact.links.remove(id, now);
        if contact.links.is_empty() && !contact.is_dialling() {
            // a connection that never lasts must not be dialled in a circle
            match lived > limits::REDIAL_FIRST {
                true => {
                    contact.failures = 0;
                    contact.plan(now);
                }
                false => contact.on_failure(now, luck),
            }
        }
        self.route(peer, change);
        self.dial_if_due(peer, now);
        self.drop_if_over(peer);
    }

    /// Ends a connection without waiting for the other end, which may not answer any more.
    fn close(&mut self, peer: PeerId, id: ConnectionId) {
        self.swarm.close_connection(id);
        self.on_lost(peer, id);
    }

    /// Points the writers at the connection in use; starts them with the first one, ends them with
    /// the last.
    fn route(&mut self, peer: PeerId, change: Change) {
        let Some(contact) = self.state.contacts.get_mut(&peer) else { return };
        if change == Change::Lost && contact.route.take().is_some() {
            self.shared.lost(&PeerKey::of(&peer), self.group);
        }
        let Some(link) = contact.links.chosen() else { return };
        let route = Route { connection: link.id, gone: link.gone.clone() };
        if let Some(current) = &contact.route {
            if change == Change::Moved {
                current.send_replace(route);
            }
            return;
        }
        let (sender, route) = watch::channel(route);
        contact.route = Some(sender);
        for (lane, queue) in self.shared.gained(&PeerKey::of(&peer), self.group) {
            let (route, drive) = (route.clone(), self.sender.clone());
            Writer { peer, lane, queue, route, drive }.start();
        }
    }

    fn on_opened(&mut self, Opened { peer, connection, lane, stream }: Opened) {
        let Some(contact) = self.state.contacts.get_mut(&peer) else { return };
        let Some(link) = contact.links.get(connection) else { return };
        let reader = Reader {
            peer: PeerKey::of(&peer),
            lane,
            shared: self.shared.clone(),
            gone: link.gone.clone(),
            before: contact.readers[lane.index()].take(),
        };
        contact.readers[lane.index()] = Some(reader.start(stream));
        let change = contact.links.on_stream(connection, Instant::now());
        self.route(peer, change);
    }

    fn on_ping(&mut self, ping::Event { peer, connection, result }: ping::Event) {
        match result {
            Ok(_) => {
                let Some(contact) = self.state.contacts.get_mut(&peer) else { return };
                let mut links = contact.links.iter_mut();
                if let Some(link) = links.find(|link| link.id == connection) {
                    link.heard = Instant::now();
                }
            }
            Err(ping::Failure::Timeout) => {
                tracing::warn!(%peer, group = ?self.group, "connection silent for too long");
                self.close(peer, connection);
            }
            Err(_) => {}
        }
    }

    fn drop_if_over(&mut self, peer: PeerId) {
        if self.state.contacts.get(&peer).is_some_and(Contact::is_over) {
            self.state.contacts.remove(&peer);
        }
    }

    fn refuse(&mut self, who: String, address: String, why: String) {
        if self.state.refusals.is_due(&who, Instant::now()) {
            tracing::warn!(address, why, group = ?self.group, "connection refused");
            self.shared.tell(Event::Refused { address, why });
        }
    }
}
