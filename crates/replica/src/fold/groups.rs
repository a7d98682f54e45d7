//! What is kept of groups of consumers: the present generation of each, and how far it has come.
//!
//! Invariants: G1 a generation never falls while the group is kept; G2 offsets outlive generations; G3 a group
//! with consumers is never forgotten; G4 names, bytes of one group and bytes of all are bounded; G5 a group's
//! consumers share out themselves or its coordinator deals, never both; G6 of dealing each change follows the last.

#[cfg(test)]
mod tests;

use crate::limits::{
    GROUP_BYTES_MAX, GROUP_IDLE_MS, GROUP_UNUSED_MS, GROUPS_BYTES_MAX, GROUPS_MAX,
};
use model::PartitionId;
use model::deal::{self, Deal, Redeal};
use model::group::{Caller, Changed, Committed, Formed, Group, Pending, What};
use model::transaction::Stepped;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Roughly what a group takes that has nothing in it but the form of an empty generation.
const GROUP_BYTES: usize = 128;

/// The groups of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    kept: BTreeMap<String, Kept>,
    bytes: usize,
}

/// One group, and roughly how many bytes it takes with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    group: Group,
    bytes: usize,
}

impl Groups {
    pub fn get(&self, name: &str) -> Option<&Group> {
        self.kept.get(name).map(|kept| &kept.group)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.kept.iter().map(|(name, kept)| (name.as_str(), &kept.group))
    }

    pub fn change(&mut self, now_ms: u64, name: String, what: What) -> Changed {
        match what {
            What::Form(formed) => self.form(now_ms, name, formed),
            What::Commit(offsets) => self.commit(now_ms, name, offsets.into_iter().collect()),
            What::Delete => self.delete(&name),
            What::Deal(redeal) => self.deal(now_ms, name, redeal),
        }
    }

    fn form(&mut self, now_ms: u64, name: String, formed: Formed) -> Changed {
        let none = Formed::default();
        let known = self.get(&name);
        let deal = known.and_then(|group| group.deal.as_ref());
        let old = known.map_or(&none, |group| &group.formed).size() + deal.map_or(0, Deal::size);
        if known.is_some_and(|group| formed.generation < group.formed.generation)
            || deal.is_some_and(|deal| !deal.consumers.is_empty())
        {
            return Changed::Stale;
        }
        match self.room(now_ms, name, formed.size(), old) {
            None => Changed::Full,
            Some(group) => {
                (group.formed, group.deal) = (formed, None);
                Changed::Done
            }
        }
    }

    fn deal(&mut self, now_ms: u64, name: String, redeal: Redeal) -> Changed {
        let known = self.get(&name);
        let deal = known.and_then(|group| group.deal.as_ref());
        if known.is_some_and(|group| !group.formed.consumers.is_empty())
            || redeal.round.version != deal.map_or(0, |deal| deal.round.version) + 1
        {
            return Changed::Stale;
        }
        let size = |(id, it): (&String, &deal::Consumer)| id.len() + it.size();
        let replaced = deal.iter().flat_map(|deal| &deal.consumers);
        let replaced =
            replaced.filter(|(id, _)| redeal.put.contains_key(*id) || redeal.gone.contains(*id));
        let old = replaced.map(size).sum();
        let begins = if deal.is_none() { deal::ROUND_BYTES } else { 0 };
        let new = begins + redeal.put.iter().map(size).sum::<usize>();
        match self.room(now_ms, name, new, old) {
            None => Changed::Full,
            Some(group) => {
                group.deal.get_or_insert_default().take(redeal);
                Changed::Done
            }
        }
    }

    fn commit(
        &mut self,
        now_ms: u64,
        name: String,
        offsets: BTreeMap<PartitionId, Committed>,
    ) -> Changed {
        let known = self.get(&name).map(|group| &group.offsets);
        let old = |id: &PartitionId| known.and_then(|known| known.get(id));
        let old = offsets.keys().filter_map(old).map(Committed::size).sum();
        let new = offsets.values().map(Committed::size).sum();
        match self.room(now_ms, name, new, old) {
            None => Changed::Full,
            Some(group) => {
                group.offsets.extend(offsets);
                Changed::Done
            }
        }
    }

    /// A transaction of a producer (id, epoch, number) will bring offsets.
    pub fn open(
        &mut self,
        now_ms: u64,
        name: String,
        (producer, epoch, number): (i64, i16, u64),
    ) -> Stepped {
        let old = self.get(&name).and_then(|group| group.pending.get(&producer));
        if old.is_some_and(|old| old.number > number) {
            return Stepped::Closed;
        }
        if old.is_some_and(|old| old.number == number) {
            return Stepped::Done;
        }
        let fresh = Pending { epoch, number, offsets: BTreeMap::new() };
        let old = old.map_or(0, Pending::size);
        match self.room(now_ms, name, fresh.size(), old) {
            None => Stepped::Full,
            Some(group) => {
                group.pending.insert(producer, fresh);
                Stepped::Done
            }
        }
    }

