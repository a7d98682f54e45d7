//! What must hold at every moment, a file each.

mod committed;
mod leaders;
mod offsets;
mod once;
mod positions;

use bytes::Bytes;
use committed::Committed;
use leaders::Leaders;
use model::{Batch, LogEntry, PartitionId, PeerId, ReplicaId};
use offsets::Offsets;
use positions::Positions;
use replica::Fold;

/// Everything that is watched.
#[derive(Default)]
pub struct Invariants {
    leaders: Leaders,
    committed: Committed,
    offsets: Offsets,
    positions: Positions,
}

impl Invariants {
    pub fn role(
        &mut self,
        peer: i32,
        me: ReplicaId,
        term: u64,
        leader: Option<PeerId>,
        leading: bool,
    ) -> Result<(), String> {
        self.leaders.role(peer, me, term, leader, leading)
    }

    pub fn written(
        &mut self,
        peer: i32,
        me: ReplicaId,
        entries: &[LogEntry],
    ) -> Result<(), String> {
        entries.iter().try_for_each(|entry| self.committed.written(peer, me, entry))
    }

    pub fn restarted(&mut self, peer: i32, replica: ReplicaId, index: u64) {
        self.committed.restarted(peer, replica, index);
    }

    pub fn jumped(&mut self, peer: i32, index: u64) {
        self.committed.jumped(peer, index);
    }

    pub fn applied(
        &mut self,
        peer: i32,
        me: ReplicaId,
        index: u64,
        fold: &Fold,
    ) -> Result<(), String> {
        self.committed.applied(peer, me, index, fold)?;
        once::applied(index, fold)?;
        self.positions.applied(index, fold)
    }

    pub fn appended(
        &mut self,
        peer: i32,
        partition: PartitionId,
        batch: &Batch,
    ) -> Result<(), String> {
        self.offsets.appended(peer, partition, batch)
    }

    /// The bytes that were ever appended at an offset.
    pub fn batch_at(&self, partition: PartitionId, offset: i64) -> Option<&Bytes> {
        self.offsets.batch_at(partition, offset)
    }

    pub fn terms(&self) -> u64 {
        self.leaders.terms()
    }
}
