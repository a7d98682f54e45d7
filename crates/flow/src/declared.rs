//! What a processor keeps a key, typed: a value, a list, a map. Declared once, as `static`s, with a name, a version
//! and how long it lives.
//!
//! A row is `[VALUE] key-length key name-length name …` (values) or the same in `[ORDERED]` (elements of lists and
//! maps, found by ranges); what it holds stands behind a head of version, expiry and timer.

use crate::carry::{Failure, pack, unpack};
use crate::core::Turn;
use bytes::Bytes;
use model::entry::row;
use serde::{Serialize, de::DeserializeOwned};
use std::marker::PhantomData;
use std::time::Duration;

/// How an older version's bytes become a value; [`Old::read`] reads them as the type they were.
pub type Upgrade<V> = fn(Old<'_>) -> Result<V, Failure>;

/// What an older version kept.
#[derive(Clone, Copy, Debug)]
pub struct Old<'a> {
    pub version: u16,
    bytes: &'a [u8],
}

impl Old<'_> {
    pub fn read<V: DeserializeOwned>(&self) -> Result<V, Failure> {
        unpack(self.bytes)
    }
}

/// What all kinds of kept things say of themselves.
#[derive(Debug)]
struct Shape<V: 'static> {
    name: &'static str,
    version: u16,
    ttl: Option<Duration>,
    upgrade: Option<Upgrade<V>>,
}

/// One value a key.
#[derive(Debug)]
pub struct Value<V: 'static> {
    shape: Shape<V>,
}

/// A list a key.
#[derive(Debug)]
pub struct List<V: 'static> {
    shape: Shape<V>,
}

/// A map a key. Entries are told in the order of their keys' bytes.
#[derive(Debug)]
pub struct Map<K: 'static, V: 'static> {
    shape: Shape<V>,
    keys: PhantomData<fn(K)>,
}

macro_rules! declared {
    ($of:ident, $($types:ident),+; $($more:ident: $with:expr)?) => {
        impl<$($types: 'static),+> $of<$($types),+> {
            /// Names are unique within a processor.
            pub const fn new(name: &'static str) -> Self {
                let shape = Shape { name, version: 1, ttl: None, upgrade: None };
                Self { shape, $($more: $with)? }
            }

            /// What is kept is gone when the watermark has passed the time of its last put by this.
            #[must_use]
            pub const fn ttl(mut self, ttl: Duration) -> Self {
                self.shape.ttl = Some(ttl);
                self
            }

            /// The version of what is kept, from 1 on, and how what older versions kept becomes of this type.
            #[must_use]
            pub const fn version(mut self, version: u16, upgrade: Upgrade<V>) -> Self {
                self.shape.version = version;
                self.shape.upgrade = Some(upgrade);
                self
            }
        }

        impl<$($types: DeserializeOwned + 'static),+> Declared for $of<$($types),+> {
            fn name(&self) -> &'static str {
                self.shape.name
            }

            fn check(&self, row: &[u8]) -> Result<(), Failure> {
                self.shape.read(row).map(drop)
            }
        }
    };
}
declared!(Value, V;);
declared!(List, V;);
declared!(Map, K, V; keys: PhantomData);

/// Anything a processor declares to keep.
pub trait Declared: Sync {
    fn name(&self) -> &'static str;
    /// Whether what a row holds can be read.
    fn check(&self, row: &[u8]) -> Result<(), Failure>;
}

/// In front of what is kept: version (u16), expiry and standing timer (i64 each, ms; little-endian).
const HEAD_BYTES: usize = 18;

#[derive(Clone, Copy)]
struct Head {
    version: u16,
    /// `i64::MAX`: never.
    expires_ms: i64,
    /// When the row's timer fires; a later expiry is looked at then.
    timer_ms: i64,
}

impl Head {
    fn read(row: &[u8]) -> Result<(Self, &[u8]), Failure> {
        let cut = Failure::new("a kept row is cut short");
        let (head, rest) = row.split_first_chunk::<HEAD_BYTES>().ok_or(cut)?;
        let time =
            |at: usize| i64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let version = u16::from_le_bytes([head[0], head[1]]);
        Ok((Self { version, expires_ms: time(2), timer_ms: time(10) }, rest))
    }

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.expires_ms.to_le_bytes());
        out.extend_from_slice(&self.timer_ms.to_le_bytes());
    }
}

