//! What a replica says of itself to people and to its driver.

use model::{Epoch, PeerId, ReplicaId};

/// One replica's view of its shard, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub id: ReplicaId,
    /// Leads, and has applied the first entry of its term.
    pub leading: bool,
    pub term: u64,
    /// Who leads, as far as this replica knows: a hint.
    pub leader: Option<PeerId>,
    /// The last index of the log.
    pub last: u64,
    pub applied: u64,
    pub committed: u64,
    /// Those one may count on: in a joint step, the voters of the side with fewer.
    pub voters: Vec<PeerId>,
    /// All other members.
    pub learners: Vec<PeerId>,
    /// The configuration is in a joint step.
    pub joint: bool,
    /// The epoch of the last configuration entry.
    pub epoch: Epoch,
    /// How far each other replica has the log; only a leader knows.
    pub matched: Vec<(ReplicaId, PeerId, u64)>,
    /// A snapshot is being built, sent or fetched here.
    pub snapshot: bool,
    /// Fewer voters than the mesh's replication.
    pub under_replicated: bool,
    /// The leader's clock differs from the other voters': shard time only creeps.
    pub skewed: bool,
    /// Bytes of the log in memory.
    pub log_bytes: usize,
}
