//! Whatever consumers, the log, streams and time do: nobody ever has in hand what another has, and in the end all of
//! it is in somebody's hand.

use crate::table::*;
use model::deal::{AWAY, Beat, Hand, LEAVES};
use model::group::{Ask, Refusal, Said};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What luck does next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Move {
    New { instance: Option<u8>, wants: u8 },
    Beat { who: usize, full: bool },
    GiveUp(usize),
    Want { who: usize, wants: u8 },
    Leave(usize),
    Away(usize),
    Die(usize),
    Keep,
    Lose,
    NewCoordinator,
    Wait(u64),
    Stream { name: u8, partitions: u32 },
}

fn any_move() -> impl Strategy<Value = Move> {
    let who = || 0usize..16;
    prop_oneof![
        3 => (prop::option::of(0u8..3), 0u8..8).prop_map(|(instance, wants)| Move::New { instance, wants }),
        12 => (who(), any::<bool>()).prop_map(|(who, full)| Move::Beat { who, full }),
        6 => who().prop_map(Move::GiveUp),
        1 => (who(), 0u8..8).prop_map(|(who, wants)| Move::Want { who, wants }),
        1 => who().prop_map(Move::Leave),
        1 => who().prop_map(Move::Away),
        1 => who().prop_map(Move::Die),
        12 => Just(Move::Keep),
        1 => Just(Move::Lose),
        1 => Just(Move::NewCoordinator),
        4 => prop_oneof![Just(100u64), Just(1_000), Just(6_000), Just(21_000)].prop_map(Move::Wait),
        1 => (0u8..3, 0u32..7).prop_map(|(name, partitions)| Move::Stream { name, partitions }),
    ]
}

/// One consumer, as its process sees it.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    instance: Option<String>,
    epoch: i32,
    /// A bit a stream.
    wants: u8,
    /// What it reads.
    hands: Hand,
    /// What it is to come to.
    target: Hand,
    is_dead: bool,
    waits: Option<u64>,
}

impl Client {
    fn beat(&self, full: bool) -> Beat {
        let full = full || self.epoch == 0;
        let names = ["rain", "snow", "hail"].into_iter().enumerate();
        let names = names.filter(|(n, _)| self.wants & 1 << n != 0);
        Beat {
            instance: self.instance.clone(),
            rebalance_ms: full.then_some(REBALANCE_MS),
            names: full.then(|| names.map(|(_, name)| name.to_owned()).collect()),
            holds: full.then(|| self.hands.clone()),
            ..alive(&self.id, self.epoch)
        }
    }

    /// Gives up what it is not to hold, then takes the rest.
    fn obey(&mut self) {
        self.hands.retain(|part| self.target.contains(part));
        self.hands.extend(&self.target);
    }
}

struct Hall {
    table: Table,
    clients: Vec<Client>,
}

impl Hall {
    fn take(&mut self, step: &Move) {
        let count = self.clients.len().max(1);
        match step {
            Move::New { instance, wants } => self.enter(*instance, *wants),
            Move::Beat { who, full } => self.with(who % count, |it| it.beat(*full)),
            Move::GiveUp(who) => {
                let client = self.clients.get_mut(who % count).filter(|it| !it.is_dead);
                if let Some(client) = client {
                    client.obey();
                    let beat = Beat { holds: Some(client.hands.clone()), ..client.beat(false) };
                    self.with(who % count, |_| beat);
                }
            }
            Move::Want { who, wants } => {
                if let Some(client) = self.clients.get_mut(who % count) {
                    client.wants = *wants;
                }
                self.with(who % count, |it| it.beat(true));
            }
            Move::Leave(who) => self.end(who % count, LEAVES),
            Move::Away(who) => self.end(who % count, AWAY),
            Move::Die(who) => {
                if let Some(client) = self.clients.get_mut(who % count) {
                    client.is_dead = true;
                }
            }
            Move::Keep => self.table.keep(),
            Move::Lose => {
                self.table.lose();
                if self.table.group.is_lost() {
                    self.new_coordinator();
                }
            }
            Move::NewCoordinator => self.new_coordinator(),
            Move::Wait(ms) => self.table.wait(*ms),
            Move::Stream { name, partitions } => {
                self.table.stream(["rain", "snow", "hail"][usize::from(*name)], *partitions);
            }
        }
        self.hear();
    }

    fn enter(&mut self, instance: Option<u8>, wants: u8) {
        let instance = instance.map(|n| format!("i{n}"));
        let id = format!("c{}", self.clients.len());
        self.clients.push(Client { id, instance, wants, ..Client::default() });
        self.with(self.clients.len() - 1, |it| it.beat(true));
    }

