//! One copy goes on alone, when a quorum of its shard is lost for good: by hand and offline.
//!
//! Promises that nothing which this copy has is lost by it, and that it is done by entries which every replica reads as
//! it reads all others: whoever copies the shard later sees what happened. Never decides that it is to be done.

use crate::configuration::{self, Change, Configuration, Step};
use crate::fold::Fold;
use crate::replica::{Config, Replica};
use bytes::Bytes;
use model::log::EntryKind;
use model::{Entry, HardState, LogEntry, Op, ReplicaId, codec};
use std::collections::BTreeSet;

/// Ids that are passed over at most, so that a new first copy has one that was never used here.
const PASSED_MAX: u64 = 100_000;

/// What the journal is to hold besides what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alone {
    pub replica: ReplicaId,
    /// They follow the last entry that is there.
    pub entries: Vec<LogEntry>,
    /// All of the log counts as decided.
    pub hard: HardState,
}

/// The log as it grows: its end, and who forms the shard there.
struct Log {
    configuration: Configuration,
    replication: u8,
    term: u64,
    last: u64,
    entries: Vec<LogEntry>,
}

impl Log {
    fn append(&mut self, kind: EntryKind, bytes: Bytes) {
        self.last += 1;
        self.entries.push(LogEntry { index: self.last, term: self.term, kind, bytes });
    }

    /// Takes a step if it changes anything.
    fn take(&mut self, step: Step) -> bool {
        let change = Change { epoch: self.configuration.epoch, step };
        let taken = self.configuration.apply(&change, self.replication).is_some();
        if taken {
            let bytes = codec::encode(configuration::VERSION, &change);
            self.append(EntryKind::Configuration, bytes.into());
        }
        taken
    }

    /// Makes one replica all there is; false if it is none of the shard's.
    fn leave_alone(&mut self, id: ReplicaId) -> bool {
        self.take(Step::Leave);
        let voters = BTreeSet::from([id]);
        if self.configuration.voters() != voters {
            let enter = Step::Enter { voters, learners: BTreeSet::new(), least: 1 };
            if !self.take(enter) || !self.take(Step::Leave) {
                return false;
            }
        }
        let others: Vec<_> =
            self.configuration.members.keys().copied().filter(|other| *other != id).collect();
        others.into_iter().all(|replica| self.take(Step::Remove { replica }))
    }

    fn done(self, replica: ReplicaId) -> Alone {
        let hard = HardState { term: self.term, vote: 0, commit: self.last };
        Alone { replica, entries: self.entries, hard }
    }
}

/// What makes this copy the only one of its shard, with operations that are to be true from then on; none if the shard
/// has taken it out already, as far as it knows.
pub fn alone(config: &Config, replica: &Replica, ops: Vec<Op>) -> Option<Alone> {
    let fold = replica.fold();
    let tail = replica.entries_above(fold.index());
    let (last, last_term) =
        tail.last().map_or((fold.index(), fold.term()), |entry| (entry.index, entry.term));
    let mut configuration = fold.configuration().clone();
    for entry in tail.iter().filter(|entry| entry.kind == EntryKind::Configuration) {
        let change = codec::decode(configuration::VERSION, &entry.bytes).ok()?;
        configuration.apply(&change, config.replication);
    }
    let term = replica.hard().term.max(last_term) + 1;
    let replication = config.replication;
    let mut log = Log { configuration, replication, term, last, entries: Vec::new() };
    if !log.leave_alone(replica.id()) {
        return None;
    }
    if !ops.is_empty() {
        let entry = Entry { time_ms: fold.time_ms(), ops };
        log.append(EntryKind::Normal, entry.encode().into());
    }
    Some(log.done(replica.id()))
}

