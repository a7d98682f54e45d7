//! The frames of the consensus lane: all messages of one turn for one neighbour.
//!
//! Layout: version u8, mesh id u128, then items: kind u8, shard u16, to u64, from u64, length u32, bytes. Little-endian.

use super::{Slot, State};
use crate::board::Board;
use crate::limits;
use bytes::{Buf, Bytes};
use model::{MeshId, PeerId, ReplicaId, ShardId};
use net::{Lane, Net, PeerKey};
use replica::{Input, Replica};
use std::collections::BTreeMap;
use std::time::Instant;
use store::Record;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 17;
const ITEM_BYTES: usize = 23;
/// A consensus message.
const MESSAGE: u8 = 0;
/// The replica it is addressed to was removed from the configuration.
const REMOVED: u8 = 1;

/// What gathers for the neighbours during a turn.
pub struct Outgoing {
    mesh: MeshId,
    frames: BTreeMap<PeerId, Vec<u8>>,
    full: Vec<(PeerId, Vec<u8>)>,
}

impl Outgoing {
    pub fn new(mesh: MeshId) -> Self {
        Self { mesh, frames: BTreeMap::new(), full: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.full.is_empty()
    }

    pub fn message(
        &mut self,
        peer: PeerId,
        shard: ShardId,
        to: ReplicaId,
        from: ReplicaId,
        bytes: &[u8],
    ) {
        self.item(peer, MESSAGE, shard, to, from, bytes);
    }

    fn item(
        &mut self,
        peer: PeerId,
        kind: u8,
        shard: ShardId,
        to: ReplicaId,
        from: ReplicaId,
        bytes: &[u8],
    ) {
        let mesh = self.mesh;
        let frame = self.frames.entry(peer).or_insert_with(|| {
            let mut frame = Vec::with_capacity(1024);
            frame.push(VERSION);
            frame.extend_from_slice(&mesh.0.to_le_bytes());
            frame
        });
        frame.push(kind);
        frame.extend_from_slice(&shard.0.to_le_bytes());
        frame.extend_from_slice(&to.0.to_le_bytes());
        frame.extend_from_slice(&from.0.to_le_bytes());
        frame.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        frame.extend_from_slice(bytes);
        if frame.len() >= limits::LINK_BYTES {
            let frame = std::mem::take(frame);
            self.frames.remove(&peer);
            self.full.push((peer, frame));
        }
    }

    /// Sends everything; what cannot be sent is lost, as consensus expects of a network.
    pub fn send(&mut self, net: &Net, board: &Board) {
        if self.is_empty() {
            return;
        }
        let catalogue = board.catalogue();
        let frames = std::mem::take(&mut self.frames);
        for (peer, frame) in std::mem::take(&mut self.full).into_iter().chain(frames) {
            let Some(enrolled) = catalogue.roster.get(&peer) else { continue };
            let Ok(key) = PeerKey::from_bytes(&enrolled.key) else { continue };
            if let Err(error) = net.send(&key, Lane::Consensus, frame.into()) {
                tracing::trace!(%peer, ?error, "a consensus frame is lost");
            }
        }
    }
}

impl State {
    pub(super) fn on_frame(&mut self, from: PeerId, bytes: &Bytes) {
        if let Err(why) = self.read_frame(from, bytes.clone()) {
            tracing::warn!(%from, why, "a consensus frame was refused");
        }
    }

    fn read_frame(&mut self, from_peer: PeerId, mut bytes: Bytes) -> Result<(), &'static str> {
        if bytes.len() < HEAD_BYTES {
            return Err("it is too short");
        }
        if bytes.get_u8() != VERSION {
            return Err("its version is not known here");
        }
        if MeshId(bytes.get_u128_le()) != self.args.mesh {
            return Err("it is of another mesh");
        }
        while !bytes.is_empty() {
            if bytes.len() < ITEM_BYTES {
                return Err("it ends inside an item");
            }
            let kind = bytes.get_u8();
            let shard = ShardId(bytes.get_u16_le());
            let to = ReplicaId(bytes.get_u64_le());
            let from = ReplicaId(bytes.get_u64_le());
            let size = bytes.get_u32_le() as usize;
            if size > bytes.len() {
                return Err("a length passes its end");
            }
            if usize::from(shard.0) >= self.slots.len() {
                return Err("it names a shard that the mesh does not have");
            }
            let message = bytes.split_to(size);
            match kind {
                MESSAGE => self.on_message(from_peer, shard, to, from, message),
                REMOVED => self.on_removed(shard, to),
                _ => return Err("it has an item of unknown kind"),
            }
        }
        Ok(())
    }

    fn on_message(
        &mut self,
        from_peer: PeerId,
        shard: ShardId,
        to: ReplicaId,
        from: ReplicaId,
        message: Bytes,
    ) {
        let here = self.slot(shard).map(|slot| slot.replica.id());
        if here.is_none_or(|id| id < to) {
            if !replica::may_create(&message) {
                return;
            }
            // A newer id for this peer: the replica here was removed while it did not hear of it.
            self.remove(shard);
            self.begin(shard, to);
        } else if here.is_some_and(|id| id > to) {
            return;
        }
        let Some(slot) = self.slot(shard) else { return };
        let status_leader = slot.replica.is_leading();
        if !status_leader {
            slot.heard = Instant::now();
        }
        let fold = slot.replica.fold();
        let stranger = status_leader && !fold.members().contains_key(&from);
        if stranger && from.0 < fold.configuration().next_replica {
            self.outgoing.item(from_peer, REMOVED, shard, from, to, &[]);
            self.schedule_turn();
            return;
        }
        self.step(shard, Input::Message { from, from_peer, message });
    }

    /// A leader sends to an id only after a committed configuration entry made it: so the first message
    /// makes the replica here, unless its tombstone says that it is no more.
    fn begin(&mut self, shard: ShardId, replica: ReplicaId) {
        if self.tombstones.get(&shard).is_some_and(|tombstone| replica <= *tombstone) {
            return;
        }
        let config = self.config(shard);
        let restored = Replica::joining(&config, replica);
        let base = restored.base;
        match Replica::new(config, restored) {
            Ok(made) => {
                tracing::debug!(%shard, %replica, "a new replica begins here");
                self.record(Record::Begin { shard, replica, base });
                self.seat(shard, made);
                let ring = self.args.board.ring();
                let peers = ring.target(shard).to_vec();
                let epoch = self.args.board.catalogue().epoch;
                self.step(shard, Input::Target { epoch, peers });
            }
            Err(error) => tracing::error!(%shard, %replica, %error, "a new replica cannot begin"),
        }
    }

    fn on_removed(&mut self, shard: ShardId, replica: ReplicaId) {
        if self.slot(shard).is_some_and(|slot: &mut Slot| slot.replica.id() == replica) {
            self.remove(shard);
        }
    }
}
