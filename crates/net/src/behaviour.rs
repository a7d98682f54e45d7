//! All connections' streams: passes writers' wishes to the connection they name, and opened streams
//! to the drive.

use crate::{
    handler::{Accepted, Handler, Open},
    lane::{Group, Lane},
};
use libp2p::{
    Multiaddr, PeerId, Stream,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        ToSwarm,
    },
};
use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

/// A stream that a peer opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub peer: PeerId,
    pub connection: ConnectionId,
    pub lane: Lane,
    pub stream: Stream,
}

pub(crate) struct Lanes {
    group: Group,
    /// Emptied at each poll.
    due: VecDeque<ToSwarm<Opened, Open>>,
    waker: Option<Waker>,
}

impl Lanes {
    pub fn new(group: Group) -> Self {
        Self { group, due: VecDeque::new(), waker: None }
    }

    /// Opens a stream on this connection; if it is gone by then, the reply is dropped.
    pub fn open(&mut self, peer_id: PeerId, connection: ConnectionId, event: Open) {
        self.due.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Lanes {
    type ConnectionHandler = Handler;
    type ToSwarm = Opened;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.group))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.group))
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        Accepted { lane, stream }: Accepted,
    ) {
        self.due.push_back(ToSwarm::GenerateEvent(Opened { peer, connection, lane, stream }));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Opened, Open>> {
        if let Some(due) = self.due.pop_front() {
            return Poll::Ready(due);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
