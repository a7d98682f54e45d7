//! How a fold is kept and read back: small state whole, rows only where they changed.

use super::origins::Origins;
use super::rows::Rows;
use super::{Fold, Small};
use crate::error::Error;
use bytes::Bytes;
use model::planted::{self, Mutant};
use model::{TaskId, codec, hash};

/// The version of the small state's bytes.
const VERSION: u8 = 10;

/// A row as it is kept: `None` when it was removed.
pub type RowChange = (TaskId, Bytes, Option<Bytes>);

impl Fold {
    /// Reads a fold from a checkpoint's small bytes and all rows that were kept.
    pub fn restore(
        small: &[u8],
        rows: impl Iterator<Item = (TaskId, Bytes, Bytes)>,
    ) -> Result<Self, Error> {
        let small: Small = codec::decode(VERSION, small).map_err(|e| Error::Fold(e.to_string()))?;
        let mut fold = Self { rows: Rows::new(small.mesh), small };
        for (task, key, value) in rows {
            fold.rows.restore(task, &key, &value);
        }
        Ok(fold)
    }

    /// Adds rows that were kept: those of a large fold come in pieces.
    pub fn bring(&mut self, rows: &[(TaskId, Bytes, Bytes)]) {
        for (task, key, value) in rows {
            self.rows.restore(*task, key, value);
        }
    }

    /// The fold without its rows, as bytes.
    pub fn small(&self) -> Vec<u8> {
        codec::encode(VERSION, &self.small)
    }

    /// Every row, in order: what a snapshot exports.
    pub fn rows(&self) -> impl Iterator<Item = (TaskId, &[u8], &[u8])> {
        self.rows.all()
    }

    /// The rows that changed since this was last asked; they count as kept from now on.
    pub(crate) fn take_changed(&mut self) -> Vec<RowChange> {
        self.rows.take_changed()
    }

    /// What a snapshot brought, without what is left out of it on purpose.
    pub(crate) fn brought(mut self) -> Self {
        if planted::is(Mutant::SnapshotWithoutPositions) {
            self.small.tasks.values_mut().for_each(|task| task.positions.clear());
        }
        if planted::is(Mutant::SnapshotWithoutWindows) {
            self.small.origins = Origins::default();
        }
        self
    }

    /// A digest of everything in the fold: equal folds have equal ones. It reads every row.
    pub fn digest(&self) -> u64 {
        let mut digest = hash::hash64(&self.small());
        let mut row = Vec::new();
        for (task, key, value) in self.rows() {
            row.clear();
            row.extend_from_slice(&digest.to_le_bytes());
            codec::encode_into(&mut row, &(task, key, value));
            digest = hash::hash64(&row);
        }
        digest
    }
}
