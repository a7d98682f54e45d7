//! A state is the fold of its log, and replicas' folds are equal at equal index.
//!
//! One fold a shard is made here, from the committed entries alone. Digests are taken of every sixteenth index.

use super::super::world::{MESH, REPLICATION, SHARDS};
use model::id::FOUNDER;
use model::{LogEntry, ShardId};
use replica::configuration::Configuration;
use replica::{Action, Answer, Config, Fold, Refusal, Replica};
use std::collections::BTreeMap;

/// Digests are compared at multiples of this.
const EVERY: u64 = 16;
/// Digests that are remembered.
const DIGESTS_MAX: usize = 512;

/// What applying one entry said and did.
#[derive(Default)]
pub struct Told {
    pub outcomes: Vec<Result<Answer, Refusal>>,
    pub actions: Vec<Action>,
}

pub struct Reference {
    shard: ShardId,
    fold: Fold,
    /// The configuration before the present one.
    earlier: Configuration,
    digests: BTreeMap<u64, u64>,
}

impl Reference {
    pub fn new(shard: ShardId) -> Self {
        let (mesh, shards, replication) = (MESH, SHARDS, REPLICATION);
        let config = Config { shard, mesh, shards, replication, peer: FOUNDER, seed: 0 };
        let (fold, earlier) = (Fold::genesis(&config), Configuration::genesis());
        Self { shard, fold, earlier, digests: BTreeMap::new() }
    }

    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    pub fn earlier(&self) -> &Configuration {
        &self.earlier
    }

    /// Whether the configuration is another than it was, which is remembered.
    pub fn moved(&mut self, before: Configuration) -> bool {
        let moved = before != *self.fold.configuration();
        if moved {
            self.earlier = before;
        }
        moved
    }

    pub fn apply(&mut self, entry: &LogEntry) -> Result<Told, String> {
        let mut told = Told::default();
        let applied = self.fold.follow(entry, &mut told.outcomes, &mut told.actions);
        applied.map_err(|error| error.to_string())?;
        if entry.index.is_multiple_of(EVERY) {
            self.digests.insert(entry.index, self.fold.digest());
            if self.digests.len() > DIGESTS_MAX {
                self.digests.pop_first();
            }
        }
        Ok(told)
    }

    /// Holds a replica's fold against this one where both stand at the same index; `whole` compares there always.
    pub fn matches(&self, h: usize, replica: &Replica, whole: bool) -> Result<(), String> {
        let index = replica.fold().index();
        let known = match self.digests.get(&index) {
            Some(digest) => *digest,
            None if whole && index == self.fold.index() => self.fold.digest(),
            None => return Ok(()),
        };
        let found = replica.fold().digest();
        if found != known {
            let (shard, id) = (self.shard, replica.id());
            return Err(format!("h{h} {shard} {id}: its fold at {index} is not that of the log"));
        }
        Ok(())
    }
}
