//! What the journal knows of one shard while it is open: enough to refuse records that do not fit, to begin each
//! segment with the shard's state, and to say which files its entries still live in.

use super::record::{Record, State};
use crate::Error;
use model::{HardState, ReplicaId, ShardId};

/// One shard's ledger.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub replica: ReplicaId,
    pub base: (u64, u64),
    /// Index of the last entry; the base's when there is none.
    pub last: u64,
    pub hard: HardState,
    pub tombstone: ReplicaId,
    pub doubt: Option<String>,
    /// Where terms begin: (index, term), above the base.
    terms: Vec<(u64, u64)>,
    /// Which file holds which entries, in order of index.
    spans: Vec<Span>,
}

/// Entries `first..=last` of a shard in one file.
#[derive(Clone, Copy, Debug)]
struct Span {
    file: u64,
    first: u64,
    last: u64,
    bytes: u64,
}

impl Ledger {
    /// A replica begins; only the tombstone outlives the one before.
    pub fn begin(&mut self, replica: ReplicaId, base: (u64, u64)) {
        *self = Self { replica, base, last: base.0, tombstone: self.tombstone, ..Self::default() };
    }

    /// Entries from `first` on, given by term and length, replace all from there.
    pub fn entries(&mut self, file: u64, first: u64, entries: impl Iterator<Item = (u64, usize)>) {
        self.truncate(first);
        let mut index = first;
        let mut total = 0;
        for (term, bytes) in entries {
            if self.terms.last().is_none_or(|(_, last)| *last != term) {
                self.terms.push((index, term));
            }
            index += 1;
            total += bytes as u64;
        }
        if index == first {
            return;
        }
        self.last = index - 1;
        match self.spans.last_mut() {
            Some(span) if span.file == file && span.last + 1 == first => {
                span.last = self.last;
                span.bytes += total;
            }
            _ => self.spans.push(Span { file, first, last: self.last, bytes: total }),
        }
    }

    /// Forgets all entries from `first` on.
    fn truncate(&mut self, first: u64) {
        self.terms.retain(|(index, _)| *index < first);
        self.spans.retain(|span| span.first < first);
        if let Some(span) = self.spans.last_mut() {
            span.last = span.last.min(first - 1);
        }
        self.last = self.last.min(first.saturating_sub(1));
    }

    /// Entries are missing: forgets those before the gap.
    pub fn gap(&mut self) {
        self.terms.clear();
        self.spans.clear();
    }

    /// A snapshot takes the place of the whole log.
    pub fn snapshot(&mut self, index: u64, term: u64) {
        self.base = (index, term);
        self.last = index;
        self.terms.clear();
        self.spans.clear();
    }

    pub fn tombstone(&mut self, replica: ReplicaId) {
        self.tombstone = self.tombstone.max(replica);
        if self.replica <= self.tombstone {
            self.begin(ReplicaId(0), (0, 0));
        }
    }

    /// Moves the base up to `index`: what lies at or below it is kept elsewhere.
    pub fn durable(&mut self, index: u64) {
        let index = index.min(self.last);
        if index <= self.base.0 {
            return;
        }
        let Some(run) = self.terms.iter().rposition(|(first, _)| *first <= index) else {
            return;
        };
        self.base = (index, self.terms[run].1);
        self.terms.drain(..run);
        self.spans.retain(|span| span.last > index);
    }

    /// Takes over what the beginning of a segment says.
    pub fn state(&mut self, state: &State) {
        if self.replica != state.replica {
            self.begin(state.replica, state.base);
        }
        self.hard = state.hard;
        self.tombstone = state.tombstone;
        if state.base.0 >= state.last {
            self.snapshot(state.base.0, state.base.1);
            self.doubt = None;
        } else {
            self.base = state.base;
            self.last = state.last;
            self.spans.retain(|span| span.last > state.base.0);
        }
        if state.doubted {
            self.doubt = Some("damage was found at an earlier start".into());
        }
    }

