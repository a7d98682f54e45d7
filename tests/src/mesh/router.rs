//! Brings a wish to its shard's leader, here or one hop away, and holds it across a leader change.
//!
//! Does what `peer::router` does: the same refusals are tried again, for as long.

use super::calls::{Ask, Asker, Said, Then};
use super::host::Waiting;
use super::world::{Event, Of, World};
use model::catalogue::Changed;
use model::{Batch, Op, Origin as By, PartitionId, PeerId, ProducerId, ShardId, TaskId};
use replica::{Answer, Input, Refusal};

/// How long a door holds a request across a leader change, µs.
const HOLD_US: u64 = 2_000_000;
/// How long it holds a batch whose predecessor has not come, µs.
const HOLD_GAP_US: u64 = 200_000;
/// The pause before it is tried again, µs.
const PAUSE_US: u64 = 20_000;
/// One way between a client and a peer, µs.
pub const WAY_US: u64 = 150;

/// What somebody wants of a shard.
#[derive(Clone, Debug)]
pub enum Wish {
    Propose(Op),
    /// To be looked up behind a barrier.
    Look(Query),
}

/// What can be looked up.
#[derive(Clone, Debug)]
pub enum Query {
    /// A task's sequence.
    Task(TaskId),
    /// A partition's start and next offset.
    Mark(PartitionId),
    /// How many producer ids a shard has issued.
    Issued,
}

/// What was found, and in which term and at which index.
#[derive(Clone, Debug)]
pub struct Found {
    pub term: u64,
    pub index: u64,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Task { sequence: u64 },
    Mark { next: i64 },
    Issued { count: i64 },
}

/// What comes of a wish.
pub type Reply = Result<Heard, Failed>;

#[derive(Clone, Debug)]
pub enum Heard {
    Answer(Answer),
    Found(Found),
}

/// Why a wish failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Nothing happened.
    NoLeader,
    /// The outcome is unknown.
    Undecided,
    Refused(Refusal),
}

/// A wish that is held here.
#[derive(Clone, Debug)]
pub struct Held {
    pub shard: ShardId,
    pub wish: Wish,
    pub who: Who,
    until_us: u64,
    /// It may have happened already.
    sent: bool,
    /// Since when the batch before it is missing.
    gap_us: Option<u64>,
}

/// Who wished.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    Client(u64),
    /// This process itself: what its start tells the catalogue.
    Duty,
    /// This process itself: it leaves.
    Stay,
    Joiner(Asker),
    /// Another held wish, whose producer id nobody has vouched for.
    Voucher(u64),
}

/// Who waits for a replica's answer to a wish.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    Held(u64),
    Call(Asker),
}

impl World {
    pub fn on_wish(
        &mut self,
        h: usize,
        request: u64,
        shard: ShardId,
        wish: Wish,
    ) -> Result<(), String> {
        self.hold(h, shard, wish, Who::Client(request))
    }

    /// Takes a wish on and sends it on its way.
    pub fn hold(&mut self, h: usize, shard: ShardId, wish: Wish, who: Who) -> Result<(), String> {
        let until_us = self.now_us() + HOLD_US;
        let Some(process) = self.process(h) else { return Ok(()) };
        let id = process.number();
        process.held.insert(id, Held { shard, wish, who, until_us, sent: false, gap_us: None });
        self.route(h, id)
    }

