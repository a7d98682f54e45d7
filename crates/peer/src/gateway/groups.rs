//! Groups of consumers, in Kafka's words: every peer names the same coordinator, which answers here.

use super::Door;
use crate::groups::{InMind, Msg};
use crate::limits;
use crate::shards::{Found, Query};
use door::kafka::{
    CommitOffsets, CommittedOffsets, CommittedPart, Coordinates, Coordinator, DeletedGroup,
    DescribedDeal, DescribedGroup, FindCoordinator, GroupOffsets, KafkaError, ListGroups,
    ListedGroup, Names, OffsetOf, Parts, Reply, WantedOffsets,
};
use model::deal::Described;
use model::group::{Ask, Committed, Group, Pending, Refusal, Said};
use model::{Catalogue, PartitionId, ShardId, hash};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

impl Door {
    pub(super) async fn find_coordinator(&self, ask: FindCoordinator) -> Reply {
        if !self.single {
            self.all_led(&ask.keys).await;
        }
        let peers = self.told(&self.board().catalogue());
        let find = |key: &str| match ask.kind {
            Coordinates::Group | Coordinates::Transaction => {
                let shard = hash::shard_of_group(key, self.board().shards());
                let leader =
                    if self.single { Some(self.board().me()) } else { self.board().leader(shard) };
                let found = peers.iter().find(|peer| Some(peer.id) == leader);
                found.cloned().ok_or(KafkaError::CoordinatorNotAvailable)
            }
            Coordinates::Other => Err(KafkaError::InvalidRequest),
        };
        let found = |key: String| Coordinator { result: find(&key), key };
        Reply::FindCoordinator(ask.keys.into_iter().map(found).collect())
    }

    /// Waits a moment until the shards of all these names have a leader: some clients ask only once.
    async fn all_led(&self, keys: &[String]) {
        let shards = self.board().shards();
        let shards: BTreeSet<ShardId> =
            keys.iter().map(|key| hash::shard_of_group(key, shards)).collect();
        let until = Instant::now() + limits::HOLD;
        while shards.iter().any(|shard| self.board().leader(*shard).is_none())
            && Instant::now() < until
            && !self.board().stopping()
        {
            tokio::time::sleep(limits::HOLD_PAUSE).await;
        }
    }

    /// Asks a group's coordinator, which is here unless this peer forwards. What is asked by who is no consumer it
    /// forwards always: not all who administer groups look again who coordinates them.
    pub async fn ask_group(&self, group: String, ask: Ask) -> Result<Said, Refusal> {
        let shard = hash::shard_of_group(&group, self.board().shards());
        let from_outside = match &ask {
            Ask::Describe | Ask::DescribeDeal | Ask::Delete => true,
            Ask::Commit { caller, .. } => caller.consumer.is_empty() && caller.instance.is_none(),
            Ask::Join(_) | Ask::Sync(_) | Ask::Beat(_) | Ask::Leave(_) => false,
            Ask::Hold(_) | Ask::Read(_) => false,
        };
        match self.elsewhere(shard, self.single || from_outside) {
            Some(peer) => self.ask_group_at(peer, group, ask).await,
            None => self.ask_group_here(group, ask).await,
        }
    }

    /// Asks a group's coordinator, which must be here; holds the ask while its shard has no leader.
    pub(super) async fn ask_group_here(&self, group: String, ask: Ask) -> Result<Said, Refusal> {
        let nameless_may = matches!(ask, Ask::Commit { .. } | Ask::Describe | Ask::Delete);
        if group.len() > limits::GROUP_NAME_BYTES || (group.is_empty() && !nameless_may) {
            return Err(Refusal::BadGroup);
        }
        self.led_here(&group).await?;
        let (reply, answer) = oneshot::channel();
        let msg = Msg::Ask { group, ask, reply };
        self.groups.cast(msg).map_err(|_| Refusal::NotCoordinator)?;
        answer.await.unwrap_or(Err(Refusal::NotCoordinator))
    }

