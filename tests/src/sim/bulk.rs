//! What moves folds: checkpoints to the own disk, snapshots to other peers.

use super::disk::{Rows, Segments, Tables};
use super::world::{Event, World};
use bytes::Bytes;
use model::ReplicaId;
use replica::{Input, Replica};

/// The content of a manifest: what a receiver fetches.
#[derive(Clone)]
pub struct Content {
    pub index: u64,
    pub term: u64,
    pub small: Vec<u8>,
    pub rows: Rows,
    pub segments: Segments,
}

impl World {
    pub(super) fn checkpoint(&mut self, id: i32, life: u64) -> Result<(), String> {
        let next = self.dice.range(500_000, 2_500_000);
        self.after(next, Event::Checkpoint { peer: id, life });
        let peer = self.peer(id);
        let Some(replica) = &mut peer.replica else { return Ok(()) };
        let checkpoint = replica.fold_mut_checkpoint();
        let index = checkpoint.index;
        peer.disk.save(replica.id(), checkpoint);
        self.note(format_args!("p{id} checkpoint {index}"));
        self.input(id, Input::Checkpointed { index })
    }

    pub(super) fn manifest(&mut self, id: i32) -> Result<(), String> {
        let number = self.manifests.len() as u64 + 1;
        let peer = &self.peers[&id];
        let Some(replica) = &peer.replica else { return Ok(()) };
        let fold = replica.fold();
        let owned = |(task, key, value)| {
            ((task, Bytes::copy_from_slice(key)), Bytes::copy_from_slice(value))
        };
        let rows = fold.rows().map(owned);
        let content = Content {
            index: fold.index(),
            term: fold.term(),
            small: fold.small(),
            rows: rows.collect(),
            segments: peer.disk.segments.clone(),
        };
        let (index, term) = (content.index, content.term);
        self.manifests.insert(number, content);
        self.note(format_args!("p{id} manifest {number} of {index}"));
        let bytes = Bytes::copy_from_slice(&number.to_le_bytes());
        self.input(id, Input::Manifest { index, term, bytes })
    }

    /// Fetching begins, unless it is under way.
    pub(super) fn fetch(&mut self, id: i32, from: i32, manifest: Bytes, message: Bytes) {
        if self.peer(id).fetching.as_ref() == Some(&manifest) {
            return;
        }
        self.peer(id).fetching = Some(manifest.clone());
        let life = self.peer(id).life_number();
        let delay = self.dice.range(2_000, 700_000);
        self.after(delay, Event::Fetched { peer: id, life, from, manifest, message });
    }

    pub(super) fn fetched(
        &mut self,
        id: i32,
        from: i32,
        manifest: &Bytes,
        message: Bytes,
    ) -> Result<(), String> {
        let number = u64::from_le_bytes(manifest[..].try_into().map_err(|_| "a strange manifest")?);
        let wanted = self.peers[&id].fetching.as_ref() == Some(manifest);
        if !wanted {
            return Ok(());
        }
        self.peer(id).fetching = None;
        let reachable = self.network.hears(from, id) && self.peers[&from].is_up();
        if !reachable {
            self.note(format_args!("p{id} cannot fetch {number}"));
            let me = self.peers[&id].replica.as_ref().map(Replica::id);
            if let Some(to) = me.filter(|_| self.dice.chance(500)) {
                let life = self.peers[&from].life_number();
                self.after(300, Event::Outcome { peer: from, life, to, installed: false });
            }
            return Ok(());
        }
        let content = self.manifests[&number].clone();
        let replica = self.peers[&id].replica.as_ref().map_or(ReplicaId(0), Replica::id);
        let tables = Tables { replica, small: content.small.clone(), rows: content.rows.clone() };
        let fold = Box::new(tables.fold());
        self.note(format_args!("p{id} fetched {number}"));
        self.peer(id).fetched = Some((content.index, content));
        self.input(id, Input::Fetched { message, fold })
    }

    /// The snapshot is taken: its tables and segments replace what was here, before the journal says so.
    pub(super) fn install(
        &mut self,
        id: i32,
        replica: ReplicaId,
        index: u64,
    ) -> Result<(), String> {
        let peer = self.peer(id);
        let found = peer.disk.tables.as_ref().filter(|tables| tables.replica == replica);
        if found.is_some_and(|tables| tables.fold().index() == index) {
            // The process ended between the two: the journal is told again.
            return Ok(());
        }
        self.snapshots += 1;
        self.invariants.jumped(id, index);
        let peer = self.peer(id);
        let fetched = peer.fetched.take().filter(|(fetched, _)| *fetched == index);
        let (_, content) = fetched.ok_or("a snapshot is installed that was not fetched")?;
        peer.disk.tables = Some(Tables { replica, small: content.small, rows: content.rows });
        peer.disk.segments = content.segments;
        Ok(())
    }
}
