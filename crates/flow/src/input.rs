//! What can happen to a task.

use crate::Chunk;

/// One input of [`crate::Task::step`].
#[derive(Clone, Debug)]
pub enum Input {
    /// What the sources answered, at most one chunk a source partition, each from the task's position on. Empty
    /// ones belong to it: they move positions and watermarks, and show that a source is idle.
    Chunks(Vec<Chunk>),
    /// The commit that was asked for is applied; the task's sequence is now this.
    Committed { sequence: u64 },
    /// Time has passed (every second or so): positions that only moved may be due.
    Time,
}
