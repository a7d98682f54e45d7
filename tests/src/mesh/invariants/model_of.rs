//! What a log means, said a second time: as little as clients are promised, and nothing of how it is done.
//!
//! What it means for an append, an offset, a task's commit and its views is a file each.

mod offsets;
mod positions;
mod sequences;

use super::reference::Told;
use super::views::Views;
use bytes::Bytes;
use flow::Pipelines;
use model::log::EntryKind;
use model::{Batch, Catalogue, Entry, LogEntry, Op, PartitionId, ShardId, TaskId};
use positions::Standing;
use replica::{Action, Fold, TaskState};
use sequences::Sender;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub struct Model {
    logs: BTreeMap<PartitionId, BTreeMap<i64, Bytes>>,
    next: BTreeMap<PartitionId, i64>,
    /// The number that is next of each sender.
    senders: BTreeMap<Sender, i64>,
    keys: BTreeMap<(u128, PartitionId), i64>,
    producers: BTreeMap<u128, i64>,
    /// How many ids of the second shard the first was told of.
    issued: BTreeMap<(ShardId, ShardId), i64>,
    tasks: BTreeMap<TaskId, Standing>,
    times: BTreeMap<ShardId, u64>,
    views: Views,
    commits: u64,
}

impl Model {
    pub fn new(code: Arc<Pipelines>) -> Self {
        Self {
            logs: BTreeMap::new(),
            next: BTreeMap::new(),
            senders: BTreeMap::new(),
            keys: BTreeMap::new(),
            producers: BTreeMap::new(),
            issued: BTreeMap::new(),
            tasks: BTreeMap::new(),
            times: BTreeMap::new(),
            views: Views::new(code),
            commits: 0,
        }
    }

    pub fn commits(&self) -> u64 {
        self.commits
    }
    pub fn next_offset(&self, partition: PartitionId) -> i64 {
        self.next.get(&partition).copied().unwrap_or(0)
    }
    pub fn batch_at(&self, partition: PartitionId, offset: i64) -> Option<&Bytes> {
        self.logs.get(&partition)?.get(&offset)
    }
    pub fn batches(&self, partition: PartitionId) -> impl Iterator<Item = (i64, &Bytes)> {
        self.logs.get(&partition).into_iter().flatten().map(|(offset, bytes)| (*offset, bytes))
    }
    pub fn position(&self, task: TaskId, source: PartitionId) -> i64 {
        let standing = self.tasks.get(&task);
        standing.and_then(|s| s.positions.get(&source)).copied().unwrap_or(0)
    }

    /// An entry is committed; `told` is what the product's fold made of it, `fold` where that stands now.
    pub fn apply(
        &mut self,
        shard: ShardId,
        entry: &LogEntry,
        told: &Told,
        (fold, catalogue): (&Fold, Option<&Catalogue>),
    ) -> Result<(), String> {
        let time = self.times.entry(shard).or_default();
        if fold.time_ms() < *time {
            return Err(format!("{shard}: shard time falls at entry {}", entry.index));
        }
        *time = fold.time_ms();
        if entry.kind != EntryKind::Normal || entry.bytes.is_empty() {
            return Ok(());
        }
        let decoded = Entry::decode(&entry.bytes).map_err(|error| error.to_string())?;
        let mut placed: VecDeque<(PartitionId, Batch)> = VecDeque::new();
        placed.extend(told.actions.iter().filter_map(|action| match action {
            Action::Append { partition, batch } => Some((*partition, batch.clone())),
            _ => None,
        }));
        if decoded.ops.len() != told.outcomes.len() {
            return Err(format!(
                "{shard}: entry {} has no outcome for each operation",
                entry.index
            ));
        }
        let mut tasks = BTreeSet::new();
        for (op, outcome) in decoded.ops.into_iter().zip(&told.outcomes) {
            let operated = match op {
                Op::Append { partition, origin, batch } => {
                    self.append(shard, partition, &origin, &batch, outcome, &mut placed)
                }
                Op::Commit(commit) => {
                    tasks.insert(commit.task);
                    let known = (shard, entry.term, catalogue);
                    self.commit(known, *commit, outcome, &mut placed)
                }
                Op::Producer { nonce } => self.producer(nonce, outcome),
                Op::Catalogue(_) | Op::Trim { .. } | Op::Drop { .. } | Op::Group(_) => Ok(()),
                // No run deletes a pipeline; a task that was ended all the same would be missed.
                Op::End { .. } => Ok(()),
                // Nobody here has transactions; a marker would be found, as appended by somebody else.
                Op::Transaction(_) | Op::Step(_) => Ok(()),
            };
            operated.map_err(|why| format!("{shard} at entry {}: {why}", entry.index))?;
        }
        if !placed.is_empty() {
            return Err(format!("{shard} at entry {}: somebody else appended", entry.index));
        }
        tasks.into_iter().try_for_each(|id| match fold.task(id) {
            Some(found) => self.stands(id, found),
            None => Ok(()),
        })
    }

    /// No partition and no task that was committed is missing from all of the product's folds.
    pub fn is_whole_in<'a>(
        &self,
        folds: impl Iterator<Item = &'a Fold> + Clone,
    ) -> Result<(), String> {
        let has = |id: &PartitionId| folds.clone().any(|fold| fold.partition(*id).is_some());
        if let Some(lost) = self.next.keys().find(|id| !has(id)) {
            return Err(format!("{lost:?} was appended to and is in no fold"));
        }
        let mut committed = self.tasks.iter().filter(|(_, standing)| standing.sequence > 0);
        match committed.find(|(id, _)| !folds.clone().any(|fold| fold.task(**id).is_some())) {
            Some((lost, _)) => Err(format!("{lost:?} has committed and is in no fold")),
            None => Ok(()),
        }
    }

    /// Holds the product's fold against this, whole.
    pub fn matches(&self, fold: &Fold) -> Result<(), String> {
        for (partition, found) in fold.partitions() {
            let next = self.next_offset(partition);
            if found.next_offset != next {
                return Err(format!("{partition:?} ends at {next}, folded {}", found.next_offset));
            }
        }
        for (id, found) in fold.tasks() {
            self.stands(id, found)?;
            self.views.matches(id, fold)?;
        }
        Ok(())
    }

    /// A task stands where its commits have brought it, and its watermark has not fallen.
    fn stands(&self, id: TaskId, found: &TaskState) -> Result<(), String> {
        let Some(known) = self.tasks.get(&id) else {
            return Err(format!("{id:?} is folded and has not committed"));
        };
        let positions: BTreeMap<_, _> =
            found.positions.iter().map(|(source, (offset, _))| (*source, *offset)).collect();
        let same = found.sequence == known.sequence
            && Some(found.watermark_ms) == known.watermark_ms
            && positions == known.positions;
        if !same {
            return Err(format!("{id:?} is folded as {found:?}, committed was {known:?}"));
        }
        Ok(())
    }
}
