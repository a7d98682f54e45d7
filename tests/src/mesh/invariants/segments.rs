//! What is applied lies in the segments: the same bytes at the same offsets, on every peer that has a replica.

use super::super::host::{Host, Process};
use super::super::world::{SHARDS, World};
use model::{PartitionId, ShardId};
use replica::Fold;
use std::sync::Arc;
use store::Segments;

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;

impl World {
    /// What the readers of every process that runs would get.
    pub fn check_segments(&self) -> Result<(), String> {
        self.writing().try_for_each(|(host, process)| self.holds(host, process, &process.segments))
    }

    /// What is on the disks themselves, whatever processes have in memory.
    pub fn check_disks(&self) -> Result<(), String> {
        let limits = store::segments::Limits { tail_bytes: 0, ..self.menu.segments };
        for (host, process) in self.writing() {
            let disk = Arc::new(host.disk.fork());
            let segments = Segments::open(disk, limits).map_err(|error| error.to_string())?;
            self.holds(host, process, &segments)?;
        }
        Ok(())
    }

    /// The hosts whose processes can write: what a process has applied whose disk has failed, it may not have written.
    fn writing(&self) -> impl Iterator<Item = (&Host, &Process)> {
        let up = self.hosts.iter().filter(|host| !host.disk.is_off());
        let up = up.filter_map(|host| Some((host, host.process.as_deref()?)));
        up.filter(|(_, process)| !process.writer.is_fenced())
    }

    fn holds(&self, host: &Host, process: &Process, segments: &Segments) -> Result<(), String> {
        let h = host.name;
        for shard in (0..SHARDS).map(ShardId) {
            let Some(replica) = process.replica(shard) else { continue };
            if host.rotten.contains(&(shard, replica.id())) {
                continue;
            }
            let fold = replica.fold();
            for (partition, _) in fold.partitions() {
                let held = self.partition_holds(fold, process, (segments, partition));
                held.map_err(|why| format!("the segments of {partition:?} on h{h}: {why}"))?;
            }
        }
        Ok(())
    }

    /// A partition's segments reach as far as its fold, less what is about to be written, and say what was committed.
    fn partition_holds(
        &self,
        fold: &Fold,
        process: &Process,
        (segments, partition): (&Segments, PartitionId),
    ) -> Result<(), String> {
        let text = |error: store::Error| error.to_string();
        let start = segments.start_offset(partition).map_err(text)?;
        let end = segments.next_offset(partition).map_err(text)?;
        let Some(folded) = fold.partition(partition) else { return Ok(()) };
        let waiting = process.appends.get(&partition).and_then(|(_, batches)| batches.first());
        let wanted = waiting.map_or(folded.next_offset, model::Batch::base_offset);
        if start != folded.start || end < wanted {
            let from = folded.start;
            return Err(format!("they have {start} to {end}, applied is {from} to {wanted}"));
        }
        let mut committed = self.truth.batches(partition).skip_while(|(offset, _)| *offset < start);
        let mut at = start;
        while at < end {
            let batches = segments.read(partition, at, end, READ_BYTES).map_err(text)?;
            if batches.is_empty() {
                return Err(format!("nothing is at {at}, they end at {end}"));
            }
            for batch in batches {
                if committed.next() != Some((batch.base_offset(), batch.bytes())) {
                    return Err(format!("{batch:?} at {at} was not committed there"));
                }
                at = batch.next_offset();
            }
        }
        Ok(())
    }
}
