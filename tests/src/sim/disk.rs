//! A peer's disk: a journal whose unsynced end a crash loses or tears, and a store of checkpoints.

use bytes::Bytes;
use model::{Batch, HardState, LogEntry, PartitionId, ReplicaId, TaskId};
use replica::{Checkpoint, Config, Fold, Replica, Restored};
use std::collections::{BTreeMap, VecDeque};

/// Rows of tables as they are kept.
pub type Rows = BTreeMap<(TaskId, Bytes), Bytes>;
/// Batches of partitions, in order.
pub type Segments = BTreeMap<PartitionId, Vec<Batch>>;

/// What outlives a process.
#[derive(Clone, Default)]
pub struct Disk {
    /// What the synced part of the journal says.
    journal: Journal,
    /// Frames that were written and not synced, oldest first, each with the last number in it.
    unsynced: VecDeque<Frame>,
    pub tables: Option<Tables>,
    /// Written without sync, cut to the tables' offsets at start.
    pub segments: Segments,
    /// The highest replica id that was removed here.
    pub tombstone: u64,
}

/// One write of the journal.
#[derive(Clone, Default)]
pub struct Frame {
    pub number: u64,
    pub parts: Vec<Part>,
}

#[derive(Clone)]
pub enum Part {
    /// A new replica begins.
    Begin { replica: ReplicaId, base: (u64, u64), hard: HardState },
    /// Part of an `Action::Persist`.
    Persist { snapshot: Option<(u64, u64)>, entries: Vec<LogEntry>, hard: Option<HardState> },
}

#[derive(Clone, Default)]
struct Journal {
    replica: Option<ReplicaId>,
    base: (u64, u64),
    hard: HardState,
    entries: Vec<LogEntry>,
}

/// A checkpoint as it is kept.
#[derive(Clone)]
pub struct Tables {
    pub replica: ReplicaId,
    pub small: Vec<u8>,
    pub rows: Rows,
}

impl Disk {
    pub fn write(&mut self, frame: Frame) {
        self.unsynced.push_back(frame);
    }

    pub fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// How many frames a sync that starts now covers.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// The first `frames` are on disk; the number of the last.
    pub fn synced(&mut self, frames: usize) -> u64 {
        let mut number = 0;
        for frame in self.unsynced.drain(..frames) {
            number = number.max(frame.number);
            self.journal.take(frame);
        }
        number
    }

    /// The power goes: some first frames happen to be on disk, the next one is torn and all after it are lost.
    pub fn cut(&mut self, kept: usize) {
        self.synced(kept);
        self.unsynced.clear();
    }

    pub fn save(&mut self, replica: ReplicaId, checkpoint: Checkpoint) {
        let kept = self.tables.take().filter(|tables| tables.replica == replica);
        let mut rows = kept.map_or_else(Rows::new, |tables| tables.rows);
        for (task, key, value) in checkpoint.rows {
            match value {
                Some(value) => rows.insert((task, key), value),
                None => rows.remove(&(task, key)),
            };
        }
        self.tables = Some(Tables { replica, small: checkpoint.small, rows });
        self.journal.cut_to(checkpoint.index);
    }

    /// What a start finds: nothing, or a replica to go on with.
    pub fn restore(&mut self, config: &Config) -> Option<Restored> {
        let id = self.journal.replica?;
        let mut restored = Replica::joining(config, id);
        if let Some(tables) = self.tables.as_ref().filter(|tables| tables.replica == id) {
            restored.fold = tables.fold();
        }
        restored.hard = self.journal.hard;
        restored.entries = self.journal.entries.clone();
        restored.base = self.journal.base;
        for (id, batches) in &mut self.segments {
            let next = restored.fold.partition(*id).map_or(0, |partition| partition.next_offset);
            batches.retain(|batch| batch.next_offset() <= next);
        }
        Some(restored)
    }

    /// A replica is removed for good.
    pub fn bury(&mut self, id: ReplicaId) {
        self.tombstone = self.tombstone.max(id.0);
        self.clear();
    }

    /// Forgets everything but which replicas were removed.
    pub fn clear(&mut self) {
        *self = Self { tombstone: self.tombstone, ..Self::default() };
    }
}

impl Tables {
    pub fn fold(&self) -> Fold {
        let rows = self.rows.iter();
        let rows = rows.map(|((task, key), value)| (*task, key.clone(), value.clone()));
        Fold::restore(&self.small, rows).expect("own bytes")
    }
}

impl Journal {
    fn take(&mut self, frame: Frame) {
        for part in frame.parts {
            match part {
                Part::Begin { replica, base, hard } => {
                    *self = Self { replica: Some(replica), base, hard, entries: Vec::new() };
                }
                Part::Persist { snapshot, entries, hard } => self.persist(snapshot, entries, hard),
            }
        }
    }

    fn persist(
        &mut self,
        snapshot: Option<(u64, u64)>,
        entries: Vec<LogEntry>,
        hard: Option<HardState>,
    ) {
        if let Some(at) = snapshot {
            self.base = at;
            self.entries.clear();
        }
        if let Some(first) = entries.first() {
            assert!(first.index > self.base.0, "an entry below the start of the journal");
            self.entries.retain(|entry| entry.index < first.index);
            let last = self.entries.last().map_or(self.base.0, |entry| entry.index);
            assert_eq!(first.index, last + 1, "a gap in the journal");
        }
        self.entries.extend(entries);
        self.hard = hard.unwrap_or(self.hard);
    }

    fn cut_to(&mut self, index: u64) {
        while let Some(first) = self.entries.first()
            && first.index <= index
        {
            self.base = (first.index, first.term);
            self.entries.remove(0);
        }
    }
}
