//! What a coordinator's log decides about transactions.
//!
//! Invariants: T1 an id has one transaction at a time: a new one begins only when all parts of the last know how it
//! ended; T2 how a transaction ends is decided once; T3 numbers and epochs of an id never fall; T4 a producer of an
//! older epoch changes nothing; T5 ids, parts and their bytes are bounded, and an open transaction is never forgotten.

use crate::limits::{TRANSACTION_IDLE_MS, TRANSACTION_PARTS_MAX, TRANSACTIONS_MAX};
use model::transaction::{Changed, Part, Phase, Transaction, What};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Above this an id goes on with a new producer: the epoch after it is kept for who must be fenced.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// The transactional producers of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transactions {
    kept: BTreeMap<String, Transaction>,
}

impl Transactions {
    pub fn get(&self, id: &str) -> Option<&Transaction> {
        self.kept.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.kept.iter().map(|(id, it)| (id.as_str(), it))
    }

    /// `fresh` makes a producer id that nobody has.
    pub fn change(
        &mut self,
        now_ms: u64,
        id: String,
        what: What,
        fresh: impl FnOnce(u128) -> i64,
    ) -> Changed {
        match what {
            What::Init { timeout_ms, nonce, before } => {
                self.init(now_ms, id, (timeout_ms, nonce), before, fresh)
            }
            What::Add { producer, epoch, parts } => match self.of(&id, producer, epoch) {
                Ok(transaction) => transaction.add(now_ms, parts),
                Err(changed) => changed,
            },
            What::End { producer, epoch, commit } => match self.of(&id, producer, epoch) {
                Ok(transaction) => transaction.end(now_ms, commit),
                Err(changed) => changed,
            },
            What::Expire { number } => self.expire(now_ms, &id, number),
            What::Ended { number } => {
                if let Some(it) = self.kept.get_mut(&id)
                    && it.number == number
                    && let Phase::Ending { commit, .. } = it.phase
                {
                    it.phase = Phase::Idle { committed: Some(commit) };
                    it.touched_ms = now_ms;
                }
                Changed::Done
            }
        }
    }

    /// The producer's own, if it is the present one.
    fn of(&mut self, id: &str, producer: i64, epoch: i16) -> Result<&mut Transaction, Changed> {
        match self.kept.get_mut(id) {
            None => Err(Changed::Unknown),
            Some(it) if it.producer != producer => Err(Changed::Unknown),
            Some(it) if it.epoch != epoch => Err(Changed::Fenced),
            Some(it) => Ok(it),
        }
    }

    fn init(
        &mut self,
        now_ms: u64,
        id: String,
        (timeout_ms, nonce): (u32, u128),
        before: Option<(i64, i16)>,
        fresh: impl FnOnce(u128) -> i64,
    ) -> Changed {
        let Some(it) = self.kept.get_mut(&id) else {
            if before.is_some() {
                return Changed::Unknown;
            }
            if !self.has_room(now_ms) {
                return Changed::Full;
            }
            let producer = fresh(nonce);
            let phase = Phase::Idle { committed: None };
            let made = Transaction {
                producer,
                epoch: 0,
                number: 0,
                timeout_ms,
                phase,
                touched_ms: now_ms,
                nonce,
            };
            self.kept.insert(id, made);
            return Changed::Begun { producer, epoch: 0 };
        };
        let (producer, epoch) = (it.producer, it.epoch);
        if it.nonce == nonce {
            // The same wish once more.
            return match it.phase {
                Phase::Idle { .. } => Changed::Begun { producer, epoch },
                _ => Changed::Busy,
            };
        }
        if before.is_some_and(|before| before != (producer, epoch)) {
            return Changed::Fenced;
        }
        match &it.phase {
            Phase::Ending { .. } => Changed::Busy,
            Phase::Open { .. } => {
                it.fence();
                it.decide(now_ms, false);
                Changed::Ending
            }
            Phase::Idle { .. } => {
                if epoch >= EPOCH_MAX {
                    (it.producer, it.epoch) = (fresh(nonce), 0);
                } else {
                    it.epoch += 1;
                }
                (it.timeout_ms, it.nonce, it.touched_ms) = (timeout_ms, nonce, now_ms);
                it.phase = Phase::Idle { committed: None };
                Changed::Begun { producer: it.producer, epoch: it.epoch }
            }
        }
    }

