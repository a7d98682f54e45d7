//! Values that wait, in the order of their times: rows `[ORDERED] key-length key side time place`.

use super::Unit;
use crate::carry::Failure;
use crate::state::State;
use bytes::Bytes;
use model::entry::row;

/// The sides of a join.
pub(crate) const LEFT: u8 = 0;
pub(crate) const RIGHT: u8 = 1;

/// What all rows of a key and side begin with.
pub(super) fn prefix(key: &[u8], side: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(6 + key.len());
    out.push(row::ORDERED);
    out.extend_from_slice(&(key.len() as u32).to_be_bytes());
    out.extend_from_slice(key);
    out.push(side);
    out
}

/// The side that a row's key says.
pub(super) fn side_of(row_key: &[u8]) -> Option<u8> {
    let (size, rest) = row_key.get(1..)?.split_first_chunk::<4>()?;
    rest.get(u32::from_be_bytes(*size) as usize).copied()
}

/// What all rows of that time begin with.
pub(super) fn time_key(prefix: &[u8], time_ms: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(prefix.len() + 40);
    out.extend_from_slice(prefix);
    out.extend_from_slice(&(time_ms as u64 ^ 1 << 63).to_be_bytes());
    out
}

/// A value that waits.
pub(super) struct Row<'a> {
    pub(super) has_met: bool,
    pub(super) value: &'a [u8],
}

impl<'a> Row<'a> {
    /// A key that no other value has: it ends with the place of the event that brought it.
    pub(super) fn key(prefix: &[u8], time_ms: i64, unit: &Unit, state: &State) -> Bytes {
        let mut out = time_key(prefix, time_ms);
        if let Unit::Event { source, offset } = unit {
            out.extend_from_slice(&source.stream.0.to_be_bytes());
            out.extend_from_slice(&source.partition.to_be_bytes());
            out.extend_from_slice(&offset.to_be_bytes());
        }
        // An event may bring several values of one key and time.
        let last = [&out[..], &[0xff; 4]].concat();
        let nth = state.last_upto(&out, &last).map_or(0, |(key, _)| nth_of(key) + 1);
        out.extend_from_slice(&nth.to_be_bytes());
        out.into()
    }

    /// The time in a row's key; the prefix is the key's.
    pub(super) fn time(prefix: &[u8], key: &[u8]) -> i64 {
        let time = key.get(prefix.len()..prefix.len() + 8).and_then(|time| time.try_into().ok());
        (u64::from_be_bytes(time.unwrap_or_default()) ^ 1 << 63) as i64
    }

    pub(super) fn bytes(has_met: bool, value: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(1 + value.len());
        out.push(u8::from(has_met));
        out.extend_from_slice(value);
        out.into()
    }

    pub(super) fn read(row: &'a [u8]) -> Result<Self, Failure> {
        let (met, value) = row.split_first().ok_or(Failure::new("a waiting value is cut short"))?;
        Ok(Self { has_met: *met != 0, value })
    }
}

/// The count that a row's key ends with.
fn nth_of(key: &[u8]) -> u32 {
    key.last_chunk::<4>().map_or(0, |nth| u32::from_be_bytes(*nth))
}
