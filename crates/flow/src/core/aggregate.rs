//! What is kept per key, and how an item changes it.

use crate::carry::{Failure, json, pack, unpack};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// An aggregate: a value a key, changed by items, shown as a row.
pub(crate) trait Kept: Send + Sync + 'static {
    type Value: Send;
    /// Whether the row shows all there is, so that nothing else need be kept.
    const ROW_IS_ALL: bool;

    fn start(&self) -> Self::Value;
    fn add(&self, value: &mut Self::Value, item: &[u8]) -> Result<(), Failure>;
    /// Whether two values of a key can become one.
    fn merges(&self) -> bool;
    /// Takes the later value into the earlier one; never called where `merges` says no.
    fn merge(&self, value: &mut Self::Value, other: Self::Value) -> Result<(), Failure>;
    fn keep(&self, value: &Self::Value) -> Result<Bytes, Failure>;
    fn load(&self, bytes: &[u8]) -> Result<Self::Value, Failure>;
    /// The view's row.
    fn row(&self, value: &Self::Value) -> Result<Bytes, Failure>;
    /// What an output stream gets.
    fn event(&self, value: &Self::Value) -> Result<Bytes, Failure>;
    /// An item's value for a dead letter.
    fn show(&self, item: &[u8]) -> Bytes;
}

/// Counts items. Its row is the number, 8 bytes little-endian.
#[derive(Debug)]
pub(crate) struct Counting;

impl Kept for Counting {
    type Value = u64;
    const ROW_IS_ALL: bool = true;

    fn start(&self) -> u64 {
        0
    }
    fn add(&self, value: &mut u64, _item: &[u8]) -> Result<(), Failure> {
        *value += 1;
        Ok(())
    }
    fn merges(&self) -> bool {
        true
    }
    fn merge(&self, value: &mut u64, other: u64) -> Result<(), Failure> {
        *value = value.checked_add(other).ok_or(Failure::new("the count overflows"))?;
        Ok(())
    }
    fn keep(&self, value: &u64) -> Result<Bytes, Failure> {
        Ok(Bytes::copy_from_slice(&value.to_le_bytes()))
    }
    fn load(&self, bytes: &[u8]) -> Result<u64, Failure> {
        let bytes = <[u8; 8]>::try_from(bytes);
        Ok(u64::from_le_bytes(bytes.map_err(|_| Failure::new("the kept count is no u64"))?))
    }
    fn row(&self, value: &u64) -> Result<Bytes, Failure> {
        self.keep(value)
    }
    fn event(&self, value: &u64) -> Result<Bytes, Failure> {
        json(value)
    }
    fn show(&self, _item: &[u8]) -> Bytes {
        Bytes::new()
    }
}

/// Folds items of type `T` into `S`, shown as `R`. Its row is JSON.
pub(crate) struct Folding<T, S, R> {
    pub(crate) init: Arc<dyn Fn() -> S + Send + Sync>,
    pub(crate) add: AddItem<T, S>,
    /// None: values that were folded apart cannot become one.
    pub(crate) merge: Option<MergeValues<S>>,
    pub(crate) finish: Arc<dyn Fn(&S) -> R + Send + Sync>,
}

/// How one item changes what is kept.
pub(crate) type AddItem<T, S> = Arc<dyn Fn(&mut S, &T) -> Result<(), Failure> + Send + Sync>;
/// How two kept values become one.
pub(crate) type MergeValues<S> = Arc<dyn Fn(&mut S, S) -> Result<(), Failure> + Send + Sync>;

impl<T, S, R> Kept for Folding<T, S, R>
where
    T: Serialize + DeserializeOwned + 'static,
    S: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
{
    type Value = S;
    const ROW_IS_ALL: bool = false;

    fn start(&self) -> S {
        (self.init)()
    }
    fn add(&self, value: &mut S, item: &[u8]) -> Result<(), Failure> {
        (self.add)(value, &unpack(item)?)
    }
    fn merges(&self) -> bool {
        self.merge.is_some()
    }
    fn merge(&self, value: &mut S, other: S) -> Result<(), Failure> {
        match &self.merge {
            Some(merge) => merge(value, other),
            None => Err(Failure::new("this aggregate says no merge")),
        }
    }
    fn keep(&self, value: &S) -> Result<Bytes, Failure> {
        let mut out = Vec::new();
        pack(value, &mut out)?;
        Ok(out.into())
    }
    fn load(&self, bytes: &[u8]) -> Result<S, Failure> {
        unpack(bytes)
    }
    fn row(&self, value: &S) -> Result<Bytes, Failure> {
        json(&(self.finish)(value))
    }
    fn event(&self, value: &S) -> Result<Bytes, Failure> {
        self.row(value)
    }
    fn show(&self, item: &[u8]) -> Bytes {
        super::process::shown::<T>(item)
    }
}
