//! Calls between peers: what can be asked, and the waiting for answers.
//!
//! Does what `peer::call` and `peer::answers` do, without encoding anything.

use super::exchange::Asking;
use super::host::{Waiting, host_of};
use super::router::{Found, Origin, Query, Who, Wish};
use super::trace::note;
use super::world::{Event, Of, World};
use bytes::Bytes;
use flow::Chunk;
use model::catalogue::{Change, Enrolled};
use model::id::CATALOGUE;
use model::{Batch, Catalogue, Op, PartitionId, PeerId, ReplicaId, ShardId, TaskId};
use replica::{Answer, Input, Refusal};
use std::sync::Arc;

/// How long a peer waits for another's answer, µs.
const CALL_US: u64 = 3_000_000;

/// What one peer asks another.
#[derive(Clone, Debug)]
pub enum Ask {
    Join(Box<Enrolled>),
    Catalogue { since: u64 },
    Propose { shard: ShardId, op: Op },
    Look { shard: ShardId, query: Query },
    Batches { partition: PartitionId, shard: ShardId, from: i64, below: i64, bytes_max: usize },
    Chunks { asker: Asking, from: Vec<(PartitionId, i64)>, wait_us: u64 },
    Status,
    Export { shard: ShardId, index: u64, at: usize },
    Replace { shard: ShardId, replica: ReplicaId },
    Installed { shard: ShardId, replica: ReplicaId, installed: bool },
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Said {
    Joined {
        peer: PeerId,
        catalogue: Arc<Catalogue>,
    },
    Catalogue(Option<Arc<Catalogue>>),
    Proposed(Result<Answer, Refusal>),
    Found(Option<Found>),
    Batches(Vec<Batch>),
    Chunks(Vec<Chunk>),
    /// The shards that are led here, with their terms and who has a replica.
    Status(Vec<(ShardId, u64, Vec<PeerId>)>),
    Export {
        bytes: Bytes,
        size: usize,
    },
    Done,
    Elsewhere(Option<PeerId>),
    No(String),
}

/// Who waits for an answer: a process, and its number for it. Number 0 is a host that wants to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub host: usize,
    pub life: u64,
    pub id: u64,
}

/// A call under way.
#[derive(Clone, Debug)]
pub struct Call {
    pub to: Vec<u8>,
    pub then: Then,
}

/// What an answer is for.
#[derive(Clone, Debug)]
pub enum Then {
    Nothing,
    Held(u64),
    Catalogue,
    Status(PeerId),
    Chunks(TaskId, u64),
    Fetch(u64),
}

impl World {
    /// Asks the peer with this key; the answer, or that none came, goes on with `then`.
    pub fn call(&mut self, h: usize, to: &[u8], ask: Ask, then: Then) {
        let life = self.hosts[h].life();
        let Some(process) = self.process(h) else { return };
        let id = process.number();
        process.calls.insert(id, Call { to: to.to_vec(), then });
        self.soon(h, CALL_US, Of::Late { id });
        let from = Asker { host: h, life, id };
        let key = self.hosts[h].key();
        let Some(there) = host_of(to, &self.hosts) else { return };
        if let Some(delay) = self.network.deliver_once(h, there, &mut self.dice) {
            self.soon(there, delay, Of::Asked { from, key, ask });
        }
    }

    /// Brings an answer to who waits for it.
    pub fn answer(&mut self, h: usize, to: Asker, said: Said) {
        let Some(delay) = self.network.deliver_once(h, to.host, &mut self.dice) else { return };
        let Asker { host, life, id } = to;
        let event = match id {
            0 => Event::Joined { host, life, said },
            _ => Event::Of(host, life, Of::Said { id, said }),
        };
        self.after(delay, event);
    }

