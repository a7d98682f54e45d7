//! One connection's streams: opens those that a writer asks for, hands on those that the peer
//! opens.
//!
//! libp2p-stream is not used: it opens a stream on any of a peer's connections, drops one that
//! arrives while its acceptor is busy, and forgets no connection. Here the connection is named and
//! nothing is dropped.

use crate::lane::{Group, Lane};
use futures::future::{Ready, ready};
use libp2p::{
    Stream, StreamProtocol,
    core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};
use std::{
    collections::VecDeque,
    convert::Infallible,
    task::{Context, Poll, Waker},
};
use tokio::sync::oneshot;

/// A writer's wish for a stream on this connection.
#[derive(Debug)]
pub(crate) struct Open {
    pub lane: Lane,
    pub reply: oneshot::Sender<Result<Stream, String>>,
}

/// A stream that the peer opened on this connection.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub lane: Lane,
    pub stream: Stream,
}

pub(crate) struct Handler {
    group: Group,
    /// At most one a lane from our writers, and as many as the muxer lets the peer open.
    due: VecDeque<ConnectionHandlerEvent<LaneUpgrade, Open, Accepted>>,
    waker: Option<Waker>,
}

impl Handler {
    pub fn new(group: Group) -> Self {
        Self { group, due: VecDeque::new(), waker: None }
    }

    fn push(&mut self, event: ConnectionHandlerEvent<LaneUpgrade, Open, Accepted>) {
        self.due.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Accepted;
    type InboundProtocol = LaneUpgrade;
    type OutboundProtocol = LaneUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<LaneUpgrade> {
        SubstreamProtocol::new(LaneUpgrade { lanes: self.group.lanes().collect() }, ())
    }

    /// A connection between peers lives until one of them ends it.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<LaneUpgrade, Open, Accepted>> {
        if let Some(event) = self.due.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, open: Open) {
        let upgrade = LaneUpgrade { lanes: vec![open.lane] };
        self.push(ConnectionHandlerEvent::OutboundSubstreamRequest {
            protocol: SubstreamProtocol::new(upgrade, open),
        });
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, LaneUpgrade, LaneUpgrade, (), Open>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (lane, stream),
                ..
            }) => {
                self.push(ConnectionHandlerEvent::NotifyBehaviour(Accepted { lane, stream }));
            }
            // a writer that has gone meanwhile drops the stream, which resets it
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (_, stream),
                info,
            }) => drop(info.reply.send(Ok(stream))),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                drop(info.reply.send(Err(match error {
                    StreamUpgradeError::Timeout => "it did not answer in time".to_owned(),
                    StreamUpgradeError::NegotiationFailed => {
                        format!("it does not know {}", info.lane.protocol())
                    }
                    StreamUpgradeError::Io(error) => error.to_string(),
                })));
            }
            _ => {}
        }
    }
}

/// Agrees on a lane by its name; the stream itself needs no more set-up.
pub(crate) struct LaneUpgrade {
    lanes: Vec<Lane>,
}

impl LaneUpgrade {
    fn lane(&self, protocol: &StreamProtocol) -> Lane {
        let found = self.lanes.iter().find(|lane| lane.protocol() == *protocol);
        *found.expect("only protocols that were offered are agreed on")
    }
}

impl UpgradeInfo for LaneUpgrade {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.lanes.iter().map(|lane| lane.protocol()).collect::<Vec<_>>().into_iter()
    }
}

impl InboundUpgrade<Stream> for LaneUpgrade {
    type Output = (Lane, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((self.lane(&protocol), stream)))
    }
}

impl OutboundUpgrade<Stream> for LaneUpgrade {
    type Output = (Lane, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((self.lane(&protocol), stream)))
    }
}
