//! Groups as a log keeps them: what counts, what goes, what is bounded.

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
fn only_consumers_of_the_present_generation_count() {
    let mut groups = Groups::default();
    groups.change(1, "g".into(), generation(3, &["a"]));
    let caller = |generation, consumer: &str| Caller {
        generation,
        consumer: consumer.into(),
        instance: None,
    };
    assert!(groups.counts("g", &caller(3, "a")));
    assert!(!groups.counts("g", &caller(2, "a")));
    assert!(!groups.counts("g", &caller(3, "b")));
    assert!(!groups.counts("h", &caller(3, "a")));
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
fn a_new_group_takes_the_place_of_the_oldest_that_nobody_uses() {
    let mut groups = Groups::default();
    for i in 0..GROUPS_MAX {
        assert_eq!(groups.change(i as u64, format!("{i}"), offset(1)), Changed::Done);
    }
    assert_eq!(groups.change(0, "0".into(), generation(1, &["a"])), Changed::Done);
    assert_eq!(groups.change(GROUP_IDLE_MS - 1, "1".into(), offset(2)), Changed::Done);
    assert_eq!(groups.change(GROUP_IDLE_MS + 1, "new".into(), offset(1)), Changed::Full);
    assert_eq!(groups.change(GROUP_IDLE_MS + 2, "new".into(), offset(1)), Changed::Done);
    let gone = (0..GROUPS_MAX).filter(|i| groups.get(&i.to_string()).is_none());
    assert_eq!(gone.collect::<Vec<_>>(), [2], "0 has a consumer, 1 has moved, 3 is too young");
    assert_eq!(groups.bytes, groups.kept.values().map(|kept| kept.bytes).sum::<usize>());
}

#[test]
fn groups_without_offsets_go_first_and_soon_and_take_no_more_than_room_with_them() {
    let mut groups = Groups::default();
    assert_eq!(groups.change(0, "honest".into(), offset(1)), Changed::Done);
    for i in 1..GROUPS_MAX {
        assert_eq!(groups.change(9, format!("{i:04}"), generation(1, &[])), Changed::Done);
    }
    let now_ms = 9 + GROUP_UNUSED_MS;
    assert_eq!(groups.change(now_ms - 1, "new".into(), offset(1)), Changed::Full);
    assert_eq!(groups.change(now_ms, "new".into(), offset(1)), Changed::Done);
    assert!(groups.get("honest").is_some() && groups.get("1023").is_some());
    assert_eq!(groups.kept.len(), GROUPS_MAX - GROUPS_MAX / 8);
    // Once more, when the honest one is as old as may be and the oldest of all.
    for i in 0..GROUPS_MAX / 8 {
        let now_ms = GROUP_IDLE_MS - 1;
        assert_eq!(groups.change(now_ms, format!("x{i}"), offset(1)), Changed::Done);
    }
    assert_eq!(groups.change(GROUP_IDLE_MS, "last".into(), offset(1)), Changed::Done);
    assert!(groups.get("honest").is_some(), "others have no offsets");
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

fn redeal(version: u64, put: &[(&str, i32)], gone: &[&str]) -> What {
    let consumer = |(id, epoch): &(&str, i32)| {
        let target = [HERE].into();
        ((*id).to_owned(), deal::Consumer { epoch: *epoch, target, ..deal::Consumer::default() })
    };
    let round = deal::Round { version, epoch: 7, ..deal::Round::default() };
    let gone = gone.iter().map(|id| (*id).to_owned()).collect();
    What::Deal(Redeal { round, put: put.iter().map(consumer).collect(), gone })
}

#[test]
fn of_dealing_each_change_counts_only_after_the_one_before_it() {
    let mut groups = Groups::default();
    assert_eq!(groups.change(1, "g".into(), redeal(2, &[("a", 1)], &[])), Changed::Stale);
    assert_eq!(groups, Groups::default());
    assert_eq!(groups.change(1, "g".into(), redeal(1, &[("a", 1), ("b", 1)], &[])), Changed::Done);
    assert_eq!(groups.change(1, "g".into(), redeal(1, &[("c", 1)], &[])), Changed::Stale);
    assert_eq!(groups.change(1, "g".into(), redeal(2, &[("b", 2)], &["a"])), Changed::Done);
    let group = groups.get("g").expect("kept");
    let deal = group.deal.as_ref().expect("it was dealt");
    assert_eq!((group.kind(), group.generation(), group.consumers().count()), ("consumer", 7, 1));
    assert_eq!((deal.round.version, deal.consumers["b"].epoch), (2, 2));
    assert_eq!(groups.bytes, GROUP_BYTES + 1 + deal.size(), "what is counted is there");
    let caller = |generation, consumer: &str| Caller {
        generation,
        consumer: consumer.into(),
        instance: None,
    };
    assert!(groups.counts("g", &caller(2, "b")));
    assert!(!groups.counts("g", &caller(1, "b")) && !groups.counts("g", &caller(1, "a")));
}

#[test]
fn a_group_is_dealt_or_shares_out_itself_and_changes_that_only_without_consumers() {
    let mut groups = Groups::default();
    assert_eq!(groups.change(1, "g".into(), offset(4)), Changed::Done);
    assert_eq!(groups.change(1, "g".into(), generation(3, &["a"])), Changed::Done);
    assert_eq!(groups.change(1, "g".into(), redeal(1, &[("b", 1)], &[])), Changed::Stale);
    assert_eq!(groups.change(1, "g".into(), generation(4, &[])), Changed::Done);
    assert_eq!(groups.change(1, "g".into(), redeal(1, &[("b", 1)], &[])), Changed::Done);
    assert_eq!(groups.change(1, "g".into(), What::Delete), Changed::InUse);
    assert_eq!(groups.change(1, "g".into(), generation(5, &["a"])), Changed::Stale);
    assert_eq!(groups.change(1, "g".into(), redeal(2, &[], &["b"])), Changed::Done);
    assert_eq!(groups.change(1, "g".into(), generation(3, &["a"])), Changed::Stale, "it falls");
    assert_eq!(groups.change(1, "g".into(), generation(5, &["a"])), Changed::Done);
    let group = groups.get("g").expect("kept");
    assert_eq!((&group.deal, group.offsets[&HERE].offset), (&None, 4));
    assert_eq!(groups.bytes, groups.kept["g"].bytes);
    let formed = group.formed.size() - Formed::default().size();
    let size = GROUP_BYTES + 1 + formed + group.offsets[&HERE].size();
    assert_eq!(groups.bytes, size, "what is counted is there");
}
