//! The newest batches of a partition in memory: who reads at the end needs no file.

use model::Batch;
use std::collections::VecDeque;

/// Batches without a gap up to the end of the partition.
#[derive(Default)]
pub struct Tail {
    batches: VecDeque<Batch>,
    bytes: usize,
}

impl Tail {
    /// Adds the newest batch and drops the oldest ones beyond `bytes_max`.
    pub fn push(&mut self, batch: &Batch, bytes_max: usize) {
        self.batches.push_back(batch.clone());
        self.bytes += batch.size();
        while self.bytes > bytes_max {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.size();
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The batches from the one that holds `from`, if it is here.
    pub fn read(&self, from: i64, below: i64, bytes_max: usize) -> Option<Vec<Batch>> {
        if self.batches.front()?.base_offset() > from {
            return None;
        }
        let first = self.batches.partition_point(|batch| batch.next_offset() <= from);
        let mut found = Vec::new();
        let mut bytes = 0;
        for batch in self.batches.range(first..) {
            bytes += batch.size();
            if batch.base_offset() >= below || (!found.is_empty() && bytes > bytes_max) {
                break;
            }
            found.push(batch.clone());
        }
        Some(found)
    }
}