/// A shard of which no copy is left begins anew and empty, on this peer, with an id above all that were used here.
pub fn anew(config: &Config, used: ReplicaId) -> Option<Alone> {
    let fold = Fold::genesis(config);
    let mut log = Log {
        configuration: fold.configuration().clone(),
        replication: config.replication,
        term: fold.term() + 1,
        last: fold.index(),
        entries: Vec::new(),
    };
    for _ in 0..PASSED_MAX {
        let id = ReplicaId(log.configuration.next_replica);
        log.take(Step::Learner { peer: config.peer });
        if id > used {
            return log.leave_alone(id).then(|| log.done(id));
        }
        log.take(Step::Remove { replica: id });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reopen::{Journalled, Reopened, reopen};
    use model::{Epoch, MeshId, PeerId, ShardId};

    fn config(peer: i32) -> Config {
        let (shard, mesh, peer) = (ShardId(3), MeshId(1), PeerId(peer));
        Config { shard, mesh, shards: 8, replication: 3, peer, seed: 0 }
    }

    fn entry(index: u64, step: Step) -> LogEntry {
        let change = Change { epoch: Epoch(1), step };
        let bytes = codec::encode(configuration::VERSION, &change).into();
        LogEntry { index, term: 1, kind: EntryKind::Configuration, bytes }
    }

    /// A shard that has grown to three voters, and has begun to take the first of them out.
    fn three(replica: u64, upto: usize) -> Journalled {
        let voters = |ids: [u64; 3]| ids.into_iter().map(ReplicaId).collect();
        let enter = |ids| Step::Enter { voters: voters(ids), learners: BTreeSet::new(), least: 3 };
        let learner = |peer| Step::Learner { peer: PeerId(peer) };
        let steps =
            [learner(2), learner(3), enter([1, 2, 3]), Step::Leave, learner(4), enter([2, 3, 4])];
        let entries = (2..).zip(steps).map(|(index, step)| entry(index, step)).take(upto).collect();
        let hard = HardState { term: 7, vote: 1, commit: 3 };
        Journalled { replica: ReplicaId(replica), base: (1, 1), hard, entries, doubt: None }
    }

    fn opened(config: &Config, journal: Journalled) -> Replica {
        match reopen(config.clone(), Some(journal), None, None) {
            Reopened::Replica { replica, .. } => *replica,
            _ => panic!("it is sound"),
        }
    }

    #[test]
    fn a_copy_becomes_all_of_its_shard_whatever_step_it_was_in() {
        for upto in 4..=6 {
            let config = config(2);
            let journal = three(2, upto);
            let last = 1 + upto as u64;
            let told = alone(&config, &opened(&config, journal.clone()), Vec::new());
            let told = told.expect("it is a voter");
            assert_eq!(told.entries[0].index, last + 1);
            assert!(told.entries.iter().all(|entry| entry.term == 8), "above all that was said");
            assert_eq!(told.hard.commit, last + told.entries.len() as u64);
            // Said again on what it has written, it has nothing to add.
            let mut journal = journal;
            journal.entries.extend(told.entries);
            journal.hard = told.hard;
            let again = alone(&config, &opened(&config, journal), Vec::new());
            assert_eq!(again.expect("still").entries, [], "{upto}");
        }
    }

    #[test]
    fn a_copy_that_the_shard_has_taken_out_cannot_go_on() {
        let mut journal = three(1, 6);
        journal.entries.push(entry(8, Step::Leave));
        let config = config(1);
        assert_eq!(alone(&config, &opened(&config, journal), Vec::new()), None);
    }

    #[test]
    fn a_shard_without_a_copy_begins_anew_under_an_id_that_was_never_used() {
        let config = config(3);
        for used in [0, 1, 5] {
            let told = anew(&config, ReplicaId(used)).expect("there are ids");
            assert!(told.replica > ReplicaId(used) && told.replica > ReplicaId(1));
            let Alone { replica, entries, hard } = told;
            let journal = Journalled { replica, base: (1, 1), hard, entries, doubt: None };
            let again = alone(&config, &opened(&config, journal), Vec::new());
            assert_eq!(again.expect("it is a voter").entries, []);
        }
    }
}
