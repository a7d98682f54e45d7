//! The part of a shard's log that is in memory, as consensus reads it.
//!
//! Holds every entry above the durable index and a tail below it; the journal is where they outlive the process.

use bytes::Bytes;
use model::LogEntry;
use model::log::EntryKind;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, StorageError};
use std::cell::Cell;
use std::collections::VecDeque;

/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD: usize = 96;

/// The log in memory.
pub struct Log {
    /// Index and term of the entry before the first.
    base: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Read once, when consensus starts.
    initial: RaftState,
    /// What followers get who need more than the log has.
    manifest: Option<Snapshot>,
    /// Consensus wanted a snapshot and there was none to give.
    wanted: Cell<bool>,
}

impl Log {
    pub fn new(base: (u64, u64), entries: Vec<Entry>, hard: HardState, members: ConfState) -> Self {
        let bytes = entries.iter().map(cost).sum();
        let initial = RaftState::new(hard, members);
        let entries = entries.into();
        Self { base, entries, bytes, initial, manifest: None, wanted: Cell::new(false) }
    }

    /// Index and term before the first entry.
    pub fn base(&self) -> (u64, u64) {
        self.base
    }
    pub fn last(&self) -> u64 {
        self.entries.back().map_or(self.base.0, |entry| entry.index)
    }
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Everything above an index, as the journal keeps it.
    pub fn above(&self, index: u64) -> Vec<LogEntry> {
        let skip = index.saturating_sub(self.base.0) as usize;
        self.entries.iter().skip(skip).map(to_journal).collect()
    }

    /// Takes entries; they replace all from their first index on.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.base.0, "entries below the start of the log");
        assert!(first.index <= self.last() + 1, "a gap in the log");
        while self.last() >= first.index {
            let cut = self.entries.pop_back().expect("the last is above the base");
            self.bytes -= cost(&cut);
        }
        self.bytes += entries.iter().map(cost).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    /// A snapshot replaces the whole log.
    pub fn install(&mut self, index: u64, term: u64) {
        self.base = (index, term);
        self.entries.clear();
        self.bytes = 0;
        self.manifest = None;
    }

    /// Forgets entries from the front while more than `keep` bytes would remain, never above `limit`.
    pub fn shorten(&mut self, limit: u64, keep: usize) {
        while self.bytes > keep {
            match self.entries.front() {
                Some(first) if first.index <= limit => self.base = (first.index, first.term),
                _ => break,
            }
            let cut = self.entries.pop_front().expect("it was just looked at");
            self.bytes -= cost(&cut);
        }
        if self.manifest.as_ref().is_some_and(|m| m.get_metadata().index < self.base.0) {
            self.manifest = None;
        }
    }

    /// Keeps a manifest for followers; refused if the log does not reach down to it.
    pub fn offer(&mut self, manifest: Snapshot) -> bool {
        let fits = manifest.get_metadata().index >= self.base.0;
        if fits {
            self.manifest = Some(manifest);
        }
        fits
    }

    /// Forgets a manifest of this index or an older one.
    pub fn withdraw(&mut self, index: u64) {
        self.manifest = self.manifest.take().filter(|it| it.get_metadata().index > index);
    }

    /// True once after consensus wanted a snapshot that was not there.
    pub fn take_wanted(&self) -> bool {
        self.wanted.replace(false)
    }

    /// True if an entry from `low` to `high` changes the configuration.
    pub fn has_configuration(&self, low: u64, high: u64) -> bool {
        let mut entries = (low.max(self.base.0 + 1)..=high).filter_map(|index| self.at(index));
        entries.any(|entry| entry.get_entry_type() != EntryType::EntryNormal)
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        let place = index.checked_sub(self.base.0 + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }
}

impl raft::Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let start = (low - self.base.0 - 1) as usize;
        let mut size = 0u64;
        let mut taken = Vec::new();
        for entry in self.entries.range(start..start + (high - low) as usize) {
            size = size.saturating_add(cost(entry) as u64);
            if size > limit && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        let missing =
            if index < self.base.0 { StorageError::Compacted } else { StorageError::Unavailable };
        self.at(index).map(|entry| entry.term).ok_or(raft::Error::Store(missing))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        match &self.manifest {
            Some(manifest)
                if manifest.get_metadata().index >= request_index && names(manifest, to) =>
            {
                Ok(manifest.clone())
            }
            _ => {
                self.wanted.set(true);
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

/// A receiver that the manifest's configuration does not know yet could not take it.
fn names(manifest: &Snapshot, replica: u64) -> bool {
    let state = manifest.get_metadata().get_conf_state();
    let lists = [&state.voters, &state.voters_outgoing, &state.learners];
    lists.iter().any(|list| list.contains(&replica))
}

fn cost(entry: &Entry) -> usize {
    ENTRY_OVERHEAD + payload(entry).len()
}

/// What an entry says, in our words: consensus's own words of a configuration entry are never kept or sent.
pub fn payload(entry: &Entry) -> &Bytes {
    match entry.get_entry_type() {
        EntryType::EntryNormal => &entry.data,
        _ => &entry.context,
    }
}

/// An entry of the journal as consensus knows it.
pub fn from_journal(entry: LogEntry) -> Entry {
    let mut it = Entry { index: entry.index, term: entry.term, ..Entry::default() };
    match entry.kind {
        EntryKind::Normal => it.data = entry.bytes,
        EntryKind::Configuration => {
            it.set_entry_type(EntryType::EntryConfChangeV2);
            it.context = entry.bytes;
        }
    }
    it
}

/// An entry of consensus as the journal keeps it.
pub fn to_journal(entry: &Entry) -> LogEntry {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal => EntryKind::Normal,
        _ => EntryKind::Configuration,
    };
    LogEntry { index: entry.index, term: entry.term, kind, bytes: payload(entry).clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::Storage;

    fn entry(index: u64, term: u64, size: usize) -> Entry {
        let bytes = Bytes::from(vec![7; size]);
        from_journal(LogEntry { index, term, kind: EntryKind::Normal, bytes })
    }

    fn log(entries: Vec<Entry>) -> Log {
        Log::new((1, 1), entries, HardState::default(), ConfState::default())
    }

    #[test]
    fn later_entries_replace_all_from_their_first_index_on() {
        let mut log = log(vec![entry(2, 1, 10), entry(3, 1, 10), entry(4, 1, 10)]);
        log.append(&[entry(3, 2, 20)]);
        assert_eq!((log.last(), log.term(3).ok(), log.term(2).ok()), (3, Some(2), Some(1)));
        assert_eq!(log.bytes(), 2 * ENTRY_OVERHEAD + 30);
    }

    #[test]
    fn shortening_keeps_what_is_not_durable_and_remembers_the_last_term() {
        let mut log = log((2..=9).map(|index| entry(index, index / 4 + 1, 100)).collect());
        log.shorten(6, 0);
        assert_eq!((log.base(), log.last()), ((6, 2), 9));
        assert_eq!(log.term(6).ok(), Some(2));
        let low = log.entries(6, 8, None, GetEntriesContext::empty(false));
        assert_eq!(low, Err(raft::Error::Store(StorageError::Compacted)));
    }

    #[test]
    fn a_read_is_bounded_in_bytes_but_always_has_one_entry() {
        let log = log((2..=9).map(|index| entry(index, 1, 1000)).collect());
        let some = log.entries(2, 10, Some(2500), GetEntriesContext::empty(false));
        assert_eq!(some.map(|entries| entries.len()), Ok(2));
        let one = log.entries(5, 10, Some(1), GetEntriesContext::empty(false));
        assert_eq!(one.map(|entries| entries[0].index), Ok(5));
    }
}
