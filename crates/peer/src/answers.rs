//! Answers what other peers ask on the request and bulk lanes.
//!
//! Promises that every ask is answered once, also when it cannot be done. Never trusts an ask of a peer that is
//! not in the roster, but for joining and reading the catalogue.

use crate::board::Board;
use crate::call::{Ask, Calls, Said};
use crate::exchange::Exchanges;
use crate::figures::Teller;
use crate::gateway::Door;
use crate::router::Router;
use crate::shape::{self, Joiner};
use crate::snapshot::Exports;
use crate::{problems, shards, survey, tasks};
use bytes::Bytes;
use model::{Batch, Entry, MeshId, PartitionId, ReplicaId, ShardId};
use net::{Lane, PeerKey};
use ractor::ActorRef;
use replica::{Answer, Refusal};
use std::sync::Arc;
use store::Segments;
use tokio::sync::oneshot;

/// What waits for the answer to a neighbour's proposal.
type Proposed = oneshot::Receiver<Result<Answer, Refusal>>;

/// All that answering needs.
#[derive(Clone)]
pub struct Answers {
    pub board: Arc<Board>,
    pub calls: Arc<Calls>,
    pub router: Router,
    pub segments: Arc<Segments>,
    pub exports: Arc<Exports>,
    pub exchanges: Arc<Exchanges>,
    pub tasks: ActorRef<tasks::Msg>,
    pub door: Door,
    pub teller: Teller,
}

impl Answers {
    /// Begins to answer one ask; what waits for consensus goes on as a task of its own.
    ///
    /// A proposal is handed on before this returns: so a door's numbers stay in order across the hop.
    pub fn begin(&self, peer: PeerKey, lane: Lane, mesh: MeshId, id: u64, ask: Ask) {
        let this = self.clone();
        let known = mesh == self.calls.mesh() && self.enrolled(&peer);
        let proposal = match &ask {
            Ask::Propose { shard, op } if known => Some(self.propose(*shard, op)),
            _ => None,
        };
        tokio::spawn(async move {
            let said = match proposal {
                None => this.said(&peer, mesh, ask).await,
                Some(Err(refusal)) => Said::Proposed(Err(refusal)),
                Some(Ok(answer)) => Said::Proposed(answer.await.unwrap_or(Err(Refusal::Unknown))),
            };
            this.calls.answer(&peer, lane, id, said);
        });
    }

    async fn said(&self, peer: &PeerKey, mesh: MeshId, ask: Ask) -> Said {
        let joining = matches!(ask, Ask::Join { .. } | Ask::Holds);
        let own = self.calls.mesh();
        if mesh != own && !(joining && mesh == MeshId(0)) {
            tracing::warn!(%peer, theirs = %mesh, ours = %own, "a peer of another mesh was refused");
            if own.is_recovered_from(mesh) {
                return Said::Refused(Box::new(problems::recovered_without()));
            }
            return Said::No(format!("mesh `{mesh}` is not `{own}`"));
        }
        // Who was removed while it was away learns so from the catalogue.
        let harmless = joining || matches!(ask, Ask::Catalogue { .. });
        if !harmless && !self.enrolled(peer) {
            return Said::No("this peer is not in the roster".into());
        }
        match ask {
            Ask::Join { enrolled, shards, replaces } => {
                let joiner = Joiner { enrolled: *enrolled, shards, replaces };
                self.join(peer, joiner).await
            }
            Ask::Catalogue { since } => {
                let catalogue = self.board.catalogue();
                let newer = catalogue.index > since;
                Said::Catalogue(newer.then(|| Box::new((*catalogue).clone())))
            }
            Ask::Holds => Said::Holds(own),
            Ask::Propose { .. } => Said::No("this peer is not in the roster".into()),
            Ask::Look { shard, query, linear } => {
                if linear && !self.board.leading(shard) {
                    return Said::Elsewhere(self.board.leader(shard));
                }
                Said::Found(self.router.ask_here(shard, query, linear).await)
            }
            Ask::Batches { partition, shard, from, below, bytes_max } => {
                self.batches(partition, shard, (from, below), bytes_max, Sight::Consumer)
            }
            Ask::Stored { partition, shard, from, below, bytes_max } => {
                self.batches(partition, shard, (from, below), bytes_max, Sight::Copy)
            }
            Ask::Chunks(wanted) => match self.exchanges.chunks_here(wanted).await {
                Ok(chunks) => Said::Chunks(chunks),
                Err(why) => Said::No(why),
            },
            Ask::Status => self.status().await,
            Ask::Keys { pipeline } => Said::Keys(survey::keys_here(&self.router, &pipeline)),
            Ask::Tasks => Said::Tasks(tasks::here(&self.tasks).await),
            Ask::Behalf(ask) => Said::Behalf(Box::new(self.door.tell(*ask).await)),
            Ask::Export { shard, index, at } => {
                let exports = self.exports.clone();
                let read = move || exports.piece(shard, index, &at);
                match tokio::task::spawn_blocking(read).await {
                    Ok(Some(piece)) => Said::Export(piece),
                    _ => Said::No("the export is gone".into()),
                }
            }
            Ask::Figures => Said::Figures(Box::new(self.teller.figures().await)),
            Ask::Replace { shard, replica } => {
                self.tell(shard, shards::Msg::Replace { shard, replica })
            }
            Ask::Leads(leads) => {
                if let Some(from) = self.board.peer_of(peer) {
                    leads.into_iter().for_each(|(shard, term)| self.board.heard(shard, from, term));
                }
                Said::Done
            }
            Ask::Installed { shard, replica, installed } => {
                self.tell(shard, shards::Msg::Installed { shard, replica, installed })
            }
        }
    }

