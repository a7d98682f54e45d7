//! Consumers come, go, are silent, come back under their instance's name, and say things that are past.

use crate::table::*;
use model::deal::{AWAY, Beat, Hand, LEAVES};
use model::group::Refusal;

#[test]
fn what_one_has_too_much_another_gets_once_it_was_given_up() {
    let mut table = Table::new(4);
    let a = table.enter("a");
    assert_eq!((a.epoch, table.held("a")), (1, vec![0, 1, 2, 3]));
    let b = table.enter("b");
    assert_eq!((b.epoch, b.hand.as_ref().map(Hand::len)), (2, Some(0)), "nothing is free yet");
    assert!(b.beat_ms < a.beat_ms, "who waits asks soon again");
    // It is told at its next sign of life, and keeps its epoch until it has given up two.
    let all = table.kept.consumers["a"].held.clone();
    let told = table.beat(Beat { holds: Some(all.clone()), ..alive("a", 1) }).expect("known");
    assert_eq!((told.epoch, told.hand.expect("it is another").len()), (1, 2));
    assert_eq!(table.commit("a", 1, &[3]), None, "what it owes is its own still");
    assert_eq!(table.obey(&b).hand, None);
    let told = table.obey(&a);
    assert_eq!(told.epoch, 2);
    let told = table.obey(&b);
    assert_eq!(told.hand.map(|hand| hand.len()), Some(2));
    let request = table.ask(model::group::Ask::DescribeDeal);
    let described = table.answer(request);
    let Some(Ok(model::group::Said::DescribedDeal(described))) = described else {
        panic!("{described:?}")
    };
    assert_eq!(described.state, "Stable");
    assert_eq!(described.deal, table.kept);
}

#[test]
fn nothing_is_told_before_the_log_keeps_it() {
    let mut table = Table::new(2);
    let first = table.ask(model::group::Ask::Hold(comes("a").into()));
    let second = table.ask(model::group::Ask::Hold(comes("a").into()));
    assert_eq!((table.answer(first), table.answer(second)), (None, None));
    table.lose();
    let refused = Some(Err(Refusal::NotCoordinator));
    assert_eq!((table.answer(first), table.answer(second)), (refused.clone(), refused));
    table.new_coordinator();
    assert_eq!(table.enter("a").epoch, 1, "the log knows nothing of the first");
}

#[test]
fn an_epoch_that_is_not_the_present_one_is_refused_and_a_lost_answer_is_given_again() {
    let mut table = Table::new(2);
    let a = table.enter("a");
    assert_eq!(table.beat(alive("x", 1)), Err(Refusal::UnknownConsumer));
    assert_eq!(table.beat(alive("a", 2)), Err(Refusal::OldEpoch));
    table.enter("b");
    let told = table.obey(&a);
    let told = table.obey(&told);
    assert_eq!(told.epoch, 2);
    // It has not heard of the second epoch: it says so, with what it holds.
    assert_eq!(table.beat(alive("a", 1)), Err(Refusal::OldEpoch), "it does not say what it holds");
    let many = [0, 1].map(|n| part("rain", n)).into_iter().collect();
    let beat = |holds| Beat { holds: Some(holds), ..alive("a", 1) };
    assert_eq!(table.beat(beat(many)), Err(Refusal::OldEpoch), "it holds too much");
    let again = table.beat(beat(Hand::new())).expect("an answer was lost");
    assert_eq!((again.epoch, again.hand.map(|hand| hand.len())), (2, Some(1)));
    // Commits: with the present epoch, and of what was its own all the while with the one before.
    let own = table.held("a");
    assert_eq!(table.commit("a", 2, &[0, 1]), None);
    assert_eq!(table.commit("a", 1, &own), None);
    assert_eq!(table.commit("a", 1, &[0, 1]), Some(Refusal::StaleEpoch));
    assert_eq!(table.commit("a", 9, &own), Some(Refusal::StaleEpoch));
    assert_eq!(table.commit("x", 2, &own), Some(Refusal::UnknownConsumer));
    assert_eq!(table.commit("", -1, &own), Some(Refusal::UnknownConsumer));
}

#[test]
fn who_is_silent_or_does_not_give_up_in_time_is_out() {
    let mut table = Table::new(4);
    let (a, _) = (table.enter("a"), table.enter("b"));
    table.wait(44_000);
    table.beat(alive("b", 2)).expect("alive");
    table.wait(1_000);
    table.keep();
    assert!(!table.kept.consumers.contains_key("a"), "it was silent for a session");
    assert_eq!(table.beat(alive("a", a.epoch)), Err(Refusal::UnknownConsumer));
    assert_eq!(table.beat(alive("b", 2)).expect("alive").epoch, 3);
    assert_eq!(table.held("b"), [0, 1, 2, 3]);
    // It beats, but holds what it should give up.
    let c = table.enter("c");
    let mine = table.kept.consumers["b"].held.clone();
    for _ in 0..19 {
        table.beat(Beat { holds: Some(mine.clone()), ..alive("b", 3) }).expect("it has time");
        table.obey(&c);
        table.wait(1_000);
        table.keep();
    }
    assert_eq!(table.held("c"), [0; 0], "what is owed is nobody else's");
    table.wait(1_000);
    table.keep();
    assert_eq!(table.beat(alive("b", 3)), Err(Refusal::UnknownConsumer));
    assert_eq!(table.obey(&c).hand.map(|hand| hand.len()), Some(4));
}

