//! Segments: the lasting copy of event bytes, a chain of files for each partition.

use crate::{Disk, Error};
use bytes::Bytes;
use model::{Batch, PartitionId};
use std::sync::Arc;

/// Sizes of segments.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A file is closed once it has this many bytes.
    pub segment_bytes: u64,
    /// Newest bytes of one partition that are kept in memory.
    pub tail_bytes: usize,
    /// The same over all partitions.
    pub tail_bytes_total: usize,
    pub open_files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            tail_bytes: 256 << 10,
            tail_bytes_total: 64 << 20,
            open_files: 256,
        }
    }
}

/// One file of a partition, as a manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    pub base: i64,
    pub bytes: u64,
    pub next_offset: i64,
}

/// All partitions of a peer. Share it in an `Arc`: reads and appends lock only their own partition.
pub struct Segments {
    disk: Arc<dyn Disk>,
}

type Unwritten<T> = Result<T, Error>;

impl Segments {
    pub fn open(disk: Arc<dyn Disk>, _limits: Limits) -> Result<Self, Error> {
        Ok(Self { disk })
    }
    fn unwritten<T>(&self) -> Unwritten<T> {
        Err(Error::Misuse(format!("not written yet {:?}", self.disk.list(""))))
    }
    pub fn append(&self, _partition: PartitionId, _batch: &Batch) -> Result<(), Error> {
        self.unwritten()
    }
    pub fn append_many(&self, _partition: PartitionId, _batches: &[Batch]) -> Result<(), Error> {
        self.unwritten()
    }
    /// Whole batches from the one that contains `from`, all below `below`; at least one if there is one.
    pub fn read(
        &self,
        _partition: PartitionId,
        _from: i64,
        _below: i64,
        _bytes_max: usize,
    ) -> Result<Vec<Batch>, Error> {
        self.unwritten()
    }
    pub fn truncate_to(&self, _partition: PartitionId, _next_offset: i64) -> Result<(), Error> {
        self.unwritten()
    }
    pub fn sync(&self, _partitions: &[PartitionId]) -> Result<(), Error> {
        self.unwritten()
    }
    pub fn dirty(&self) -> Vec<PartitionId> {
        Vec::new()
    }
    pub fn trim(&self, _partition: PartitionId, _offset: i64) -> Result<(), Error> {
        self.unwritten()
    }
    pub fn start_offset(&self, _partition: PartitionId) -> Result<i64, Error> {
        self.unwritten()
    }
    pub fn next_offset(&self, _partition: PartitionId) -> Result<i64, Error> {
        self.unwritten()
    }
    /// The first event at or after `time_ms`: its offset and time.
    pub fn position_by_time(
        &self,
        _partition: PartitionId,
        _time_ms: i64,
    ) -> Result<Option<(i64, i64)>, Error> {
        self.unwritten()
    }
    pub fn files(&self, _partition: PartitionId) -> Result<Vec<SegmentFile>, Error> {
        self.unwritten()
    }
    pub fn read_file(
        &self,
        _partition: PartitionId,
        _base: i64,
        _at: u64,
        _len: usize,
    ) -> Result<Bytes, Error> {
        self.unwritten()
    }
    /// Opens a file that is being fetched and returns how many of its bytes are here already.
    pub fn import_begin(&self, _partition: PartitionId, _file: SegmentFile) -> Result<u64, Error> {
        self.unwritten()
    }
    /// Adds bytes to a file that is being fetched; `at` must be its present length.
    pub fn import_write(
        &self,
        _partition: PartitionId,
        _base: i64,
        _at: u64,
        _bytes: &[u8],
    ) -> Result<(), Error> {
        self.unwritten()
    }
    /// Checks and syncs the fetched files and puts them in the place of all that the partition had.
    pub fn import_install(
        &self,
        _partition: PartitionId,
        _files: &[SegmentFile],
    ) -> Result<(), Error> {
        self.unwritten()
    }
    pub fn remove(&self, _partition: PartitionId) -> Result<(), Error> {
        self.unwritten()
    }
}
