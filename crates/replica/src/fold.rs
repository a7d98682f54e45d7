//! What applying a shard's log yields.
//!
//! Invariants: F1 apply reads the entry and this fold, nothing else; F2 shard time, offsets, positions, sequences
//! and watermarks never fall; F3 an operation takes effect whole or not at all; F4 everything that remembers
//! senders is bounded, and what is forgotten depends on the log alone.

mod catalogue;
mod forget;
mod groups;
mod issuers;
mod keep;
mod origins;
mod partition;
mod parts;
mod recent;
mod rows;
mod standing;
#[cfg(test)]
mod tests;
mod transactions;

pub use crate::configuration::Member;

use crate::action::{Action, Answer, Refusal};
use crate::configuration::{Change, Configuration};
use crate::error::Error;
use crate::limits::{CLOSED_MAX, DROPPED_MAX, ENDED_MAX, NONCES_MAX, TERMS_MAX};
use crate::replica::Config;
use bytes::Bytes;
use groups::Groups;
use model::entry::Commit;
use model::group::Group;
use model::log::EntryKind;
use model::planted::{self, Mutant};
use model::transaction::Transaction;
use model::{
    Batch, Catalogue, Entry, HardState, LogEntry, MeshId, Op, Origin, PartitionId, ProducerId,
    ReplicaId, ShardId, TaskId,
};
use origins::Origins;
pub use partition::Partition;
use raft::eraftpb::ConfChangeV2;
use recent::Recent;
use rows::Rows;
use serde::{Deserialize, Serialize};
pub use standing::TaskState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use transactions::Transactions;
pub use transactions::is_overdue;

/// The fold of a shard's log up to [`Fold::index`].
#[derive(Clone, Debug)]
pub struct Fold {
    small: Small,
    rows: Rows,
}

/// All of the fold but the rows of tables: encoded whole at each checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Small {
    mesh: MeshId,
    shard: ShardId,
    shards: u16,
    replication: u8,
    index: u64,
    term: u64,
    time_ms: u64,
    configuration: Configuration,
    partitions: BTreeMap<PartitionId, Partition>,
    tasks: BTreeMap<TaskId, TaskState>,
    origins: Origins,
    nonces: Recent<u128, i64, NONCES_MAX>,
    next_producer: i64,
    catalogue: Option<Arc<Catalogue>>,
    groups: Groups,
    dropped: Recent<PartitionId, (), DROPPED_MAX>,
    ended: Recent<TaskId, (), ENDED_MAX>,
    transactions: Transactions,
    /// The number of the last transaction of a producer that was closed in a partition, or in a group.
    closed: Recent<(i64, PartitionId), u64, CLOSED_MAX>,
    closed_groups: Recent<(i64, String), u64, CLOSED_MAX>,
}

impl Fold {
    /// How every shard begins, the same on every replica: index 1, term 1, one voter on the founder.
    pub fn genesis(config: &Config) -> Self {
        let small = Small {
            mesh: config.mesh,
            shard: config.shard,
            shards: config.shards,
            replication: config.replication,
            index: 1,
            term: 1,
            time_ms: 0,
            configuration: Configuration::genesis(),
            partitions: BTreeMap::new(),
            tasks: BTreeMap::new(),
            origins: Origins::default(),
            nonces: Recent::default(),
            next_producer: 0,
            catalogue: None,
            groups: Groups::default(),
            dropped: Recent::default(),
            ended: Recent::default(),
            transactions: Transactions::default(),
            closed: Recent::default(),
            closed_groups: Recent::default(),
        };
        Self { small, rows: Rows::new(config.mesh) }
    }

    /// How every replica's disk begins.
    pub(crate) fn genesis_hard() -> HardState {
        HardState { term: 1, vote: 0, commit: 1 }
    }

