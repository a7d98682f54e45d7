//! A reader: what was acknowledged, or seen by another, before it asked must be in what it sees.

use super::super::host::Host;
use super::super::pipelines::{BUCKETS, PARTITIONS, SOURCE};
use super::super::router::{Failed, Found, Heard, Query, Reply, What, Wish};
use super::super::world::{SHARDS, World};
use super::{Request, Shared};
use model::hash::shard_of;
use model::{PartitionId, TaskId};
use replica::Refusal;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Reader {
    next: u64,
    asked: BTreeMap<u64, Asked>,
}

/// What an open read must at least see.
enum Asked {
    Mark(PartitionId, i64),
    Task(TaskId, u64),
}

impl Reader {
    pub fn moves(&mut self, world: &mut World) -> (Vec<Request>, u64) {
        let pause = world.dice.range(20_000, 250_000);
        let by_chance = world.dice.range(0, world.hosts.len() as u64) as usize;
        let found = if world.dice.chance(500) { self.mark(world) } else { self.task(world) };
        let Some((shard, query, asked)) = found else { return (Vec::new(), pause) };
        let host = Self::deposed(world, shard).unwrap_or(by_chance);
        let token = self.next;
        self.next += 1;
        self.asked.insert(token, asked);
        (vec![Request { host, shard, wish: Wish::Look(query), token }], pause)
    }

    /// A host that takes itself for the leader of a shard while another leads it: the one to be asked.
    fn deposed(world: &World, shard: model::ShardId) -> Option<usize> {
        let leading = |(h, host): (usize, &Host)| {
            let replica = host.process.as_deref()?.replica(shard)?;
            replica.is_leading().then(|| (replica.status().term, h))
        };
        let mut terms: Vec<_> = world.hosts.iter().enumerate().filter_map(leading).collect();
        terms.sort_unstable();
        (terms.len() > 1).then(|| terms[0].1)
    }

    fn mark(&mut self, world: &mut World) -> Option<(model::ShardId, Query, Asked)> {
        let partition = world.dice.range(0, u64::from(PARTITIONS)) as u32;
        let place = world.place_of(SOURCE, partition)?;
        let least = world.shared().acked.get(&place.partition).copied().unwrap_or(0);
        Some((place.shard, Query::Mark(place.partition), Asked::Mark(place.partition, least)))
    }

    fn task(&mut self, world: &mut World) -> Option<(model::ShardId, Query, Asked)> {
        let bucket = world.dice.range(0, u64::from(BUCKETS)) as u32;
        let view = world.truth.catalogue()?.views.get("sums")?;
        let task = TaskId { stage: view.stage, bucket };
        let least = world.shared().sequences.get(&task).copied().unwrap_or(0);
        let shard = shard_of(task.stage.0, bucket, SHARDS);
        Some((shard, Query::Task(task), Asked::Task(task, least)))
    }

    pub fn hears(&mut self, token: u64, reply: Reply, shared: &mut Shared) -> Result<(), String> {
        let asked = self.asked.remove(&token).ok_or("an answer to no question")?;
        let found = match reply {
            Ok(Heard::Found(found)) => found,
            Err(Failed::NoLeader | Failed::Undecided | Failed::Refused(Refusal::Busy)) => {
                return Ok(());
            }
            other => return Err(format!("a strange answer to a read: {other:?}")),
        };
        let Found { term, index, what } = found;
        match (asked, what) {
            (Asked::Mark(partition, least), What::Mark { next }) if next >= least => {
                // Whoever asks later must see no less.
                shared.acknowledge(partition, next);
                Ok(())
            }
            (Asked::Task(task, least), What::Task { sequence }) if sequence >= least => {
                shared.committed(task, sequence);
                Ok(())
            }
            (Asked::Mark(partition, least), what) => Err(format!(
                "a stale read of {partition:?} in term {term} at {index}: {what:?}, not {least}"
            )),
            (Asked::Task(task, least), what) => Err(format!(
                "a stale read of {task:?} in term {term} at {index}: {what:?}, not {least}"
            )),
        }
    }
}
