//! Brings a request to the shard's leader, here or one hop away, and holds it across a leader change.
//!
//! Promises that what it repeats is repeatable: an operation with an origin is one operation however often it is
//! sent. Gives up after [`limits::HOLD`]; the outcome is then unknown and said to be.

use crate::away::Away;
use crate::board::Board;
use crate::call::{self, Ask, Asked, Calls, Place, Said};
use crate::limits;
use crate::shards::{self, Found, Query};
use bytes::Bytes;
use dashmap::DashMap;
use model::id::CATALOGUE;
use model::{Batch, Catalogue, Entry, Op, Origin, PeerId, ProducerId, ShardId};
use net::Lane;
use ractor::ActorRef;
use replica::{Answer, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The way to every shard.
#[derive(Clone)]
pub struct Router {
    pub board: Arc<Board>,
    pub calls: Arc<Calls>,
    pub shards: ActorRef<shards::Msg>,
    issued: Arc<DashMap<ShardId, i64>>,
    /// Who is asked next where nobody is known to lead.
    turn: Arc<AtomicUsize>,
}

/// Why a request failed for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("{0} has no leader that answers{1}")]
    NoLeader(ShardId, Away),
    #[error("{0} did not decide in time; the outcome is unknown")]
    Undecided(ShardId),
    #[error("the operation was refused: {0:?}")]
    Refused(Refusal),
}

impl Router {
    pub fn new(board: Arc<Board>, calls: Arc<Calls>, shards: ActorRef<shards::Msg>) -> Self {
        Self { board, calls, shards, issued: Arc::default(), turn: Arc::default() }
    }

    /// Puts an operation into a shard's log and waits until it is applied there.
    pub async fn propose(&self, shard: ShardId, op: Op) -> Result<Answer, Failed> {
        self.begin(shard, op).answer().await
    }

    /// Sends an operation on its way now, in the order of calls; the rest is in [`Begun::answer`].
    pub fn begin(&self, shard: ShardId, op: Op) -> Begun {
        let first = self.send(shard, &op);
        Begun { router: self.clone(), shard, op, first, until: Instant::now() + limits::HOLD }
    }

    /// A producer id was issued, and with it all before it.
    pub fn was_issued(&self, number: i64) {
        if let Some(id) = ProducerId::read(number) {
            let mut known = self.issued.entry(id.shard).or_default();
            *known = id.count.max(*known);
        }
    }

    /// How many ids are known here to be issued by the shard that a producer id names; 0 if the id is none of them.
    pub fn issued(&self, number: i64) -> i64 {
        let Some(id) = ProducerId::read(number) else { return 0 };
        self.issued
            .get(&id.shard)
            .map(|known| *known)
            .filter(|known| *known >= id.count)
            .unwrap_or(0)
    }

    /// Finds out whether the producer id of an append was ever issued; then the append says so.
    async fn vouch(&self, op: &mut Op) -> Result<(), Failed> {
        let never = Failed::Refused(Refusal::NotIssued);
        let Op::Append { origin: Origin::Producer { issued }, batch, .. } = op else {
            return Err(never);
        };
        let batch = Batch::trusted(batch.clone()).map_err(|_| never.clone())?;
        let id = ProducerId::read(batch.producer_id()).ok_or(never.clone())?;
        if id.shard.0 >= self.board.shards() {
            return Err(never);
        }
        let (found, _) = self.ask(id.shard, Query::Issued, true).await?;
        let Found::Issued(count) = found else { return Err(never) };
        if count < id.count {
            return Err(never);
        }
        self.was_issued(ProducerId { count, ..id }.number());
        *issued = count;
        Ok(())
    }

