//! At most one leader a term and shard.

use model::{ReplicaId, ShardId};
use replica::Replica;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Leaders {
    by_term: BTreeMap<(ShardId, u64), (usize, ReplicaId)>,
}

impl Leaders {
    pub fn role(
        &mut self,
        h: usize,
        shard: ShardId,
        replica: &Replica,
        term: u64,
        leading: bool,
    ) -> Result<(), String> {
        let me = (h, replica.id());
        let status = replica.status();
        let leads =
            leading || status.leader.is_some() && status.matched.iter().any(|(id, ..)| *id == me.1);
        if leading && replica.fold().term() != term {
            return Err(format!("h{h} {shard} answers in term {term} before its first entry"));
        }
        if !leads {
            return Ok(());
        }
        let known = *self.by_term.entry((shard, term)).or_insert(me);
        if known != me {
            return Err(format!("term {term} of {shard} has two leaders: {known:?} and {me:?}"));
        }
        Ok(())
    }

    pub fn terms(&self) -> u64 {
        self.by_term.len() as u64
    }
}
