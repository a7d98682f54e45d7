//! Removes old segments whose entries are kept elsewhere, and carries on what still lives in them.

use super::{Journal, Ledger, Record};
use crate::Error;
use model::ShardId;
use model::planted::{self, Mutant};
use std::collections::{BTreeMap, BTreeSet};

/// The part of a segment that is written anew at most, to free one.
const CARRIED_PART: u64 = 4;
/// Segments' worth of entries that are written anew at most when the journal is too large: one frame holds them.
const CARRIED_MOST: u64 = 2;

impl Journal {
    /// Removes the oldest segments whose records all lie at or below the shards' durable indexes; returns how many.
    ///
    /// Where little is left above them (an idle shard's entries), `carry` is asked for the shard's live records: its
    /// `Entries` from at most `base + 1` to its last, and what else it likes. They are written into a new frame and
    /// synced before a segment goes. A shard that gives less keeps the segment. Hard states, bases and tombstones
    /// need no carrying: each segment begins with them.
    pub fn cut(
        &mut self,
        durable: &BTreeMap<ShardId, u64>,
        carry: &mut dyn FnMut(ShardId) -> Vec<Record>,
    ) -> Result<usize, Error> {
        self.ready()?;
        for (shard, index) in durable {
            if let Some(ledger) = self.ledgers.get_mut(shard) {
                let all = planted::is(Mutant::CutAtApplied);
                ledger.durable(if all { u64::MAX } else { *index });
            }
        }
        let (ids, records) = self.removable(carry);
        if ids.is_empty() {
            return Ok(0);
        }
        self.check(&records)?;
        let removed = self.carry_and_remove(ids.len(), &records);
        self.fence_on(removed)
    }

    /// The oldest segments that can go, and the records that must be carried first.
    fn removable(&self, carry: &mut dyn FnMut(ShardId) -> Vec<Record>) -> (Vec<u64>, Vec<Record>) {
        let mut ids = Vec::new();
        let mut carried = BTreeSet::new();
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut left = self.files.size();
        for (id, size) in self.files.old() {
            let live: Vec<(ShardId, &Ledger)> = self
                .ledgers
                .iter()
                .filter(|(shard, ledger)| !carried.contains(*shard) && ledger.lives_in(id))
                .map(|(shard, ledger)| (*shard, ledger))
                .collect();
            bytes += live.iter().map(|(_, ledger)| ledger.live_bytes()).sum::<u64>();
            let most = match left > self.limits.journal_bytes_max {
                true => self.limits.segment_bytes.saturating_mul(CARRIED_MOST),
                false => self.limits.segment_bytes / CARRIED_PART,
            };
            if bytes > most {
                break;
            }
            let mut given = Vec::new();
            for (shard, ledger) in live {
                let of_shard = carry(shard);
                if !ledger.is_carried_by(&of_shard) {
                    return (ids, records);
                }
                given.extend(of_shard);
                carried.insert(shard);
            }
            records.extend(given);
            ids.push(id);
            left -= size;
        }
        (ids, records)
    }

    fn carry_and_remove(&mut self, count: usize, records: &[Record]) -> Result<usize, Error> {
        self.write_frame(true, records)?;
        self.gate.sync(&*self.current.file).map_err(Error::Fenced)?;
        self.synced = self.written;
        self.current.synced_place = self.current.place;
        for _ in 0..count {
            self.files.remove_oldest()?;
        }
        Ok(count)
    }
}

impl Ledger {
    /// Whether the records hold all entries above the base.
    fn is_carried_by(&self, records: &[Record]) -> bool {
        let mut reached = self.base.0;
        for record in records {
            if let Record::Entries { replica, entries, .. } = record
                && *replica == self.replica
                && let (Some(first), Some(last)) = (entries.first(), entries.last())
                && first.index <= reached + 1
            {
                reached = last.index;
            }
        }
        reached >= self.last
    }
}
