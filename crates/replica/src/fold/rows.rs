//! The rows of the tasks' tables: the part of a fold that grows with what people keep.
//!
//! A row is found by a hash of its key, and rewritten in place; an order of keys beside it serves scans. Which rows
//! a checkpoint must keep is a mark on the row itself. No order of a hash is ever seen.

use super::keep::RowChange;
use bytes::Bytes;
use hashbrown::HashTable;
use model::{Changes, MeshId, TaskId, hash};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// All tables of one shard.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    tables: BTreeMap<TaskId, Table>,
    /// Of the hashes: the mesh's own, so that nobody outside can make keys that collide.
    seed: u64,
}

/// The rows of one task.
#[derive(Clone, Debug, Default)]
struct Table {
    seed: u64,
    /// Places of rows in `rows`, by the hash of their keys.
    places: HashTable<u32>,
    /// None at places that are free.
    rows: Vec<Option<Row>>,
    free: Vec<u32>,
    order: BTreeMap<Box<[u8]>, u32>,
    /// Places of rows that changed since the last checkpoint was taken, each once.
    changed: Vec<u32>,
    /// Keys that were removed since then and may be back.
    removed: BTreeSet<Box<[u8]>>,
}

#[derive(Clone, Debug)]
struct Row {
    /// Short keys and values lie in the row itself: looking one up touches little memory.
    key: SmallVec<[u8; 24]>,
    value: SmallVec<[u8; 16]>,
    /// Whether `changed` names it.
    is_changed: bool,
}

impl Rows {
    pub(super) fn new(mesh: MeshId) -> Self {
        Self { tables: BTreeMap::new(), seed: mesh.0 as u64 }
    }

    pub(super) fn get(&self, task: TaskId, key: &[u8]) -> Option<&[u8]> {
        self.tables.get(&task)?.get(key)
    }

    /// Rows whose keys are at or after `from`, in order.
    pub(super) fn scan(&self, task: TaskId, from: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        let table = self.tables.get(&task);
        table.into_iter().flat_map(move |table| table.scan(from))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (TaskId, &[u8], &[u8])> {
        let tables = self.tables.iter();
        tables.flat_map(|(task, table)| table.scan(&[]).map(|(key, value)| (*task, key, value)))
    }

    pub(super) fn apply(&mut self, task: TaskId, changes: &Changes) {
        if changes.is_empty() {
            return;
        }
        let table = self.table(task);
        for (key, value) in changes.iter() {
            match value {
                Some(value) => table.put(key, value),
                None => table.remove(key),
            }
        }
    }

    /// The tasks that have rows.
    pub(super) fn tasks(&self) -> impl Iterator<Item = TaskId> {
        let tables = self.tables.iter().filter(|(_, table)| !table.order.is_empty());
        tables.map(|(task, _)| *task)
    }

    /// Removes the first `most` rows of a task's table; true if it has more.
    pub(super) fn take_from(&mut self, task: TaskId, most: usize) -> bool {
        let Some(table) = self.tables.get_mut(&task) else { return false };
        let first: Vec<Box<[u8]>> = table.order.keys().take(most).cloned().collect();
        first.iter().for_each(|key| table.remove(key));
        !table.order.is_empty()
    }

    /// Puts a row that a checkpoint has.
    pub(super) fn restore(&mut self, task: TaskId, key: &[u8], value: &[u8]) {
        let table = self.table(task);
        table.insert(table.hash(key), key, value, false);
    }

    fn table(&mut self, task: TaskId) -> &mut Table {
        let seed = self.seed;
        self.tables.entry(task).or_insert_with(|| Table { seed, ..Table::default() })
    }

    /// The rows that changed since this was last asked; they count as kept from now on.
    pub(super) fn take_changed(&mut self) -> Vec<RowChange> {
        let mut taken = Vec::new();
        for (task, table) in &mut self.tables {
            table.take_changed(*task, &mut taken);
        }
        // A table without rows gives its memory back: its task may have ended.
        self.tables.retain(|_, table| !table.order.is_empty());
        taken
    }
}

impl Table {
    fn hash(&self, key: &[u8]) -> u64 {
        hash::seeded(self.seed, key)
    }

    fn place(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.places.find(hash, |at| self.has(*at, key)).copied()
    }

    fn has(&self, at: u32, key: &[u8]) -> bool {
        self.rows[at as usize].as_ref().is_some_and(|row| row.key[..] == *key)
    }

