//! What a task asks for.

use model::entry::Commit;

/// One action of [`crate::Task::step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Propose this to the bucket's shard, then say `Input::Committed`; refused, the task ends and is built again.
    Commit(Box<Commit>),
    /// User code failed at one event or timer; everything before it is kept. Log it, wait, then gather again: the
    /// event is retried first, and after the third failure it becomes a dead letter.
    Failed { place: String, cause: String, attempt: u32, wait_ms: u64 },
    /// An event was given up: it lies in the dead-letter partition by the same step's commit. Log and count it.
    Dead { place: String, cause: String },
}
