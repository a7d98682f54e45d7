//! What flow refuses, and what the caller can do about it.

use model::PartitionId;
use thiserror::Error;

/// Why a pipeline, a chunk or a task was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The user's `main` describes something impossible: say it and stop before starting.
    #[error("pipeline {pipeline:?}: {because}")]
    Definition { pipeline: String, because: String },
    /// The task's last commit is still under way: wait for its answer.
    #[error("a commit is under way")]
    Busy,
    /// No commit is under way, or another one: build the task again from the fold.
    #[error("sequence {found} was committed, {expected} was expected")]
    Sequence { found: u64, expected: u64 },
    /// The chunk does not begin where the task is: ask again from `expected`.
    #[error("a chunk of {source_partition:?} begins at {found}, the task is at {expected}")]
    Gap { source_partition: PartitionId, expected: i64, found: i64 },
    /// The chunk is of a partition that this stage does not read: the routes are wrong.
    #[error("{0:?} is no source of this stage")]
    NotASource(PartitionId),
    /// The bytes of a chunk have no meaning: ask the source again.
    #[error("a chunk is malformed: {0}")]
    Chunk(&'static str),
    /// The rows that were committed are those of a newer version: this binary must not run the task.
    #[error("version {running} runs, this code is version {held}")]
    Version { running: u32, held: u32 },
    /// This code cannot read what an older version kept: it must not run the task.
    #[error(
        "stage {stage:?} version {held} cannot read row {row:?}, kept by version {running}: {cause}"
    )]
    Incompatible { stage: String, held: u32, running: u32, row: String, cause: String },
    /// User code fails before it sees an event, or in too many places at once: park the task, try again later.
    #[error("stage {stage:?} cannot go on: {cause}")]
    Parked { stage: String, cause: String },
}
