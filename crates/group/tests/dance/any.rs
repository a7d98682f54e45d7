//! Any dance: whatever clients, the log and time do, every request is answered once and all end well.

use crate::table::*;
use bytes::Bytes;
use model::group::{Ask, Caller, Join, Refusal, Said, Sync};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What luck does next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Move {
    New { instance: Option<u8>, comes_back: bool },
    Rejoin(usize),
    Sync { who: usize, wrong: bool },
    Beat(usize),
    Leave(usize),
    Commit(usize),
    Keep,
    Lose,
    Wait(u64),
    NewCoordinator,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (prop::option::of(0u8..3), any::<bool>())
            .prop_map(|(instance, comes_back)| Move::New { instance, comes_back }),
        6 => (0usize..16).prop_map(Move::Rejoin),
        6 => (0usize..16, prop::bool::weighted(0.1))
            .prop_map(|(who, wrong)| Move::Sync { who, wrong }),
        2 => (0usize..16).prop_map(Move::Beat),
        1 => (0usize..16).prop_map(Move::Leave),
        1 => (0usize..16).prop_map(Move::Commit),
        6 => Just(Move::Keep),
        1 => Just(Move::Lose),
        4 => prop_oneof![Just(100u64), Just(500), Just(4_000), Just(11_000)].prop_map(Move::Wait),
        1 => Just(Move::NewCoordinator),
    ]
}

/// What one client knows of itself.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    instance: Option<String>,
    generation: i32,
    everyone: Vec<String>,
    /// The request it waits for.
    waits: Option<u64>,
    /// Since when.
    since_ms: u64,
}

struct Hall {
    table: Table,
    clients: Vec<Client>,
    /// Who was given what in each generation that anybody heard of.
    told: BTreeMap<(i32, String), Bytes>,
}

impl Hall {
    fn take(&mut self, step: &Move) {
        let count = self.clients.len().max(1);
        match step {
            Move::New { instance, comes_back } => self.enter(*instance, *comes_back),
            Move::Rejoin(who) => self.with(who % count, |it| {
                Some(Ask::Join(Join { instance: it.instance.clone(), ..join(&it.id) }))
            }),
            Move::Sync { who, wrong } => self.with(who % count, |it| Some(sync(it, *wrong))),
            Move::Beat(who) => self.with(who % count, |it| Some(Ask::Beat(caller(it)))),
            Move::Leave(who) => {
                self.with(who % count, |it| Some(Ask::Leave(vec![(it.id.clone(), None)])));
            }
            Move::Commit(who) => self.with(who % count, |it| {
                Some(Ask::Commit { caller: caller(it), offsets: Vec::new() })
            }),
            Move::Keep => self.table.keep(),
            Move::Lose => self.table.lose(),
            Move::Wait(ms) => self.table.wait(*ms),
            Move::NewCoordinator => self.new_coordinator(),
        }
        self.hear();
    }

    fn enter(&mut self, instance: Option<u8>, comes_back: bool) {
        let instance = instance.map(|n| format!("i{n}"));
        let client = Client { instance: instance.clone(), ..Client::default() };
        self.clients.push(client);
        let who = self.clients.len() - 1;
        self.with(who, |_| Some(Ask::Join(Join { instance, comes_back, ..join("") })));
    }

    /// A client that waits for nothing asks.
    fn with(&mut self, who: usize, ask: impl FnOnce(&Client) -> Option<Ask>) {
        let Some(client) = self.clients.get(who).filter(|it| it.waits.is_none()) else { return };
        if let Some(ask) = ask(client) {
            let request = self.table.ask(ask);
            (self.clients[who].waits, self.clients[who].since_ms) =
                (Some(request), self.table.now_ms);
        }
    }

    fn hear(&mut self) {
        for client in &mut self.clients {
            let Some(request) = client.waits else { continue };
            if self.table.passed.contains(&request) {
                client.waits = None;
                continue;
            }
            let Some(answer) = self.table.answer(request) else { continue };
            client.waits = None;
            match answer {
                Ok(Said::Joined(joined)) => {
                    client.id = joined.consumer;
                    client.generation = joined.generation;
                    client.everyone = joined.consumers.into_iter().map(|(id, ..)| id).collect();
                }
                Ok(Said::Synced { assignment, .. }) => {
                    let kept = &self.table.kept;
                    assert_eq!(kept.generation, client.generation, "C3: told, not kept");
                    assert_eq!(kept.consumers[&client.id].assignment, assignment, "C3");
                    let key = (client.generation, client.id.clone());
                    let before = self.told.insert(key, assignment.clone());
                    assert!(before.is_none_or(|it| it == assignment), "told two things");
                }
                Err(Refusal::ComeBack(id)) => client.id = id,
                Err(Refusal::UnknownConsumer | Refusal::Fenced) => client.id.clear(),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// The coordinator dies; what waits there hears nothing, the next one has what the log keeps.
    fn new_coordinator(&mut self) {
        let (now_ms, requests) = (self.table.now_ms, self.table.requests);
        let kept = self.table.kept.clone();
        self.table = Table::of(kept.clone());
        (self.table.now_ms, self.table.requests) = (now_ms, requests);
        self.table.group = group::Group::new(now_ms, Some(kept));
        self.clients.iter_mut().for_each(|it| it.waits = None);
    }

    /// From now on everybody behaves: within a bounded time all share one generation.
    fn settle(&mut self) {
        for client in &mut self.clients {
            client.instance = None;
        }
        for _ in 0..60 {
            for who in 0..self.clients.len() {
                self.with(who, |it| Some(Ask::Join(join(&it.id))));
                self.hear();
            }
            self.table.wait(1_000);
            self.hear();
            for who in 0..self.clients.len() {
                self.with(who, |it| Some(sync(it, false)));
                self.hear();
            }
            self.table.keep();
            self.hear();
        }
    }
}

fn caller(client: &Client) -> Caller {
    let Client { id, instance, generation, .. } = client.clone();
    Caller { generation, consumer: id, instance }
}

fn sync(client: &Client, wrong: bool) -> Ask {
    let mut caller = caller(client);
    caller.generation += i32::from(wrong);
    let share = |id: &String| (id.clone(), Bytes::from(format!("{id} in {}", client.generation)));
    let assignments = client.everyone.iter().map(share).collect();
    Ask::Sync(Sync { caller, assignments, ..Sync::default() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_request_is_answered_once_and_all_end_in_one_generation(
        moves in prop::collection::vec(any_move(), 1..120)
    ) {
        let mut hall = Hall { table: Table::new(), clients: Vec::new(), told: BTreeMap::new() };
        for step in &moves {
            hall.take(step);
        }
        hall.settle();
        let state = hall.table.group.state();
        let limit_ms = (2 * REBALANCE_MS) as u64;
        let lost = |it: &&Client| it.waits.is_some() && hall.table.now_ms - it.since_ms > limit_ms;
        prop_assert!(hall.clients.iter().find(lost).is_none(), "C1: never answered, {state}");
        if !hall.clients.is_empty() {
            let ids = hall.clients.iter().map(|it| &it.id).collect::<std::collections::BTreeSet<_>>();
            prop_assert_eq!(ids.len(), hall.clients.len(), "two clients bear one id");
            let kept: Vec<_> = hall.table.kept.consumers.keys().collect();
            prop_assert_eq!(kept, ids.into_iter().collect::<Vec<_>>(), "{}", state);
        }
    }
}
