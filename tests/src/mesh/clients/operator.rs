//! A person with a shell: removes peers that are lost, moves load by weights; repeats each command until it is done.

use super::super::router::{Heard, Reply, Wish};
use super::super::world::World;
use super::Request;
use model::Op;
use model::catalogue::Change;
use model::id::CATALOGUE;
use replica::Answer;
use std::collections::VecDeque;

#[derive(Default)]
pub struct Operator {
    todo: VecDeque<Change>,
    open: bool,
}

impl Operator {
    pub fn order(&mut self, change: Change) {
        self.todo.push_back(change);
    }

    pub fn moves(&mut self, world: &mut World) -> (Vec<Request>, u64) {
        let pause = world.dice.range(100_000, 300_000);
        let host = world.dice.range(0, world.hosts.len() as u64) as usize;
        let Some(change) = self.todo.front().filter(|_| !self.open) else { return (vec![], pause) };
        self.open = true;
        let wish = Wish::Propose(Op::Catalogue(Box::new(change.clone())));
        (vec![Request { host, shard: CATALOGUE, wish, token: 0 }], pause)
    }

    pub fn hears(&mut self, reply: &Reply) {
        self.open = false;
        if let Ok(Heard::Answer(Answer::Changed(_))) = reply {
            self.todo.pop_front();
        }
    }

    pub fn is_done(&self) -> Result<(), String> {
        match self.todo.front() {
            None => Ok(()),
            Some(change) => Err(format!("the operator waits for {change:?}")),
        }
    }
}
