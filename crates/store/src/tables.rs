//! Tables: the lasting copy of each shard's state.

use crate::Error;
use bytes::Bytes;
use model::{HardState, ReplicaId, ShardId, TaskId};
use std::path::Path;

/// Where in its log a saved fold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub replica: ReplicaId,
    pub index: u64,
    pub term: u64,
    pub hard: HardState,
}

/// A saved fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub applied: Applied,
    /// The encoded fold without its rows.
    pub small: Vec<u8>,
    /// In order of task and key.
    pub rows: Vec<(TaskId, Bytes, Bytes)>,
}

/// The tables of all shards of a peer.
pub struct Tables;

impl Tables {
    pub fn open(_path: &Path) -> Result<Self, Error> {
        Ok(Self)
    }
    /// Saves a fold and the rows that changed, as one: all or nothing of it survives. Not synced.
    pub fn save(
        &self,
        _shard: ShardId,
        _applied: Applied,
        _small: &[u8],
        _rows: &[(TaskId, Bytes, Option<Bytes>)],
    ) -> Result<(), Error> {
        Err(Error::Misuse("not written yet".into()))
    }
    /// Saves a fold in place of all that the shard had. Not synced.
    pub fn replace(
        &self,
        _shard: ShardId,
        _applied: Applied,
        _small: &[u8],
        _rows: &[(TaskId, Bytes, Bytes)],
    ) -> Result<(), Error> {
        Err(Error::Misuse("not written yet".into()))
    }
    /// Makes all saves last.
    pub fn sync(&self) -> Result<(), Error> {
        Err(Error::Misuse("not written yet".into()))
    }
    pub fn load(&self, _shard: ShardId) -> Result<Option<Saved>, Error> {
        Ok(None)
    }
    /// The shards that have a saved fold, with where it stands.
    pub fn shards(&self) -> Result<Vec<(ShardId, Applied)>, Error> {
        Ok(Vec::new())
    }
    pub fn remove(&self, _shard: ShardId) -> Result<(), Error> {
        Err(Error::Misuse("not written yet".into()))
    }
}
