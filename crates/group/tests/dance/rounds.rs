//! Generations: how they begin, who is in them, and what ends them.

use crate::table::*;
use bytes::Bytes;
use model::group::{Ask, Caller, Formed, Join, Refusal, Said};

#[test]
fn those_that_start_together_share_one_generation() {
    let mut table = Table::new();
    let asked: Vec<u64> = (0..3).map(|_| table.enter()).collect();
    assert_eq!(table.group.state(), "PreparingRebalance");
    table.wait(FIRST_MS);
    let joined: Vec<_> = asked.into_iter().map(|request| table.joined(request)).collect();
    assert!(joined.iter().all(|it| it.generation == 1 && it.leader == joined[0].leader));
    let leaders: Vec<_> = joined.iter().filter(|it| it.consumer == it.leader).collect();
    assert_eq!(leaders.len(), 1);
    assert_eq!(leaders[0].consumers.len(), 3, "the leader sees all");
    let others = joined.iter().filter(|it| it.consumer != it.leader);
    assert!(others.into_iter().all(|it| it.consumers.is_empty() && it.protocol == "range"));
}

#[test]
fn nobody_hears_an_assignment_before_the_log_keeps_it() {
    let mut table = Table::new();
    let request = table.enter();
    table.wait(FIRST_MS);
    let joined = table.joined(request);
    let request = table.sync(&joined, &[(&joined.consumer, "all")]);
    assert_eq!((table.answer(request), table.group.state()), (None, "CompletingRebalance"));
    assert_eq!(table.keeps[0].1.consumers[&joined.consumer].assignment, "all");
    table.keep();
    assert_eq!((table.synced(request), table.group.state()), ("all".into(), "Stable"));
}

#[test]
fn a_generation_that_the_log_does_not_keep_is_formed_again() {
    let mut table = Table::new();
    let request = table.enter();
    table.wait(FIRST_MS);
    let joined = table.joined(request);
    let request = table.sync(&joined, &[(&joined.consumer, "all")]);
    table.lose();
    assert_eq!(table.answer(request), Some(Err(Refusal::NotCoordinator)));
    assert_eq!(table.group.state(), "PreparingRebalance");
    let request = table.ask(Ask::Join(join(&joined.consumer)));
    assert_eq!(table.joined(request).generation, 2);
}

#[test]
fn a_newcomer_and_a_leaver_each_make_all_others_join_anew() {
    let mut table = Table::new();
    let (a, b) = table.two();
    let c = table.enter();
    assert_eq!(table.beat(&a), Err(Refusal::Rebalancing));
    let again = [&a, &b].map(|it| table.ask(Ask::Join(join(&it.consumer))));
    let joined = [again[0], again[1], c].map(|request| table.joined(request));
    assert!(joined.iter().all(|it| it.generation == 2));
    let leaving = vec![(b.consumer.clone(), None), ("nobody".into(), None)];
    let request = table.ask(Ask::Leave(leaving));
    let nobody = ("nobody".into(), None, Err(Refusal::UnknownConsumer));
    let left = Said::Left(vec![(b.consumer.clone(), None, Ok(())), nobody]);
    assert_eq!(table.answer(request), Some(Ok(left)));
    assert_eq!(table.beat(&joined[0]), Err(Refusal::Rebalancing));
    assert_eq!(table.beat(&joined[1]), Err(Refusal::UnknownConsumer));
}

#[test]
fn a_silent_consumer_is_out_after_its_session_and_one_that_beats_is_not() {
    let mut table = Table::new();
    let (a, b) = table.two();
    for _ in 0..3 {
        table.wait(4_000);
        assert_eq!(
            table.beat(&a),
            if table.now_ms < 10_000 { Ok(()) } else { Err(Refusal::Rebalancing) }
        );
    }
    assert_eq!(table.beat(&b), Err(Refusal::UnknownConsumer));
    let again = table.ask(Ask::Join(join(&a.consumer)));
    assert_eq!(table.joined(again).consumers.len(), 1);
}

#[test]
fn who_does_not_come_in_time_is_left_behind() {
    let mut table = Table::new();
    let (a, b) = table.two();
    let c = table.enter();
    let again = table.ask(Ask::Join(join(&a.consumer)));
    // It goes on beating and never joins.
    for _ in 0..4 {
        assert_eq!(table.beat(&b), Err(Refusal::Rebalancing));
        assert_eq!(table.answer(again), None);
        table.wait(REBALANCE_MS as u64 / 4);
    }
    let (a, c) = (table.joined(again), table.joined(c));
    assert_eq!((a.generation, c.generation), (2, 2));
    assert_eq!(table.beat(&b), Err(Refusal::UnknownConsumer));
}

