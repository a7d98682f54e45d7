//! What is acknowledged is on a quorum's disk, and what a disk has synced is found again.
//!
//! Kept from the records whose sync ended well, by nobody's word but the disk's.

use model::{HardState, LogEntry, ReplicaId, ShardId};
use replica::configuration::Configuration;
use std::collections::{BTreeMap, BTreeSet};
use store::{Record, Recovered, RecoveredShard};

/// What of one shard's log is surely on one disk.
#[derive(Clone, Debug, Default)]
struct Log {
    replica: ReplicaId,
    base: (u64, u64),
    /// Terms of the entries after the base.
    terms: Vec<u64>,
    hard: HardState,
}

#[derive(Default)]
pub struct Durable {
    logs: BTreeMap<(usize, ShardId), Log>,
    /// What disks had synced, and others were told of, before they lost it.
    lost: Vec<(ShardId, Log)>,
}

impl Durable {
    /// A disk has lost what it had of a shard.
    pub fn lose(&mut self, h: usize, shard: ShardId) {
        self.lost.extend(self.logs.remove(&(h, shard)).map(|log| (shard, log)));
    }

    pub fn synced(&mut self, h: usize, records: &[Record]) {
        for record in records {
            let key = (h, record.shard());
            match record {
                Record::Begin { replica, base, .. } => {
                    let log = Log { replica: *replica, base: *base, ..Log::default() };
                    // Whoever was told of what the one before had counts it, until it has applied its end.
                    let before = self.logs.insert(key, log);
                    self.lost.extend(before.map(|log| (record.shard(), log)));
                }
                Record::Tombstone { .. } => self.lose(h, record.shard()),
                Record::Entries { replica, entries, .. } => {
                    if let Some(log) = self.of(key, *replica) {
                        log.take(entries);
                    }
                }
                Record::Hard { replica, hard, .. } => {
                    if let Some(log) = self.of(key, *replica) {
                        log.hard = *hard;
                    }
                }
                Record::Snapshot { replica, index, term, .. } => {
                    if let Some(log) = self.of(key, *replica) {
                        (log.base, log.terms) = ((*index, *term), Vec::new());
                    }
                }
            }
        }
    }

    fn of(&mut self, key: (usize, ShardId), replica: ReplicaId) -> Option<&mut Log> {
        self.logs.get_mut(&key).filter(|log| log.replica == replica)
    }

    /// A start found this on its disk: all that was synced is there, unless something was done to the replica's.
    pub fn recovered(
        &mut self,
        h: usize,
        found: &Recovered,
        damaged: &BTreeSet<(ShardId, ReplicaId)>,
    ) -> Result<(), String> {
        let here: Vec<_> = self.logs.range((h, ShardId(0))..=(h, ShardId(u16::MAX))).collect();
        let sound = |((_, shard), log): &(&(usize, ShardId), &Log)| {
            !damaged.contains(&(*shard, log.replica))
        };
        for ((_, shard), log) in here.into_iter().filter(sound) {
            let there = found.shards.get(shard).ok_or(format!("h{h} {shard} is not recovered"))?;
            if let Some(why) = log.is_missing_in(there) {
                return Err(format!("h{h} {shard}: {why}"));
            }
        }
        let mine = |(host, _): &(usize, ShardId)| *host == h;
        let before: Vec<_> = self.logs.extract_if(.., |key, _| mine(key)).collect();
        // What was synced and is not there any more counts where it was counted.
        let gone = |shard: &ShardId| found.shards.get(shard).is_none_or(|it| it.doubt.is_some());
        let gone = before.into_iter().filter(|((_, shard), _)| gone(shard));
        self.lost.extend(gone.map(|((_, shard), log)| (shard, log)));
        for (shard, there) in &found.shards {
            if there.doubt.is_none() && there.replica.0 > 0 {
                let terms = there.entries.iter().map(|entry| entry.term).collect();
                let RecoveredShard { replica, base, hard, .. } = there;
                let log = Log { replica: *replica, base: *base, terms, hard: *hard };
                self.logs.insert((h, *shard), log);
            }
        }
        Ok(())
    }

    /// Whether a majority of the voters, in a joint state of both kinds, has this entry on disk.
    pub fn has_quorum(&self, shard: ShardId, of: &Configuration, entry: &LogEntry) -> bool {
        let holders: BTreeSet<_> = self.holders(shard, entry).into_iter().collect();
        let majority = |voters: &BTreeSet<ReplicaId>| {
            voters.is_empty() || 2 * voters.intersection(&holders).count() > voters.len()
        };
        majority(&of.voters()) && majority(&of.outgoing)
    }

    /// The replicas that have had this entry on disk.
    pub fn holders(&self, shard: ShardId, entry: &LogEntry) -> Vec<ReplicaId> {
        let logs = self.logs.iter().map(|((_, of), log)| (*of, log));
        let lost = self.lost.iter().map(|(of, log)| (*of, log));
        let having = logs.chain(lost).filter(|(of, log)| *of == shard && log.has(entry));
        having.map(|(_, log)| log.replica).collect()
    }
}

impl Log {
    fn take(&mut self, entries: &[LogEntry]) {
        let Some(first) = entries.first() else { return };
        if first.index <= self.base.0 {
            return;
        }
        self.terms.truncate((first.index - self.base.0 - 1) as usize);
        self.terms.extend(entries.iter().map(|entry| entry.term));
    }

    fn has(&self, entry: &LogEntry) -> bool {
        match entry.index.checked_sub(self.base.0 + 1) {
            None => true,
            Some(place) => self.terms.get(place as usize) == Some(&entry.term),
        }
    }

    fn is_missing_in(&self, there: &RecoveredShard) -> Option<String> {
        if let Some(why) = &there.doubt {
            return Some(format!("a sound disk is in doubt: {why}"));
        }
        if there.replica != self.replica {
            // Something newer, written and not synced, survived.
            return (there.replica.max(there.tombstone) < self.replica)
                .then(|| format!("{} is forgotten", self.replica));
        }
        let voted = there.hard.term == self.hard.term && there.hard.vote != self.hard.vote;
        if there.hard.term < self.hard.term || (voted && self.hard.vote != 0) {
            return Some(format!("{:?} was synced, {:?} is there", self.hard, there.hard));
        }
        for (index, term) in (self.base.0 + 1..).zip(&self.terms) {
            let Some(place) = index.checked_sub(there.base.0 + 1) else { continue };
            match there.entries.get(place as usize) {
                Some(entry) if entry.term == *term => {}
                // A later leader's entries, written and not synced, survived.
                Some(entry) if entry.term > *term => return None,
                _ => return Some(format!("entry {index} of term {term} was synced and is lost")),
            }
        }
        None
    }
}
