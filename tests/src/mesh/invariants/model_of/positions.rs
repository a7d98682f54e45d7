//! What a task consumed, changed and emitted moves together or not at all; positions, sequences and watermarks never fall.

use super::super::super::world::SHARDS;
use super::Model;
use model::entry::Commit;
use model::hash::shard_of;
use model::{Batch, Catalogue, PartitionId, ShardId};
use replica::{Answer, Refusal};
use std::collections::{BTreeMap, VecDeque};

/// What a task has committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) sequence: u64,
    pub(super) version: u32,
    pub(super) watermark_ms: Option<i64>,
    pub(super) positions: BTreeMap<PartitionId, i64>,
}

impl Model {
    pub(super) fn commit(
        &mut self,
        (shard, term, catalogue): (ShardId, u64, Option<&Catalogue>),
        commit: Commit,
        outcome: &Result<Answer, Refusal>,
        placed: &mut VecDeque<(PartitionId, Batch)>,
    ) -> Result<(), String> {
        let standing = self.tasks.entry(commit.task).or_default();
        let at = |source| standing.positions.get(source).copied().unwrap_or(0);
        let holds = shard_of(commit.task.stage.0, commit.task.bucket, SHARDS) == shard
            && commit.term == term
            && commit.sequence == standing.sequence
            && commit.version >= standing.version
            && commit
                .moves
                .iter()
                .all(|step| step.from == at(&step.source) && step.to >= step.from);
        let task = commit.task;
        match (holds, outcome) {
            (true, Ok(Answer::Committed { sequence })) if *sequence == commit.sequence + 1 => {}
            (false, Err(_)) => return Ok(()),
            (_, other) => {
                return Err(format!("{task:?} commits {} and hears {other:?}", commit.sequence));
            }
        }
        standing.sequence += 1;
        standing.version = commit.version;
        standing.watermark_ms = standing.watermark_ms.max(Some(commit.watermark_ms));
        for step in &commit.moves {
            standing.positions.insert(step.source, step.to);
        }
        for (partition, bytes) in commit.emitted.iter().zip(&commit.batches) {
            self.place(*partition, bytes, placed)?;
        }
        self.commits += 1;
        let catalogue = catalogue.ok_or("a task commits before there is a catalogue")?;
        self.views.commit(&commit, catalogue, &self.logs)
    }
}
