//! Segments that give back other bytes than were written: their replica goes on voting, since its log is whole, leads no
//! more, and asks its leader for another one in its place. One of two stays.
//!
//! Does what `peer::board` and `peer::shards::frame` do about it.

use super::host::Process;
use super::trace::note;
use super::world::{SHARDS, World};
use model::hash::shard_of;
use model::{PartitionId, ShardId};
use replica::{Input, Replica};

/// Bytes that a consumer reads at once.
const CONSUMED_BYTES: usize = 4 << 10;

impl World {
    /// Hands on what a read came to, and notes where the disk gave back other bytes than were written.
    pub fn witness<T>(
        &mut self,
        h: usize,
        partition: PartitionId,
        read: Result<T, store::Error>,
    ) -> Result<T, String> {
        if let Err(store::Error::Rot(why)) = &read
            && let Some(process) = self.process(h)
            && let Some((shard, id)) = shard_and_replica(process, partition)
        {
            process.rotten.insert(shard, id);
            note!(self, "h{h} {shard} {id} has rotten segments: {why}");
        }
        read.map_err(|error| error.to_string())
    }

    /// Replicas whose segments are rotten hand over, and ask to be replaced.
    pub fn tell_of_rot(&mut self, h: usize) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        for (shard, id) in process.rotten.clone() {
            let Some(process) = self.process(h) else { return Ok(()) };
            let here = process.replica(shard).filter(|replica| replica.id() == id);
            let Some(status) = here.map(Replica::status) else {
                process.rotten.remove(&shard);
                continue;
            };
            if status.leading {
                self.step(h, shard, Input::HandOver)?;
            } else if let Some(leader) = status.leader.filter(|_| status.voters.len() > 2) {
                let key = process.board.key_of(leader).map(<[u8]>::to_vec);
                key.into_iter().for_each(|key| self.report_missing(h, &key, shard, id));
            }
        }
        Ok(())
    }

    /// A consumer reads a partition from its beginning at this host.
    pub fn consume(&mut self, h: usize, partition: PartitionId) {
        let Some((mut at, end)) = self.process(h).and_then(|it| it.board.mark(partition)) else {
            return;
        };
        while at < end {
            let Some(process) = self.process(h) else { return };
            let read = process.segments.read(partition, at, end, CONSUMED_BYTES);
            let Ok(batches) = self.witness(h, partition, read) else { return };
            let Some(last) = batches.last() else { return };
            at = last.next_offset();
        }
    }
}

/// The shard of a partition, and the replica of it that is here.
pub fn shard_and_replica(
    process: &Process,
    partition: PartitionId,
) -> Option<(ShardId, model::ReplicaId)> {
    let catalogue = process.board.catalogue();
    let stream = catalogue.streams.get(&partition.stream)?;
    let shard = shard_of(stream.placement, partition.partition, SHARDS);
    Some((shard, process.replica(shard)?.id()))
}
