//! What a shard writes into the journal.

use model::{HardState, LogEntry, ReplicaId, ShardId};

/// One record of a frame. Records of a replica that is not the shard's present one are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A new replica begins, with `base` (index, term) before its first entry. All of an older one is void.
    Begin {
        shard: ShardId,
        replica: ReplicaId,
        base: (u64, u64),
    },
    /// Entries replace all from their first index on.
    Entries {
        shard: ShardId,
        replica: ReplicaId,
        entries: Vec<LogEntry>,
    },
    Hard {
        shard: ShardId,
        replica: ReplicaId,
        hard: HardState,
    },
    /// A snapshot at (index, term) was installed: it replaces the whole log.
    Snapshot {
        shard: ShardId,
        replica: ReplicaId,
        index: u64,
        term: u64,
    },
    /// This replica, and all with a lower id, were removed for good.
    Tombstone {
        shard: ShardId,
        replica: ReplicaId,
    },
}
