//! A listener of one address: what other peers lead they do on behalf of this one, for clients that can reach only it.
//! Where offsets begin and end any listener asks them.
//!
//! Parts of a request are sorted by who leads them, asked side by side, and put together again in the client's order;
//! what is led here takes the same way. Produce and commits need none of this: the router forwards operations anyway.
//! Promises that what a peer is asked on behalf it answers by itself, so that a request takes one hop at most.

use super::Door;
use super::fetch::{WAIT, known};
use super::room::Room;
use crate::call::{Ask, Said};
use crate::limits;
use bytes::Bytes;
use door::kafka::{
    EpochEnd, EpochPart, Fetch, FetchPart, FetchedPart, FoundPart, KafkaError, ListGroups,
    ListOffsets, ListedGroup, OffsetPart, TrimPart, TrimmedPart,
};
use futures::future::{join_all, select_all};
use model::catalogue::Stream;
use model::{PeerId, ShardId, group};
use net::Lane;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is asked on behalf of another peer's client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Behalf {
    Fetch(Fetch),
    ListOffsets(ListOffsets),
    Trim(Vec<TrimPart>),
    Epochs(Vec<EpochPart>),
    Group { group: String, ask: group::Ask },
    ListGroups(ListGroups),
}

/// What it is to be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Told {
    Fetch(Vec<FetchedPart>),
    ListOffsets(Vec<FoundPart>),
    Trim(Vec<TrimmedPart>),
    Epochs(Vec<EpochEnd>),
    Group(Result<group::Said, group::Refusal>),
    ListGroups(Result<Vec<ListedGroup>, KafkaError>),
}

/// Parts of a request by the peer that leads them, each with its place in the request.
struct Sorted<P> {
    led: BTreeMap<PeerId, Vec<(usize, P)>>,
    /// Nobody is known to lead these.
    orphans: Vec<(usize, P)>,
}

impl<P: Clone> Sorted<P> {
    fn of(peer: &[(usize, P)]) -> Vec<P> {
        peer.iter().map(|(_, part)| part.clone()).collect()
    }
}

impl Door {
    /// Answers by itself what another peer asks for its client.
    pub async fn tell(&self, ask: Behalf) -> Told {
        let mut this = self.clone();
        this.single = false;
        match ask {
            Behalf::Fetch(ask) => Told::Fetch(this.fetch(ask, &this.room()).await),
            Behalf::ListOffsets(ask) => Told::ListOffsets(this.list_offsets(ask).await),
            Behalf::Trim(parts) => Told::Trim(this.trim_streams(parts).await),
            Behalf::Epochs(parts) => Told::Epochs(this.epochs(parts).await),
            Behalf::Group { group, ask } => Told::Group(this.ask_group_here(group, ask).await),
            Behalf::ListGroups(ask) => Told::ListGroups(this.list_groups(&ask).await),
        }
    }

    /// Who leads the shard, if that is another peer and this one forwards.
    pub(super) fn elsewhere(&self, shard: ShardId, forwards: bool) -> Option<PeerId> {
        let leader = self.board().leader(shard).filter(|leader| *leader != self.board().me());
        leader.filter(|_| forwards)
    }