impl<V: DeserializeOwned> Shape<V> {
    fn read(&self, row: &[u8]) -> Result<V, Failure> {
        let (Head { version, .. }, bytes) = Head::read(row)?;
        let name = self.name;
        let told = |failure: Failure| {
            Failure::new(format!("{name:?}, kept by version {version}: {}", failure.cause()))
        };
        if version == self.version {
            return unpack(bytes).map_err(told);
        }
        match self.upgrade {
            Some(upgrade) if version < self.version => {
                upgrade(Old { version, bytes }).map_err(told)
            }
            _ => Err(told(Failure::new(format!("this is version {}", self.version)))),
        }
    }
}

/// What all rows of a key and name begin with.
fn row_prefix(space: u8, key: &[u8], name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(7 + key.len() + name.len() + 8);
    out.push(space);
    out.extend_from_slice(&(key.len() as u32).to_be_bytes());
    out.extend_from_slice(key);
    out.push(name.len().min(255) as u8);
    out.extend_from_slice(name.as_bytes());
    out
}

/// The name and key in a row's key.
pub(crate) fn name_of(row_key: &[u8]) -> Option<(&str, &[u8])> {
    let (size, rest) = row_key.get(1..)?.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)?;
    let (size, rest) = rest.split_first()?;
    let name = std::str::from_utf8(rest.get(..usize::from(*size))?).ok()?;
    Some((name, key))
}

/// Removes a row whose time is over, or looks again when it will be.
pub(crate) fn expire(at_ms: i64, row_key: &[u8], turn: &mut Turn) -> Result<(), Failure> {
    let Some(kept) = get(turn, row_key) else { return Ok(()) };
    let (mut head, rest) = Head::read(&kept)?;
    if head.expires_ms <= at_ms {
        return set(turn, row_key, None);
    }
    head.timer_ms = head.expires_ms;
    let mut out = Vec::with_capacity(kept.len());
    head.put(&mut out);
    out.extend_from_slice(rest);
    set(turn, row_key, Some(out.into()))?;
    turn.set_expiry(head.timer_ms, row_key)
}

fn get(turn: &mut Turn, row_key: &[u8]) -> Option<Bytes> {
    match row_key.split_first() {
        Some((&row::ORDERED, _)) => turn.state.ordered(row_key).cloned(),
        Some((&space, key)) => turn.state.get(space, key).map(Bytes::copy_from_slice),
        None => None,
    }
}

fn set(turn: &mut Turn, row_key: &[u8], value: Option<Bytes>) -> Result<(), Failure> {
    let Some((&space, key)) = row_key.split_first() else { return Ok(()) };
    match (space, value) {
        (row::ORDERED, Some(value)) => {
            turn.state.put_ordered(Bytes::copy_from_slice(row_key), value)?;
        }
        (row::ORDERED, None) => turn.state.remove_ordered(Bytes::copy_from_slice(row_key)),
        (space, Some(value)) => turn.state.put(space, key, value)?,
        (space, None) => turn.state.remove(space, key),
    }
    Ok(())
}

/// One kept row of the key at hand.
fn put<V: Serialize>(
    turn: &mut Turn,
    time_ms: i64,
    shape: &Shape<V>,
    row_key: &[u8],
    value: &V,
) -> Result<(), Failure> {
    let mut head = Head { version: shape.version, expires_ms: i64::MAX, timer_ms: i64::MAX };
    if let Some(ttl) = shape.ttl {
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        head.expires_ms = time_ms.saturating_add(ttl_ms).saturating_add(1);
        let standing = match get(turn, row_key) {
            Some(kept) => Some(Head::read(&kept)?.0).filter(|kept| kept.timer_ms < i64::MAX),
            None => None,
        };
        // An event out of order does not shorten the life of what is kept.
        head.expires_ms = standing.map_or(head.expires_ms, |of| of.expires_ms.max(head.expires_ms));
        head.timer_ms = standing.map_or(head.expires_ms, |of| of.timer_ms);
        if standing.is_none() {
            turn.set_expiry(head.timer_ms, row_key)?;
        }
    }
    let mut out = Vec::new();
    head.put(&mut out);
    pack(value, &mut out)?;
    set(turn, row_key, Some(out.into()))
}

/// Whether a row's time is not over yet.
fn is_live(row: &[u8], watermark_ms: i64) -> Result<bool, Failure> {
    Ok(Head::read(row)?.0.expires_ms > watermark_ms)
}

/// The value of the key at hand.
#[derive(Debug)]
pub struct ValueOf<'a, V: 'static> {
    turn: &'a mut Turn,
    time_ms: i64,
    of: &'static Value<V>,
    row_key: Vec<u8>,
}

