//! What a log keeps of the transactions that write to its partitions and groups.
//!
//! Invariants: P1 a transactional batch is taken only while its transaction is open in its partition, under the same
//! epoch; P2 a transaction that was closed is not opened again, however late it is asked for; P3 what lies below the stable
//! offset never changes its fate; P4 what is open here is bounded.

use super::{Fold, Small};
use crate::action::{Action, Answer, Refusal};
use crate::limits::{ABORTED_MAX, OPEN_MAX};
use model::transaction::{Aborted, Change, Part, Step, StepWhat, Stepped};
use model::{Batch, PartitionId, hash};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The transactions of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// By producer.
    open: BTreeMap<i64, Standing>,
    /// Those that were given up and whose events are kept, in the order of their markers.
    aborted: Arc<Vec<Aborted>>,
}

/// An open transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    epoch: i16,
    number: u64,
    /// The offset of its first event, if it has any.
    first: Option<i64>,
}

impl Open {
    /// The first offset whose fate is open.
    pub fn first(&self) -> Option<i64> {
        self.open.values().filter_map(|it| it.first).min()
    }

    pub fn aborted(&self) -> &Arc<Vec<Aborted>> {
        &self.aborted
    }

    pub(super) fn trimmed(&mut self, start: i64) {
        if self.aborted.iter().any(|it| it.last < start) {
            Arc::make_mut(&mut self.aborted).retain(|it| it.last >= start);
        }
    }

    /// Holds a transactional batch against what is open.
    pub(super) fn admits(&self, batch: &Batch) -> Result<(), Refusal> {
        match self.open.get(&batch.producer_id()) {
            Some(it) if it.epoch == batch.producer_epoch() => Ok(()),
            Some(it) if it.epoch > batch.producer_epoch() => Err(Refusal::Fenced),
            _ => Err(Refusal::NotOpen),
        }
    }

    /// Whether the batch's transaction is open and has nothing in this partition yet.
    pub(super) fn is_first(&self, batch: &Batch) -> bool {
        let open = self.open.get(&batch.producer_id());
        open.is_some_and(|it| it.epoch == batch.producer_epoch() && it.first.is_none())
    }

    /// A batch that was admitted lies at this offset.
    pub(super) fn wrote(&mut self, producer: i64, offset: i64) {
        if let Some(it) = self.open.get_mut(&producer) {
            it.first.get_or_insert(offset);
        }
    }
}

impl Fold {
    pub(super) fn change_transaction(&mut self, change: Change) -> Result<Answer, Refusal> {
        if hash::shard_of_group(&change.id, self.small.shards) != self.small.shard {
            return Err(Refusal::WrongShard);
        }
        // Taken out, since a fresh producer id is the fold's as well.
        let mut transactions = std::mem::take(&mut self.small.transactions);
        let now_ms = self.small.time_ms;
        let changed =
            transactions.change(now_ms, change.id, change.what, |nonce| self.producer(nonce));
        self.small.transactions = transactions;
        Ok(Answer::Transaction(changed))
    }

    pub(super) fn step(
        &mut self,
        step: Step,
        actions: &mut Vec<Action>,
    ) -> Result<Answer, Refusal> {
        let stepped = match step.part.clone() {
            Part::Partition(id, shard) if shard == self.small.shard => {
                self.step_partition(id, step, actions)
            }
            Part::Group(name) if self.is_home(&name) => self.step_group(name, step),
            _ => return Err(Refusal::WrongShard),
        };
        Ok(Answer::Stepped(stepped))
    }

    fn is_home(&self, group: &str) -> bool {
        hash::shard_of_group(group, self.small.shards) == self.small.shard
    }

    fn step_partition(
        &mut self,
        id: PartitionId,
        step: Step,
        actions: &mut Vec<Action>,
    ) -> Stepped {
        if self.small.dropped.get(&id).is_some() {
            // What is no more needs no marker, and takes no writes.
            return Stepped::Done;
        }
        match step.what {
            StepWhat::Open { number } => {
                let closed = self.small.closed.get(&(step.producer, id)).copied().unwrap_or(0);
                if number <= closed {
                    return Stepped::Closed;
                }
                let open = &mut self.small.partitions.entry(id).or_default().transactions;
                open.begin(step.producer, step.epoch, number)
            }
            StepWhat::Close { number, commit } => {
                self.close_partition(id, &step, number, commit, actions);
                Stepped::Done
            }
            StepWhat::Offsets(..) => Stepped::Closed,
        }
    }

    fn close_partition(
        &mut self,
        id: PartitionId,
        step: &Step,
        number: u64,
        commit: bool,
        actions: &mut Vec<Action>,
    ) {
        let Small { partitions, closed, time_ms, .. } = &mut self.small;
        let known = closed.touch((step.producer, id), || 0);
        *known = (*known).max(number);
        let Some(partition) = partitions.get_mut(&id) else { return };
        let open = &mut partition.transactions.open;
        if open.get(&step.producer).is_none_or(|it| it.number != number) {
            return;
        }
        let Some(Standing { first: Some(first), .. }) = open.remove(&step.producer) else { return };
        let marker = Batch::marker(step.producer, step.epoch, commit, *time_ms as i64);
        let last = self.place(id, &marker, actions);
        if !commit && let Some(partition) = self.small.partitions.get_mut(&id) {
            let aborted = Aborted { producer: step.producer, first, last };
            Arc::make_mut(&mut partition.transactions.aborted).push(aborted);
        }
    }

    fn step_group(&mut self, name: String, step: Step) -> Stepped {
        let now_ms = self.small.time_ms;
        let Small { groups, closed_groups, .. } = &mut self.small;
        let key = (step.producer, name.clone());
        match step.what {
            StepWhat::Open { number } => {
                if number <= closed_groups.get(&key).copied().unwrap_or(0) {
                    return Stepped::Closed;
                }
                groups.open(now_ms, name, (step.producer, step.epoch, number))
            }
            StepWhat::Offsets(Some(caller), _) if !groups.counts(&name, &caller) => Stepped::Stale,
            StepWhat::Offsets(_, offsets) => {
                groups.pend(now_ms, name, (step.producer, step.epoch), offsets)
            }
            StepWhat::Close { number, commit } => {
                let known = closed_groups.touch(key, || 0);
                *known = (*known).max(number);
                groups.close(now_ms, &name, (step.producer, number), commit);
                Stepped::Done
            }
        }
    }
}

impl Open {
    fn begin(&mut self, producer: i64, epoch: i16, number: u64) -> Stepped {
        let is_full = self.open.len() >= OPEN_MAX || self.aborted.len() >= ABORTED_MAX;
        match self.open.get_mut(&producer) {
            Some(known) if known.number > number => Stepped::Closed,
            // The same once more; or one whose predecessor wrote nothing here and was never closed.
            Some(known) if known.number == number || known.first.is_none() => {
                (known.epoch, known.number) = (epoch, number);
                Stepped::Done
            }
            Some(_) => Stepped::Closed,
            None if is_full => Stepped::Full,
            None => {
                self.open.insert(producer, Standing { epoch, number, first: None });
                Stepped::Done
            }
        }
    }
}
