//! Ownership by committed configuration alone: a replica exists only where the shard's own log has put it, and leads
//! only if the log made it a voter.

use model::id::FOUNDER;
use model::{PeerId, ReplicaId, ShardId};
use replica::Replica;
use replica::configuration::Configuration;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Owners {
    /// Where each replica was put.
    given: BTreeMap<(ShardId, ReplicaId), PeerId>,
    /// Replicas that were ever made voters.
    voters: BTreeSet<(ShardId, ReplicaId)>,
    /// The host of each replica: an id is never seen on two.
    hosts: BTreeMap<(ShardId, ReplicaId), usize>,
}

const FIRST: ReplicaId = ReplicaId(1);

impl Owners {
    pub fn configured(&mut self, shard: ShardId, now: &Configuration) {
        for (id, member) in &now.members {
            self.given.insert((shard, *id), member.peer);
            if member.voter {
                self.voters.insert((shard, *id));
            }
        }
    }

    pub fn seated(&mut self, h: usize, shard: ShardId, replica: &Replica) -> Result<(), String> {
        let id = replica.id();
        let known = *self.hosts.entry((shard, id)).or_insert(h);
        if known != h {
            return Err(format!("{shard} {id} is on h{known} and on h{h}"));
        }
        if id != FIRST && !self.given.contains_key(&(shard, id)) {
            return Err(format!("h{h} {shard} {id} was never given by the log"));
        }
        Ok(())
    }

    pub fn leads(&self, h: usize, shard: ShardId, replica: &Replica) -> Result<(), String> {
        let id = replica.id();
        if id != FIRST && !self.voters.contains(&(shard, id)) {
            return Err(format!("h{h} {shard} {id} leads and was never a voter"));
        }
        let peer = self.given.get(&(shard, id)).copied().unwrap_or(FOUNDER);
        let says = replica.status().leader;
        if says != Some(peer) {
            return Err(format!("h{h} {shard} {id} leads for {says:?}, the log gave it to {peer}"));
        }
        Ok(())
    }
}
