//! What a replica asks for.

use bytes::Bytes;
use model::catalogue::Changed;
use model::{Batch, HardState, LogEntry, PartitionId, PeerId, ReplicaId, TaskId};
use serde::{Deserialize, Serialize};

/// One action of [`crate::Replica::step`], to be carried out in order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Write to the journal, then say `Input::Persisted` with this number. `entries` replace all from their first
    /// index on; `snapshot` (index, term) replaces the whole log before them: that of the last `Input::Fetched`, or
    /// the restored fold's own index when the journal was found to end below it.
    Persist {
        number: u64,
        snapshot: Option<(u64, u64)>,
        entries: Vec<LogEntry>,
        hard: Option<HardState>,
    },
    /// Send a message now. Messages that must wait for the disk are withheld until then. Replica 0 means whichever
    /// replica of this shard the receiving peer has. A message with `patience` says only how far the log is committed:
    /// it may wait a moment for others that go the same way, but not be overtaken by them.
    Send { to: PeerId, to_replica: ReplicaId, message: Bytes, patience: bool },
    /// Append a placed batch to its partition's segment; committed, in order, each once.
    Append { partition: PartitionId, batch: Batch },
    /// Forget a partition's batches that lie wholly below `offset`.
    Trim { partition: PartitionId, offset: i64 },
    /// A partition is no more. Its files may go only when a checkpoint holds the fold without it: until then
    /// a restart would miss them.
    Drop { partition: PartitionId },
    /// The answer to a request.
    Answer { request: u64, result: Result<Answer, Refusal> },
    /// The fold has applied up to here; readers that wait may look. Comes after its appends.
    Applied { index: u64 },
    /// This replica's task changed: its entry was applied (on every replica, also where no task runs).
    TaskMoved { task: TaskId, sequence: u64 },
    /// The role changed. `leading` is true only after the first entry of the own term is applied.
    Role { term: u64, leader: Option<PeerId>, leading: bool },
    /// The catalogue changed (shard 0): read it from the fold.
    Catalogue,
    /// A follower needs what the log no longer has: build a manifest of the fold as it is now (at or above `index`).
    WantManifest { index: u64 },
    /// A snapshot message came: fetch what its manifest names from `from`, then `Input::Fetched`. Comes again every
    /// 5 s until then: go on if it is under way, begin again if it failed. One for another index replaces it.
    Fetch { from: PeerId, index: u64, term: u64, manifest: Bytes, message: Bytes },
    /// The configuration says that this replica is no more: leave a tombstone, drop its files.
    Gone,
}

/// What a request is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The batch has this base offset; `duplicate` when it was there already.
    Appended {
        base_offset: i64,
        duplicate: bool,
    },
    /// The task's commit is applied; its sequence is now this.
    Committed {
        sequence: u64,
    },
    /// The catalogue's answer.
    Changed(Changed),
    /// A new producer id, epoch 0.
    Producer {
        id: i64,
    },
    Trimmed {
        start: i64,
    },
    /// The partition is no more.
    Dropped,
    /// The group's answer.
    Group(model::group::Changed),
    /// The answer of a transaction's coordinator, and of one of its parts.
    Transaction(model::transaction::Changed),
    Stepped(model::transaction::Stepped),
    /// The fold has applied the barrier: read now.
    Read {
        index: u64,
        term: u64,
    },
    /// The task is no more, or has more rows to be taken.
    Ended {
        more: bool,
    },
}

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Ask this peer instead, or wait. Nothing happened.
    NotLeader { leader: Option<PeerId> },
    /// Leadership was lost while it was under way: it may or may not be in the log. Ask again with the same origin.
    Unknown,
    /// A number of this origin is missing before it.
    Gap,
    /// The number is so old that its answer is forgotten; it was appended.
    Forgotten,
    /// The producer's epoch is older than the last one seen.
    Fenced,
    /// Nobody has said that the producer's id was ever issued: say it, or give up.
    NotIssued,
    /// The producer was forgotten here: whether the batch was appended before nobody knows. A later epoch goes on.
    Lost,
    /// The batch is of a transaction that is not open in the partition.
    NotOpen,
    /// A commit's assumptions are not the committed ones: restart from the last commit.
    Stale,
    /// Too much is under way: slow down.
    Busy,
    /// The operation is larger than an entry may be.
    TooLarge,
    /// The batch is malformed.
    Malformed,
    /// The operation makes no sense in this shard.
    WrongShard,
    /// The partition's stream, or the task's stage, is no more.
    Dropped,
    /// The idempotency key was used with other events.
    Conflict,
    /// The disk of a voter is full. Nothing happened; it may when there is room again.
    Full,
}
