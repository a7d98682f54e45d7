//! Static consumers: a name outlives the process.

use crate::table::*;
use model::group::{Ask, Caller, Join, Joined, Refusal, Said};

fn instance(name: &str) -> Join {
    Join { instance: Some(name.into()), comes_back: true, ..join("") }
}

/// Two instances share; the first leads.
fn two(table: &mut Table) -> (Joined, Joined) {
    let (a, b) = (table.ask(Ask::Join(instance("a"))), table.ask(Ask::Join(instance("b"))));
    table.wait(FIRST_MS);
    let (a, b) = (table.joined(a), table.joined(b));
    assert!(a.leader == a.consumer && a.consumer.starts_with("a-"));
    let asked =
        [table.sync(&a, &[(&a.consumer, "one"), (&b.consumer, "two")]), table.sync(&b, &[])];
    table.keep();
    assert_eq!(asked.map(|request| table.synced(request)), ["one", "two"]);
    (a, b)
}

#[test]
fn a_restarted_instance_gets_its_assignment_back_and_nobody_else_notices() {
    let mut table = Table::new();
    let (a, b) = two(&mut table);
    let request = table.ask(Ask::Join(instance("b")));
    assert_eq!(table.answer(request), None, "the log keeps its new id first");
    table.keep();
    let again = table.joined(request);
    assert!(again.generation == 1 && again.consumer != b.consumer);
    let request = table.sync(&again, &[]);
    assert_eq!(table.synced(request), "two");
    assert_eq!(table.beat(&a), Ok(()));
    let old = Caller { instance: Some("b".into()), ..caller(&b) };
    let request = table.ask(Ask::Beat(old));
    assert_eq!(table.answer(request), Some(Err(Refusal::Fenced)));
    let request = table.ask(Ask::Join(Join { consumer: b.consumer, ..instance("b") }));
    assert_eq!(table.answer(request), Some(Err(Refusal::Fenced)));
}

#[test]
fn a_restarted_leader_does_not_share_out_anew() {
    for skips in [false, true] {
        let mut table = Table::new();
        let (a, b) = two(&mut table);
        let request = table.ask(Ask::Join(Join { skips, ..instance("a") }));
        table.keep();
        let again = table.joined(request);
        let told = (again.leader == again.consumer, again.skip, again.consumers.len());
        assert_eq!(told, if skips { (true, true, 2) } else { (false, false, 0) });
        let request = table.sync(&again, &[]);
        assert_eq!(table.synced(request), "one");
        assert_eq!(table.beat(&b), Ok(()));
        assert_eq!(table.kept.leader, again.consumer);
        assert_ne!(table.kept.leader, a.consumer);
    }
}

#[test]
fn an_instance_that_wants_something_else_makes_all_join_anew() {
    let mut table = Table::new();
    let (a, _) = two(&mut table);
    let protocols = vec![("range".into(), "other topics".into())];
    let request = table.ask(Ask::Join(Join { protocols, ..instance("b") }));
    assert_eq!((table.answer(request), table.beat(&a)), (None, Err(Refusal::Rebalancing)));
}

#[test]
fn an_instance_that_is_away_is_waited_for_until_its_session_ends() {
    let mut table = Table::new();
    let (a, b) = two(&mut table);
    // A third comes, the first joins again, the second restarts at this moment.
    let (c, again) =
        (table.enter(), table.ask(Ask::Join(Join { consumer: a.consumer, ..instance("a") })));
    table.wait(SESSION_MS as u64 - 1_000);
    assert_eq!((table.answer(c), table.answer(again)), (None, None));
    table.wait(1_000);
    assert_eq!(table.joined(again).consumers.len(), 2);
    assert_eq!(table.joined(c).generation, 2);
    assert_eq!(table.beat(&b), Err(Refusal::UnknownConsumer));
}

#[test]
fn an_instance_leaves_by_its_name() {
    let mut table = Table::new();
    let (a, b) = two(&mut table);
    let asked = [
        (a.consumer, "b", Err(Refusal::Fenced)),
        (String::new(), "nobody", Err(Refusal::UnknownConsumer)),
        (String::new(), "b", Ok(())),
    ];
    let leaving = asked.iter().map(|(id, name, _)| (id.clone(), Some((*name).to_owned())));
    let request = table.ask(Ask::Leave(leaving.collect()));
    let left = asked.map(|(id, name, result)| (id, Some(name.to_owned()), result)).to_vec();
    assert_eq!(table.answer(request), Some(Ok(Said::Left(left))));
    assert_eq!(table.beat(&b), Err(Refusal::UnknownConsumer));
}

#[test]
fn instances_survive_their_coordinator() {
    let mut table = Table::new();
    let (_, b) = two(&mut table);
    let mut next = Table::of(table.kept.clone());
    let request = next.ask(Ask::Join(instance("b")));
    next.keep();
    let again = next.joined(request);
    assert_ne!(again.consumer, b.consumer);
    let request = next.sync(&again, &[]);
    assert_eq!(next.synced(request), "two");
}
