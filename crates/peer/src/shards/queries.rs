//! Looks things up in a fold, after a read barrier or as it is.

use super::{State, Waiting};
use crate::call::Place;
use crate::limits;
use bytes::Bytes;
use model::group::{Group, Listed};
use model::transaction::{Phase, Transaction};
use model::{PartitionId, ShardId, TaskId};
use replica::fold::is_overdue;
use replica::{Answer, Input, Partition, Refusal, TaskState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// What can be looked up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Query {
    Row {
        task: TaskId,
        key: Bytes,
    },
    /// At most `limit` rows from a key on.
    Rows {
        task: TaskId,
        from: Bytes,
        limit: usize,
    },
    /// Where a task stands.
    Task {
        task: TaskId,
    },
    /// Everything a task needs to start.
    Restore {
        task: TaskId,
    },
    /// Start and stable offset of a partition.
    Mark {
        partition: PartitionId,
    },
    /// All that is kept of a partition.
    Partition {
        partition: PartitionId,
    },
    /// The partitions of the shard.
    Partitions,
    /// The catalogue's index (shard 0).
    Index,
    /// Whether the leader's clock differs from the other voters'.
    Skewed,
    /// What is kept of a group of consumers.
    Group {
        name: String,
    },
    /// The groups of the shard.
    Groups,
    /// How many producer ids the shard has issued.
    Issued,
    /// How many of these bodies a request with this idempotency key has appended.
    Key {
        key: u128,
        bodies: Vec<(PartitionId, u64)>,
    },
    /// A transactional producer.
    Transaction {
        id: String,
    },
    /// Ids and numbers of the transactions that are to be ended by whoever leads the shard: decided ones whose parts
    /// do not all know it some time after, and those open for too long.
    Overdue {
        now_ms: u64,
    },
    /// The tasks of the shard of which anything is kept.
    Tasks,
}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Found {
    Row(Option<Bytes>),
    /// The rows, and whether there may be more.
    Rows(Vec<(Bytes, Bytes)>, bool),
    Task(Option<Standing>),
    Restore(Option<Standing>, Vec<(Bytes, Bytes)>),
    Mark(Option<(i64, i64)>),
    Partition(Option<Partition>),
    Partitions(Vec<PartitionId>),
    Index(u64),
    Skewed(bool),
    Group(Option<Box<Group>>),
    /// Name, kind, and whether it has consumers.
    Groups(Vec<Listed>),
    Issued(i64),
    Key(u32),
    Transaction(Option<Box<Transaction>>),
    Overdue(Vec<(String, u64)>),
    Tasks(Vec<TaskId>),
}

/// Where a task stands: its rows excepted, all that is committed of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub sequence: u64,
    pub version: u32,
    pub watermark_ms: i64,
    /// Next offset and watermark of each source partition.
    pub positions: BTreeMap<PartitionId, (i64, i64)>,
}

impl From<&TaskState> for Standing {
    fn from(state: &TaskState) -> Self {
        Self {
            sequence: state.sequence,
            version: state.version,
            watermark_ms: state.watermark_ms,
            positions: state.positions.clone(),
        }
    }
}

/// An asker of a shard.
type Asker = oneshot::Sender<Option<(Found, Place)>>;

impl State {
    pub(super) fn on_ask(&mut self, shard: ShardId, query: Query, linear: bool, reply: Asker) {
        if self.slot(shard).is_none() || self.fenced {
            // The asker may have stopped waiting; then nobody needs the answer.
            let _ = reply.send(None);
            return;
        }
        if !linear {
            let found = self.look_up(shard, &query);
            let _ = reply.send(found);
            return;
        }
        let request = self.request(Waiting::Query(shard, query, reply));
        self.step(shard, Input::Read { request });
    }

    /// Answers a query whose barrier has (or has not) passed.
    pub(super) fn answer_query(
        &mut self,
        shard: ShardId,
        query: &Query,
        result: &Result<Answer, Refusal>,
        reply: Asker,
    ) {
        let passed = matches!(result, Ok(Answer::Read { .. }));
        let found = if passed { self.look_up(shard, query) } else { None };
        // The asker may have stopped waiting; then nobody needs the answer.
        let _ = reply.send(found);
    }

    fn look_up(&mut self, shard: ShardId, query: &Query) -> Option<(Found, Place)> {
        let place = self.place(shard)?;
        let fold = self.slot(shard)?.replica.fold();
        let found = match query {
            Query::Row { task, key } => Found::Row(fold.row(*task, key)),
            Query::Rows { task, from, limit } => {
                let limit = (*limit).min(limits::SCAN_ROWS);
                let mut rows = fold.scan(*task, from, limit + 1);
                let more = rows.len() > limit;
                rows.truncate(limit);
                Found::Rows(rows, more)
            }
            Query::Task { task } => Found::Task(fold.task(*task).map(Standing::from)),
            Query::Restore { task } => {
                let state = fold.task(*task).map(Standing::from);
                Found::Restore(state, fold.scan(*task, &[], usize::MAX))
            }
            Query::Mark { partition } => {
                Found::Mark(fold.partition(*partition).map(|p| (p.start, p.stable())))
            }
            Query::Partition { partition } => Found::Partition(fold.partition(*partition).cloned()),
            Query::Partitions => Found::Partitions(fold.partitions().map(|(id, _)| id).collect()),
            Query::Tasks => Found::Tasks(fold.kept_tasks().into_iter().collect()),
            Query::Index => Found::Index(fold.catalogue().map_or(0, |catalogue| catalogue.index)),
            Query::Skewed => Found::Skewed(self.slot(shard)?.replica.status().skewed),
            Query::Group { name } => Found::Group(fold.group(name).cloned().map(Box::new)),
            Query::Groups => {
                Found::Groups(fold.groups().map(|(name, group)| group.listed(name)).collect())
            }
            Query::Issued => Found::Issued(fold.issued()),
            Query::Key { key, bodies } => {
                let has = |(id, body): &&(PartitionId, u64)| fold.has_key(*key, *id, *body);
                Found::Key(bodies.iter().filter(has).count() as u32)
            }
            Query::Transaction { id } => {
                Found::Transaction(fold.transaction(id).cloned().map(Box::new))
            }
            Query::Overdue { now_ms } => {
                let patience = limits::ENDING.as_millis() as u64;
                let due = |it: &Transaction| match it.phase {
                    Phase::Ending { .. } => now_ms.saturating_sub(it.touched_ms) >= patience,
                    _ => is_overdue(it, *now_ms),
                };
                let due = fold.transactions().filter(|(_, it)| due(it));
                Found::Overdue(due.map(|(id, it)| (id.to_owned(), it.number)).collect())
            }
        };
        Some((found, place))
    }

    fn place(&mut self, shard: ShardId) -> Option<Place> {
        let peer = self.args.board.me();
        let slot = self.slot(shard)?;
        let leading = slot.replica.is_leading();
        let age = if leading { std::time::Duration::ZERO } else { slot.heard.elapsed() };
        Some(Place {
            shard,
            term: slot.replica.status().term,
            index: slot.replica.fold().index(),
            age_ms: age.as_millis() as u64,
            stale: age > limits::STALE,
            peer,
        })
    }
}
