//! The plan: what must move to get from one ring to the next.

use crate::Ring;
use alloc::vec::Vec;
use model::{PeerId, ShardId};

/// One replica's way. Without `from` the shard gains a copy, without `to` it loses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handoff {
    pub shard: ShardId,
    pub from: Option<PeerId>,
    pub to: Option<PeerId>,
}

/// A lead that changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    pub shard: ShardId,
    pub from: Option<PeerId>,
    pub to: Option<PeerId>,
}

/// Everything that moves, in order of shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub handoffs: Vec<Handoff>,
    pub leads: Vec<Lead>,
}

impl Plan {
    /// How many replicas some peer must receive.
    pub fn moves(&self) -> usize {
        self.handoffs.iter().filter(|handoff| handoff.to.is_some()).count()
    }
}

/// The handoffs from one ring to the next of the same mesh.
pub fn plan(from: &Ring, to: &Ring) -> Plan {
    assert_eq!(from.shards(), to.shards(), "a mesh never changes its number of shards");
    let mut plan = Plan::default();
    for ((shard, old), (_, new)) in from.targets().zip(to.targets()) {
        let mut leaving = old.iter().filter(|peer| !new.contains(peer)).copied();
        let mut coming = new.iter().filter(|peer| !old.contains(peer)).copied();
        loop {
            let (from, to) = (leaving.next(), coming.next());
            if from.is_none() && to.is_none() {
                break;
            }
            plan.handoffs.push(Handoff { shard, from, to });
        }
        let (from, to) = (old.first().copied(), new.first().copied());
        if from != to {
            plan.leads.push(Lead { shard, from, to });
        }
    }
    plan
}