    fn row(&self, at: u32) -> &Row {
        self.rows[at as usize].as_ref().expect("places name rows that are there")
    }

    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let at = self.place(self.hash(key), key)?;
        Some(&self.row(at).value)
    }

    fn scan(&self, from: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bounds = (Bound::Included(from), Bound::Unbounded);
        let found = self.order.range::<[u8], _>(bounds);
        found.map(|(key, at)| (&key[..], &self.row(*at).value[..]))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        let hash = self.hash(key);
        let Some(at) = self.place(hash, key) else {
            return self.insert(hash, key, value, true);
        };
        let row = self.rows[at as usize].as_mut().expect("places name rows that are there");
        row.value.clear();
        row.value.extend_from_slice(value);
        if !row.is_changed {
            row.is_changed = true;
            self.changed.push(at);
        }
    }

    fn insert(&mut self, hash: u64, key: &[u8], value: &[u8], is_changed: bool) {
        let row =
            Row { key: SmallVec::from_slice(key), value: SmallVec::from_slice(value), is_changed };
        let at = match self.free.pop() {
            Some(at) => {
                self.rows[at as usize] = Some(row);
                at
            }
            None => {
                self.rows.push(Some(row));
                u32::try_from(self.rows.len() - 1).expect("a table has fewer than 2^32 rows")
            }
        };
        let (rows, seed) = (&self.rows, self.seed);
        self.places.insert_unique(hash, at, |at| {
            rows[*at as usize].as_ref().map_or(0, |row| hash::seeded(seed, &row.key))
        });
        self.order.insert(key.into(), at);
        if is_changed {
            self.changed.push(at);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        let (rows, hash) = (&self.rows, self.hash(key));
        let is_it = |at: &u32| rows[*at as usize].as_ref().is_some_and(|row| row.key[..] == *key);
        let Ok(found) = self.places.find_entry(hash, is_it) else { return };
        let (at, _) = found.remove();
        let row = self.rows[at as usize].take().expect("places name rows that are there");
        if let Some((key, _)) = self.order.remove_entry(&row.key[..]) {
            self.removed.insert(key);
        }
        // A place that `changed` names is not given to another row before that is taken.
        if !row.is_changed {
            self.free.push(at);
        }
    }

    fn take_changed(&mut self, task: TaskId, taken: &mut Vec<RowChange>) {
        for key in std::mem::take(&mut self.removed) {
            if self.place(self.hash(&key), &key).is_none() {
                taken.push((task, Bytes::copy_from_slice(&key), None));
            }
        }
        for at in std::mem::take(&mut self.changed) {
            match &mut self.rows[at as usize] {
                Some(row) => {
                    row.is_changed = false;
                    let value = Bytes::copy_from_slice(&row.value);
                    taken.push((task, Bytes::copy_from_slice(&row.key), Some(value)));
                }
                None => self.free.push(at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::StageId;
    use proptest::prelude::*;

    const TASK: TaskId = TaskId { stage: StageId(1), bucket: 0 };

    type Plain = BTreeMap<Vec<u8>, Vec<u8>>;

    fn all(rows: &Rows) -> Plain {
        rows.all().map(|(_, key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    proptest! {
        #[test]
        fn a_table_is_a_map_and_its_checkpoints_add_up_to_it(
            steps in prop::collection::vec((0u8..20, 0usize..4, 0u8..10), 0..300)
        ) {
            let (mut rows, mut plain, mut kept) = (Rows::new(MeshId(7)), Plain::new(), Plain::new());
            for (key, size, what) in steps {
                let key = vec![key; usize::from(key % 3)];
                if what == 0 {
                    for (_, key, value) in rows.take_changed() {
                        match value {
                            Some(value) => kept.insert(key.to_vec(), value.to_vec()),
                            None => kept.remove(&key[..]),
                        };
                    }
                    prop_assert_eq!(&kept, &plain);
                    continue;
                }
                let value = (what > 3).then(|| vec![what; size]);
                rows.apply(TASK, &[(&key[..], value.as_deref())].into_iter().collect());
                match value {
                    Some(value) => plain.insert(key.clone(), value),
                    None => plain.remove(&key),
                };
                prop_assert_eq!(rows.get(TASK, &key), plain.get(&key).map(Vec::as_slice));
            }
            prop_assert_eq!(&all(&rows), &plain);
            let from = vec![9u8];
            let found: Vec<_> = rows.scan(TASK, &from).map(|(key, _)| key.to_vec()).collect();
            prop_assert_eq!(found, plain.range(from..).map(|(key, _)| key.clone()).collect::<Vec<_>>());
        }
    }
}
