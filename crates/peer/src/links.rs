//! Takes what the network tells and brings it to who it is for. One task, no decisions, no waiting.

use crate::answers::Answers;
use crate::board::Board;
use crate::call::{self, Ask, Calls, Said};
use crate::{limits, membership, shards};
use bytes::Bytes;
use net::{Event, Events, Lane, PeerKey};
use ractor::ActorRef;
use std::collections::VecDeque;
use std::sync::Arc;

/// What the network tells, with what came while a peer was still joining: asks wait there for an answer.
pub struct News {
    kept: VecDeque<Event>,
    events: Events,
}

impl News {
    pub fn new(events: Events) -> Self {
        Self { kept: VecDeque::new(), events }
    }

    /// The next event that was not kept; none when the network has stopped.
    pub async fn fresh(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Puts an event by until [`Links`] runs. Beyond [`limits::EVENTS_KEPT`] it is lost, as with a connection. Of each
    /// peer's connections only the last news counts, so that a long wait keeps no more than a short one.
    pub fn keep(&mut self, event: Event) {
        if let Some(peer) = connected(&event) {
            self.kept.retain(|kept| connected(kept) != Some(peer));
        }
        if self.kept.len() < limits::EVENTS_KEPT {
            self.kept.push_back(event);
        }
    }

    async fn next(&mut self) -> Option<Event> {
        match self.kept.pop_front() {
            Some(event) => Some(event),
            None => self.events.recv().await,
        }
    }
}

/// Of whose connections an event tells.
fn connected(event: &Event) -> Option<&PeerKey> {
    match event {
        Event::Up { peer, .. } | Event::Down { peer, .. } => Some(peer),
        Event::Frame { .. } | Event::Refused { .. } => None,
    }
}

/// Where frames and news go.
pub struct Links {
    pub board: Arc<Board>,
    pub calls: Arc<Calls>,
    pub answers: Answers,
    pub shards: ActorRef<shards::Msg>,
    pub membership: ActorRef<membership::Msg>,
}

impl Links {
    /// Runs until the network stops.
    pub async fn run(self, mut news: News) {
        while let Some(event) = news.next().await {
            match event {
                Event::Frame { peer, lane: Lane::Consensus, bytes } => self.consensus(&peer, bytes),
                Event::Frame { peer, lane: Lane::Gossip, bytes } => {
                    self.tell(membership::Msg::Packet { from: peer, bytes });
                }
                Event::Frame { peer, lane, bytes } => self.call(peer, lane, &bytes),
                Event::Up { peer, reach } => {
                    tracing::debug!(%peer, ?reach, "a connection stands");
                    if reach.main {
                        self.meet(&peer);
                        self.tell(membership::Msg::Up(peer));
                    }
                }
                Event::Down { peer, reach } => self.down(peer, reach),
                // The network has traced it.
                Event::Refused { .. } => {}
            }
        }
    }

    fn consensus(&self, peer: &PeerKey, bytes: Bytes) {
        let Some(from) = self.board.peer_of(peer) else {
            tracing::debug!(%peer, "a consensus frame of a peer that is not in the roster");
            return;
        };
        if self.shards.cast(shards::Msg::Frame { from, bytes }).is_err() {
            tracing::debug!("a frame came while the peer stops");
        }
    }

    fn call(&self, peer: PeerKey, lane: Lane, bytes: &Bytes) {
        match call::decode(bytes) {
            Ok(call::Frame::Ask { mesh, id, ask }) => self.answers.begin(peer, lane, mesh, id, ask),
            Ok(call::Frame::Said { id, said }) => self.calls.answered(&peer, id, said),
            Err(error) => tracing::warn!(%peer, %error, "a malformed call was refused"),
        }
    }

    /// Who knows the secret and is not in the catalogue here may have a newer one.
    fn meet(&self, peer: &PeerKey) {
        if self.board.peer_of(peer).is_some() {
            return;
        }
        let (board, calls, peer) = (self.board.clone(), self.calls.clone(), peer.clone());
        tokio::spawn(async move {
            let ask = Ask::Catalogue { since: board.catalogue().index };
            if let Ok(Said::Catalogue(Some(newer))) = calls.ask(&peer, Lane::Request, ask).await
                && newer.mesh == calls.mesh()
            {
                board.learn(Arc::new(*newer));
            }
        });
    }

    fn down(&self, peer: PeerKey, reach: net::Reach) {
        tracing::debug!(%peer, ?reach, "a connection broke");
        if !reach.main {
            self.calls.lost(&peer);
        }
        let lost = self.board.peer_of(&peer);
        if let Some(lost) = lost {
            self.board.lost(lost);
        }
        if !reach.consensus
            && let Some(lost) = lost
            && self.shards.cast(shards::Msg::Lost(lost)).is_err()
        {
            tracing::debug!("a connection broke while the peer stops");
        }
        self.tell(membership::Msg::Down(peer));
    }

    fn tell(&self, msg: membership::Msg) {
        if self.membership.cast(msg).is_err() {
            tracing::debug!("news of a peer came while this one stops");
        }
    }
}