    /// Sends a held wish to where its shard is believed to be led.
    pub fn route(&mut self, h: usize, id: u64) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(Held { shard, wish, .. }) = process.held.get(&id).cloned() else { return Ok(()) };
        let board = &process.board;
        let (me, leader) = (board.me(), board.leader(shard));
        let here = leader == Some(me) || (leader.is_none() && board.here(shard));
        if here {
            return match wish {
                Wish::Propose(op) => self.propose(h, shard, op, Waiting::Propose(Origin::Held(id))),
                Wish::Look(query) => self.read(h, shard, Waiting::Look(Origin::Held(id), query)),
            };
        }
        let ring = board.ring();
        let somebody = || ring.target(shard).iter().copied().find(|peer| *peer != me);
        let target = leader.or_else(somebody);
        let Some(key) = target.and_then(|peer| board.key_of(peer)).map(<[u8]>::to_vec) else {
            return self.decide(h, id, Err(Refusal::NotLeader { leader: None }));
        };
        let ask = match wish {
            Wish::Propose(op) => Ask::Propose { shard, op },
            Wish::Look(query) => Ask::Look { shard, query },
        };
        self.call(h, &key, ask, Then::Held(id));
        Ok(())
    }

    /// Another peer answered a held wish, or did not.
    pub fn held_said(&mut self, h: usize, id: u64, said: Option<Said>) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(shard) = process.held.get(&id).map(|held| held.shard) else { return Ok(()) };
        match said {
            Some(Said::Proposed(decided)) => self.decide(h, id, decided.map(Heard::Answer)),
            Some(Said::Found(Some(found))) => self.decide(h, id, Ok(Heard::Found(found))),
            Some(Said::Elsewhere(leader)) => self.decide(h, id, Err(Refusal::NotLeader { leader })),
            Some(_) => self.decide(h, id, Err(Refusal::Unknown)),
            None => {
                process.board.hint(shard, None);
                self.decide(h, id, Err(Refusal::Unknown))
            }
        }
    }

    /// What becomes of a held wish now that this was answered: it is over, or tried again.
    pub fn decide(
        &mut self,
        h: usize,
        id: u64,
        result: Result<Heard, Refusal>,
    ) -> Result<(), String> {
        let now_us = self.now_us();
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(held) = process.held.get_mut(&id) else { return Ok(()) };
        let refusal = match result {
            Ok(heard) => return self.over(h, id, Ok(heard)),
            Err(refusal) => refusal,
        };
        held.sent |= matches!(refusal, Refusal::Unknown);
        match refusal {
            Refusal::NotLeader { leader } => process.board.hint(held.shard, leader),
            Refusal::Unknown | Refusal::Gap | Refusal::Busy => {}
            Refusal::NotIssued => return self.vouch(h, id),
            other => return self.over(h, id, Err(Failed::Refused(other))),
        }
        let produced =
            matches!(&held.wish, Wish::Propose(Op::Append { origin: By::Producer { .. }, .. }));
        let gap = (refusal == Refusal::Gap && produced).then(|| held.gap_us.unwrap_or(now_us));
        held.gap_us = gap;
        let gapes = gap.is_some_and(|since| now_us >= since + HOLD_GAP_US);
        if now_us >= held.until_us || gapes {
            let failed = match refusal {
                Refusal::Busy | Refusal::Gap => Failed::Refused(refusal),
                _ if held.sent => Failed::Undecided,
                _ => Failed::NoLeader,
            };
            return self.over(h, id, Err(failed));
        }
        self.soon(h, PAUSE_US, Of::Retry { held: id });
        Ok(())
    }

    /// Asks the shard that a producer id names how many it has issued.
    fn vouch(&mut self, h: usize, id: u64) -> Result<(), String> {
        let Some(held) = self.process(h).and_then(|process| process.held.get(&id)) else {
            return Ok(());
        };
        let Wish::Propose(Op::Append { batch, .. }) = &held.wish else {
            return Err("what is no append needs a producer's id".into());
        };
        let batch = Batch::one(batch.clone()).map_err(|error| error.to_string())?;
        let producer = ProducerId::read(batch.producer_id()).ok_or("a writer invents ids")?;
        self.hold(h, producer.shard, Wish::Look(Query::Issued), Who::Voucher(id))
    }

    fn vouched(&mut self, h: usize, id: u64, reply: &Reply) -> Result<(), String> {
        let Ok(Heard::Found(Found { what: What::Issued { count }, .. })) = reply else {
            return self.over(h, id, Err(Failed::NoLeader));
        };
        let held = self.process(h).and_then(|process| process.held.get_mut(&id));
        if let Some(Held { wish: Wish::Propose(Op::Append { origin, .. }), .. }) = held {
            *origin = By::Producer { issued: *count };
        }
        self.route(h, id)
    }

    fn over(&mut self, h: usize, id: u64, reply: Reply) -> Result<(), String> {
        let Some(held) = self.process(h).and_then(|process| process.held.remove(&id)) else {
            return Ok(());
        };
        match held.who {
            Who::Client(request) => self.after(WAY_US, Event::Reply { request, reply }),
            Who::Duty => self.duty_done(h, &held, &reply),
            Who::Voucher(id) => self.vouched(h, id, &reply)?,
            // It looks again by itself.
            Who::Stay => {}
            Who::Joiner(asker) => {
                let said = match reply {
                    Ok(Heard::Answer(Answer::Changed(Changed::Joined { peer, .. }))) => {
                        let process = self.process(h).ok_or("it answers after its end")?;
                        Said::Joined { peer, catalogue: process.board.catalogue() }
                    }
                    other => Said::No(format!("{other:?}")),
                };
                self.answer(h, asker, said);
            }
        }
        Ok(())
    }

    /// Puts an operation to the replica here.
    pub fn propose(
        &mut self,
        h: usize,
        shard: ShardId,
        op: Op,
        waiting: Waiting,
    ) -> Result<(), String> {
        match self.request(h, shard, waiting)? {
            Some(request) => self.step(h, shard, Input::Propose { request, op }).map(drop),
            None => Ok(()),
        }
    }

    /// Asks the replica here for a barrier.
    pub fn read(&mut self, h: usize, shard: ShardId, waiting: Waiting) -> Result<(), String> {
        match self.request(h, shard, waiting)? {
            Some(request) => self.step(h, shard, Input::Read { request }).map(drop),
            None => Ok(()),
        }
    }

    /// A number for what waits; refused at once where no replica is.
    fn request(
        &mut self,
        h: usize,
        shard: ShardId,
        waiting: Waiting,
    ) -> Result<Option<u64>, String> {
        let Some(process) = self.process(h) else { return Ok(None) };
        if process.slot(shard).is_none() || process.writer.is_fenced() {
            let leader = process.board.leader(shard);
            self.tell(h, shard, waiting, Err(Refusal::NotLeader { leader }))?;
            return Ok(None);
        }
        let request = process.next_request;
        process.next_request += 1;
        process.waiting.insert(request, (shard, waiting));
        Ok(Some(request))
    }

    /// Brings a replica's answer to who waits for it.
    pub fn tell(
        &mut self,
        h: usize,
        shard: ShardId,
        waiting: Waiting,
        result: Result<Answer, Refusal>,
    ) -> Result<(), String> {
        match waiting {
            Waiting::Propose(Origin::Held(id)) => self.decide(h, id, result.map(Heard::Answer)),
            Waiting::Propose(Origin::Call(to)) => {
                self.answer(h, to, Said::Proposed(result));
                Ok(())
            }
            Waiting::Look(origin, query) => {
                let passed = matches!(result, Ok(Answer::Read { .. }));
                let found = if passed { self.look_up(h, shard, &query) } else { None };
                match origin {
                    Origin::Call(to) => {
                        self.answer(h, to, Said::Found(found));
                        Ok(())
                    }
                    Origin::Held(id) => {
                        let found = found.map(Heard::Found).ok_or(Refusal::Unknown);
                        self.decide(h, id, found)
                    }
                }
            }
            Waiting::Commit(task, run) => self.commit_answered(h, task, run, result),
        }
    }

    fn look_up(&mut self, h: usize, shard: ShardId, query: &Query) -> Option<Found> {
        let replica = self.process(h)?.replica(shard)?;
        let fold = replica.fold();
        let what = match query {
            Query::Task(task) => {
                What::Task { sequence: fold.task(*task).map_or(0, |task| task.sequence) }
            }
            Query::Mark(partition) => {
                What::Mark { next: fold.partition(*partition).map_or(0, |p| p.next_offset) }
            }
            Query::Issued => What::Issued { count: fold.issued() },
        };
        Some(Found { term: fold.term(), index: fold.index(), what })
    }

    /// A peer that is not this one, for a first guess.
    pub fn others(&mut self, h: usize) -> Vec<(PeerId, Vec<u8>)> {
        let Some(process) = self.process(h) else { return Vec::new() };
        let me = process.board.me();
        let catalogue = process.board.catalogue();
        let others = catalogue.roster.values().filter(|peer| peer.id != me);
        others.map(|peer| (peer.id, peer.key.clone())).collect()
    }
}