#[test]
fn a_leader_that_does_not_share_out_is_left_behind() {
    let mut table = Table::new();
    let (a, b) = (table.enter(), table.enter());
    table.wait(FIRST_MS);
    let (a, b) = (table.joined(a), table.joined(b));
    let (leader, other) = if a.leader == a.consumer { (a, b) } else { (b, a) };
    let waiting = table.sync(&other, &[]);
    for _ in 0..4 {
        assert_eq!(table.beat(&leader), Ok(()));
        table.wait(REBALANCE_MS as u64 / 4);
    }
    assert_eq!(table.answer(waiting), Some(Err(Refusal::Rebalancing)));
    assert_eq!(table.beat(&leader), Err(Refusal::UnknownConsumer));
    let request = table.ask(Ask::Join(join(&other.consumer)));
    let joined = table.joined(request);
    assert_eq!((joined.generation, joined.leader), (2, other.consumer));
}

#[test]
fn an_id_that_was_given_and_does_not_come_back_is_forgotten() {
    let mut table = Table::new();
    let request = table.ask(Ask::Join(Join { comes_back: true, ..join("") }));
    let Some(Err(Refusal::ComeBack(id))) = table.answer(request) else { panic!("no id") };
    assert!(id.starts_with("app-") && !table.group.is_idle());
    table.wait(SESSION_MS as u64);
    assert!(table.group.is_idle());
    let request = table.ask(Ask::Join(join(&id)));
    assert_eq!(table.answer(request), Some(Err(Refusal::UnknownConsumer)));
}

#[test]
fn an_answer_that_was_not_heard_is_given_again() {
    let mut table = Table::new();
    let (a, b) = (table.enter(), table.enter());
    table.wait(FIRST_MS);
    let (a, b) = (table.joined(a), table.joined(b));
    for joined in [&a, &b] {
        let request = table.ask(Ask::Join(join(&joined.consumer)));
        assert_eq!(table.joined(request), *joined);
    }
    let (first, second) = (table.sync(&a, &[]), table.sync(&a, &[]));
    assert_eq!(table.answer(first), Some(Err(Refusal::Rebalancing)), "given up by its client");
    let third = table.sync(&b, &[]);
    table.keep();
    for request in [second, third] {
        assert_eq!(table.synced(request), "");
    }
    // Now that all is settled a follower hears it again and a leader shares out anew.
    let (leader, other) = if a.leader == a.consumer { (a, b) } else { (b, a) };
    let request = table.ask(Ask::Join(join(&other.consumer)));
    assert_eq!(table.joined(request).generation, 1);
    let request = table.ask(Ask::Join(join(&leader.consumer)));
    assert_eq!((table.answer(request), table.group.state()), (None, "PreparingRebalance"));
}

#[test]
fn the_way_to_share_is_one_that_all_know_and_most_like() {
    let mut table = Table::new();
    let knows = |names: &[&str]| Join {
        protocols: names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect(),
        ..join("")
    };
    let asked = [&["sticky", "range"][..], &["range", "sticky"], &["old", "range", "sticky"]]
        .map(|names| table.ask(Ask::Join(knows(names))));
    let alone = table.ask(Ask::Join(knows(&["old"])));
    assert_eq!(table.answer(alone), Some(Err(Refusal::Inconsistent)));
    let kind = Join { kind: "connect".into(), ..knows(&["range"]) };
    let other = table.ask(Ask::Join(kind));
    assert_eq!(table.answer(other), Some(Err(Refusal::Inconsistent)));
    table.wait(FIRST_MS);
    assert!(asked.into_iter().all(|request| table.joined(request).protocol == "range"));
}

