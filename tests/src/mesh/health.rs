//! What is still missing for health.

use super::pipelines::{BUCKETS, CHANGES, PARTITIONS, SOURCE};
use super::world::{SHARDS, World};
use model::catalogue::Away;
use model::hash::shard_of;
use model::{PartitionId, PeerId, ShardId, TaskId};

/// What was last missing, for whoever looks at a run that does not heal.
#[derive(Default)]
pub struct Health {
    pub missing: String,
}

impl World {
    /// Nothing if the mesh is whole and idle, else the first thing that is missing.
    pub fn is_healthy(&mut self) -> Result<(), String> {
        let missing = self.missing();
        if let Err(why) = &missing {
            self.health.missing.clone_from(why);
        }
        missing
    }

    fn missing(&self) -> Result<(), String> {
        for (h, host) in self.hosts.iter().enumerate() {
            let process = host.process.as_deref().ok_or(format!("h{h} does not run"))?;
            let catalogue = self.truth.catalogue().ok_or("nothing is founded")?;
            let board = &process.board;
            if catalogue.away.get(&board.me()) == Some(&Away::Leaving) {
                return Err(format!("h{h} is leaving"));
            }
            if !catalogue.roster.contains_key(&board.me()) {
                return Err(format!("h{h} is not in the roster"));
            }
            if board.catalogue().index != catalogue.index {
                return Err(format!("h{h} has an old catalogue"));
            }
            if let Some(duty) = process.duties.front() {
                return Err(format!("h{h} has still to say {duty:?}"));
            }
            if let Some(held) = process.held.values().next() {
                return Err(format!("h{h} still holds {:?}", held.who));
            }
            if self.parked(h) > 0 {
                return Err(format!("a task of h{h} is parked"));
            }
            let others = self.hosts.len() - 1;
            let alive = process.gossip.members().filter(|m| m.state == ::mesh::State::Alive);
            if alive.count() < others {
                return Err(format!("h{h} misses somebody"));
            }
        }
        self.clients.is_done()?;
        (0..SHARDS).try_for_each(|shard| self.shard_misses(ShardId(shard)))?;
        self.tasks_miss("sums", SOURCE, PARTITIONS)?;
        self.tasks_miss("echoes", CHANGES, BUCKETS)?;
        self.tasks_miss("windows", SOURCE, PARTITIONS)
    }

    fn shard_misses(&self, shard: ShardId) -> Result<(), String> {
        let leader = self.leader_of(shard).ok_or(format!("nobody leads {shard}"))?;
        let process = self.hosts[leader].process.as_deref().ok_or("the leader is gone")?;
        let mut target = process.board.ring().target(shard).to_vec();
        let owner = target.first().copied();
        if owner != Some(process.board.me()) {
            return Err(format!("h{leader} leads {shard}, not the owner {owner:?}"));
        }
        let configuration = self.truth.configuration(shard);
        let mut voters: Vec<PeerId> = configuration.members.values().map(|m| m.peer).collect();
        voters.sort();
        target.sort();
        let all_vote = configuration.members.values().all(|member| member.voter);
        if voters != target || !all_vote || configuration.is_joint() {
            return Err(format!("{shard} has {:?}, wanted {target:?}", configuration.members));
        }
        let whole = self.truth.index(shard);
        for (h, host) in self.hosts.iter().enumerate() {
            let Some(process) = host.process.as_deref() else { continue };
            let wanted = target.contains(&process.board.me());
            match process.replica(shard) {
                None if wanted => return Err(format!("h{h} has no replica of {shard}")),
                Some(_) if !wanted => return Err(format!("h{h} still has a replica of {shard}")),
                Some(replica) if replica.fold().index() != whole => {
                    let index = replica.fold().index();
                    return Err(format!("h{h} has applied {index} of {whole} of {shard}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every task of a stage has consumed all of its source.
    fn tasks_miss(&self, stage: &str, source: &str, partitions: u32) -> Result<(), String> {
        let catalogue = self.truth.catalogue().ok_or("nothing is founded")?;
        let mut stages = catalogue.pipelines.values().flat_map(|pipeline| &pipeline.stages);
        let stage = stages.find(|it| it.name == stage).ok_or(format!("{stage} is not there"))?;
        let source = catalogue.stream(source).ok_or("its source is not there")?.id;
        for bucket in 0..stage.buckets {
            let task = TaskId { stage: stage.id, bucket };
            for partition in 0..partitions {
                let partition = PartitionId { stream: source, partition };
                let (at, end) =
                    (self.truth.position(task, partition), self.truth.next_offset(partition));
                if at != end {
                    let shard = shard_of(task.stage.0, bucket, SHARDS);
                    let name = &stage.name;
                    return Err(format!("{name} {bucket} of {shard} is at {at} of {end}"));
                }
            }
        }
        Ok(())
    }
}
