//! A task: reads where it is, commits what it consumed, and after any doubt reads again.

use super::super::dice::Dice;
use super::super::world::{Ask, Reply};
use super::{COUNT, OUTPUT, SOURCE, Shared, TASK, Wish, elsewhere};
use model::entry::{Commit, Move};
use model::{BatchBuilder, Op};
use replica::{Answer, Refusal};

const READ: u64 = 0;
const COMMIT: u64 = 1;
/// A commit sent twice, whose answer is nobody's business.
const ECHO: u64 = 2;

#[derive(Default)]
pub struct Task {
    peer: i32,
    open: bool,
    /// What to commit next, from the last read.
    ready: Option<Commit>,
    /// What was seen last: position and end of the source.
    seen: Option<(i64, i64)>,
}

impl Task {
    pub fn moves(&mut self, peers: i32, dice: &mut Dice) -> (Vec<Wish>, u64) {
        let pause = dice.range(20_000, 200_000);
        if self.peer == 0 {
            self.peer = 1;
        }
        if self.open {
            return (vec![], pause);
        }
        self.open = true;
        let peer = self.peer;
        let Some(commit) = self.ready.take() else {
            return (vec![Wish { peer, ask: Ask::Read, token: READ }], pause);
        };
        let op = Op::Commit(Box::new(commit));
        let mut wishes = vec![Wish { peer, ask: Ask::Propose(op.clone()), token: COMMIT }];
        if dice.chance(200) {
            let peer = if dice.chance(500) { peer } else { dice.range(1, peers as u64 + 1) as i32 };
            wishes.push(Wish { peer, ask: Ask::Propose(op), token: ECHO });
        }
        (wishes, pause)
    }

    pub fn hears(
        &mut self,
        token: u64,
        reply: Reply,
        shared: &mut Shared,
        (peers, dice): (i32, &mut Dice),
    ) -> Result<(), String> {
        if token == ECHO {
            return Ok(());
        }
        self.open = false;
        match reply.result {
            Ok(Answer::Read { term, .. }) => {
                let seen = reply.seen.ok_or("a read that saw nothing")?;
                let position = seen.task.positions.get(&SOURCE).map_or(0, |(offset, _)| *offset);
                if seen.count != position as u64 {
                    return Err(format!("counted {} of {position} events", seen.count));
                }
                if seen.task.sequence < shared.acked_sequence {
                    let acked = shared.acked_sequence;
                    return Err(format!("read sequence {} after {acked}", seen.task.sequence));
                }
                self.seen = Some((position, seen.source_next));
                let to = seen.source_next.min(position + dice.range(1, 6) as i64);
                self.ready =
                    (to > position).then(|| commit(term, seen.task.sequence, position, to));
                Ok(())
            }
            Ok(Answer::Committed { sequence }) => {
                shared.acked_sequence = shared.acked_sequence.max(sequence);
                Ok(())
            }
            Err(Refusal::Stale | Refusal::Busy) => Ok(()),
            Err(refusal @ (Refusal::NotLeader { .. } | Refusal::Unknown)) => {
                self.peer = elsewhere(refusal, peers, dice);
                Ok(())
            }
            other => Err(format!("a strange answer to the task: {other:?}")),
        }
    }

    pub fn is_done(&self) -> Result<(), String> {
        match self.seen {
            Some((position, next)) if position == next => Ok(()),
            other => Err(format!("the task is at {other:?}")),
        }
    }
}

fn commit(term: u64, sequence: u64, from: i64, to: i64) -> Commit {
    let mut builder = BatchBuilder::new();
    builder.push(to, None, Some(format!("{from}-{to}").as_bytes()), &[]);
    let batch = builder.build().expect("a batch has an event");
    let value = (to as u64).to_le_bytes();
    Commit {
        task: TASK,
        version: 1,
        term,
        sequence,
        moves: vec![Move { source: SOURCE, from, to, watermark_ms: to }],
        watermark_ms: to,
        is_idle: false,
        changes: [(COUNT, Some(&value[..]))].into_iter().collect(),
        emitted: vec![OUTPUT],
        batches: vec![batch.bytes().clone()],
    }
}
