//! From operations to entries, and from applied entries to answers.
//!
//! Operations gather until the turn and become one entry. They wait here, unproposed, while the lead is being
//! handed over. What was proposed under a leadership that is lost is waited for a little, then called unknown.

use super::Replica;
use crate::action::{Action, Answer, Refusal};
use crate::input::Now;
use crate::limits::*;
use model::entry::OPS_MAX;
use model::id::CATALOGUE;
use model::planted::{self, Mutant};
use model::{Batch, Entry, Op, PeerId};
use std::collections::VecDeque;

/// The requests of one replica that are not answered yet.
#[derive(Default)]
pub struct Proposals {
    gathered: VecDeque<(u64, Op)>,
    gathered_bytes: usize,
    /// In the log, in the order of their indexes.
    flying: VecDeque<Flying>,
    flying_bytes: usize,
    flying_ops: usize,
}

/// One proposed entry.
struct Flying {
    index: u64,
    term: u64,
    bytes: usize,
    requests: Vec<u64>,
    /// Since when (µs) the leadership it was proposed under is lost.
    orphan_us: Option<u64>,
}

impl Proposals {
    fn is_full(&self, size: usize) -> bool {
        let bytes = self.gathered_bytes + self.flying_bytes;
        (bytes > 0 && bytes + size > PENDING_BYTES_MAX)
            || self.gathered.len() + self.flying_ops >= PENDING_OPS_MAX
    }

    /// Leadership is lost: what was gathered never reached the log, what was proposed may still be committed.
    pub fn depose(&mut self, now: Now, leader: Option<PeerId>, actions: &mut Vec<Action>) {
        for (request, _) in self.gathered.drain(..) {
            let result = Err(Refusal::NotLeader { leader });
            actions.push(Action::Answer { request, result });
        }
        self.gathered_bytes = 0;
        for flying in &mut self.flying {
            flying.orphan_us.get_or_insert(now.mono_us);
        }
    }

    /// This replica leads with a log that ends here: later entries of earlier terms can never be committed.
    pub fn forget_above(&mut self, last: u64, actions: &mut Vec<Action>) {
        while self.flying.back().is_some_and(|flying| flying.index > last) {
            if let Some(flying) = self.flying.pop_back() {
                self.refuse(flying, Refusal::NotLeader { leader: None }, actions);
            }
        }
    }

    /// The replica is no more.
    pub fn abandon(&mut self, actions: &mut Vec<Action>) {
        self.depose(Now::default(), None, actions);
        while let Some(flying) = self.flying.pop_front() {
            self.refuse(flying, Refusal::Unknown, actions);
        }
    }

    fn refuse(&mut self, flying: Flying, refusal: Refusal, actions: &mut Vec<Action>) {
        self.landed(&flying);
        for request in flying.requests {
            actions.push(Action::Answer { request, result: Err(refusal) });
        }
    }

    fn landed(&mut self, flying: &Flying) {
        self.flying_bytes -= flying.bytes;
        self.flying_ops -= flying.requests.len();
    }

    /// The fold went on to this index without telling what happened on the way.
    pub fn jumped(&mut self, index: u64, actions: &mut Vec<Action>) {
        while self.flying.front().is_some_and(|flying| flying.index <= index) {
            if let Some(flying) = self.flying.pop_front() {
                self.refuse(flying, Refusal::Unknown, actions);
            }
        }
    }

    /// The entry at this index was applied: answers whoever proposed it, or tells them that another took its place.
    pub fn applied(
        &mut self,
        index: u64,
        term: u64,
        outcomes: &mut Vec<Result<Answer, Refusal>>,
        actions: &mut Vec<Action>,
    ) {
        self.jumped(index - 1, actions);
        if self.flying.front().is_some_and(|flying| flying.index == index)
            && let Some(flying) = self.flying.pop_front()
        {
            if flying.term != term {
                self.refuse(flying, Refusal::NotLeader { leader: None }, actions);
            } else {
                self.landed(&flying);
                assert_eq!(flying.requests.len(), outcomes.len(), "an outcome for each operation");
                for (request, result) in flying.requests.into_iter().zip(outcomes.drain(..)) {
                    actions.push(Action::Answer { request, result });
                }
            }
        }
        outcomes.clear();
    }
}

