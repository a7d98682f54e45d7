//! A map that forgets what was used longest ago: the bound of everything that remembers senders.
//!
//! Every use is by an applied entry, so what is forgotten is the same on every replica.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// At most `MAX` values by key, the least recently used is forgotten first.
#[derive(Clone, Debug)]
pub struct Recent<K, V, const MAX: usize> {
    values: BTreeMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    next: u64,
}

impl<K, V, const MAX: usize> Default for Recent<K, V, MAX> {
    fn default() -> Self {
        Self { values: BTreeMap::new(), order: BTreeMap::new(), next: 0 }
    }
}

impl<K: Ord + Clone, V, const MAX: usize> Recent<K, V, MAX> {
    /// The value, without counting as a use.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// The key that makes room when this one is touched.
    pub fn displaced(&self, key: &K) -> Option<&K> {
        let is_full = self.values.len() >= MAX && !self.values.contains_key(key);
        self.order.values().next().filter(|_| is_full)
    }

    /// The value, made if it is missing; it is now the most recently used.
    pub fn touch(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let stamp = self.next;
        match self.values.get(&key) {
            Some((newest, _)) if newest + 1 == stamp => {}
            Some((old, _)) => {
                self.order.remove(old);
                self.order.insert(stamp, key.clone());
                self.next += 1;
            }
            None => {
                if self.values.len() >= MAX
                    && let Some((_, oldest)) = self.order.pop_first()
                {
                    self.values.remove(&oldest);
                }
                self.order.insert(stamp, key.clone());
                self.next += 1;
            }
        }
        let newest = self.next - 1;
        let slot = self.values.entry(key).or_insert_with(|| (newest, make()));
        slot.0 = newest;
        &mut slot.1
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.values.len()
    }
}

impl<K: Ord + Serialize, V: Serialize, const MAX: usize> Serialize for Recent<K, V, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.order.values().map(|key| (key, &self.values[key].1)))
    }
}

impl<'de, K, V, const MAX: usize> Deserialize<'de> for Recent<K, V, MAX>
where
    K: Ord + Clone + Deserialize<'de>,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Vec::<(K, V)>::deserialize(deserializer)?;
        if all.len() > MAX {
            return Err(D::Error::custom("more is remembered than may be"));
        }
        let mut recent = Self::default();
        for (key, value) in all {
            recent.touch(key, || value);
        }
        Ok(recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_is_forgotten_first() {
        let mut recent = Recent::<u8, u32, 3>::default();
        for key in [1, 2, 3] {
            *recent.touch(key, || 0) += u32::from(key);
        }
        recent.touch(1, || 0);
        recent.touch(4, || 9);
        assert_eq!(recent.len(), 3);
        assert_eq!(
            [1, 2, 3, 4].map(|key| recent.get(&key).copied()),
            [Some(1), None, Some(3), Some(9)]
        );
    }

    #[test]
    fn order_survives_encoding() {
        let mut recent = Recent::<u8, u32, 3>::default();
        for key in [3, 1, 2, 3] {
            recent.touch(key, || u32::from(key));
        }
        let bytes = model::codec::encode(1, &recent);
        let mut back: Recent<u8, u32, 3> = model::codec::decode(1, &bytes).expect("own bytes");
        assert_eq!(model::codec::encode(1, &back), bytes);
        back.touch(9, || 9);
        assert_eq!((back.get(&1), back.get(&3)), (None, Some(&3)));
    }
}