#[test]
fn commits_pass_for_the_present_generation_only() {
    let mut table = Table::new();
    let commit = |caller: Caller| Ask::Commit { caller, offsets: Vec::new() };
    let nobody = Caller { generation: -1, ..Caller::default() };
    let request = table.ask(commit(nobody.clone()));
    assert_eq!(table.passed, [request], "a group without consumers keeps offsets for anybody");
    let (a, b) = table.two();
    let check = |table: &mut Table, caller: Caller, expected: Option<Refusal>| {
        let request = table.ask(commit(caller));
        let passed = table.passed.contains(&request);
        assert_eq!((passed, table.answer(request)), (expected.is_none(), expected.map(Err)));
    };
    check(&mut table, nobody, Some(Refusal::UnknownConsumer));
    check(&mut table, caller(&a), None);
    check(&mut table, Caller { generation: 0, ..caller(&a) }, Some(Refusal::OldGeneration));
    // While others come, what was consumed so far is still committed.
    let c = table.enter();
    check(&mut table, caller(&a), None);
    let again = [&a, &b].map(|it| table.ask(Ask::Join(join(&it.consumer))));
    let joined = [again[0], again[1], c].map(|request| table.joined(request));
    check(&mut table, caller(&joined[0]), Some(Refusal::Rebalancing));
    check(&mut table, caller(&a), Some(Refusal::OldGeneration));
}

#[test]
fn only_a_group_without_consumers_is_deleted() {
    let mut table = Table::new();
    assert_eq!(table.group.state(), "Dead");
    let request = table.ask(Ask::Delete);
    assert_eq!(table.passed, [request]);
    table.two();
    let request = table.ask(Ask::Delete);
    assert_eq!(table.answer(request), Some(Err(Refusal::InUse)));
}

#[test]
fn a_group_that_was_deleted_is_not_known_any_more() {
    let mut table = Table::of(Formed { generation: 3, ..Formed::default() });
    assert_eq!(table.group.state(), "Empty");
    let request = table.ask(Ask::Delete);
    assert_eq!((table.passed.as_slice(), table.group.state()), (&[request][..], "Dead"));
    // Who commits offsets afterwards makes it anew.
    table.ask(Ask::Commit {
        caller: Caller { generation: -1, ..Caller::default() },
        offsets: vec![],
    });
    assert_eq!(table.group.state(), "Empty");
}

#[test]
fn what_the_log_keeps_is_enough_to_go_on() {
    let mut table = Table::new();
    let (a, b) = table.two();
    let mut next = Table::of(table.kept.clone());
    assert_eq!(next.group.state(), "Stable");
    assert_eq!((next.beat(&a), next.beat(&b)), (Ok(()), Ok(())));
    let request = next.sync(&b, &[]);
    assert_eq!(next.synced(request), "two");
    // Its clock begins anew: nobody is out before a whole session.
    next.wait(SESSION_MS as u64 - 1);
    assert_eq!(next.beat(&a), Ok(()));
    next.wait(1);
    assert_eq!(next.beat(&a), Err(Refusal::Rebalancing));
    assert_eq!(next.beat(&b), Err(Refusal::UnknownConsumer));
}

#[test]
fn the_last_one_leaves_an_empty_generation_that_the_log_keeps() {
    let mut table = Table::new();
    let (a, b) = table.two();
    let both = [&a, &b].map(|it| (it.consumer.clone(), None));
    table.ask(Ask::Leave(both.to_vec()));
    assert_eq!(table.group.state(), "Empty");
    table.keep();
    assert_eq!((table.kept.generation, table.kept.consumers.len()), (2, 0));
    let request = table.enter();
    table.wait(FIRST_MS);
    assert_eq!(table.joined(request).generation, 3);
}

#[test]
fn sessions_and_sizes_out_of_bounds_are_refused() {
    let mut table = Table::new();
    let mut check = |join: Join, expected: Refusal| {
        let request = table.ask(Ask::Join(join));
        assert_eq!(table.answer(request), Some(Err(expected)));
    };
    check(Join { session_ms: 5_999, ..join("") }, Refusal::BadSession);
    check(Join { session_ms: 1_800_001, ..join("") }, Refusal::BadSession);
    check(Join { kind: String::new(), ..join("") }, Refusal::Inconsistent);
    check(Join { protocols: Vec::new(), ..join("") }, Refusal::Inconsistent);
    let huge = Bytes::from(vec![0; 4 << 20]);
    check(Join { protocols: vec![("range".into(), huge)], ..join("") }, Refusal::Full);
    check(Join { client: "c".repeat(5_000), ..join("") }, Refusal::Full);
    let comes_back = || Join { comes_back: true, ..join("") };
    for _ in 0..1_000 {
        table.ask(Ask::Join(comes_back()));
    }
    let request = table.ask(Ask::Join(comes_back()));
    assert_eq!(table.answer(request), Some(Err(Refusal::Full)));
}
