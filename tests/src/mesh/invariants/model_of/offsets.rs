//! An offset has one batch for ever, and offsets have no gaps.

use super::Model;
use bytes::Bytes;
use model::batch::HEADER_BYTES;
use model::{Batch, PartitionId};
use std::collections::VecDeque;

impl Model {
    /// A batch lies where it must.
    pub(super) fn place(
        &mut self,
        partition: PartitionId,
        bytes: &Bytes,
        placed: &mut VecDeque<(PartitionId, Batch)>,
    ) -> Result<(), String> {
        let next = self.next_offset(partition);
        let Some((at, batch)) = placed.pop_front() else { return Err("nothing is placed".into()) };
        let same = batch.bytes()[HEADER_BYTES..] == bytes[HEADER_BYTES..];
        if at != partition || batch.base_offset() != next || !same {
            return Err(format!("{partition:?} goes on at {next}, placed is {batch:?} in {at:?}"));
        }
        self.next.insert(partition, batch.next_offset());
        self.logs.entry(partition).or_default().insert(next, batch.bytes().clone());
        Ok(())
    }
}
