//! Linearizable reads: barriers, one in flight, shared by all that wait.
//!
//! Consensus itself repeats the barrier's number in every heartbeat, so a lost question is asked again.

use super::Replica;
use crate::action::{Action, Answer, Refusal};
use crate::input::Now;
use crate::limits::{READ_WAIT_US, READS_MAX};
use model::planted::{self, Mutant};
use raft::ReadState;
use std::collections::VecDeque;

/// The reads of one replica.
#[derive(Default)]
pub struct Reads {
    /// Not yet under a barrier, with the moment they came (µs).
    waiting: VecDeque<(u64, u64)>,
    asked: Option<Barrier>,
    /// The quorum has answered; the fold has not applied these indexes yet.
    confirmed: VecDeque<(u64, Vec<u64>)>,
    last_number: u64,
}

struct Barrier {
    number: u64,
    since_us: u64,
    requests: Vec<u64>,
}

impl Reads {
    /// Answers every read with a refusal.
    pub fn fail(&mut self, refusal: Refusal, actions: &mut Vec<Action>) {
        let waiting = self.waiting.drain(..).map(|(request, _)| request);
        let asked = self.asked.take().into_iter().flat_map(|barrier| barrier.requests);
        let confirmed = self.confirmed.drain(..).flat_map(|(_, requests)| requests);
        for request in waiting.chain(asked).chain(confirmed) {
            actions.push(Action::Answer { request, result: Err(refusal) });
        }
    }

    /// All that wait, also for the fold: one barrier at a time makes a handful of confirmed ones.
    fn len(&self) -> usize {
        let asked = self.asked.as_ref().map_or(0, |barrier| barrier.requests.len());
        let confirmed = self.confirmed.iter().map(|(_, requests)| requests.len());
        self.waiting.len() + asked + confirmed.sum::<usize>()
    }
}

impl Replica {
    pub(super) fn on_read(&mut self, now: Now, request: u64, actions: &mut Vec<Action>) {
        if self.is_leading() && planted::is(Mutant::ReadWithoutBarrier) {
            let (index, term) = (self.fold.index(), self.raw.raft.term);
            actions.push(Action::Answer { request, result: Ok(Answer::Read { index, term }) });
            return;
        }
        let refusal = if !self.is_leading() {
            self.elsewhere()
        } else if self.reads.len() >= READS_MAX {
            Refusal::Busy
        } else {
            self.reads.waiting.push_back((request, now.mono_us));
            return;
        };
        actions.push(Action::Answer { request, result: Err(refusal) });
    }

    pub(super) fn can_ask(&self) -> bool {
        self.reads.asked.is_none() && !self.reads.waiting.is_empty() && self.is_leading()
    }

    /// Puts all waiting reads under one barrier.
    pub(super) fn ask(&mut self, now: Now) {
        if !self.can_ask() {
            return;
        }
        self.reads.last_number += 1;
        let number = self.reads.last_number;
        let requests = self.reads.waiting.drain(..).map(|(request, _)| request).collect();
        self.reads.asked = Some(Barrier { number, since_us: now.mono_us, requests });
        self.raw.read_index(number.to_le_bytes().to_vec());
    }

    /// Consensus says that this replica led when the barrier was asked.
    pub(super) fn confirm(&mut self, states: Vec<ReadState>, actions: &mut Vec<Action>) {
        for state in states {
            let number = self.reads.asked.as_ref().map(|barrier| barrier.number.to_le_bytes());
            if number.is_some_and(|number| number[..] == state.request_ctx[..])
                && let Some(barrier) = self.reads.asked.take()
            {
                self.reads.confirmed.push_back((state.index, barrier.requests));
            }
        }
        self.answer_reads(actions);
    }

    /// Answers confirmed reads whose index is applied.
    pub(super) fn answer_reads(&mut self, actions: &mut Vec<Action>) {
        if !self.is_leading() {
            return;
        }
        let (applied, term) = (self.fold.index(), self.raw.raft.term);
        while let Some((index, _)) = self.reads.confirmed.front()
            && *index <= applied
            && let Some((_, requests)) = self.reads.confirmed.pop_front()
        {
            for request in requests {
                let result = Ok(Answer::Read { index: applied, term });
                actions.push(Action::Answer { request, result });
            }
        }
    }

    pub(super) fn tick_reads(&mut self, now: Now, actions: &mut Vec<Action>) {
        let late = |since: u64| now.mono_us.saturating_sub(since) >= READ_WAIT_US;
        let mut failed = Vec::new();
        if self.reads.asked.as_ref().is_some_and(|barrier| late(barrier.since_us)) {
            failed.extend(self.reads.asked.take().into_iter().flat_map(|b| b.requests));
        }
        while self.reads.waiting.front().is_some_and(|(_, since)| late(*since)) {
            failed.extend(self.reads.waiting.pop_front().map(|(request, _)| request));
        }
        for request in failed {
            actions.push(Action::Answer { request, result: Err(Refusal::Unknown) });
        }
    }
}
