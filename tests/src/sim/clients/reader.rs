//! A reader: what was acknowledged before it asked must be in what it sees.

use super::super::dice::Dice;
use super::super::world::{Ask, Reply};
use super::{Shared, Wish};
use replica::{Answer, Refusal};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Reader {
    next: u64,
    /// What was acknowledged when each open read was asked.
    asked: BTreeMap<u64, (i64, u64)>,
}

impl Reader {
    pub fn moves(&mut self, peers: i32, shared: &Shared, dice: &mut Dice) -> (Vec<Wish>, u64) {
        let token = self.next;
        self.next += 1;
        self.asked.insert(token, (shared.acked_next, shared.acked_sequence));
        let peer = dice.range(1, peers as u64 + 1) as i32;
        (vec![Wish { peer, ask: Ask::Read, token }], dice.range(20_000, 200_000))
    }

    pub fn hears(&mut self, token: u64, reply: Reply) -> Result<(), String> {
        let asked = self.asked.remove(&token);
        match (reply.result, reply.seen, asked) {
            (Ok(Answer::Read { .. }), Some(seen), Some((next, sequence))) => {
                if seen.source_next < next || seen.task.sequence < sequence {
                    let saw = (seen.source_next, seen.task.sequence);
                    return Err(format!(
                        "a stale read: saw {saw:?}, acknowledged {next}, {sequence}"
                    ));
                }
                Ok(())
            }
            (Err(Refusal::NotLeader { .. } | Refusal::Unknown | Refusal::Busy), _, _) => Ok(()),
            other => Err(format!("a strange answer to a read: {other:?}")),
        }
    }
}
