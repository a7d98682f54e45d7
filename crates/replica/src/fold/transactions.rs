//! What a coordinator's log decides about transactions.
//!
//! Invariants: T1 an id has one transaction at a time: a new one begins only when all parts of the last know how it
//! ended; T2 how a transaction ends is decided once; T3 numbers and epochs of an id never fall; T4 a producer of an
//! older epoch changes nothing; T5 ids, parts and their bytes are bounded, and an open transaction is never forgotten.

use crate::limits::{
    TRANSACTION_IDLE_MS, TRANSACTION_PARTS_MAX, TRANSACTION_UNUSED_MS, TRANSACTIONS_MAX,
};
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
            if !self.make_room(now_ms) {
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
                // It was forgotten, and goes on under a number that nobody had: as in Kafka.
                last: before,
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
        if before.is_some() && before == it.last && it.phase == (Phase::Idle { committed: None }) {
            // It has missed the answer: the epoch it asked for is here, and not used yet.
            return Changed::Begun { producer, epoch };
        }
        if before.is_some_and(|before| before != (producer, epoch) && Some(before) != it.last) {
            return Changed::Fenced;
        }
        match &it.phase {
            Phase::Ending { .. } => Changed::Busy,
            Phase::Open { .. } => {
                it.fence();
                it.last = before;
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
                it.last = before;
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
        it.last = None;
        it.decide(now_ms, false);
        Changed::Ending
    }

    /// Whether there is room for one more. If need be those are forgotten that nobody has used for long: first those that
    /// never had a transaction, and of each kind the oldest, some at once.
    fn make_room(&mut self, now_ms: u64) -> bool {
        if self.kept.len() < TRANSACTIONS_MAX {
            return true;
        }
        let may_go = |it: &Transaction| {
            let patience_ms =
                if it.number == 0 { TRANSACTION_UNUSED_MS } else { TRANSACTION_IDLE_MS };
            matches!(it.phase, Phase::Idle { .. })
                && now_ms.saturating_sub(it.touched_ms) >= patience_ms
        };
        let may_go = self.kept.iter().filter(|(_, it)| may_go(it));
        let mut going: Vec<(bool, u64, String)> =
            may_go.map(|(id, it)| (it.number > 0, it.touched_ms, id.clone())).collect();
        going.sort_unstable();
        for (_, _, id) in going.into_iter().take(TRANSACTIONS_MAX / 8) {
            self.kept.remove(&id);
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
                self.last = None;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn init(all: &mut Transactions, now_ms: u64, id: &str) -> Changed {
        let what = What::Init { timeout_ms: 1, nonce: now_ms.into(), before: None };
        all.change(now_ms, id.into(), what, |_| 5)
    }

    #[test]
    fn ids_that_nobody_uses_make_room_and_those_with_a_transaction_go_last_or_never() {
        let mut all = Transactions::default();
        for used in ["open", "ended"] {
            init(&mut all, 0, used);
            let add = What::Add { producer: 5, epoch: 0, parts: vec![Part::Group("g".into())] };
            assert_eq!(all.change(0, used.into(), add, |_| 5), Changed::Added { number: 1 });
        }
        let end = What::End { producer: 5, epoch: 0, commit: true };
        assert_eq!(all.change(0, "ended".into(), end, |_| 5), Changed::Ending);
        all.change(0, "ended".into(), What::Ended { number: 1 }, |_| 5);
        for i in 2..TRANSACTIONS_MAX {
            assert!(matches!(init(&mut all, 9, &i.to_string()), Changed::Begun { .. }));
        }
        let soon = 9 + TRANSACTION_UNUSED_MS;
        assert_eq!(init(&mut all, soon - 1, "new"), Changed::Full);
        assert!(matches!(init(&mut all, soon, "new"), Changed::Begun { .. }));
        assert_eq!(all.kept.len(), TRANSACTIONS_MAX - TRANSACTIONS_MAX / 8 + 1);
        // All the others are used now.
        let late = TRANSACTION_IDLE_MS - 1;
        all.kept.retain(|_, it| it.number > 0);
        for i in 2..TRANSACTIONS_MAX {
            init(&mut all, late, &i.to_string());
        }
        assert_eq!(init(&mut all, late, "new"), Changed::Full, "none is idle for long enough");
        assert!(matches!(init(&mut all, late + 1, "new"), Changed::Begun { .. }));
        assert!(all.get("open").is_some() && all.get("ended").is_none());
    }
}
