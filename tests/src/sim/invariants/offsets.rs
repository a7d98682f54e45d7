//! An offset of a partition has one batch for ever, and no producer's sequence is there twice.

use bytes::Bytes;
use model::{Batch, PartitionId};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Offsets {
    batches: BTreeMap<(PartitionId, i64), Bytes>,
    /// Where each (producer, epoch, base sequence) was appended.
    sequences: BTreeMap<(PartitionId, i64, i16, i32), i64>,
}

impl Offsets {
    pub fn appended(&mut self, peer: i32, id: PartitionId, batch: &Batch) -> Result<(), String> {
        let base = batch.base_offset();
        let known = self.batches.entry((id, base)).or_insert_with(|| batch.bytes().clone());
        if known != batch.bytes() {
            return Err(format!("p{peer}: offset {base} of {id:?} has two batches"));
        }
        if batch.producer_id() >= 0 {
            let who = (id, batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
            let place = *self.sequences.entry(who).or_insert(base);
            if place != base {
                return Err(format!("p{peer}: {who:?} stands at {place} and at {base}"));
            }
        }
        Ok(())
    }

    pub fn batch_at(&self, partition: PartitionId, offset: i64) -> Option<&Bytes> {
        self.batches.get(&(partition, offset))
    }
}
