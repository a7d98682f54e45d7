//! A person with a shell: removes peers that are lost, drains some and lets some leave; repeats each command until it
//! is decided.

use super::super::router::{Heard, Reply, Wish};
use super::super::world::World;
use super::Request;
use model::catalogue::{Change, Changed};
use model::id::CATALOGUE;
use model::{Op, PeerId};
use replica::Answer;
use std::collections::VecDeque;

#[derive(Default)]
pub struct Operator {
    todo: VecDeque<Change>,
    open: bool,
    /// Without those who rest or leave too few peers would be left.
    calls_back: bool,
}

impl Operator {
    pub fn order(&mut self, change: Change) {
        self.todo.push_back(change);
    }

    pub fn moves(&mut self, world: &mut World) -> (Vec<Request>, u64) {
        let pause = world.dice.range(100_000, 300_000);
        let host = world.dice.range(0, world.hosts.len() as u64) as usize;
        if std::mem::take(&mut self.calls_back) {
            let seat = |peer| Change::Drain { peer, away: None, shrink: false };
            away(world).into_iter().for_each(|peer| self.todo.push_front(seat(peer)));
        }
        let Some(change) = self.todo.front().filter(|_| !self.open) else { return (vec![], pause) };
        self.open = true;
        let wish = Wish::Propose(Op::Catalogue(Box::new(change.clone())));
        (vec![Request { host, shard: CATALOGUE, wish, token: 0 }], pause)
    }

    pub fn hears(&mut self, reply: &Reply) {
        self.open = false;
        match (reply, self.todo.pop_front()) {
            // Too few peers for now: what is dead must go, and who rests takes a seat again; what should rest need not.
            (Ok(Heard::Answer(Answer::Changed(Changed::Refused { code, .. }))), Some(change)) => {
                let needed = code == "SH0506" && matches!(change, Change::Remove { .. });
                self.calls_back = needed;
                self.todo.extend(Some(change).filter(|_| needed));
            }
            (Ok(Heard::Answer(Answer::Changed(_))), _) => {}
            (_, Some(change)) => self.todo.push_front(change),
            (_, None) => {}
        }
    }

    pub fn is_done(&self) -> Result<(), String> {
        match self.todo.front() {
            None => Ok(()),
            Some(change) => Err(format!("the operator waits for {change:?}")),
        }
    }
}

/// Peers without a seat, as the latest catalogue that anybody has tells it.
fn away(world: &World) -> Vec<PeerId> {
    let processes = world.hosts.iter().filter_map(|host| host.process.as_deref());
    let latest = processes.map(|process| process.board.catalogue()).max_by_key(|it| it.index);
    latest.map_or_else(Vec::new, |catalogue| catalogue.away.keys().copied().collect())
}
