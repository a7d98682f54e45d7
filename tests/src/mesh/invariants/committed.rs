//! What is committed is never undone: an index of a shard has one meaning for ever, for whoever applies it.

use model::{LogEntry, ReplicaId, ShardId, hash};
use replica::Replica;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Committed {
    /// What each (shard, index, term) ever written says: the same everywhere.
    written: BTreeMap<(ShardId, u64, u64), u64>,
    /// The term of each committed entry.
    terms: BTreeMap<(ShardId, u64), u64>,
    /// How far each replica has applied, by host and shard.
    applied: BTreeMap<(usize, ShardId), (ReplicaId, u64)>,
}

impl Committed {
    pub fn written(
        &mut self,
        h: usize,
        shard: ShardId,
        entries: &[LogEntry],
    ) -> Result<(), String> {
        for entry in entries {
            let (index, term) = (entry.index, entry.term);
            let says = hash::hash64(&entry.bytes);
            let known = *self.written.entry((shard, index, term)).or_insert(says);
            if known != says {
                return Err(format!("h{h} {shard}: entry {index} of term {term} has two meanings"));
            }
        }
        Ok(())
    }

    pub fn commit(&mut self, shard: ShardId, entry: &LogEntry) -> Result<(), String> {
        let known = *self.terms.entry((shard, entry.index)).or_insert(entry.term);
        if known != entry.term {
            return Err(format!("{shard}: entry {} is committed twice", entry.index));
        }
        Ok(())
    }

    /// A process has begun with this replica: what it had applied in memory counts no more.
    pub fn seated(&mut self, h: usize, shard: ShardId, replica: &Replica) {
        self.applied.insert((h, shard), (replica.id(), replica.fold().index()));
    }

    /// Everything that the replica has just applied is what was committed before, if anybody knew it.
    pub fn applied(&mut self, h: usize, shard: ShardId, replica: &Replica) -> Result<(), String> {
        let (id, index) = (replica.id(), replica.fold().index());
        let last = self.applied.insert((h, shard), (id, index));
        let (was, before) = last.ok_or(format!("h{h} {shard} {id} has no seat"))?;
        if was != id || index < before {
            return Err(format!("h{h} {shard} {id} applied {index} after {before} of {was}"));
        }
        for entry in replica.entries_above(before) {
            if entry.index > index {
                break;
            }
            match self.terms.get(&(shard, entry.index)) {
                Some(term) if *term != entry.term => {
                    return Err(format!(
                        "h{h} {shard} {id} applied entry {} of term {}, committed was that of {term}",
                        entry.index, entry.term
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