    /// The connection to a peer broke: nobody waits for it any longer.
    pub fn calls_lost(&mut self, h: usize, key: &[u8]) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let lost = process.calls.iter().filter(|(_, call)| call.to == key);
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        lost.into_iter().try_for_each(|id| self.on_said(h, id, None))
    }

    /// An answer came, or none will.
    pub fn on_said(&mut self, h: usize, id: u64, said: Option<Said>) -> Result<(), String> {
        let Some(call) = self.process(h).and_then(|process| process.calls.remove(&id)) else {
            return Ok(());
        };
        match call.then {
            Then::Nothing => Ok(()),
            Then::Held(held) => self.held_said(h, held, said),
            Then::Catalogue => match said {
                Some(Said::Catalogue(Some(newer))) => self.learn(h, newer),
                _ => Ok(()),
            },
            Then::Status(peer) => {
                let Some(process) = self.process(h) else { return Ok(()) };
                if let Some(Said::Status(led)) = said {
                    for (shard, term, peers) in led {
                        if !process.board.here(shard) {
                            process.board.hint(shard, Some(peer));
                        }
                        let known = process.survey.entry(shard).or_default();
                        if known.0 <= term {
                            *known = (term, peers);
                        }
                    }
                }
                Ok(())
            }
            Then::Chunks(task, run) => {
                let chunks = match said {
                    Some(Said::Chunks(chunks)) => chunks,
                    _ => Vec::new(),
                };
                self.chunks_came(h, task, run, chunks)
            }
            Then::Fetch(number) => self.fetch_goes_on(h, number, said),
        }
    }

    pub fn on_asked(&mut self, h: usize, from: Asker, key: &[u8], ask: Ask) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let harmless = matches!(ask, Ask::Join(_) | Ask::Catalogue { .. });
        if !harmless && process.board.peer_of(key).is_none() {
            self.answer(h, from, Said::No("this peer is not in the roster".into()));
            return Ok(());
        }
        let said = match ask {
            Ask::Join(enrolled) => {
                let wish = Wish::Propose(Op::Catalogue(Box::new(Change::Join {
                    enrolled: *enrolled,
                    replaces: None,
                })));
                return self.hold(h, CATALOGUE, wish, Who::Joiner(from));
            }
            Ask::Catalogue { since } => {
                let catalogue = process.board.catalogue();
                Said::Catalogue((catalogue.index > since).then_some(catalogue))
            }
            Ask::Propose { shard, op } => {
                return self.propose(h, shard, op, Waiting::Propose(Origin::Call(from)));
            }
            Ask::Look { shard, query } if process.board.leading(shard) => {
                return self.read(h, shard, Waiting::Look(Origin::Call(from), query));
            }
            Ask::Look { shard, .. } => Said::Elsewhere(process.board.leader(shard)),
            Ask::Batches { partition, shard, from: at, below, bytes_max } => {
                match process.board.mark(partition).filter(|_| process.board.here(shard)) {
                    None => Said::Elsewhere(process.board.leader(shard)),
                    Some((start, next)) => {
                        let (from, below) = (at.max(start), below.min(next));
                        let read = process.segments.read(partition, from, below, bytes_max);
                        self.witness(h, partition, read).map_or_else(Said::No, Said::Batches)
                    }
                }
            }
            ask @ Ask::Chunks { wait_us, .. } => {
                let until_us = self.now_us() + wait_us;
                return self.on_await(h, from, ask, until_us);
            }
            Ask::Status => {
                let led = process.board.shards().filter(|shard| process.board.leading(*shard));
                let of = |shard| {
                    let replica = process.replica(shard)?;
                    let status = replica.status();
                    Some((shard, status.term, [status.voters, status.learners].concat()))
                };
                Said::Status(led.filter_map(of).collect())
            }
            Ask::Export { shard, index, at } => match process.exports.get(&shard) {
                Some((of, bytes)) if *of == index && at <= bytes.len() => {
                    let end = (at + super::fetch::PIECE_BYTES).min(bytes.len());
                    Said::Export { bytes: bytes.slice(at..end), size: bytes.len() }
                }
                _ => Said::No("the export is gone".into()),
            },
            Ask::Replace { shard, replica } => {
                note!(self, "h{h} hears that {shard} {replica} must be replaced");
                self.step(h, shard, Input::Replace { replica })?;
                Said::Done
            }
            Ask::Installed { shard, replica, installed } => {
                self.step(h, shard, Input::SnapshotOutcome { to: replica, installed })?;
                Said::Done
            }
        };
        self.answer(h, from, said);
        Ok(())
    }
}
