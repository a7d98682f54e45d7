//! Batches to append, the model of what must be read, and small limits.

use crate::disk::Disk;
use crate::segments::{Limits, Segments};
use crate::sim::Dice;
use model::{Batch, BatchBuilder, PartitionId, StreamId};
use std::sync::Arc;

pub const P: PartitionId = PartitionId { stream: StreamId(0xabc), partition: 3 };

/// Segments of a few batches, and hardly a tail.
pub const SMALL: Limits =
    Limits { segment_bytes: 3 << 10, tail_bytes: 600, tail_bytes_total: 4 << 10, open_files: 3 };

pub fn partition(partition: u32) -> PartitionId {
    PartitionId { partition, ..P }
}

pub fn open(disk: &(impl Disk + Clone)) -> Segments {
    Segments::open(Arc::new(disk.clone()), SMALL).unwrap()
}

/// Batches one after the other from offset `base` on; times rise, with small steps back.
pub fn batches(seed: u64, base: i64, count: usize) -> Vec<Batch> {
    let mut dice = Dice::new(seed);
    let mut next = base;
    (0..count)
        .map(|_| {
            let mut builder = BatchBuilder::new();
            for _ in 0..1 + dice.below(4) {
                let time = next * 10 + dice.below(40) as i64;
                let value = vec![dice.draw() as u8; dice.below(250) as usize];
                builder.push(time, Some(b"key"), Some(&value), &[]);
            }
            let batch = builder.build().unwrap().placed(next, 7);
            next = batch.next_offset();
            batch
        })
        .collect()
}

pub fn end(batches: &[Batch]) -> i64 {
    batches.last().map_or(0, Batch::next_offset)
}

/// What a read must return.
pub fn expected(batches: &[Batch], from: i64, below: i64, bytes_max: usize) -> Vec<Batch> {
    let mut bytes = 0;
    let mut found: Vec<Batch> = Vec::new();
    if from >= below {
        return found;
    }
    for batch in batches.iter().filter(|batch| batch.next_offset() > from) {
        bytes += batch.size();
        if batch.base_offset() >= below || (!found.is_empty() && bytes > bytes_max) {
            break;
        }
        found.push(batch.clone());
    }
    found
}

/// Reads all from `from` on, with small reads.
pub fn read_all(segments: &Segments, from: i64, below: i64) -> Result<Vec<Batch>, crate::Error> {
    let mut found: Vec<Batch> = Vec::new();
    let mut at = from;
    loop {
        let some = segments.read(P, at, below, 500)?;
        if some.is_empty() {
            return Ok(found);
        }
        at = end(&some);
        found.extend(some);
    }
}