    fn enrolled(&self, peer: &PeerKey) -> bool {
        self.board.catalogue().roster.values().any(|p| p.key == peer.bytes())
    }

    async fn join(&self, peer: &PeerKey, joiner: Joiner) -> Said {
        if joiner.enrolled.key != peer.bytes() {
            return Said::No("a peer can enrol only itself".into());
        }
        match shape::join(&self.router, joiner).await {
            Ok((peer, index)) => {
                self.await_catalogue(index).await;
                let catalogue = Box::new((*self.board.catalogue()).clone());
                Said::Joined { peer, catalogue }
            }
            // What has no leader or takes too long now may be done in a moment.
            Err(problem) if problem.code.starts_with("SH050") && problem.code != "SH0508" => {
                Said::No(problem.because)
            }
            Err(problem) => Said::Refused(Box::new(problem)),
        }
    }

    /// Waits until this peer's own copy of the catalogue has the index, a moment at most.
    async fn await_catalogue(&self, index: u64) {
        let mut watch = self.board.watch_catalogue();
        let seen = watch.wait_for(|catalogue| catalogue.index >= index);
        if tokio::time::timeout(crate::limits::HOLD, seen).await.is_err() {
            tracing::debug!(index, "the catalogue is behind");
        }
    }

    fn propose(&self, shard: ShardId, op: &Bytes) -> Result<Proposed, Refusal> {
        if shard.0 >= self.board.shards() {
            return Err(Refusal::WrongShard);
        }
        let mut entry = Entry::decode(op).map_err(|_| Refusal::Malformed)?;
        let op = entry.ops.pop().filter(|_| entry.ops.is_empty()).ok_or(Refusal::Malformed)?;
        let (reply, answer) = oneshot::channel();
        let msg = shards::Msg::Propose { shard, op, reply };
        self.router.shards.cast(msg).map_err(|_| Refusal::NotLeader { leader: None })?;
        Ok(answer)
    }

    fn batches(
        &self,
        partition: PartitionId,
        shard: ShardId,
        (from, below): (i64, i64),
        bytes_max: u32,
        sight: Sight,
    ) -> Said {
        let Some(mark) = self.board.mark(partition).filter(|_| self.board.here(shard)) else {
            return Said::Elsewhere(self.board.leader(shard));
        };
        let below = below.min(if sight == Sight::Copy { mark.next } else { mark.stable });
        let read = self.segments.read(partition, from.max(mark.start), below, bytes_max as usize);
        match self.board.witness(partition, read) {
            Ok(batches) => {
                let shown = match sight {
                    Sight::Consumer => self.board.shown(partition, batches),
                    Sight::Copy => batches,
                };
                Said::Batches(shown.iter().map(|b: &Batch| b.bytes().clone()).collect())
            }
            Err(error) => Said::No(error.to_string()),
        }
    }

    async fn status(&self) -> Said {
        let (reply, answer) = oneshot::channel();
        if self.router.shards.cast(shards::Msg::Status(reply)).is_err() {
            return Said::No("this peer stops".into());
        }
        answer.await.map_or_else(|_| Said::No("this peer stops".into()), Said::Status)
    }

    fn tell(&self, shard: ShardId, msg: shards::Msg) -> Said {
        if shard.0 >= self.board.shards() || self.router.shards.cast(msg).is_err() {
            return Said::No("it cannot be told".into());
        }
        Said::Done
    }
}

/// Who is to see batches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Nothing that is open, and what was given up as hollow.
    Consumer,
    /// The bytes as they are on the disk, under their checksums.
    Copy,
}

/// Says once, to each peer that may lead it, that a replica here is in doubt.
pub async fn ask_to_replace(router: &Router, shard: ShardId, replica: ReplicaId) {
    let peers: Vec<_> = router.board.catalogue().roster.keys().copied().collect();
    for peer in peers.into_iter().filter(|peer| *peer != router.board.me()) {
        let Some(key) = router.board.key_of(peer) else { continue };
        let ask = Ask::Replace { shard, replica };
        if let Err(error) = router.calls.ask(&key, Lane::Request, ask).await {
            tracing::debug!(%peer, %error, "a peer was not told of a replica in doubt");
        }
    }
}