    fn send(&self, shard: ShardId, op: &Op) -> Result<Under, Refusal> {
        let leader = self.board.leader(shard);
        if leader == Some(self.board.me()) || (leader.is_none() && self.board.here(shard)) {
            let (reply, answer) = oneshot::channel();
            let msg = shards::Msg::Propose { shard, op: op.clone(), reply };
            self.shards.cast(msg).map_err(|_| Refusal::NotLeader { leader: None })?;
            return Ok(Under::Here(answer));
        }
        let target = leader.or_else(|| self.somebody(shard));
        let key = target.and_then(|peer| self.board.key_of(peer));
        let key = key.ok_or(Refusal::NotLeader { leader: None })?;
        let op = Bytes::from(Entry { time_ms: 0, ops: vec![op.clone()] }.encode());
        match self.calls.begin(&key, Lane::Request, Ask::Propose { shard, op }) {
            Ok(asked) => Ok(Under::There(asked)),
            Err(call::Failed::Full) => Err(Refusal::Busy),
            Err(_) => {
                self.board.hint(shard, None);
                Err(Refusal::NotLeader { leader: None })
            }
        }
    }

    async fn wait(&self, shard: ShardId, under: Under) -> Result<Answer, Refusal> {
        let asked = match under {
            Under::Here(answer) => {
                // Too late: it may still be applied.
                let answer = tokio::time::timeout(limits::ANSWER, answer).await;
                return answer
                    .unwrap_or(Ok(Err(Refusal::Unknown)))
                    .unwrap_or(Err(Refusal::Unknown));
            }
            Under::There(asked) => asked,
        };
        match asked.said().await {
            Ok(Said::Proposed(decided)) => decided,
            Ok(_) => Err(Refusal::Unknown),
            Err(_) => {
                self.board.hint(shard, None);
                Err(Refusal::Unknown)
            }
        }
    }

    /// Proposes to the replica here; refused if it does not lead.
    pub async fn propose_here(&self, shard: ShardId, op: Op) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        let msg = shards::Msg::Propose { shard, op, reply };
        self.shards.cast(msg).map_err(|_| Refusal::NotLeader { leader: None })?;
        answer.await.unwrap_or(Err(Refusal::Unknown))
    }

    /// A peer that may know more, when nobody is known to lead the shard: those that should hold it and all others, one
    /// after the other. While replicas move, those that should may not yet.
    fn somebody(&self, shard: ShardId) -> Option<PeerId> {
        let (me, catalogue) = (self.board.me(), self.board.catalogue());
        let ring = self.board.ring();
        let gone = |peer: &PeerId| {
            self.board.member(*peer).is_some_and(|member| member.state == mesh::State::Gone)
        };
        let all = ring.target(shard).iter().chain(catalogue.roster.keys());
        let known: Vec<PeerId> = all.copied().filter(|peer| *peer != me && !gone(peer)).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        known.get(turn % known.len().max(1)).copied()
    }

    /// Looks something up: `linear` at the leader behind a barrier, else at the nearest replica.
    pub async fn ask(
        &self,
        shard: ShardId,
        query: Query,
        linear: bool,
    ) -> Result<(Found, Place), Failed> {
        let until = Instant::now() + limits::HOLD;
        loop {
            let leader = self.board.leader(shard);
            let here = self.board.here(shard) && (!linear || leader == Some(self.board.me()));
            let found = if here {
                self.ask_here(shard, query.clone(), linear).await
            } else {
                self.ask_there(shard, leader, &query, linear).await
            };
            if let Some(found) = found {
                return Ok(found);
            }
            if Instant::now() >= until || self.board.stopping() {
                return Err(self.no_leader(shard));
            }
            tokio::time::sleep(limits::HOLD_PAUSE).await;
        }
    }

    fn no_leader(&self, shard: ShardId) -> Failed {
        Failed::NoLeader(shard, Away::of(&self.board, shard))
    }

    /// The catalogue as it is at this moment, or later: its leader is asked behind a barrier how far it is, and what is
    /// known here catches up.
    pub async fn catalogue_now(&self) -> Result<Arc<Catalogue>, Failed> {
        let (Found::Index(index), _) = self.ask(CATALOGUE, Query::Index, true).await? else {
            return Err(Failed::Undecided(CATALOGUE));
        };
        let mut watch = self.board.watch_catalogue();
        let seen = watch.wait_for(|catalogue| catalogue.index >= index);
        match tokio::time::timeout(limits::HOLD, seen).await {
            Ok(Ok(catalogue)) => Ok(catalogue.clone()),
            _ => Err(Failed::Undecided(CATALOGUE)),
        }
    }

    /// Asks the replica here.
    pub async fn ask_here(
        &self,
        shard: ShardId,
        query: Query,
        linear: bool,
    ) -> Option<(Found, Place)> {
        let (reply, answer) = oneshot::channel();
        let patience = patience(&query);
        let msg = shards::Msg::Ask { shard, query, linear, reply };
        self.shards.cast(msg).ok()?;
        tokio::time::timeout(patience, answer).await.ok()?.ok().flatten()
    }

    async fn ask_there(
        &self,
        shard: ShardId,
        leader: Option<PeerId>,
        query: &Query,
        linear: bool,
    ) -> Option<(Found, Place)> {
        let me = self.board.me();
        let target = leader.filter(|peer| *peer != me).or_else(|| self.somebody(shard))?;
        let key = self.board.key_of(target)?;
        if matches!(query, Query::Restore { .. }) {
            // A task starts only where its shard is led.
            return None;
        }
        let ask = Ask::Look { shard, query: query.clone(), linear };
        let asked = self.calls.begin(&key, Lane::Request, ask).ok()?;
        match asked.said_within(patience(query)).await {
            Ok(Said::Found(found)) => found,
            Ok(Said::Elsewhere(leader)) => {
                self.board.hint(shard, leader);
                None
            }
            Ok(_) => None,
            Err(_) => {
                self.board.hint(shard, None);
                None
            }
        }
    }
}

