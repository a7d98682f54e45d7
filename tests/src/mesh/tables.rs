//! The tables of a host, modelled: each save is one change that survives wholly or not at all, in order.
//!
//! Differs from `store::Tables` only in where it lies: fjall opens real files and has threads of its own.

use crate::sim::dice::Dice;
use bytes::Bytes;
use model::{ShardId, TaskId};
use std::collections::BTreeMap;
use store::{Applied, Saved};

/// Rows of one shard.
type Rows = BTreeMap<(TaskId, Bytes), Bytes>;

#[derive(Clone)]
struct Table {
    applied: Applied,
    small: Vec<u8>,
    rows: Rows,
}

#[derive(Clone)]
enum Change {
    Save {
        shard: ShardId,
        applied: Applied,
        small: Vec<u8>,
        rows: Vec<(TaskId, Bytes, Option<Bytes>)>,
    },
    Replace {
        shard: ShardId,
        table: Table,
    },
    Remove {
        shard: ShardId,
    },
}

/// What processes read, what a power cut surely leaves, and the changes between the two.
#[derive(Clone, Default)]
pub struct Tables {
    now: BTreeMap<ShardId, Table>,
    kept: BTreeMap<ShardId, Table>,
    pending: Vec<Change>,
}

impl Tables {
    pub fn save(
        &mut self,
        shard: ShardId,
        applied: Applied,
        small: Vec<u8>,
        rows: Vec<(TaskId, Bytes, Option<Bytes>)>,
    ) -> bool {
        let takes = self.takes(shard, applied);
        if takes {
            self.change(Change::Save { shard, applied, small, rows });
        }
        takes
    }

    pub fn replace(
        &mut self,
        shard: ShardId,
        applied: Applied,
        small: Vec<u8>,
        rows: &[(TaskId, Bytes, Bytes)],
    ) -> bool {
        let takes = self.takes(shard, applied);
        if takes {
            let rows = rows.iter().map(|(task, key, value)| ((*task, key.clone()), value.clone()));
            let table = Table { applied, small, rows: rows.collect() };
            self.change(Change::Replace { shard, table });
        }
        takes
    }

    /// False if a newer fold or replica is there.
    fn takes(&self, shard: ShardId, applied: Applied) -> bool {
        let there = self.now.get(&shard).map(|table| (table.applied.replica, table.applied.index));
        there.is_none_or(|there| there <= (applied.replica, applied.index))
    }

    pub fn remove(&mut self, shard: ShardId) {
        self.change(Change::Remove { shard });
    }

    fn change(&mut self, change: Change) {
        change.clone().onto(&mut self.now);
        self.pending.push(change);
    }

    /// Everything so far is on disk.
    pub fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.onto(&mut self.kept);
        }
    }

    /// The power goes: some first changes happen to be on disk, the others are lost.
    pub fn cut(&mut self, dice: &mut Dice) {
        let kept = dice.range(0, self.pending.len() as u64 + 1) as usize;
        for change in self.pending.drain(..).take(kept) {
            change.onto(&mut self.kept);
        }
        self.now = self.kept.clone();
    }

    pub fn load(&self, shard: ShardId) -> Option<Saved> {
        let table = self.now.get(&shard)?;
        let rows = table.rows.iter();
        let rows = rows.map(|((task, key), value)| (*task, key.clone(), value.clone())).collect();
        Some(Saved { applied: table.applied, small: table.small.clone(), rows })
    }
}

impl Change {
    fn onto(self, tables: &mut BTreeMap<ShardId, Table>) {
        match self {
            Self::Save { shard, applied, small, rows } => {
                let there = tables.remove(&shard);
                let there = there.filter(|table| table.applied.replica == applied.replica);
                let mut all = there.map_or_else(Rows::new, |table| table.rows);
                for (task, key, value) in rows {
                    match value {
                        Some(value) => all.insert((task, key), value),
                        None => all.remove(&(task, key)),
                    };
                }
                tables.insert(shard, Table { applied, small, rows: all });
            }
            Self::Replace { shard, table } => drop(tables.insert(shard, table)),
            Self::Remove { shard } => drop(tables.remove(&shard)),
        }
    }
}
