//! What a replica is started from, and what it gives to be kept.

use crate::error::Error;
use crate::fold::Fold;
use bytes::Bytes;
use model::{HardState, LogEntry, ReplicaId, TaskId};

/// What the disk kept of a replica: the fold of a checkpoint and the journal after it.
#[derive(Clone, Debug)]
pub struct Restored {
    pub replica: ReplicaId,
    pub fold: Fold,
    pub hard: HardState,
    /// In order, without a gap; the first follows `base`.
    pub entries: Vec<LogEntry>,
    /// Index and term before the first of `entries`.
    pub base: (u64, u64),
}

/// The fold at one index, and what changed in its rows since the last one taken.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub index: u64,
    pub term: u64,
    pub hard: HardState,
    /// The encoded fold without rows, for [`Fold::restore`].
    pub small: Vec<u8>,
    /// Rows put (`Some`) or removed (`None`) since the last checkpoint that was taken.
    pub rows: Vec<(TaskId, Bytes, Option<Bytes>)>,
}

impl Restored {
    /// Makes log and fold fit each other, or says why they are in doubt.
    ///
    /// The fold is of committed entries, so what the journal says at or below its index is not needed, and what it
    /// says of that index in another term is a tail that a snapshot has replaced.
    ///
    /// True if the log was made to begin at the fold: the journal does not say so yet.
    pub(crate) fn checked(mut self) -> Result<(Self, bool), Error> {
        let applied = (self.fold.index(), self.fold.term());
        let doubt = |what: String| Err(Error::Doubt(what));
        let mut before = self.base;
        for entry in &self.entries {
            if entry.index != before.0 + 1 || entry.term < before.1 {
                return doubt(format!("entry {} follows entry {}", entry.index, before.0));
            }
            before = (entry.index, entry.term);
        }
        if self.base.0 > applied.0 {
            let (base, applied) = (self.base.0, applied.0);
            return doubt(format!("the log starts above {base}, the fold ends at {applied}"));
        }
        let at_applied = match applied.0.checked_sub(self.base.0 + 1) {
            None => Some(self.base.1),
            Some(place) => self.entries.get(place as usize).map(|entry| entry.term),
        };
        let rebased = at_applied != Some(applied.1);
        if rebased {
            (self.base, before) = (applied, applied);
            self.entries.clear();
        }
        if self.hard.commit > before.0 {
            let commit = self.hard.commit;
            return doubt(format!("the log ends at {}, {commit} was committed", before.0));
        }
        let latest = applied.1.max(before.1);
        if self.hard.term < latest {
            // A fold or entries of a later term came to disk just before the end, the word of that term did not: nothing
            // was voted for in it, since a vote is on disk before it is said.
            (self.hard.term, self.hard.vote) = (latest, 0);
        }
        self.hard.commit = self.hard.commit.max(applied.0);
        Ok((self, rebased))
    }
}
