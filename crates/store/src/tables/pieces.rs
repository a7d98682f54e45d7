//! Rows on their way between peers, in pieces: at no time are all rows of a shard copied in memory.
//!
//! [`Frozen`] reads a saved fold's rows as they were at one moment, whatever is saved after it. [`Tables::begin`],
//! [`Tables::put`] and [`Tables::finish`] take another peer's rows under a generation of their own, which becomes the
//! shard's in the one write of its state; a fetch that was overtaken by another, or by a removal, is told so.

use super::{Applied, Opened, ROW_BYTES, Tables, WRITE_BYTES, read_task, row_key, rows_prefix};
use crate::Error;
use bytes::Bytes;
use fjall::{Readable, Snapshot};
use model::{ShardId, TaskId};
use std::ops::Bound;
use std::sync::{Arc, Weak};

/// A row with the task whose table it is in.
pub type Row = (TaskId, Bytes, Bytes);

/// The rows of a saved fold at the moment it was frozen. The tables keep what it needs until it is dropped.
pub struct Frozen {
    snapshot: Snapshot,
    /// Gone when the tables are opened anew.
    opened: Weak<Opened>,
    shard: ShardId,
    generation: u32,
}

impl Frozen {
    /// The rows after a place, in order: about `bytes_max` bytes, at least one row, none when that was all.
    pub fn read(
        &self,
        after: Option<(TaskId, &[u8])>,
        bytes_max: usize,
    ) -> Result<Vec<Row>, Error> {
        let gone = || Error::Missing("rows that were frozen: the tables were opened anew".into());
        let opened = self.opened.upgrade().ok_or_else(gone)?;
        let prefix = rows_prefix(self.shard, self.generation);
        let from = match after {
            Some((task, key)) => Bound::Excluded(row_key(self.shard, self.generation, task, key)),
            None => Bound::Included(prefix.to_vec()),
        };
        let (mut found, mut bytes) = (Vec::new(), 0);
        for row in self.snapshot.range::<Vec<u8>, _>(&opened.rows, (from, Bound::Unbounded)) {
            let (key, value) = row.into_inner()?;
            if !key.starts_with(&prefix) || bytes >= bytes_max {
                break;
            }
            bytes += key.len() + value.len();
            let task = read_task(&key);
            let task = task.ok_or_else(|| Error::Rot(format!("a row of {}", self.shard)))?;
            found.push((task, Bytes::copy_from_slice(&key[ROW_BYTES..]), value.to_vec().into()));
        }
        Ok(found)
    }
}

impl Tables {
    /// Holds on to a shard's rows as they are saved now, and says of which fold they are.
    pub fn freeze(&self, shard: ShardId) -> Result<Option<(Applied, Frozen)>, Error> {
        let _changing = self.changing();
        self.with(|opened| {
            let Some((generation, applied)) = opened.state(shard)? else { return Ok(None) };
            let (snapshot, opened) = (opened.database.snapshot(), Arc::downgrade(opened));
            Ok(Some((applied, Frozen { snapshot, opened, shard, generation })))
        })
    }

    /// Makes room for rows that another peer sends; returns the generation to put them under. Whoever began before
    /// is overtaken.
    pub fn begin(&self, shard: ShardId) -> Result<u32, Error> {
        let mut changing = self.changing();
        self.with(|opened| {
            let current = opened.state(shard)?.map(|(generation, _)| generation);
            opened.sweep(shard, current)?;
            Ok(changing.next(shard, current))
        })
    }

    /// Adds rows to a generation that was begun; false if it was overtaken.
    pub fn put(&self, shard: ShardId, generation: u32, rows: &[Row]) -> Result<bool, Error> {
        let changing = self.changing();
        if !changing.is_latest(shard, generation) {
            return Ok(false);
        }
        self.with(|opened| {
            let mut batch = opened.database.batch();
            let mut bytes = 0;
            for (task, key, value) in rows {
                bytes += key.len() + value.len();
                batch.insert(&opened.rows, row_key(shard, generation, *task, key), &value[..]);
                if bytes > WRITE_BYTES {
                    std::mem::replace(&mut batch, opened.database.batch()).commit()?;
                    bytes = 0;
                }
            }
            batch.commit()?;
            Ok(true)
        })
    }

    /// Saves a fold whose rows are the generation's, in place of all that the shard had. Not synced. False if it was
    /// overtaken or a newer fold is there.
    pub fn finish(
        &self,
        shard: ShardId,
        generation: u32,
        applied: Applied,
        small: &[u8],
    ) -> Result<bool, Error> {
        let changing = self.changing();
        self.with(|opened| {
            let newer =
                opened.state(shard)?.is_some_and(|(_, there)| there.is_newer_than(&applied));
            if newer || !changing.is_latest(shard, generation) {
                return Ok(false);
            }
            let mut batch = opened.database.batch();
            opened.put_state(&mut batch, shard, generation, applied, small);
            batch.commit()?;
            opened.sweep(shard, Some(generation))?;
            Ok(true)
        })
    }
}
