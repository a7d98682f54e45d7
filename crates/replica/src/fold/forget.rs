//! What is forgotten of partitions, and what groups of consumers keep.

use super::{Fold, Small};
use crate::action::{Action, Answer, Refusal};
use crate::limits::END_ROWS;
use model::entry::Commit;
use model::group::{Change, Changed};
use model::{PartitionId, TaskId};
use std::collections::BTreeSet;

impl Fold {
    pub(super) fn change_group(&mut self, change: Change) -> Result<Answer, Refusal> {
        let Small { groups, shard, shards, term, time_ms, .. } = &mut self.small;
        if model::hash::shard_of_group(&change.group, *shards) != *shard {
            return Err(Refusal::WrongShard);
        }
        if change.term != *term {
            return Ok(Answer::Group(Changed::Stale));
        }
        Ok(Answer::Group(groups.change(*time_ms, change.group, change.what)))
    }

    /// Forgets a partition, and that it was, as long as somebody may not have heard of it.
    pub(super) fn drop_partition(&mut self, id: PartitionId, actions: &mut Vec<Action>) {
        self.small.dropped.touch(id, || ());
        if self.small.partitions.remove(&id).is_some() {
            actions.push(Action::Drop { partition: id });
        }
    }

    /// Ends a task: it commits nothing from now on, and its rows go piece by piece, its place with the last.
    pub(super) fn end_task(&mut self, task: TaskId) -> Answer {
        self.small.ended.touch(task, || ());
        let more = self.rows.take_from(task, END_ROWS);
        if !more {
            self.small.tasks.remove(&task);
        }
        Answer::Ended { more }
    }

    /// Whether a commit is of a task that has ended, or emits to a partition that is no more.
    pub(super) fn is_late(&self, commit: &Commit) -> bool {
        let dropped = |id| self.small.dropped.get(id).is_some();
        self.small.ended.get(&commit.task).is_some() || commit.emitted.iter().any(dropped)
    }

    /// All tasks of which anything is kept, in the order of their ids.
    pub fn kept_tasks(&self) -> BTreeSet<TaskId> {
        self.small.tasks.keys().copied().chain(self.rows.tasks()).collect()
    }

    pub(super) fn trim(
        &mut self,
        id: PartitionId,
        offset: i64,
        actions: &mut Vec<Action>,
    ) -> Answer {
        let Some(partition) = self.small.partitions.get_mut(&id) else {
            return Answer::Trimmed { start: 0 };
        };
        let start = offset.min(partition.next_offset);
        if start > partition.start {
            partition.start = start;
            partition.transactions.trimmed(start);
            actions.push(Action::Trim { partition: id, offset: start });
        }
        Answer::Trimmed { start: partition.start }
    }
}
