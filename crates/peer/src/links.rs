//! Takes what the network tells and brings it to who it is for. One task, no decisions, no waiting.

use crate::answers::Answers;
use crate::board::Board;
use crate::call::{self, Ask, Calls, Said};
use crate::{membership, shards};
use bytes::Bytes;
use net::{Event, Events, Lane, PeerKey};
use ractor::ActorRef;
use std::sync::Arc;

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
    pub async fn run(self, mut events: Events) {
        while let Some(event) = events.recv().await {
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
        if !reach.consensus
            && let Some(lost) = self.board.peer_of(&peer)
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
