//! Open segment files, at most so many at once; the one that was not used for longest goes first.

use super::index::Index;
use crate::disk::{Disk, File};
use model::PartitionId;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// One open segment, with its index once somebody needed it (closed segments only).
pub struct Open {
    pub file: Arc<dyn File>,
    pub index: OnceLock<Index>,
}

type Key = (PartitionId, i64);

pub struct Handles {
    disk: Arc<dyn Disk>,
    max: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: BTreeMap<Key, (Arc<Open>, u64)>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
}

impl Handles {
    pub fn new(disk: Arc<dyn Disk>, max: usize) -> Self {
        Self { disk, max: max.max(1), table: Mutex::default() }
    }

    /// The open segment `base`, opened now if need be.
    pub fn get(&self, partition: PartitionId, base: i64) -> io::Result<Arc<Open>> {
        let key = (partition, base);
        if let Some(open) = self.lock().touch(key) {
            return Ok(open);
        }
        let file = self.disk.open(&super::path(partition, base, "seg"))?;
        Ok(self.put(key, file))
    }

    /// Makes the segment `base`.
    pub fn create(&self, partition: PartitionId, base: i64) -> io::Result<Arc<Open>> {
        let file = self.disk.create(&super::path(partition, base, "seg"))?;
        self.close(partition, base);
        Ok(self.put((partition, base), file))
    }

    /// Forgets a segment whose file has changed or gone.
    pub fn close(&self, partition: PartitionId, base: i64) {
        self.lock().forget((partition, base));
    }

    pub fn close_all(&self, partition: PartitionId) {
        let mut table = self.lock();
        let all = (partition, i64::MIN)..=(partition, i64::MAX);
        let keys: Vec<Key> = table.open.range(all).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| table.forget(key));
    }

    fn put(&self, key: Key, file: Arc<dyn File>) -> Arc<Open> {
        let mut table = self.lock();
        // Somebody else may have opened it meanwhile: one of the two stays.
        if let Some(open) = table.touch(key) {
            return open;
        }
        let open = Arc::new(Open { file, index: OnceLock::new() });
        table.uses += 1;
        let stamp = table.uses;
        table.open.insert(key, (open.clone(), stamp));
        table.by_use.insert(stamp, key);
        while table.open.len() > self.max {
            let Some((_, oldest)) = table.by_use.first_key_value() else { break };
            let oldest = *oldest;
            table.forget(oldest);
        }
        open
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn touch(&mut self, key: Key) -> Option<Arc<Open>> {
        let (open, stamp) = self.open.get_mut(&key)?;
        self.by_use.remove(stamp);
        self.uses += 1;
        *stamp = self.uses;
        self.by_use.insert(self.uses, key);
        Some(open.clone())
    }

    fn forget(&mut self, key: Key) {
        if let Some((_, stamp)) = self.open.remove(&key) {
            self.by_use.remove(&stamp);
        }
    }
}