#[test]
fn who_leaves_gives_up_all_at_once() {
    let mut table = Table::new(3);
    let a = table.enter("a");
    table.enter("b");
    let told = table.beat(alive("a", LEAVES)).expect("it is known");
    assert_eq!((told.epoch, told.hand), (LEAVES, None));
    assert_eq!(table.beat(alive("a", a.epoch)), Err(Refusal::UnknownConsumer));
    assert_eq!(table.beat(alive("b", 2)).expect("alive").hand.map(|it| it.len()), Some(3));
    table.beat(alive("b", LEAVES)).expect("it is known");
    assert_eq!((table.group.state(), table.group.is_idle()), ("Empty", true));
}

fn instance(id: &str, epoch: i32) -> Beat {
    let beat = if epoch == 0 { comes(id) } else { alive(id, epoch) };
    Beat { instance: Some("i".into()), ..beat }
}

#[test]
fn an_instance_that_is_away_gets_its_own_back_and_nobody_else_notices() {
    let mut table = Table::new(4);
    let a = table.beat(instance("a", 0)).expect("it may come in");
    let b = table.enter("b");
    table.obey(&a);
    table.obey(&a);
    table.obey(&b);
    let (mine, epoch) = (table.held("a"), table.kept.round.epoch);
    assert_eq!(table.beat(instance("c", 0)), Err(Refusal::Unreleased));
    assert_eq!(table.beat(instance("c", 2)), Err(Refusal::Fenced));
    assert_eq!(
        table.beat(alive("b", AWAY)).map_err(|it| matches!(it, Refusal::BadAsk(_))),
        Err(true)
    );
    assert_eq!(table.beat(instance("a", AWAY)).expect("known").epoch, AWAY);
    assert_eq!(table.commit("a", AWAY, &mine), Some(Refusal::StaleEpoch));
    let c = table.beat(instance("c", 0)).expect("its place was kept");
    assert_eq!((c.epoch, table.held("c"), table.kept.round.epoch), (2, mine, epoch));
    assert_eq!(table.beat(instance("a", 2)), Err(Refusal::Fenced));
    assert!(!table.kept.consumers.contains_key("a"));
    // Away again, and for longer than a session.
    table.beat(instance("c", AWAY)).expect("known");
    table.wait(30_000);
    table.obey(&b);
    table.wait(15_000);
    assert_eq!(table.obey(&b).hand.map(|it| it.len()), Some(4));
}

#[test]
fn a_fenced_consumer_comes_in_again_with_nothing_in_its_hands() {
    let mut table = Table::new(4);
    let (a, b) = (table.enter("a"), table.enter("b"));
    assert_eq!(table.beat(alive("a", a.epoch + 5)), Err(Refusal::OldEpoch));
    let again = table.enter("a");
    assert_eq!(table.kept.round.epoch, 2, "it wants what it wanted");
    assert_eq!((again.epoch, again.hand.map(|it| it.len())), (2, Some(2)));
    assert_eq!(table.obey(&b).hand.map(|it| it.len()), Some(2), "it gave up all");
}

#[test]
fn bounds_and_nonsense_are_refused_and_change_nothing() {
    let mut table = Table::new(4);
    table.enter("a");
    let before = table.kept.clone();
    let with = |change: fn(&mut Beat)| {
        let mut beat = comes("b");
        change(&mut beat);
        beat
    };
    let long = |beat: &mut Beat| beat.rack = Some("r".repeat(2_000));
    let much = |beat: &mut Beat| {
        beat.names = Some((0..20_000).map(|n| format!("{n:064}")).collect());
    };
    assert_eq!(table.beat(with(long)), Err(Refusal::Full));
    assert_eq!(table.beat(with(much)), Err(Refusal::Full));
    let assignor = |beat: &mut Beat| beat.assignor = Some("mine".into());
    assert_eq!(table.beat(with(assignor)), Err(Refusal::NoAssignor));
    for pattern in ["(", "a)(b", "(?:x{1000}){1000}"] {
        let beat = Beat { pattern: Some(pattern.into()), ..comes("b") };
        assert_eq!(table.beat(beat), Err(Refusal::BadPattern), "{pattern}");
    }
    assert!(matches!(table.beat(alive("a", -3)), Err(Refusal::BadAsk(_))));
    assert_eq!(table.kept, before);
    for n in 0..16 {
        let beat = Beat { pattern: Some(format!("p{n}")), ..comes(&format!("p{n}")) };
        table.beat(beat).expect("there is room");
    }
    let beat = |pattern: &str| Beat { pattern: Some(pattern.into()), ..comes("b") };
    assert_eq!(table.beat(beat("one more")), Err(Refusal::Full));
    table.beat(beat("p3")).expect("it is there already");
    table.beat(alive("p5", LEAVES)).expect("known");
    table.beat(Beat { consumer: "c".into(), ..beat("one more") }).expect("one is used no more");
}