    /// Its process ends: it has given up everything when it says so.
    fn end(&mut self, who: usize, epoch: i32) {
        let Some(client) = self.clients.get_mut(who).filter(|it| it.waits.is_none()) else {
            return;
        };
        if client.epoch > 0 && (epoch != AWAY || client.instance.is_some()) {
            client.hands.clear();
            self.with(who, |it| Beat { epoch, ..it.beat(false) });
            self.clients[who].is_dead = true;
        }
    }

    /// A client that waits for nothing asks.
    fn with(&mut self, who: usize, beat: impl FnOnce(&Client) -> Beat) {
        let ready = |it: &&Client| it.waits.is_none() && !it.is_dead;
        if let Some(client) = self.clients.get(who).filter(ready) {
            let beat = beat(client);
            self.clients[who].waits = Some(self.table.ask(Ask::Hold(beat.into())));
        }
    }

    fn hear(&mut self) {
        for client in &mut self.clients {
            let Some(answer) = client.waits.and_then(|request| self.table.answer(request)) else {
                continue;
            };
            client.waits = None;
            if client.is_dead {
                continue;
            }
            match answer {
                Ok(Said::Told(told)) => {
                    assert_ne!(told.epoch, 0, "only who comes has none");
                    // Taken out meanwhile: it hears of that next.
                    let Some(kept) = self.table.kept.consumers.get(&client.id) else { continue };
                    assert_eq!(told.epoch, kept.epoch, "D3: told, not kept");
                    client.epoch = told.epoch;
                    if let Some(hand) = told.hand {
                        assert_eq!(hand, kept.held, "D3: told, not kept");
                        client.target = hand;
                    }
                    // It takes at once what is new, and gives up when it comes to it.
                    let new: Vec<_> = client.target.difference(&client.hands).copied().collect();
                    if client.hands.is_subset(&client.target) {
                        client.hands.extend(new);
                    }
                }
                Err(Refusal::OldEpoch | Refusal::UnknownConsumer) => {
                    (client.epoch, client.hands, client.target) = (0, Hand::new(), Hand::new());
                }
                Err(Refusal::Fenced) => client.is_dead = true,
                Ok(_) | Err(_) => {}
            }
        }
        self.check();
    }

    /// Whoever counts has in hand what nobody else has who counts.
    fn check(&self) {
        let mut all = Hand::new();
        let counts = |it: &&Client| {
            let kept = self.table.kept.consumers.get(&it.id);
            kept.is_some_and(|kept| kept.epoch > 0 && it.epoch > 0)
        };
        for part in self.clients.iter().filter(counts).flat_map(|it| &it.hands) {
            assert!(all.insert(*part), "{part:?} is in two hands");
        }
    }

    /// The coordinator dies; what waits there hears nothing, the next one has what the log keeps.
    fn new_coordinator(&mut self) {
        self.table.new_coordinator();
        self.clients.iter_mut().for_each(|it| it.waits = None);
    }

    /// From now on everybody behaves.
    fn settle(&mut self) {
        if self.table.group.is_lost() {
            self.new_coordinator();
        }
        for _ in 0..60 {
            for who in 0..self.clients.len() {
                if !self.clients[who].is_dead {
                    self.clients[who].obey();
                }
                self.with(who, |it| it.beat(true));
                self.table.keep();
                self.hear();
            }
            self.table.wait(1_000);
            self.table.keep();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_partition_is_in_two_hands_and_in_the_end_each_is_in_one(
        moves in prop::collection::vec(any_move(), 1..160)
    ) {
        let mut hall = Hall { table: Table::new(5), clients: Vec::new() };
        for step in &moves {
            hall.take(step);
        }
        hall.settle();
        // Those that bear the name of an instance that somebody else bears wait for ever, as is right.
        let counting: Vec<&Client> =
            hall.clients.iter().filter(|it| !it.is_dead && it.epoch > 0).collect();
        let refused = hall.clients.iter().filter(|it| !it.is_dead && it.epoch == 0);
        prop_assert!(refused.clone().all(|it| it.instance.is_some()), "{:?}", refused.collect::<Vec<_>>());
        let kept: BTreeSet<&String> = hall.table.kept.consumers.keys().collect();
        prop_assert_eq!(kept, counting.iter().map(|it| &it.id).collect::<BTreeSet<_>>());
        let wanted = counting.iter().fold(0, |all, it| all | it.wants);
        let names = ["rain", "snow", "hail"].into_iter().enumerate();
        let names = names.filter(|(n, _)| wanted & 1 << n != 0).map(|(_, name)| name);
        let parts = |name: &str| {
            let id = hall.table.catalogue.stream_names.get(name);
            id.map_or(0, |id| hall.table.catalogue.streams[id].partitions)
        };
        let all: Hand = names.flat_map(|name| (0..parts(name)).map(move |n| part(name, n))).collect();
        let held: Hand = counting.iter().flat_map(|it| it.hands.iter().copied()).collect();
        prop_assert_eq!(held, all);
        if !counting.is_empty() {
            prop_assert_eq!(hall.table.group.state(), "Stable");
        }
    }
}