    pub fn to_state(&self, shard: ShardId) -> State {
        State {
            shard,
            replica: self.replica,
            base: self.base,
            last: self.last,
            hard: self.hard,
            tombstone: self.tombstone,
            doubted: self.doubt.is_some(),
        }
    }

    /// Whether a file that is no newer than `file` holds entries above the base. A shard in doubt needs none.
    pub fn lives_in(&self, file: u64) -> bool {
        self.doubt.is_none() && self.spans.first().is_some_and(|span| span.file <= file)
    }

    /// Bytes of all entries above the base, roughly.
    pub fn live_bytes(&self) -> u64 {
        self.spans.iter().map(|span| span.bytes).sum()
    }

    pub fn apply(&mut self, file: u64, record: &Record) {
        match record {
            Record::Begin { replica, base, .. } => self.begin(*replica, *base),
            Record::Entries { entries, .. } => {
                if let Some(first) = entries.first() {
                    let sizes = entries.iter().map(|e| (e.term, e.bytes.len()));
                    self.entries(file, first.index, sizes);
                }
            }
            Record::Hard { hard, .. } => self.hard = *hard,
            Record::Snapshot { index, term, .. } => self.snapshot(*index, *term),
            Record::Tombstone { replica, .. } => self.tombstone(*replica),
        }
    }

    pub fn to_check(&self) -> Check {
        Check {
            replica: self.replica,
            tombstone: self.tombstone,
            base: self.base.0,
            last: self.last,
            doubted: self.doubt.is_some(),
        }
    }
}

/// As much of a ledger as it takes to see whether records fit, several of one frame included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Check {
    replica: ReplicaId,
    tombstone: ReplicaId,
    base: u64,
    last: u64,
    doubted: bool,
}

impl Check {
    /// Fails if the record does not continue what is there.
    pub fn step(&mut self, record: &Record) -> Result<(), Error> {
        match record {
            Record::Begin { replica, base, .. } => {
                if *replica <= self.tombstone || *replica <= self.replica {
                    return Err(refused(record, "its id is not a new one"));
                }
                let tombstone = self.tombstone;
                *self = Self {
                    replica: *replica,
                    tombstone,
                    base: base.0,
                    last: base.0,
                    doubted: false,
                };
            }
            Record::Entries { replica, entries, .. } => {
                self.present(record, *replica)?;
                let Some(first) = entries.first() else { return Ok(()) };
                if first.index <= self.base || first.index > self.last + 1 {
                    return Err(refused(record, "its entries do not join those before"));
                }
                if entries.windows(2).any(|pair| pair[0].index + 1 != pair[1].index) {
                    return Err(refused(record, "its entries are not contiguous"));
                }
                self.last = first.index + entries.len() as u64 - 1;
            }
            Record::Hard { replica, .. } => self.present(record, *replica)?,
            Record::Snapshot { replica, index, .. } => {
                self.present(record, *replica)?;
                if *index < self.base {
                    return Err(refused(record, "it lies below what is durable"));
                }
                (self.base, self.last) = (*index, *index);
            }
            Record::Tombstone { replica, .. } => {
                self.tombstone = self.tombstone.max(*replica);
                if self.replica <= self.tombstone {
                    *self =
                        Self { replica: ReplicaId(0), base: 0, last: 0, doubted: false, ..*self };
                }
            }
        }
        Ok(())
    }

    fn present(&self, record: &Record, replica: ReplicaId) -> Result<(), Error> {
        if replica.0 == 0 || replica != self.replica {
            return Err(refused(record, "the shard's replica is another"));
        }
        if self.doubted {
            return Err(refused(record, "the replica is in doubt and must be replaced"));
        }
        Ok(())
    }
}

fn refused(record: &Record, why: &str) -> Error {
    Error::Misuse(format!("a record of {} does not fit: {why}", record.shard()))
}
