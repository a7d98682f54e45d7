//! One partition, as far as the log says.

use super::parts::Open;
use serde::{Deserialize, Serialize};

/// One ordered piece of a stream, as far as the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The first offset that is kept.
    pub start: i64,
    /// The offset the next event gets: the high watermark.
    pub next_offset: i64,
    /// The latest event time of any batch; -1 before the first.
    pub max_time_ms: i64,
    /// Bytes appended so far, trimmed ones included.
    pub bytes: u64,
    /// The first offset of each leader term that appended here, oldest first; the oldest are forgotten.
    pub terms: Vec<(i32, i64)>,
    /// Its transactions, open and given up.
    pub transactions: Open,
}

impl Partition {
    /// No transaction below it is open.
    pub fn stable(&self) -> i64 {
        self.transactions.first().unwrap_or(self.next_offset)
    }

    /// The last epoch up to `epoch` that has events here, and the offset after them; nothing for an epoch above
    /// `term`, the present leader's. What lies below the first one remembered ends where that begins.
    pub fn end_of(&self, epoch: i32, term: i32) -> Option<(i32, i64)> {
        if epoch < 0 || epoch > term {
            return None;
        }
        if epoch == term {
            return Some((term, self.next_offset));
        }
        let after = self.terms.partition_point(|(known, _)| *known <= epoch);
        let end = self.terms.get(after).map_or(self.next_offset, |(_, start)| *start);
        let last = after.checked_sub(1).map_or(epoch, |at| self.terms[at].0);
        Some((last, end))
    }

    /// The epoch of the events at an offset, or -1.
    pub fn epoch_at(&self, offset: i64) -> i32 {
        let after = self.terms.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map_or(-1, |at| self.terms[at].0)
    }
}

impl Default for Partition {
    fn default() -> Self {
        Self {
            start: 0,
            next_offset: 0,
            max_time_ms: -1,
            bytes: 0,
            terms: Vec::new(),
            transactions: Open::default(),
        }
    }
}