impl<'a, V: Serialize + DeserializeOwned + 'static> ValueOf<'a, V> {
    pub(crate) fn new(turn: &'a mut Turn, key: &[u8], time_ms: i64, of: &'static Value<V>) -> Self {
        Self { row_key: row_prefix(row::VALUE, key, of.shape.name), turn, time_ms, of }
    }

    pub fn get(&mut self) -> Result<Option<V>, Failure> {
        let Some(kept) = get(self.turn, &self.row_key) else { return Ok(None) };
        if !is_live(&kept, self.turn.watermark_ms)? {
            return Ok(None);
        }
        self.of.shape.read(&kept).map(Some)
    }

    pub fn put(&mut self, value: &V) -> Result<(), Failure> {
        put(self.turn, self.time_ms, &self.of.shape, &self.row_key, value)
    }

    pub fn remove(&mut self) -> Result<(), Failure> {
        set(self.turn, &self.row_key, None)
    }
}

/// The list of the key at hand.
#[derive(Debug)]
pub struct ListOf<'a, V: 'static> {
    turn: &'a mut Turn,
    time_ms: i64,
    of: &'static List<V>,
    prefix: Vec<u8>,
}

impl<'a, V: Serialize + DeserializeOwned + 'static> ListOf<'a, V> {
    pub(crate) fn new(turn: &'a mut Turn, key: &[u8], time_ms: i64, of: &'static List<V>) -> Self {
        Self { prefix: row_prefix(row::ORDERED, key, of.shape.name), turn, time_ms, of }
    }

    /// All elements, the oldest first.
    pub fn get(&self) -> Result<Vec<V>, Failure> {
        let mut all = Vec::new();
        for (_, kept) in self.turn.state.range(&self.prefix, &[]) {
            if is_live(kept, self.turn.watermark_ms)? {
                all.push(self.of.shape.read(kept)?);
            }
        }
        Ok(all)
    }

    pub fn push(&mut self, value: &V) -> Result<(), Failure> {
        let last = [&self.prefix[..], &[0xff; 8]].concat();
        let last = self.turn.state.last_upto(&self.prefix, &last);
        let place = last.and_then(|(key, _)| key.last_chunk::<8>());
        let next = place.map_or(0, |place| u64::from_be_bytes(*place) + 1);
        let row_key = [&self.prefix[..], &next.to_be_bytes()].concat();
        put(self.turn, self.time_ms, &self.of.shape, &row_key, value)
    }

    pub fn remove(&mut self) -> Result<(), Failure> {
        remove_all(self.turn, &self.prefix);
        Ok(())
    }
}

/// The map of the key at hand.
#[derive(Debug)]
pub struct MapOf<'a, K: 'static, V: 'static> {
    turn: &'a mut Turn,
    time_ms: i64,
    of: &'static Map<K, V>,
    prefix: Vec<u8>,
}

impl<'a, K, V> MapOf<'a, K, V>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    pub(crate) fn new(
        turn: &'a mut Turn,
        key: &[u8],
        time_ms: i64,
        of: &'static Map<K, V>,
    ) -> Self {
        Self { prefix: row_prefix(row::ORDERED, key, of.shape.name), turn, time_ms, of }
    }

    fn row_key(&self, key: &K) -> Result<Vec<u8>, Failure> {
        let mut out = self.prefix.clone();
        pack(key, &mut out)?;
        Ok(out)
    }

    pub fn get(&self, key: &K) -> Result<Option<V>, Failure> {
        let row_key = self.row_key(key)?;
        match self.turn.state.ordered(&row_key) {
            Some(kept) if is_live(kept, self.turn.watermark_ms)? => {
                self.of.shape.read(kept).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub fn put(&mut self, key: &K, value: &V) -> Result<(), Failure> {
        let row_key = self.row_key(key)?;
        put(self.turn, self.time_ms, &self.of.shape, &row_key, value)
    }

    pub fn remove(&mut self, key: &K) -> Result<(), Failure> {
        let row_key = self.row_key(key)?;
        set(self.turn, &row_key, None)
    }

    pub fn entries(&self) -> Result<Vec<(K, V)>, Failure> {
        let mut all = Vec::new();
        for (row_key, kept) in self.turn.state.range(&self.prefix, &[]) {
            if is_live(kept, self.turn.watermark_ms)? {
                all.push((unpack(&row_key[self.prefix.len()..])?, self.of.shape.read(kept)?));
            }
        }
        Ok(all)
    }

    pub fn clear(&mut self) -> Result<(), Failure> {
        remove_all(self.turn, &self.prefix);
        Ok(())
    }
}

fn remove_all(turn: &mut Turn, prefix: &[u8]) {
    let keys: Vec<Bytes> = turn.state.range(prefix, &[]).map(|(key, _)| key.clone()).collect();
    keys.into_iter().for_each(|key| turn.state.remove_ordered(key));
}