    /// A group's shard is led here, perhaps after a moment without a leader.
    async fn led_here(&self, group: &str) -> Result<(), Refusal> {
        let shard = hash::shard_of_group(group, self.board().shards());
        let until = Instant::now() + limits::HOLD;
        while !self.board().leading(shard) {
            let leader = self.board().leader(shard);
            let elsewhere = leader.is_some_and(|leader| leader != self.board().me());
            let may_come = self.board().here(shard) && !self.board().stopping();
            if elsewhere || !may_come || Instant::now() >= until {
                return Err(Refusal::NotCoordinator);
            }
            tokio::time::sleep(limits::HOLD_PAUSE).await;
        }
        Ok(())
    }

    pub(super) async fn commit_offsets(&self, ask: CommitOffsets) -> Reply {
        let CommitOffsets { group, caller, parts } = ask;
        let catalogue = self.board().catalogue();
        let mut offsets = Vec::with_capacity(parts.len());
        let mut answers = Vec::with_capacity(parts.len());
        for part in parts {
            let located = partition(&catalogue, &part.stream, part.partition);
            let result = part.committed.and_then(|committed| {
                offsets.push((located.ok_or(KafkaError::UnknownStream)?, committed));
                Ok(())
            });
            let (stream, partition) = (part.stream, part.partition);
            answers.push(CommittedPart { stream, partition, result });
        }
        // Also without offsets: the coordinator says whether the caller is one of its consumers.
        let committed = self.ask_group(group, Ask::Commit { caller, offsets }).await;
        if let Err(refusal) = committed {
            for answer in answers.iter_mut().filter(|answer| answer.result.is_ok()) {
                answer.result = Err(KafkaError::from(&refusal));
            }
        }
        Reply::CommitOffsets(answers)
    }

    pub(super) async fn committed_offsets(&self, ask: CommittedOffsets) -> Reply {
        let mut groups = Vec::with_capacity(ask.groups.len());
        for wanted in ask.groups {
            groups.push(self.committed_of(wanted, ask.stable).await);
        }
        Reply::CommittedOffsets(groups)
    }

    async fn committed_of(&self, wanted: WantedOffsets, stable: bool) -> GroupOffsets {
        let shard = hash::shard_of_group(&wanted.group, self.board().shards());
        if !self.single
            && let Err(refusal) = self.led_here(&wanted.group).await
        {
            return wanted.refuse(KafkaError::from(&refusal));
        }
        if let Some(caller) = &wanted.caller {
            let asked = self.ask_group(wanted.group.clone(), Ask::Read(caller.clone())).await;
            if let Err(refusal) = asked {
                return wanted.refuse(KafkaError::from(&refusal));
            }
        }
        let query = Query::Group { name: wanted.group.clone() };
        let kept = match self.router.ask(shard, query, true).await {
            Ok((Found::Group(found), _)) => found.unwrap_or_default(),
            _ => return wanted.refuse(KafkaError::NotCoordinator),
        };
        let catalogue = self.board().catalogue();
        let mut parts = offsets_of(&catalogue, &kept, wanted.parts);
        for part in parts.iter_mut().filter(|_| stable && !kept.pending.is_empty()) {
            let id = partition(&catalogue, &part.stream, part.partition);
            let may_change = |it: &Pending| id.is_some_and(|id| it.offsets.contains_key(&id));
            if kept.pending.values().any(may_change) {
                part.result = Err(KafkaError::Unstable);
            }
        }
        GroupOffsets { group: wanted.group, error: None, parts }
    }

    pub(super) async fn describe_groups(&self, groups: Vec<String>) -> Reply {
        let mut described = Vec::with_capacity(groups.len());
        for group in groups {
            let result = match self.ask_group(group.clone(), Ask::Describe).await {
                Ok(Said::Described(described)) => Ok(described),
                Ok(_) => Err(KafkaError::Unknown),
                Err(refusal) => Err(KafkaError::from(&refusal)),
            };
            described.push(DescribedGroup { group, result });
        }
        Reply::DescribeGroups(described)
    }

    pub(super) async fn describe_deals(&self, groups: Vec<String>) -> Reply {
        let mut described = Vec::with_capacity(groups.len());
        for group in groups {
            let result = match self.ask_group(group.clone(), Ask::DescribeDeal).await {
                Ok(Said::DescribedDeal(it)) => {
                    let names = names(&self.board().catalogue(), &it);
                    Ok((it, names))
                }
                Ok(_) => Err(KafkaError::Unknown),
                Err(refusal) => Err(KafkaError::from(&refusal)),
            };
            described.push(DescribedDeal { group, result });
        }
        Reply::DescribeDeals(described)
    }

