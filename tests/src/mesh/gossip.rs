//! Membership by gossip, and news of connections.
//!
//! Does what `peer::membership` and `peer::links` do.

use super::calls::{Ask, Then};
use super::host::host_of;
use super::trace::note;
use super::world::{Of, World};
use bytes::Bytes;
use mesh::{Action, Input};

impl World {
    pub fn on_up(&mut self, h: usize, key: Vec<u8>) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        // Who is not in the catalogue here may have a newer one.
        if process.board.peer_of(&key).is_none() {
            let since = process.board.catalogue().index;
            self.call(h, &key, Ask::Catalogue { since }, Then::Catalogue);
        }
        self.gossip(h, Input::Up { key })
    }

    pub fn on_down(&mut self, h: usize, key: Vec<u8>) -> Result<(), String> {
        self.calls_lost(h, &key)?;
        let lost = self.process(h).and_then(|process| process.board.peer_of(&key));
        if let Some(peer) = lost {
            self.on_lost(h, peer)?;
        }
        self.gossip(h, Input::Down { key })
    }

    pub fn on_gossip(&mut self, h: usize, from: &[u8], bytes: Bytes) -> Result<(), String> {
        let known = self.process(h).is_some_and(|process| process.board.peer_of(from).is_some());
        if known { self.gossip(h, Input::Packet { bytes }) } else { Ok(()) }
    }

    /// The roster changed: meet who is new, forget who has left.
    pub fn on_roster(&mut self, h: usize) -> Result<(), String> {
        let own = self.hosts[h].key();
        let Some(process) = self.process(h) else { return Ok(()) };
        let catalogue = process.board.catalogue();
        let now: Vec<_> = catalogue.roster.values().map(|peer| peer.key.clone()).collect();
        let before = std::mem::replace(&mut process.enrolled, now.clone());
        for key in now.iter().filter(|key| **key != own) {
            self.gossip(h, Input::Join { key: key.clone() })?;
        }
        for key in before.into_iter().filter(|key| !now.contains(key) && *key != own) {
            self.gossip(h, Input::Forget { key })?;
        }
        Ok(())
    }

    /// Steps the machine and carries out what it asks for.
    pub fn gossip(&mut self, h: usize, input: Input) -> Result<(), String> {
        let now_us = self.now_us();
        let key = self.hosts[h].key();
        let Some(process) = self.process(h) else { return Ok(()) };
        let mut actions = Vec::new();
        if let Err(error) = process.gossip.step(now_us, input, &mut actions) {
            return Err(format!("gossip of our own was refused on h{h}: {error}"));
        }
        for action in actions {
            match action {
                Action::Send { to, packet } => {
                    let Some(there) = host_of(&to, &self.hosts) else { continue };
                    let copies = self.network.deliver(h, there, &mut self.dice);
                    for delay in copies.into_iter().flatten() {
                        let (from, bytes) = (key.clone(), packet.clone());
                        self.soon(there, delay, Of::Gossip { from, bytes });
                    }
                }
                Action::Timer { after_us, token } => self.soon(h, after_us, Of::Timer { token }),
                Action::Changed(members) => {
                    for member in members {
                        let (it, state) = (member.identity, member.state);
                        let life = (it.incarnation, it.renewals);
                        note!(self, "h{h} believes {:?} {life:?} {state:?}", it.key);
                    }
                }
            }
        }
        Ok(())
    }
}
