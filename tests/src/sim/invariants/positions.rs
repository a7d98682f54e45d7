//! Positions, watermarks, sequences, offsets and shard time never fall.

use model::{PartitionId, TaskId};
use replica::Fold;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Positions {
    /// What the fold said at each index that was applied.
    at: BTreeMap<u64, Said>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Said {
    time_ms: u64,
    sequences: BTreeMap<TaskId, (u64, i64)>,
    positions: BTreeMap<(TaskId, PartitionId), (i64, i64)>,
    offsets: BTreeMap<PartitionId, (i64, i64)>,
}

impl Positions {
    pub fn applied(&mut self, index: u64, fold: &Fold) -> Result<(), String> {
        if self.at.contains_key(&index) {
            return Ok(());
        }
        let mut said = Said { time_ms: fold.time_ms(), ..Said::default() };
        for (id, task) in fold.tasks() {
            said.sequences.insert(id, (task.sequence, task.watermark_ms));
            let positions = task.positions.iter();
            said.positions.extend(positions.map(|(source, at)| ((id, *source), *at)));
        }
        let partitions = fold.partitions();
        said.offsets = partitions.map(|(id, p)| (id, (p.next_offset, p.start))).collect();
        let before = self.at.range(..index).next_back();
        let after = self.at.range(index..).next();
        if before.is_some_and(|(_, before)| !before.precedes(&said)) {
            return Err(format!("something falls at index {index}"));
        }
        if after.is_some_and(|(_, after)| !said.precedes(after)) {
            return Err(format!("something falls after index {index}"));
        }
        self.at.insert(index, said);
        Ok(())
    }
}

impl Said {
    fn precedes(&self, later: &Self) -> bool {
        self.time_ms <= later.time_ms
            && all(&self.sequences, &later.sequences)
            && all(&self.positions, &later.positions)
            && all(&self.offsets, &later.offsets)
    }
}

/// Every pair of the earlier is in the later, and neither part of it has fallen.
fn all<K: Ord, A: Ord, B: Ord>(earlier: &BTreeMap<K, (A, B)>, later: &BTreeMap<K, (A, B)>) -> bool {
    earlier.iter().all(|(key, (a, b))| later.get(key).is_some_and(|(c, d)| a <= c && b <= d))
}