    /// The index of the last applied entry.
    pub fn index(&self) -> u64 {
        self.small.index
    }
    /// The term of the last applied entry.
    pub fn term(&self) -> u64 {
        self.small.term
    }
    /// Shard time, ms since 1970; never falls.
    pub fn time_ms(&self) -> u64 {
        self.small.time_ms
    }
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.small.partitions.get(&id)
    }
    /// All partitions that were ever appended to, in the order of their ids.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Partition)> {
        self.small.partitions.iter().map(|(id, partition)| (*id, partition))
    }
    pub fn task(&self, id: TaskId) -> Option<&TaskState> {
        self.small.tasks.get(&id)
    }
    /// All tasks that have committed, in the order of their ids.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, &TaskState)> {
        self.small.tasks.iter().map(|(id, task)| (*id, task))
    }
    /// One row of a task's table; the key starts with its row space.
    pub fn row(&self, task: TaskId, key: &[u8]) -> Option<Bytes> {
        self.rows.get(task, key).map(Bytes::copy_from_slice)
    }
    /// At most `limit` rows of a task's table whose keys are at or after `from`, in order.
    pub fn scan(&self, task: TaskId, from: &[u8], limit: usize) -> Vec<(Bytes, Bytes)> {
        let found = self.rows.scan(task, from).take(limit);
        let owned = |(key, value)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        found.map(owned).collect()
    }
    /// Every replica of the configuration, joint ones included.
    pub fn members(&self) -> &BTreeMap<ReplicaId, Member> {
        &self.small.configuration.members
    }
    pub fn configuration(&self) -> &Configuration {
        &self.small.configuration
    }
    /// The catalogue; only in shard 0, once founded.
    pub fn catalogue(&self) -> Option<&Arc<Catalogue>> {
        self.small.catalogue.as_ref()
    }
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.small.groups.get(name)
    }
    /// All groups of consumers in the order of their names.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.small.groups.iter()
    }
    pub fn transaction(&self, id: &str) -> Option<&Transaction> {
        self.small.transactions.get(id)
    }
    /// All transactional producers in the order of their ids.
    pub fn transactions(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.small.transactions.iter()
    }
    pub(crate) fn replication(&self) -> u8 {
        self.small.replication
    }

    /// Applies the next entry. `outcomes` gets one outcome per operation, `actions` what must be done about it.
    ///
    /// Fails, having changed nothing, only if the entry has no meaning for this build.
    pub fn apply(
        &mut self,
        index: u64,
        term: u64,
        bytes: &Bytes,
        outcomes: &mut Vec<Result<Answer, Refusal>>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        if bytes.is_empty() {
            self.passed(index, term);
            return Ok(());
        }
        let entry = Entry::decode(bytes).map_err(|source| Error::Entry { index, source })?;
        self.passed(index, term);
        self.small.time_ms = self.small.time_ms.max(entry.time_ms);
        for op in entry.ops {
            outcomes.push(self.operate(op, actions));
        }
        Ok(())
    }

    /// Applies the next entry as the journal keeps it: for who folds a log by itself, to hold replicas against it.
    pub fn follow(
        &mut self,
        entry: &LogEntry,
        outcomes: &mut Vec<Result<Answer, Refusal>>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        match entry.kind {
            EntryKind::Normal => {
                self.apply(entry.index, entry.term, &entry.bytes, outcomes, actions)
            }
            EntryKind::Configuration => {
                self.configure(entry.index, entry.term, &entry.bytes).map(drop)
            }
        }
    }

    /// Applies a configuration entry: its change in consensus's words, or `None` if it is refused.
    pub(crate) fn configure(
        &mut self,
        index: u64,
        term: u64,
        bytes: &[u8],
    ) -> Result<Option<ConfChangeV2>, Error> {
        let change: Change = model::codec::decode(crate::configuration::VERSION, bytes)
            .map_err(|e| Error::Entry { index, source: e.into() })?;
        self.passed(index, term);
        Ok(self.small.configuration.apply(&change, self.small.replication))
    }

    fn passed(&mut self, index: u64, term: u64) {
        assert_eq!(index, self.small.index + 1, "entries are applied in order, each once");
        assert!(term >= self.small.term, "terms never fall");
        if term > self.small.term && planted::is(Mutant::WindowsDroppedAtNewLeader) {
            self.small.origins = Origins::default();
        }
        (self.small.index, self.small.term) = (index, term);
    }

    fn operate(&mut self, op: Op, actions: &mut Vec<Action>) -> Result<Answer, Refusal> {
        match op {
            Op::Append { partition, origin, batch } => {
                self.append(partition, &origin, batch, actions)
            }
            Op::Commit(commit) => self.commit(*commit, actions),
            Op::Catalogue(change) if self.small.shard == model::id::CATALOGUE => {
                let changed =
                    catalogue::change(&mut self.small.catalogue, self.small.index, *change);
                actions.push(Action::Catalogue);
                Ok(Answer::Changed(changed))
            }
            Op::Catalogue(_) => Err(Refusal::WrongShard),
            Op::Producer { nonce } => Ok(Answer::Producer { id: self.producer(nonce) }),
            Op::Trim { partition, offset } => Ok(self.trim(partition, offset, actions)),
            Op::Drop { partition } => {
                self.drop_partition(partition, actions);
                Ok(Answer::Dropped)
            }
            Op::End { task } => Ok(self.end_task(task)),
            Op::Group(change) => self.change_group(*change),
            Op::Transaction(change) => self.change_transaction(*change),
            Op::Step(step) => self.step(*step, actions),
        }
    }

    fn append(
        &mut self,
        partition: PartitionId,
        origin: &Origin,
        batch: Bytes,
        actions: &mut Vec<Action>,
    ) -> Result<Answer, Refusal> {
        let batch = Batch::trusted(batch).map_err(|_| Refusal::Malformed)?;
        if self.small.dropped.get(&partition).is_some() {
            return Err(Refusal::Dropped);
        }
        if let Some(base_offset) = self.known(partition, origin, &batch)? {
            return Ok(Answer::Appended { base_offset, duplicate: true });
        }
        let base_offset = self.place(partition, &batch, actions);
        if batch.is_transactional()
            && let Some(known) = self.small.partitions.get_mut(&partition)
        {
            known.transactions.wrote(batch.producer_id(), base_offset);
        }
        let now_ms = self.small.time_ms;
        self.small.origins.remember(now_ms, (partition, base_offset), origin, &batch);
        Ok(Answer::Appended { base_offset, duplicate: false })
    }

    /// Gives a batch its offset and hands it to the partition's segment.
    fn place(&mut self, id: PartitionId, batch: &Batch, actions: &mut Vec<Action>) -> i64 {
        let term = i32::try_from(self.small.term).unwrap_or(i32::MAX);
        let partition = self.small.partitions.entry(id).or_default();
        let next = match batch.base_offset() {
            given if given > 0 && planted::is(Mutant::OffsetAtPropose) => given,
            _ => partition.next_offset,
        };
        let placed = batch.placed(next, term);
        if partition.terms.last().is_none_or(|(last, _)| *last < term) {
            if partition.terms.len() >= TERMS_MAX {
                partition.terms.remove(0);
            }
            partition.terms.push((term, partition.next_offset));
        }
        partition.next_offset = placed.next_offset();
        partition.max_time_ms = partition.max_time_ms.max(placed.max_time_ms());
        partition.bytes += placed.size() as u64;
        let base_offset = placed.base_offset();
        actions.push(Action::Append { partition: id, batch: placed });
        base_offset
    }

    fn commit(&mut self, commit: Commit, actions: &mut Vec<Action>) -> Result<Answer, Refusal> {
        let admitted = self.admits(&commit, self.small.term);
        if admitted.is_err() && planted::is(Mutant::StateApartFromPositions) {
            self.rows.apply(commit.task, &commit.changes);
        }
        admitted?;
        let batches = commit.batches.iter().map(|bytes| Batch::trusted(bytes.clone()));
        let batches: Vec<Batch> =
            batches.collect::<Result<_, _>>().map_err(|_| Refusal::Malformed)?;
        let task = self.small.tasks.entry(commit.task).or_default();
        task.sequence += 1;
        task.version = commit.version;
        task.watermark_ms = match planted::is(Mutant::WatermarkFalls) {
            true => commit.watermark_ms,
            false => task.watermark_ms.max(commit.watermark_ms),
        };
        task.is_idle = commit.is_idle;
        for step in &commit.moves {
            let position = task.positions.entry(step.source).or_insert((0, i64::MIN));
            *position = (step.to, position.1.max(step.watermark_ms));
        }
        let sequence = task.sequence;
        self.rows.apply(commit.task, &commit.changes);
        for (partition, batch) in commit.emitted.iter().zip(&batches) {
            self.place(*partition, batch, actions);
        }
        actions.push(Action::TaskMoved { task: commit.task, sequence });
        Ok(Answer::Committed { sequence })
    }

    /// Whether a commit's assumptions are the committed ones, in an entry of `term`.
    pub(crate) fn admits(&self, commit: &Commit, term: u64) -> Result<(), Refusal> {
        let task = commit.task;
        let home = model::hash::shard_of(task.stage.0, task.bucket, self.small.shards);
        if home != self.small.shard {
            return Err(Refusal::WrongShard);
        }
        if commit.emitted.len() != commit.batches.len() {
            return Err(Refusal::Malformed);
        }
        if self.is_late(commit) {
            return Err(Refusal::Dropped);
        }
        if planted::is(Mutant::PositionsNotHeld) {
            return Ok(());
        }
        let known = self.small.tasks.get(&task);
        let (sequence, version) = known.map_or((0, 0), |task| (task.sequence, task.version));
        if commit.term != term || commit.sequence != sequence || commit.version < version {
            return Err(Refusal::Stale);
        }
        let mut seen = BTreeSet::new();
        for step in &commit.moves {
            let position = known.and_then(|task| task.positions.get(&step.source));
            if step.from != position.map_or(0, |(offset, _)| *offset) {
                return Err(Refusal::Stale);
            }
            if step.to < step.from || !seen.insert(step.source) {
                return Err(Refusal::Malformed);
            }
        }
        Ok(())
    }

    fn producer(&mut self, nonce: u128) -> i64 {
        let Small { nonces, next_producer, shard, origins, .. } = &mut self.small;
        *nonces.touch(nonce, || {
            *next_producer += 1;
            origins.learn(*shard, *next_producer);
            ProducerId { shard: *shard, count: *next_producer }.number()
        })
    }
}