impl Replica {
    pub(super) fn on_propose(&mut self, request: u64, op: Op, actions: &mut Vec<Action>) {
        match self.admit(&op) {
            Err(refusal) => actions.push(Action::Answer { request, result: Err(refusal) }),
            Ok(size) => {
                let op = if planted::is(Mutant::OffsetAtPropose) { self.given(op) } else { op };
                self.proposals.gathered_bytes += size;
                self.proposals.gathered.push_back((request, op));
            }
        }
    }

    /// A planted bug: the offset is given now, from what is applied so far, and taken as it is when it is applied.
    fn given(&self, op: Op) -> Op {
        let Op::Append { partition, origin, batch } = op else { return op };
        let next = self.fold.partition(partition).map_or(0, |known| known.next_offset);
        let batch = match Batch::trusted(batch.clone()) {
            Ok(batch) => batch.placed(next, 0).bytes().clone(),
            Err(_) => batch,
        };
        Op::Append { partition, origin, batch }
    }

    /// Whether an operation may enter the log. Only saves work: apply checks again.
    fn admit(&self, op: &Op) -> Result<usize, Refusal> {
        if !self.is_leading() {
            return Err(self.elsewhere());
        }
        let size = op.size();
        if size > OP_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        match op {
            Op::Append { origin, batch, .. } => {
                let batch = Batch::trusted(batch.clone()).map_err(|_| Refusal::Malformed)?;
                self.fold.vouches(origin, &batch)?;
            }
            Op::Commit(commit) => self.fold.admits(commit, self.raw.raft.term)?,
            Op::Catalogue(_) if self.config.shard != CATALOGUE => return Err(Refusal::WrongShard),
            Op::Catalogue(_)
            | Op::Producer { .. }
            | Op::Trim { .. }
            | Op::Drop { .. }
            | Op::End { .. }
            | Op::Group(_)
            | Op::Transaction(_)
            | Op::Step(_) => {}
        }
        if self.proposals.is_full(size) { Err(Refusal::Busy) } else { Ok(size) }
    }

    pub(super) fn can_propose(&self) -> bool {
        !self.proposals.gathered.is_empty()
            && self.is_leading()
            && self.raw.raft.lead_transferee.is_none()
    }

    /// Proposes what has gathered, in entries of bounded size.
    pub(super) fn propose(&mut self, now: Now) {
        while self.can_propose() {
            let (requests, ops, bytes) = self.proposals.next_entry();
            let entry = Entry { time_ms: self.shard_time(now), ops };
            match self.raw.propose(Vec::new(), entry.encode()) {
                Ok(()) => {
                    let raft = &self.raw.raft;
                    let (index, term) = (raft.raft_log.last_index(), raft.term);
                    self.proposals.flying_bytes += bytes;
                    self.proposals.flying_ops += requests.len();
                    let flying = Flying { index, term, bytes, requests, orphan_us: None };
                    self.proposals.flying.push_back(flying);
                }
                Err(_) => {
                    // Consensus is at its own bound: the operations wait for the next turn.
                    self.proposals.gathered_bytes += bytes;
                    for pair in requests.into_iter().zip(entry.ops).rev() {
                        self.proposals.gathered.push_front(pair);
                    }
                    return;
                }
            }
        }
    }

    pub(super) fn tick_proposals(&mut self, now: Now, actions: &mut Vec<Action>) {
        let late = |flying: &Flying| {
            let since = flying.orphan_us;
            since.is_some_and(|since| now.mono_us.saturating_sub(since) >= ORPHAN_WAIT_US)
        };
        while self.proposals.flying.front().is_some_and(late) {
            if let Some(flying) = self.proposals.flying.pop_front() {
                self.proposals.refuse(flying, Refusal::Unknown, actions);
            }
        }
    }
}

impl Proposals {
    fn next_entry(&mut self) -> (Vec<u64>, Vec<Op>, usize) {
        let (mut requests, mut ops, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((_, op)) = self.gathered.front() {
            let size = op.size();
            let full = bytes + size > ENTRY_BYTES_MAX || ops.len() >= OPS_MAX;
            if full && !ops.is_empty() {
                break;
            }
            if let Some((request, op)) = self.gathered.pop_front() {
                bytes += size;
                requests.push(request);
                ops.push(op);
            }
        }
        self.gathered_bytes -= bytes;
        (requests, ops, bytes)
    }
}