    /// Whether the group's present generation has this consumer, or this is the epoch it was told last.
    pub fn counts(&self, name: &str, caller: &Caller) -> bool {
        self.get(name).is_some_and(|group| {
            let Formed { generation, consumers, .. } = &group.formed;
            let dealt = group.deal.as_ref().and_then(|it| it.consumers.get(&caller.consumer));
            *generation == caller.generation && consumers.contains_key(&caller.consumer)
                || dealt.is_some_and(|it| it.epoch == caller.generation)
        })
    }

    /// Keeps what an open transaction of a producer (id, epoch) brings.
    pub fn pend(
        &mut self,
        now_ms: u64,
        name: String,
        (producer, epoch): (i64, i16),
        offsets: Vec<(PartitionId, Committed)>,
    ) -> Stepped {
        let old = self.get(&name).and_then(|group| group.pending.get(&producer));
        let Some(old) = old.filter(|old| old.epoch == epoch) else { return Stepped::Closed };
        let mut new = old.clone();
        new.offsets.extend(offsets);
        let size = old.size();
        match self.room(now_ms, name, new.size(), size) {
            None => Stepped::Full,
            Some(group) => {
                group.pending.insert(producer, new);
                Stepped::Done
            }
        }
    }

    /// The transaction (producer, number) has ended.
    pub fn close(&mut self, now_ms: u64, name: &str, (producer, number): (i64, u64), commit: bool) {
        let Some(kept) = self.kept.get_mut(name) else { return };
        if kept.group.pending.get(&producer).is_none_or(|it| it.number != number) {
            return;
        }
        let Some(pending) = kept.group.pending.remove(&producer) else { return };
        let mut freed = pending.size();
        let mut taken = 0;
        if commit {
            let offsets = &kept.group.offsets;
            let old = pending.offsets.keys().filter_map(|id| offsets.get(id));
            freed += old.map(Committed::size).sum::<usize>();
            taken = pending.offsets.values().map(Committed::size).sum();
            kept.group.offsets.extend(pending.offsets);
        }
        kept.bytes = kept.bytes + taken - freed;
        self.bytes = self.bytes + taken - freed;
        kept.group.touched_ms = now_ms;
    }

    fn delete(&mut self, name: &str) -> Changed {
        match self.get(name) {
            None => Changed::Missing,
            Some(group) if group.has_consumers() || !group.pending.is_empty() => Changed::InUse,
            Some(_) => {
                self.forget(name);
                Changed::Done
            }
        }
    }

    /// The group, made if it is missing, charged with `new` bytes in place of `old` ones; nothing if that
    /// passes a bound.
    fn room(&mut self, now_ms: u64, name: String, new: usize, old: usize) -> Option<&mut Group> {
        let known = self.kept.get(&name).map(|kept| kept.bytes);
        let before = known.unwrap_or(0);
        let after = known.unwrap_or(GROUP_BYTES + name.len()) + new - old;
        let full = |it: &Self| {
            it.bytes - before + after > GROUPS_BYTES_MAX
                || known.is_none() && it.kept.len() >= GROUPS_MAX
        };
        if after > GROUP_BYTES_MAX {
            return None;
        }
        if full(self) {
            self.make_room(now_ms, &name, after.saturating_sub(before));
        }
        if full(self) {
            return None;
        }
        self.bytes = self.bytes - before + after;
        let make = || Kept { group: Group::default(), bytes: 0 };
        let kept = self.kept.entry(name).or_insert_with(make);
        (kept.bytes, kept.group.touched_ms) = (after, now_ms);
        Some(&mut kept.group)
    }

    /// Makes room for this many bytes and for others after it: forgets groups that nobody has used for long, first those
    /// without offsets, and of each kind the oldest.
    fn make_room(&mut self, now_ms: u64, but: &str, bytes: usize) {
        let may_go = |name: &str, group: &Group| {
            let patience_ms =
                if group.offsets.is_empty() { GROUP_UNUSED_MS } else { GROUP_IDLE_MS };
            name != but
                && now_ms.saturating_sub(group.touched_ms) >= patience_ms
                && !group.has_consumers()
                && group.pending.is_empty()
        };
        let may_go = self.iter().filter(|(name, group)| may_go(name, group));
        let mut going: Vec<(bool, u64, String)> = may_go
            .map(|(name, group)| (!group.offsets.is_empty(), group.touched_ms, name.to_owned()))
            .collect();
        going.sort_unstable();
        for (_, _, name) in going {
            let has_room = self.kept.len() < GROUPS_MAX - GROUPS_MAX / 8
                && self.bytes + bytes < GROUPS_BYTES_MAX - GROUPS_BYTES_MAX / 8;
            if has_room {
                break;
            }
            self.forget(&name);
        }
    }

    fn forget(&mut self, name: &str) {
        if let Some(kept) = self.kept.remove(name) {
            self.bytes -= kept.bytes;
        }
    }
}
