//! The frames of the consensus lane: all messages of one turn for one neighbour.
//!
//! Layout: version u8, mesh id u128, then items: kind u8, shard u16, to u64, from u64, length u32, bytes. Little-endian.

use super::State;
use crate::board::Board;
use crate::call::Ask;
use crate::limits;
use bytes::{Buf, Bytes};
use model::hash::shard_of;
use model::{MeshId, PeerId, ReplicaId, ShardId};
use net::{Lane, Net, PeerKey};
use replica::{Arrival, Input, Replica};
use std::collections::BTreeMap;
use std::time::Instant;
use store::Record;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 17;
const ITEM_BYTES: usize = 23;
/// A consensus message.
const MESSAGE: u8 = 0;
/// The sender's disk is full; an item of its head alone.
const FULL: u8 = 1;

/// What gathers for the neighbours during a turn.
///
/// Promises that messages for one neighbour leave in the order in which they came, and that those with patience wait
/// for company at most [`limits::PATIENCE`] and a turn.
pub struct Outgoing {
    mesh: MeshId,
    frames: BTreeMap<PeerId, Frame>,
    full: Vec<(PeerId, Vec<u8>)>,
    /// Somebody comes back for what was left.
    left: bool,
}

struct Frame {
    bytes: Vec<u8>,
    /// Since when it holds only messages with patience; nothing if one of them has none.
    patient_since: Option<Instant>,
}

impl Frame {
    fn is_due(&self, now: Instant) -> bool {
        self.patient_since.is_none_or(|since| now - since >= limits::PATIENCE)
    }
}

impl Outgoing {
    pub fn new(mesh: MeshId) -> Self {
        Self { mesh, frames: BTreeMap::new(), full: Vec::new(), left: false }
    }

    /// Whether something has no patience.
    pub fn is_urgent(&self) -> bool {
        !self.full.is_empty() || self.frames.values().any(|frame| frame.patient_since.is_none())
    }

    /// Whether something is left that nobody comes back for yet; whoever asks must.
    pub fn is_left(&mut self) -> bool {
        !self.frames.is_empty() && !std::mem::replace(&mut self.left, true)
    }

    /// Somebody came back.
    pub fn come_back(&mut self) {
        self.left = false;
    }

    /// Adds a message of a shard, to and from a replica.
    pub fn message(
        &mut self,
        peer: PeerId,
        (shard, to, from): (ShardId, ReplicaId, ReplicaId),
        bytes: &[u8],
        patience: bool,
    ) {
        let mesh = self.mesh;
        let frame = self.frames.entry(peer).or_insert_with(|| {
            let mut bytes = Vec::with_capacity(1024);
            bytes.push(VERSION);
            bytes.extend_from_slice(&mesh.0.to_le_bytes());
            Frame { bytes, patient_since: Some(Instant::now()) }
        });
        if !patience {
            frame.patient_since = None;
        }
        let frame = &mut frame.bytes;
        frame.push(MESSAGE);
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

    /// Sends what is due; what cannot be sent is lost, as consensus expects of a network.
    pub fn send(&mut self, net: &Net, board: &Board, full: bool) {
        if self.frames.is_empty() && self.full.is_empty() {
            return;
        }
        let now = Instant::now();
        let due = self.frames.extract_if(.., |_, frame| frame.is_due(now));
        let due = due.map(|(peer, Frame { mut bytes, .. })| {
            if full {
                bytes.push(FULL);
                bytes.resize(bytes.len() + ITEM_BYTES - 1, 0);
            }
            (peer, bytes)
        });
        let catalogue = board.catalogue();
        for (peer, frame) in self.full.drain(..).chain(due) {
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
                FULL => self.args.space.hear(from_peer),
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
        match replica::arrival(here, self.tombstones.get(&shard).copied(), to, &message) {
            Arrival::Here => {}
            Arrival::Begin => {
                self.retire(shard);
                self.begin(shard, to);
            }
            Arrival::Missing => return self.report_missing(from_peer, shard, to),
        }
        let Some(slot) = self.slot(shard) else { return };
        if !slot.replica.is_leading() {
            slot.heard = Instant::now();
        }
        self.step(shard, Input::Message { from, from_peer, message });
    }

    /// Somebody counts on a replica that is not here and may not be made again: its shard must replace it.
    fn report_missing(&mut self, to: PeerId, shard: ShardId, replica: ReplicaId) {
        let now = Instant::now();
        self.reported.retain(|_, last| now - *last < limits::REPORT);
        if self.reported.contains_key(&(shard, replica)) {
            return;
        }
        self.reported.insert((shard, replica), now);
        let Some(key) = self.args.board.key_of(to) else { return };
        let calls = self.args.fetcher.calls.clone();
        tokio::spawn(async move {
            let ask = Ask::Replace { shard, replica };
            if let Err(error) = calls.ask(&key, Lane::Request, ask).await {
                tracing::debug!(%shard, %replica, %error, "a missing replica was not reported");
            }
        });
    }

    /// A replica with rotten segments goes on voting, since its log is whole; it asks its leader for another one in its
    /// place, and leads no more. One of two stays: its shard could not decide without it.
    pub(super) fn tell_of_rot(&mut self) {
        let catalogue = self.args.board.catalogue();
        for partition in self.args.board.take_rotten() {
            let Some(stream) = catalogue.streams.get(&partition.stream) else { continue };
            let shard = shard_of(stream.placement, partition.partition, self.args.board.shards());
            let Some(replica) = self.slot(shard).map(|slot| slot.replica.id()) else { continue };
            if self.rotten.insert(shard, replica) != Some(replica) {
                tracing::error!(%shard, %replica, ?partition, "stored events are damaged; the replica asks to be replaced");
            }
        }
        for (shard, replica) in self.rotten.clone() {
            let slot = self.slot(shard).filter(|slot| slot.replica.id() == replica);
            let Some(status) = slot.map(|slot| slot.replica.status()) else {
                self.rotten.remove(&shard);
                continue;
            };
            if status.leading {
                self.step(shard, Input::HandOver);
            } else if let Some(leader) = status.leader.filter(|_| status.voters.len() > 2) {
                self.report_missing(leader, shard, replica);
            }
        }
    }

    fn begin(&mut self, shard: ShardId, replica: ReplicaId) {
        let config = self.config(shard);
        let restored = Replica::joining(&config, replica);
        let base = restored.base;
        match Replica::new(config, restored) {
            Ok(made) => {
                tracing::debug!(%shard, %replica, "a new replica begins here");
                // What the tables have is of one that was here before.
                self.durable.remove(&shard);
                self.record(Record::Begin { shard, replica, base });
                self.seat(shard, made);
                let able = ring::able(&self.args.board.catalogue(), &self.args.board.ring());
                let able = able.into_iter().nth(usize::from(shard.0)).unwrap_or_default();
                self.aim(shard, able);
            }
            Err(error) => tracing::error!(%shard, %replica, %error, "a new replica cannot begin"),
        }
    }
}
