//! What is kept of groups of consumers: the present generation of each, and how far it has come.
//!
//! Invariants: G1 a generation never falls while the group is kept; G2 offsets outlive generations; G3 a group
//! with consumers is never forgotten; G4 names, bytes of one group and bytes of all are bounded.

use crate::limits::{GROUP_BYTES_MAX, GROUP_IDLE_MS, GROUPS_BYTES_MAX, GROUPS_MAX};
use model::PartitionId;
use model::group::{Changed, Committed, Formed, Group, Pending, What};
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
        }
    }

    fn form(&mut self, now_ms: u64, name: String, formed: Formed) -> Changed {
        let none = Formed::default();
        let old = self.get(&name).map_or(&none, |group| &group.formed).size();
        if self.get(&name).is_some_and(|group| formed.generation < group.formed.generation) {
            return Changed::Stale;
        }
        match self.room(now_ms, name, formed.size(), old) {
            None => Changed::Full,
            Some(group) => {
                group.formed = formed;
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
            Some(group) if !group.formed.consumers.is_empty() || !group.pending.is_empty() => {
                Changed::InUse
            }
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
            self.forget_idle(now_ms, &name);
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

    /// Makes room: forgets the groups that nobody has used for long.
    fn forget_idle(&mut self, now_ms: u64, but: &str) {
        let idle = |(name, kept): &(&String, &Kept)| {
            let unused = now_ms.saturating_sub(kept.group.touched_ms) >= GROUP_IDLE_MS;
            let group = &kept.group;
            *name != but && unused && group.formed.consumers.is_empty() && group.pending.is_empty()
        };
        let names: Vec<String> =
            self.kept.iter().filter(idle).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.forget(&name);
        }
    }

    fn forget(&mut self, name: &str) {
        if let Some(kept) = self.kept.remove(name) {
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use model::StreamId;
    use model::group::Consumer;

    const HERE: PartitionId = PartitionId { stream: StreamId(7), partition: 1 };

    fn offset(offset: i64) -> What {
        What::Commit(vec![(HERE, Committed { offset, epoch: 1, metadata: "m".into() })])
    }

    fn generation(generation: i32, consumers: &[&str]) -> What {
        let consumer = |id: &&str| ((*id).to_owned(), Consumer::default());
        let consumers = consumers.iter().map(consumer).collect();
        What::Form(Formed { generation, consumers, ..Formed::default() })
    }

    #[test]
    fn offsets_outlive_generations_and_generations_never_fall() {
        let mut groups = Groups::default();
        assert_eq!(groups.change(1, "g".into(), offset(4)), Changed::Done);
        assert_eq!(groups.change(2, "g".into(), generation(1, &["a", "b"])), Changed::Done);
        assert_eq!(groups.change(3, "g".into(), offset(2)), Changed::Done);
        assert_eq!(groups.change(4, "g".into(), generation(2, &["b"])), Changed::Done);
        assert_eq!(groups.change(5, "g".into(), generation(1, &[])), Changed::Stale);
        let group = groups.get("g").expect("kept");
        assert_eq!((group.formed.generation, group.touched_ms), (2, 4));
        assert_eq!(group.offsets[&HERE].offset, 2);
    }

    #[test]
    fn only_a_group_without_consumers_is_deleted() {
        let mut groups = Groups::default();
        assert_eq!(groups.change(1, "g".into(), What::Delete), Changed::Missing);
        assert_eq!(groups.change(1, "g".into(), generation(1, &["a"])), Changed::Done);
        assert_eq!(groups.change(1, "g".into(), What::Delete), Changed::InUse);
        assert_eq!(groups.change(1, "g".into(), generation(2, &[])), Changed::Done);
        assert_eq!(groups.change(1, "g".into(), What::Delete), Changed::Done);
        assert_eq!(groups, Groups::default());
    }

    #[test]
    fn a_new_group_takes_the_place_of_those_nobody_used_for_long_and_of_no_other() {
        let mut groups = Groups::default();
        for i in 0..GROUPS_MAX {
            assert_eq!(groups.change(0, format!("{i}"), offset(1)), Changed::Done);
        }
        assert_eq!(groups.change(5, "0".into(), generation(1, &["a"])), Changed::Done);
        assert_eq!(groups.change(7, "1".into(), offset(2)), Changed::Done);
        assert_eq!(groups.change(GROUP_IDLE_MS - 1, "new".into(), offset(1)), Changed::Full);
        assert_eq!(groups.change(GROUP_IDLE_MS, "new".into(), offset(1)), Changed::Done);
        let left: Vec<&str> = groups.iter().map(|(name, _)| name).collect();
        assert_eq!(left, ["0", "1", "new"]);
        assert_eq!(groups.bytes, groups.kept.values().map(|kept| kept.bytes).sum::<usize>());
    }

    #[test]
    fn bytes_are_bounded_for_one_group_and_for_all() {
        let mut groups = Groups::default();
        let of_bytes = |count: usize| {
            let assignment = Bytes::from(vec![0; count]);
            let consumer = Consumer { assignment, ..Consumer::default() };
            let consumers = [("a".to_owned(), consumer)].into();
            What::Form(Formed { generation: 1, consumers, ..Formed::default() })
        };
        let before = groups.clone();
        assert_eq!(groups.change(0, "g".into(), of_bytes(GROUP_BYTES_MAX)), Changed::Full);
        assert_eq!(groups, before);
        let most = GROUP_BYTES_MAX - 1024;
        let fit = GROUPS_BYTES_MAX / GROUP_BYTES_MAX;
        for i in 0..fit {
            assert_eq!(groups.change(0, format!("{i}"), of_bytes(most)), Changed::Done);
        }
        assert_eq!(groups.change(0, "more".into(), of_bytes(most)), Changed::Full);
        assert_eq!(groups.change(0, "0".into(), of_bytes(1)), Changed::Done);
        assert_eq!(groups.change(0, "more".into(), of_bytes(most)), Changed::Done);
    }

    #[test]
    fn offsets_of_a_transaction_count_when_it_is_committed_and_never_when_it_is_not() {
        let mut groups = Groups::default();
        let offset = |offset| vec![(HERE, Committed { offset, ..Committed::default() })];
        let mut end = |number, offsets: i64, commit| {
            assert_eq!(groups.pend(0, "g".into(), (9, 1), offset(7)), Stepped::Closed);
            assert_eq!(groups.open(0, "g".into(), (9, 1, number)), Stepped::Done);
            assert_eq!(groups.pend(0, "g".into(), (9, 0), offset(7)), Stepped::Closed, "fenced");
            assert_eq!(groups.pend(0, "g".into(), (9, 1), offset(offsets)), Stepped::Done);
            assert_eq!(groups.change(0, "g".into(), What::Delete), Changed::InUse);
            groups.close(0, "g", (9, number - 1), true);
            assert!(!groups.get("g").expect("kept").pending.is_empty(), "an older one's end");
            groups.close(0, "g", (9, number), commit);
            let group = groups.get("g").expect("kept");
            assert!(group.pending.is_empty());
            assert_eq!(groups.bytes, groups.kept["g"].bytes);
            let all: usize = group.offsets.values().map(Committed::size).sum();
            assert_eq!(groups.bytes, GROUP_BYTES + 1 + all, "what is counted is there");
            group.offsets.get(&HERE).map(|it| it.offset)
        };
        assert_eq!(end(1, 5, false), None);
        assert_eq!(end(2, 6, true), Some(6));
        assert_eq!(end(3, 8, false), Some(6));
        assert_eq!(end(4, 9, true), Some(9));
    }

    #[test]
    fn what_is_counted_is_what_is_there() {
        let mut groups = Groups::default();
        let long = Committed { offset: 9, epoch: 1, metadata: "m".repeat(1000) };
        for what in [generation(1, &["a", "b"]), offset(1), offset(1), generation(2, &["b"])] {
            assert_eq!(groups.change(1, "g".into(), what), Changed::Done);
        }
        let twice = What::Commit(vec![(HERE, Committed::default()), (HERE, long.clone())]);
        assert_eq!(groups.change(1, "g".into(), twice), Changed::Done);
        let group = groups.get("g").expect("kept");
        assert_eq!(group.offsets[&HERE], long);
        let formed = group.formed.size() - Formed::default().size();
        let size = GROUP_BYTES + 1 + formed + long.size();
        assert_eq!((groups.bytes, groups.kept["g"].bytes), (size, size));
    }
}