    /// Asks a peer, or this one, for its part; nothing if it does not answer in time.
    async fn ask_for(&self, peer: PeerId, ask: Behalf, most: Duration) -> Option<Told> {
        if peer == self.board().me() {
            return Some(self.tell(ask).await);
        }
        let key = self.board().key_of(peer)?;
        let ask = Ask::Behalf(Box::new(ask));
        match self.router.calls.begin(&key, Lane::Request, ask).ok()?.said_within(most).await {
            Ok(Said::Behalf(told)) => Some(*told),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%peer, %error, "a peer does not answer for a client here");
                None
            }
        }
    }

    pub(super) async fn ask_group_at(
        &self,
        peer: PeerId,
        group: String,
        ask: group::Ask,
    ) -> Result<group::Said, group::Refusal> {
        // Joins wait for others as long as those may take; a lost connection ends the wait.
        match self.ask_for(peer, Behalf::Group { group, ask }, limits::GROUP_CALL).await {
            Some(Told::Group(result)) => result,
            _ => Err(group::Refusal::NotCoordinator),
        }
    }

    fn leader_of(&self, stream: Option<&Stream>, partition: i32) -> Option<PeerId> {
        // What does not exist is refused by this peer as well as by any other.
        match stream.and_then(|stream| self.locate(stream, partition)) {
            Some(located) => self.board().leader(located.shard),
            None => Some(self.board().me()),
        }
    }

    fn sort<P>(&self, parts: Vec<P>, leader: impl Fn(&P) -> Option<PeerId>) -> Sorted<P> {
        let mut sorted = Sorted { led: BTreeMap::new(), orphans: Vec::new() };
        for (at, part) in parts.into_iter().enumerate() {
            match leader(&part) {
                Some(peer) => sorted.led.entry(peer).or_default().push((at, part)),
                None => sorted.orphans.push((at, part)),
            }
        }
        sorted
    }

    /// Asks each leader for its parts, and puts the answers together.
    async fn gather<P: Clone, R>(
        &self,
        sorted: Sorted<P>,
        ask: impl Fn(Vec<P>) -> Behalf,
        told: impl Fn(Told) -> Option<Vec<R>>,
        refuse: impl Fn(P, KafkaError) -> R,
    ) -> Vec<R> {
        let mut answers: BTreeMap<usize, R> = BTreeMap::new();
        let orphans = sorted.orphans.into_iter();
        answers.extend(orphans.map(|(at, part)| (at, refuse(part, KafkaError::NotLeader))));
        let asked = sorted.led.into_iter().map(|(peer, parts)| {
            let ask = ask(Sorted::of(&parts));
            async move { (parts, self.ask_for(peer, ask, limits::CALL).await) }
        });
        for (parts, said) in join_all(asked).await {
            let found = said.and_then(&told).filter(|found| found.len() == parts.len());
            match found {
                Some(found) => {
                    answers.extend(parts.into_iter().map(|(at, _)| at).zip(found));
                }
                None => answers.extend(
                    parts.into_iter().map(|(at, part)| (at, refuse(part, KafkaError::NotLeader))),
                ),
            }
        }
        answers.into_values().collect()
    }

    /// Every listener asks the leaders: not every client asks who leads now when it is told that this peer does not
    /// (aiokafka's consumer would ask here again until its metadata is five minutes old).
    pub(super) async fn list_offsets_any(&self, ask: ListOffsets) -> Vec<FoundPart> {
        let catalogue = self.board().catalogue();
        let leader = |it: &OffsetPart| self.leader_of(catalogue.stream(&it.stream), it.partition);
        let sorted = self.sort(ask.parts, leader);
        let committed = ask.committed;
        self.gather(
            sorted,
            |parts| Behalf::ListOffsets(ListOffsets { committed, parts }),
            |told| if let Told::ListOffsets(found) = told { Some(found) } else { None },
            OffsetPart::refuse,
        )
        .await
    }

    /// Every listener asks the leaders, as above: who administers streams asks once.
    pub(super) async fn trim_any(&self, parts: Vec<TrimPart>) -> Vec<TrimmedPart> {
        let catalogue = self.board().catalogue();
        let leader = |it: &TrimPart| self.leader_of(catalogue.stream(&it.stream), it.partition);
        let told = |told| if let Told::Trim(found) = told { Some(found) } else { None };
        self.gather(self.sort(parts, leader), Behalf::Trim, told, TrimPart::refuse).await
    }

    pub(super) async fn epochs_any(&self, parts: Vec<EpochPart>) -> Vec<EpochEnd> {
        if !self.single {
            return self.epochs(parts).await;
        }
        let catalogue = self.board().catalogue();
        let leader = |it: &EpochPart| self.leader_of(catalogue.stream(&it.stream), it.partition);
        let told = |told| if let Told::Epochs(found) = told { Some(found) } else { None };
        self.gather(self.sort(parts, leader), Behalf::Epochs, told, EpochPart::refuse).await
    }

    /// The groups of all peers that answer: those of a dead one are led by others soon.
    pub(super) async fn list_groups_any(
        &self,
        ask: ListGroups,
    ) -> Result<Vec<ListedGroup>, KafkaError> {
        if !self.single {
            return self.list_groups(&ask).await;
        }
        let peers: Vec<PeerId> = self.board().catalogue().roster.keys().copied().collect();
        let asked = peers
            .into_iter()
            .map(|peer| self.ask_for(peer, Behalf::ListGroups(ask.clone()), limits::CALL));
        let mut listed = BTreeMap::new();
        for told in join_all(asked).await {
            if let Some(Told::ListGroups(groups)) = told {
                listed.extend(groups?.into_iter().map(|it| (it.group.clone(), it)));
            }
        }
        Ok(listed.into_values().collect())
    }

    pub(super) async fn fetch_any(&self, ask: Fetch, room: &Room) -> Vec<FetchedPart> {
        if !self.single {
            return self.fetch(ask, room).await;
        }
        let wait = Duration::from_millis(u64::from(ask.max_wait_ms)).min(WAIT);
        let until = Instant::now() + wait;
        loop {
            let parts = self.fetch_now(&ask).await;
            let bytes = |part: &FetchedPart| match &part.result {
                Ok(found) => found.batches.iter().map(Bytes::len).sum(),
                Err(_) => 0,
            };
            let total: usize = parts.iter().map(bytes).sum();
            let refused = parts.iter().any(|part| part.result.is_err());
            let left = until.saturating_duration_since(Instant::now());
            let enough = total >= ask.min_bytes as usize || refused || left.is_zero();
            if enough || self.board().stopping() {
                if room.try_take(2 * total) || self.board().stopping() {
                    return parts;
                }
                // Nothing is held while others take theirs; then it is asked for once more.
                drop(parts);
                if !room.take(2 * total).await {
                    return ask
                        .parts
                        .into_iter()
                        .map(|it| it.refuse(KafkaError::NotLeader))
                        .collect();
                }
                return self.fetch_now(&ask).await;
            }
            self.news_anywhere(&ask, left.min(limits::CALL / 3)).await;
        }
    }

    fn by_leader(&self, ask: &Fetch) -> Sorted<FetchPart> {
        let catalogue = self.board().catalogue();
        let leader = |part: &FetchPart| {
            let known = known(&catalogue, &part.stream);
            self.leader_of(known, part.partition)
        };
        self.sort(ask.parts.clone(), leader)
    }

    /// What is there at this moment, at all leaders; each may send its share of the bytes.
    async fn fetch_now(&self, ask: &Fetch) -> Vec<FetchedPart> {
        let sorted = self.by_leader(ask);
        let most = (ask.max_bytes as usize).min(limits::CONNECTION_BYTES / 2);
        let max_bytes = (most / sorted.led.len().max(1)) as u32;
        let (max_wait_ms, min_bytes, committed) = (0, 0, ask.committed);
        self.gather(
            sorted,
            |parts| Behalf::Fetch(Fetch { max_wait_ms, min_bytes, max_bytes, committed, parts }),
            |told| if let Told::Fetch(found) = told { Some(found) } else { None },
            FetchPart::refuse,
        )
        .await
    }

    /// Ready when one of the leaders has anything, or after `most`. What it has is asked for afterwards: a batch
    /// that is read by two asks costs less than one that waits for the slowest leader.
    async fn news_anywhere(&self, ask: &Fetch, most: Duration) {
        let sorted = self.by_leader(ask);
        let waits = sorted.led.into_iter().map(|(peer, parts)| {
            let wait = Fetch {
                max_wait_ms: most.as_millis() as u32,
                min_bytes: 1,
                max_bytes: 1,
                committed: ask.committed,
                parts: Sorted::of(&parts),
            };
            Box::pin(self.ask_for(peer, Behalf::Fetch(wait), limits::CALL))
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            tokio::time::sleep(most.min(limits::HOLD_PAUSE)).await;
            return;
        }
        if select_all(waits).await.0.is_none() {
            // A leader that cannot be asked is asked again, but not without a pause.
            tokio::time::sleep(limits::HOLD_PAUSE).await;
        }
    }
}
