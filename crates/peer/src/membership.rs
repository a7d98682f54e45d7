//! Drives the membership machine: packets, timers, and what it says of peers onto the board.
//!
//! # Supervision
//! Child of `peer::Peer`. A restart forgets only rumours: the roster says who is here.

use crate::board::Board;
use crate::limits;
use bytes::Bytes;
use mesh::{Action, Identity, Input, Mesh};
use net::{Lane, Net, PeerKey};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct Membership;

pub struct Args {
    pub board: Arc<Board>,
    pub net: Net,
    pub identity: Identity,
    pub seed: u64,
}

pub enum Msg {
    /// A gossip packet came.
    Packet { from: PeerKey, bytes: Bytes },
    /// A timer of the machine is due.
    Timer(u64),
    /// The connection to a peer stands.
    Up(PeerKey),
    /// The connection to a peer broke.
    Down(PeerKey),
    /// The roster changed: meet who is new.
    Roster,
    /// This peer stops: say so.
    Leave,
    /// The peer with this key was taken out of the roster a while ago.
    Forget(Vec<u8>),
}

pub struct State {
    board: Arc<Board>,
    net: Net,
    mesh: Mesh,
    start: Instant,
    me: ActorRef<Msg>,
    /// Keys of the roster as it was last seen.
    enrolled: BTreeSet<Vec<u8>>,
}

impl Actor for Membership {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, me: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let mesh = Mesh::new(args.seed, args.identity, mesh::Limits::default());
        let mut state = State {
            board: args.board,
            net: args.net,
            mesh,
            start: Instant::now(),
            me,
            enrolled: BTreeSet::new(),
        };
        state.on_roster();
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<Msg>,
        msg: Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Packet { from, bytes } => state.on_packet(&from, bytes),
            Msg::Timer(token) => state.step(Input::Timer { token }),
            Msg::Up(peer) => state.step(Input::Up { key: peer.bytes().to_vec() }),
            Msg::Down(peer) => state.step(Input::Down { key: peer.bytes().to_vec() }),
            Msg::Roster => state.on_roster(),
            Msg::Leave => state.step(Input::Leave),
            Msg::Forget(key) => state.on_forget(&key),
        }
        Ok(())
    }
}

impl State {
    fn on_packet(&mut self, from: &PeerKey, bytes: Bytes) {
        if self.board.peer_of(from).is_some() {
            self.step(Input::Packet { bytes });
        }
    }

    fn on_roster(&mut self) {
        let own = self.net.local_key().bytes().to_vec();
        let catalogue = self.board.catalogue();
        for peer in catalogue.roster.values().filter(|peer| peer.key != own) {
            let addresses = &peer.addresses;
            if let Ok(key) = PeerKey::from_bytes(&peer.key) {
                self.net.know(key, addresses.mesh.clone(), addresses.consensus.clone());
            }
            self.step(Input::Join { key: peer.key.clone() });
        }
        // Only who stood in the roster before: gossip may know a new peer before the catalogue here does.
        let now: BTreeSet<_> = catalogue.roster.values().map(|peer| peer.key.clone()).collect();
        let before = std::mem::replace(&mut self.enrolled, now);
        let gone: Vec<_> = before.difference(&self.enrolled).cloned().collect();
        for key in gone {
            // It may be waiting for the word that it is out: that comes over the connection which this ends.
            let farewell = key.clone();
            drop(self.me.send_after(limits::FAREWELL, move || Msg::Forget(farewell)));
            self.step(Input::Forget { key });
        }
    }

    /// Ends the connections to a peer that was taken out, unless it has come back meanwhile.
    fn on_forget(&self, key: &[u8]) {
        if !self.enrolled.contains(key)
            && let Ok(peer) = PeerKey::from_bytes(key)
        {
            self.net.forget(&peer);
        }
    }

    fn step(&mut self, input: Input) {
        let mut actions = Vec::new();
        let now_us = self.start.elapsed().as_micros() as u64;
        if let Err(error) = self.mesh.step(now_us, input, &mut actions) {
            tracing::debug!(%error, "gossip was refused");
        }
        for action in actions {
            match action {
                Action::Send { to, packet } => self.send(&to, packet),
                Action::Timer { after_us, token } => {
                    let after = Duration::from_micros(after_us);
                    drop(self.me.send_after(after, move || Msg::Timer(token)));
                }
                Action::Changed(members) => self.changed(members),
            }
        }
    }

    fn send(&self, to: &[u8], packet: Bytes) {
        let Ok(key) = PeerKey::from_bytes(to) else { return };
        if let Err(error) = self.net.send(&key, Lane::Gossip, packet) {
            tracing::trace!(peer = %key, %error, "gossip is lost");
        }
    }

    fn changed(&self, members: Vec<mesh::Member>) {
        for member in members {
            let Ok(key) = PeerKey::from_bytes(&member.identity.key) else { continue };
            tracing::info!(peer = %member.identity.peer, state = ?member.state, "a member changed");
            let state = format!("{:?}", member.state).to_lowercase();
            let called = self.board.called(member.identity.peer);
            self.board.meter.note("member", format!("{called} is {state}"));
            let addresses = &member.identity.addresses;
            if member.state == mesh::State::Alive && !addresses.mesh.is_empty() {
                self.net.know(key, addresses.mesh.clone(), addresses.consensus.clone());
            }
            self.board.set_member(member);
        }
    }
}
