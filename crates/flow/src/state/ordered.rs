//! Rows that are found by ranges of their keys: buffers of joins, lists and maps of processors.

use bytes::Bytes;
use model::ChangesBuilder;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Rows in the order of their keys, and what a step changed of them.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    rows: BTreeMap<Bytes, Bytes>,
    /// What this step's rows were before it.
    before: BTreeMap<Bytes, Option<Bytes>>,
}

impl Ordered {
    pub(super) fn restore(&mut self, key: Bytes, value: Bytes) {
        self.rows.insert(key, value);
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.rows.get(key)
    }

    pub(super) fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        let before = match value {
            Some(value) => self.rows.insert(key.clone(), value),
            None => self.rows.remove(&key),
        };
        self.before.entry(key).or_insert(before);
    }

    /// The rows whose keys begin with `prefix`, from `from` on if that lies behind it.
    pub(super) fn range<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &'a [u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> {
        let from = (Bound::Included(prefix.max(from)), Bound::Unbounded);
        let rows = self.rows.range::<[u8], _>(from);
        rows.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The last row whose key begins with `prefix` and is not behind `upto`.
    pub(super) fn last_upto(&self, prefix: &[u8], upto: &[u8]) -> Option<(&Bytes, &Bytes)> {
        if upto < prefix {
            return None;
        }
        let all = (Bound::Included(prefix), Bound::Included(upto));
        self.rows.range::<[u8], _>(all).next_back().filter(|(key, _)| key.starts_with(prefix))
    }

    pub(super) fn is_touched(&self) -> bool {
        !self.before.is_empty()
    }

    pub(super) fn take_back(&mut self) {
        for (key, before) in std::mem::take(&mut self.before) {
            match before {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }

    /// Ends the step; what is as it was is no change.
    pub(super) fn take(&mut self, changes: &mut ChangesBuilder) {
        for (key, before) in std::mem::take(&mut self.before) {
            let value = self.rows.get(&key);
            if value != before.as_ref() {
                changes.push(&key, value.map(|value| &value[..]));
            }
        }
    }
}