/// How long one try of a query may take. It changes nothing, so that a peer which falls silent in the middle of it costs
/// a part of the time that a door holds a request, not all of it.
fn patience(query: &Query) -> Duration {
    match query {
        Query::Restore { .. } => limits::CALL,
        _ => limits::LOOK,
    }
}

/// Where the first sending went.
enum Under {
    Here(oneshot::Receiver<Result<Answer, Refusal>>),
    There(Asked),
}

/// An operation on its way.
pub struct Begun {
    router: Router,
    shard: ShardId,
    op: Op,
    first: Result<Under, Refusal>,
    until: Instant,
}

impl Begun {
    /// Waits until it is applied; sends it again, as the same operation, while a leader changes.
    pub async fn answer(self) -> Result<Answer, Failed> {
        let Self { router, shard, mut op, first, until } = self;
        let mut sent = false;
        let mut under = first;
        let produced = matches!(op, Op::Append { origin: Origin::Producer { .. }, .. });
        let mut gap_since = None;
        loop {
            let refusal = match under {
                Ok(under) => match router.wait(shard, under).await {
                    Ok(answer) => return Ok(answer),
                    Err(refusal) => refusal,
                },
                Err(refusal) => refusal,
            };
            sent |= matches!(refusal, Refusal::Unknown);
            match refusal {
                Refusal::NotLeader { leader } => router.board.hint(shard, leader),
                // A number before this one is on its way, or the leader is full: the same again, later.
                Refusal::Unknown | Refusal::Gap | Refusal::Busy => {}
                Refusal::NotIssued => router.vouch(&mut op).await?,
                other => return Err(Failed::Refused(other)),
            }
            let now = Instant::now();
            gap_since = (refusal == Refusal::Gap && produced).then(|| gap_since.unwrap_or(now));
            let gapes = gap_since.is_some_and(|since| now >= since + limits::HOLD_GAP);
            if now >= until || gapes || router.board.stopping() {
                tracing::debug!(%shard, ?refusal, "an operation was held for too long");
                return Err(match refusal {
                    Refusal::Busy | Refusal::Gap => Failed::Refused(refusal),
                    _ if sent => Failed::Undecided(shard),
                    _ => router.no_leader(shard),
                });
            }
            tokio::time::sleep(limits::HOLD_PAUSE).await;
            under = router.send(shard, &op);
        }
    }
}
