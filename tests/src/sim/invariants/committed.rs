//! What is committed is never undone: an index has one meaning for ever, on every replica, and folds are equal.

use model::{LogEntry, ReplicaId, hash};
use replica::Fold;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Committed {
    /// What each (index, term) ever written says: equal everywhere.
    written: BTreeMap<(u64, u64), u64>,
    /// The digest and the term of the fold at each applied index.
    folds: BTreeMap<u64, (u64, u64)>,
    /// The last index that each peer's replica applied.
    last: BTreeMap<i32, (ReplicaId, u64)>,
}

impl Committed {
    pub fn written(&mut self, peer: i32, me: ReplicaId, entry: &LogEntry) -> Result<(), String> {
        let hash = hash::hash64(&entry.bytes);
        let known = *self.written.entry((entry.index, entry.term)).or_insert(hash);
        if known != hash {
            let (index, term) = (entry.index, entry.term);
            return Err(format!("p{peer} {me}: entry {index} of term {term} has two meanings"));
        }
        Ok(())
    }

    pub fn restarted(&mut self, peer: i32, replica: ReplicaId, index: u64) {
        self.last.insert(peer, (replica, index));
    }

    pub fn jumped(&mut self, peer: i32, index: u64) {
        if let Some((_, last)) = self.last.get_mut(&peer) {
            *last = index;
        }
    }

    pub fn applied(
        &mut self,
        peer: i32,
        me: ReplicaId,
        index: u64,
        fold: &Fold,
    ) -> Result<(), String> {
        if fold.index() != index {
            return Err(format!("p{peer} {me} says {index} and has applied {}", fold.index()));
        }
        let (replica, last) = self.last.get(&peer).copied().unwrap_or((me, 0));
        if replica != me || index < last {
            return Err(format!("p{peer} {me} applied {index} after {last} of {replica}"));
        }
        self.last.insert(peer, (me, index));
        let now = (fold.digest(), fold.term());
        let known = *self.folds.entry(index).or_insert(now);
        if known != now {
            return Err(format!("p{peer} {me}: two folds at index {index}: {known:?} and {now:?}"));
        }
        Ok(())
    }
}