    fn expire(&mut self, now_ms: u64, id: &str, number: u64) -> Changed {
        let Some(it) = self.kept.get_mut(id).filter(|it| it.number == number) else {
            return Changed::Done;
        };
        if !it.is_overdue(now_ms) {
            return Changed::Done;
        }
        // Its producer may still live: it must not go on as if nothing had happened.
        it.fence();
        it.decide(now_ms, false);
        Changed::Ending
    }

    /// Whether there is room for one more, perhaps in place of those that nobody has used for long.
    fn has_room(&mut self, now_ms: u64) -> bool {
        if self.kept.len() >= TRANSACTIONS_MAX {
            self.kept.retain(|_, it| {
                !matches!(it.phase, Phase::Idle { .. })
                    || now_ms.saturating_sub(it.touched_ms) < TRANSACTION_IDLE_MS
            });
        }
        self.kept.len() < TRANSACTIONS_MAX
    }
}

/// Whether an open transaction has been open for too long at this time.
pub fn is_overdue(transaction: &Transaction, now_ms: u64) -> bool {
    match transaction.phase {
        Phase::Open { since_ms, .. } => {
            now_ms.saturating_sub(since_ms) >= u64::from(transaction.timeout_ms)
        }
        _ => false,
    }
}

/// What happens to one; an extension, since the noun is `model`'s.
trait Changes {
    fn is_overdue(&self, now_ms: u64) -> bool;
    fn fence(&mut self);
    fn add(&mut self, now_ms: u64, parts: Vec<Part>) -> Changed;
    fn end(&mut self, now_ms: u64, commit: bool) -> Changed;
    fn decide(&mut self, now_ms: u64, commit: bool);
}

impl Changes for Transaction {
    fn is_overdue(&self, now_ms: u64) -> bool {
        is_overdue(self, now_ms)
    }

    fn fence(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
    }

    fn add(&mut self, now_ms: u64, parts: Vec<Part>) -> Changed {
        match &mut self.phase {
            Phase::Ending { .. } => return Changed::Busy,
            Phase::Idle { .. } => {
                let parts: BTreeSet<Part> = parts.into_iter().collect();
                if parts.len() > TRANSACTION_PARTS_MAX {
                    return Changed::Full;
                }
                self.number += 1;
                self.phase = Phase::Open { since_ms: now_ms, parts };
            }
            Phase::Open { parts: known, .. } => {
                let new = parts.iter().filter(|part| !known.contains(*part)).count();
                if known.len() + new > TRANSACTION_PARTS_MAX {
                    return Changed::Full;
                }
                known.extend(parts);
            }
        }
        self.touched_ms = now_ms;
        Changed::Added { number: self.number }
    }

    fn end(&mut self, now_ms: u64, commit: bool) -> Changed {
        match &self.phase {
            Phase::Open { .. } => {
                self.decide(now_ms, commit);
                Changed::Ending
            }
            // The same once more.
            Phase::Ending { commit: decided, .. } if *decided == commit => Changed::Ending,
            Phase::Idle { committed: Some(was) } if *was == commit => Changed::Done,
            _ => Changed::Invalid,
        }
    }

    fn decide(&mut self, now_ms: u64, commit: bool) {
        if let Phase::Open { parts, .. } = &mut self.phase {
            let parts = std::mem::take(parts);
            self.phase = Phase::Ending { commit, parts };
            self.touched_ms = now_ms;
        }
    }
}
