//! What is forgotten of partitions, and what groups of consumers keep.

use super::{Fold, Small};
use crate::action::{Action, Answer, Refusal};
use model::PartitionId;
use model::group::{Change, Changed};

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