    pub(super) async fn delete_groups(&self, groups: Vec<String>) -> Reply {
        let mut deleted = Vec::with_capacity(groups.len());
        for group in groups {
            let result = self.ask_group(group.clone(), Ask::Delete).await;
            let result = result.map(|_| ()).map_err(|refusal| KafkaError::from(&refusal));
            deleted.push(DeletedGroup { group, result });
        }
        Reply::DeleteGroups(deleted)
    }

    /// The groups of all shards that are led here: as they are in mind, else as the log keeps them.
    pub(super) async fn list_groups(
        &self,
        ask: &ListGroups,
    ) -> Result<Vec<ListedGroup>, KafkaError> {
        let mut listed = BTreeMap::new();
        let led = (0..self.board().shards()).map(ShardId);
        for shard in led.filter(|shard| self.board().leading(*shard)) {
            match self.router.ask_here(shard, Query::Groups, false).await {
                Some((Found::Groups(groups), _)) => {
                    listed.extend(groups.into_iter().map(|it| {
                        let state = if it.has_consumers { "Stable" } else { "Empty" };
                        let (kind, dealt, state) = (it.kind, it.dealt, state.to_owned());
                        (it.name.clone(), ListedGroup { group: it.name, kind, state, dealt })
                    }));
                }
                _ => return Err(KafkaError::CoordinatorLoading),
            }
        }
        let (reply, in_mind) = oneshot::channel();
        let asked = self.groups.cast(Msg::List(reply)).is_ok();
        let in_mind = if asked { in_mind.await.unwrap_or_default() } else { Vec::new() };
        // One of which its coordinator knows nothing is as the log keeps it; and what a former one remembers is past.
        let shards = self.board().shards();
        let is_led = |name: &str| self.board().leading(hash::shard_of_group(name, shards));
        let in_mind = in_mind.into_iter().filter(|it| it.state != "Dead" && is_led(&it.name));
        listed.extend(in_mind.map(|InMind { name, kind, state, dealt }| {
            (name.clone(), ListedGroup { group: name, kind, state: state.to_owned(), dealt })
        }));
        Ok(listed.into_values().filter(|it| ask.wants(it)).collect())
    }
}

/// The names of the streams that somebody holds or is to hold.
fn names(catalogue: &Catalogue, described: &Described) -> Names {
    let consumers = described.deal.consumers.values();
    let streams = consumers.flat_map(|it| it.held.iter().chain(&it.target)).map(|it| it.stream);
    let streams: BTreeSet<_> = streams.collect();
    let named = |id| Some((id, Arc::from(&*catalogue.streams.get(&id)?.name)));
    streams.into_iter().filter_map(named).collect()
}

pub(super) fn partition(
    catalogue: &Catalogue,
    stream: &str,
    partition: i32,
) -> Option<PartitionId> {
    let stream = catalogue.stream(stream)?;
    let index = u32::try_from(partition).ok().filter(|index| *index < stream.partitions)?;
    Some(PartitionId { stream: stream.id, partition: index })
}

/// The offsets that are asked for, or all of streams that are still there.
fn offsets_of(catalogue: &Catalogue, kept: &Group, wanted: Option<Parts>) -> Vec<OffsetOf> {
    let of = |stream: Arc<str>, partition, committed: Option<&Committed>| OffsetOf {
        stream,
        partition,
        result: Ok(committed.cloned()),
    };
    let Some(wanted) = wanted else {
        let all = kept.offsets.iter().filter_map(|(id, committed)| {
            let stream = catalogue.streams.get(&id.stream)?;
            Some(of(Arc::from(&*stream.name), id.partition as i32, Some(committed)))
        });
        return all.collect();
    };
    let found = |(stream, index): (Arc<str>, i32)| {
        let id = partition(catalogue, &stream, index);
        let committed = id.and_then(|id| kept.offsets.get(&id));
        of(stream, index, committed)
    };
    wanted.into_iter().map(found).collect()
}
