//! The machine of one replica.

use crate::action::Action;
use crate::checkpoint::{Checkpoint, Restored};
use crate::error::Error;
use crate::fold::Fold;
use crate::input::{Input, Now};
use crate::status::Status;
use model::{HardState, MeshId, PeerId, ReplicaId, ShardId};

/// What a replica is told once.
#[derive(Clone, Debug)]
pub struct Config {
    pub shard: ShardId,
    pub mesh: MeshId,
    /// The mesh's fixed number of shards.
    pub shards: u16,
    /// Copies a shard should have.
    pub replication: u8,
    /// The peer this replica is on.
    pub peer: PeerId,
    /// Where all its luck comes from.
    pub seed: u64,
}

/// One copy of a shard.
pub struct Replica {
    restored: Restored,
}

impl Replica {
    /// The founder's copy of a new shard: replica 1 on peer 1, the sole voter.
    pub fn founded(config: &Config) -> Restored {
        Self::joining(config, ReplicaId(1))
    }

    /// A new copy that the shard's log gave this id: it knows only how every shard began, the rest comes by consensus.
    pub fn joining(_config: &Config, replica: ReplicaId) -> Restored {
        Restored {
            replica,
            fold: Fold::default(),
            hard: HardState { term: 1, vote: 0, commit: 1 },
            entries: Vec::new(),
            base: (1, 1),
        }
    }

    /// Starts a replica from what is founded, joining or restored from disk.
    pub fn new(_config: Config, restored: Restored) -> Result<Self, Error> {
        Ok(Self { restored })
    }

    /// Takes one input. An error means that the input was refused and nothing changed, unless it is fatal.
    pub fn step(
        &mut self,
        _now: Now,
        _input: Input,
        _actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        Ok(())
    }

    pub fn id(&self) -> ReplicaId {
        self.restored.replica
    }
    /// Leads, and has applied the first entry of its term: it may answer.
    pub fn is_leading(&self) -> bool {
        false
    }
    /// True if `Input::Turn` would do something.
    pub fn needs_turn(&self) -> bool {
        false
    }
    pub fn fold(&self) -> &Fold {
        &self.restored.fold
    }

    /// Takes a checkpoint of the fold as it is now; the rows in it are not given again.
    pub fn fold_mut_checkpoint(&mut self) -> Checkpoint {
        Checkpoint {
            index: self.restored.fold.index(),
            term: self.restored.fold.term(),
            hard: self.restored.hard,
            small: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub fn status(&self) -> Status {
        Status {
            id: self.id(),
            leading: false,
            term: self.restored.hard.term,
            leader: None,
            last: self.restored.base.0,
            applied: self.restored.fold.index(),
            committed: self.restored.hard.commit,
            voters: Vec::new(),
            learners: Vec::new(),
            joint: false,
            epoch: model::Epoch(0),
            matched: Vec::new(),
            snapshot: false,
            under_replicated: true,
            skewed: false,
            log_bytes: 0,
        }
    }
}
