//! What is dealt, of which streams, in which way; and the other way to share.

use crate::table::*;
use bytes::Bytes;
use model::deal::{Beat, LEAVES};
use model::group::{Ask, Caller, Join, Refusal, Said, Sync};

fn hand(table: &Table, id: &str) -> usize {
    table.kept.consumers[id].held.len()
}

#[test]
fn streams_that_come_grow_and_go_are_dealt_anew() {
    let mut table = Table::new(2);
    let names = Some(vec!["rain".to_owned(), "snow".to_owned()]);
    let told = table.beat(Beat { names, ..comes("a") }).expect("it may come in");
    assert_eq!(hand(&table, "a"), 2, "there is no snow yet");
    table.wait(SOON_MS);
    table.stream("snow", 3);
    let told = table.obey(&told);
    assert_eq!((told.epoch, hand(&table, "a")), (2, 5));
    table.stream("rain", 4);
    let told = table.obey(&told);
    assert_eq!(hand(&table, "a"), 7);
    // What is no more is owed as anything else.
    table.stream("snow", 0);
    let told = table.obey(&told);
    assert_eq!((told.epoch, hand(&table, "a")), (3, 4));
    let told = table.obey(&told);
    let epoch = table.kept.round.epoch;
    assert_eq!(told.epoch, epoch);
    // Of streams that nobody wants nobody hears.
    table.stream("hail", 8);
    table.keep();
    assert_eq!(table.kept.round.epoch, epoch);
}

#[test]
fn a_pattern_matches_whole_names_of_those_that_are_there_and_of_those_to_come() {
    let mut table = Table::new(1);
    table.stream("rain-2", 1);
    table.stream("drain", 1);
    let beat = Beat { names: None, pattern: Some("rain.*".into()), ..comes("a") };
    let told = table.beat(beat).expect("it may come in");
    assert_eq!(hand(&table, "a"), 2);
    table.stream("rain-3", 1);
    let told = table.obey(&told);
    assert_eq!(hand(&table, "a"), 3);
    // An empty one is none.
    let none = Beat { pattern: Some(String::new()), ..alive("a", told.epoch) };
    table.beat(none).expect("known");
    assert_eq!(hand(&table, "a"), 0);
    assert_eq!(table.kept.consumers["a"].pattern, None);
}

#[test]
fn a_catalogue_that_is_older_than_the_one_it_was_dealt_by_deals_nothing() {
    let mut table = Table::new(2);
    let old = table.catalogue.clone();
    table.stream("snow", 2);
    let names = Some(vec!["rain".to_owned(), "snow".to_owned()]);
    let told = table.beat(Beat { names: names.clone(), ..comes("a") }).expect("it may come in");
    assert_eq!(hand(&table, "a"), 4);
    let new = std::mem::replace(&mut table.catalogue, old);
    table.new_coordinator();
    let b = table.beat(Beat { names, ..comes("b") }).expect("it may come in");
    assert_eq!((b.epoch, hand(&table, "b")), (1, 0));
    assert_eq!(table.group.state(), "Assigning");
    table.catalogue = new;
    table.stream("hail", 1);
    table.keep();
    assert_eq!(table.kept.round.dealt, 2);
    table.obey(&told);
    table.obey(&told);
    assert_eq!(table.obey(&b).hand.map(|it| it.len()), Some(2));
}

#[test]
fn the_assignor_is_the_one_that_most_prefer() {
    let mut table = Table::new(4);
    let prefers = |id: &str, name: &str| Beat { assignor: Some(name.into()), ..comes(id) };
    table.enter("a");
    assert_eq!(table.kept.round.assignor, "uniform");
    table.beat(prefers("b", "range")).expect("it may come in");
    table.wait(SOON_MS);
    table.keep();
    assert_eq!(table.kept.round.assignor, "range");
    table.beat(prefers("c", "uniform")).expect("it may come in");
    table.wait(SOON_MS);
    table.beat(prefers("d", "uniform")).expect("it may come in");
    assert_eq!(table.kept.round.assignor, "uniform");
}

fn join(id: &str) -> Ask {
    Ask::Join(Join {
        consumer: id.into(),
        session_ms: 10_000,
        rebalance_ms: 10_000,
        kind: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
        ..Join::default()
    })
}

#[test]
fn a_group_shares_in_one_way_at_a_time_and_may_change_it_when_it_is_empty() {
    let mut table = Table::new(2);
    let describe = |table: &mut Table, ask| table.hear(ask);
    assert_eq!(describe(&mut table, Ask::DescribeDeal), Err(Refusal::NotDealt));
    table.enter("a");
    assert_eq!(table.hear(join("")), Err(Refusal::Inconsistent));
    let caller = Caller { generation: 1, consumer: "a".into(), instance: None };
    assert_eq!(table.hear(Ask::Beat(caller.clone())), Err(Refusal::UnknownConsumer));
    let sync = Ask::Sync(Sync { caller: caller.clone(), ..Sync::default() });
    assert_eq!(table.hear(sync), Err(Refusal::UnknownConsumer));
    assert_eq!(table.hear(Ask::Delete), Err(Refusal::InUse));
    assert_eq!(table.hear(Ask::Read(caller.clone())), Ok(Said::Done));
    let old = Caller { generation: 7, ..caller.clone() };
    assert_eq!(table.hear(Ask::Read(old)), Err(Refusal::StaleEpoch));
    let Ok(Said::Described(shown)) = describe(&mut table, Ask::Describe) else { panic!("shown") };
    assert_eq!(shown.state, "Dead", "to those who ask in the old way");

    table.beat(alive("a", LEAVES)).expect("known");
    assert!(table.group.is_dealt());
    let request = table.ask(join(""));
    table.wait(400);
    let Some(Ok(Said::Joined(joined))) = table.answer(request) else { panic!("it is empty") };
    assert!(!table.group.is_dealt());
    assert_eq!(table.hear(Ask::Hold(comes("b").into())), Err(Refusal::NotDealt));
    let caller =
        Caller { generation: joined.generation, consumer: joined.consumer.clone(), instance: None };
    table.hear(Ask::Leave(vec![(joined.consumer, None)])).expect("known");
    assert_eq!(table.hear(Ask::Beat(caller)), Err(Refusal::UnknownConsumer));
    // The log forgot what had been dealt with the first generation.
    table.kept = Default::default();
    assert_eq!(table.enter("b").epoch, 1);
}
