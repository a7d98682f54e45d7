//! A view as a test sees it.

use super::fold::Fold;
use crate::key::bucket_of_row;
use bytes::Bytes;
use model::entry::row;
use model::{StageId, TaskId};
use serde_json::Value;
use std::collections::BTreeMap;

/// The rows of one view.
#[derive(Debug)]
pub struct TestView<'a> {
    pub(super) fold: &'a Fold,
    pub(super) stage: StageId,
    pub(super) buckets: u32,
    pub(super) format: &'a str,
}

impl TestView<'_> {
    /// The row of a key, sought where a client's question would look for it.
    pub fn get(&self, key: &str) -> Option<Value> {
        let bucket = bucket_of_row(key.as_bytes(), self.buckets);
        let value = self.fold.row(TaskId { stage: self.stage, bucket }, key.as_bytes())?;
        Some(self.shown(value))
    }

    /// All rows by key.
    pub fn rows(&self) -> BTreeMap<String, Value> {
        let tasks = (0..self.buckets).map(|bucket| TaskId { stage: self.stage, bucket });
        let rows = tasks.flat_map(|task| self.fold.rows(task, row::VIEW));
        rows.map(|(key, value)| (String::from_utf8_lossy(&key).into_owned(), self.shown(value)))
            .collect()
    }

    /// How many rows of state and timers the stage keeps besides.
    pub fn kept(&self) -> usize {
        let tasks = (0..self.buckets).map(|bucket| TaskId { stage: self.stage, bucket });
        tasks.map(|task| self.fold.kept(task)).sum()
    }

    fn shown(&self, value: &Bytes) -> Value {
        if self.format == "u64" {
            let bytes = value[..].try_into().expect("a row of format u64 has eight bytes");
            return u64::from_le_bytes(bytes).into();
        }
        serde_json::from_slice(value).expect("a row of format json is JSON")
    }
}
