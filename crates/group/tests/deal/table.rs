//! A dealt group under test, with its clock, its log and its catalogue.

use group::{Action, Coordinator, Input};
use model::catalogue::Stream;
use model::deal::{Beat, Deal, Hand, Told};
use model::group::{Ask, Caller, Group, Refusal, Said};
use model::settings::Settings;
use model::{Catalogue, PartitionId, StreamId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub const REBALANCE_MS: u32 = 20_000;
/// More than the pause after small deals, and less than any session.
pub const SOON_MS: u64 = 100;

pub type Result<T> = std::result::Result<T, Refusal>;

pub struct Table {
    pub group: Coordinator,
    pub now_ms: u64,
    pub catalogue: Catalogue,
    pub answers: BTreeMap<u64, Result<Said>>,
    /// What the log was asked to keep and has not.
    pub keeps: VecDeque<(u64, model::deal::Redeal)>,
    /// What it keeps.
    pub kept: Deal,
    /// Requests whose commit the group let pass.
    pub passed: Vec<u64>,
    pub requests: u64,
}

impl Table {
    /// With a stream `rain` of that many partitions.
    pub fn new(partitions: u32) -> Self {
        let mut table = Self {
            group: Coordinator::new(0, None),
            now_ms: 0,
            catalogue: Catalogue::default(),
            answers: BTreeMap::new(),
            keeps: VecDeque::new(),
            kept: Deal::default(),
            passed: Vec::new(),
            requests: 0,
        };
        table.stream("rain", partitions);
        table
    }

    pub fn step(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.group.step(self.now_ms, input, &mut actions);
        for action in actions {
            match action {
                Action::Answer { request, result } => {
                    let twice = self.answers.insert(request, result);
                    assert_eq!(twice, None, "request {request} is answered twice");
                }
                Action::Deal { number, redeal } => self.keeps.push_back((number, redeal)),
                Action::Commit { request, .. } | Action::Delete { request } => {
                    self.passed.push(request);
                }
                Action::Keep { .. } => {}
            }
        }
    }

    /// A stream of this name has that many partitions from now on; 0: it is gone.
    pub fn stream(&mut self, name: &str, partitions: u32) {
        let id = StreamId(hash(name));
        self.catalogue.index += 1;
        self.catalogue.stream_names.remove(name);
        self.catalogue.streams.remove(&id);
        if partitions > 0 {
            let stream = Stream {
                id,
                name: name.into(),
                partitions,
                layouts: Vec::new(),
                placement: id.0,
                written_by: None,
                settings: Settings::default(),
            };
            self.catalogue.stream_names.insert(name.into(), id);
            self.catalogue.streams.insert(id, stream);
        }
        self.step(Input::Catalogue(Arc::new(self.catalogue.clone())));
    }

    pub fn ask(&mut self, ask: Ask) -> u64 {
        self.requests += 1;
        let request = self.requests;
        self.step(Input::Asked { request, ask, fresh: u128::from(request) });
        request
    }

    pub fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.step(Input::Tick);
    }

    /// The log keeps all it was asked to.
    pub fn keep(&mut self) {
        while let Some((number, redeal)) = self.keeps.pop_front() {
            assert!(redeal.round.epoch >= self.kept.round.epoch, "D2: the epoch falls");
            assert!(self.kept.take(redeal), "a change does not follow the last");
            self.step(Input::Dealt { number, result: Ok(()) });
        }
        let mut held = Hand::new();
        for part in self.kept.consumers.values().flat_map(|it| it.held.iter().chain(&it.owed)) {
            assert!(held.insert(*part), "D1: {part:?} is held or owed by two");
        }
    }

    /// The log does not keep the next of it, and so nothing of what follows.
    pub fn lose(&mut self) {
        while let Some((number, _)) = self.keeps.pop_front() {
            self.step(Input::Dealt { number, result: Err(Refusal::NotCoordinator) });
            assert!(self.group.is_lost());
        }
    }

    /// A coordinator that knows what the log keeps.
    pub fn new_coordinator(&mut self) {
        self.keeps.clear();
        let deal = Some(self.kept.clone()).filter(|deal| deal.round.version > 0);
        let kept = Group { deal, ..Group::default() };
        self.group = Coordinator::new(self.now_ms, Some(kept));
        self.step(Input::Catalogue(Arc::new(self.catalogue.clone())));
    }

    pub fn answer(&mut self, request: u64) -> Option<Result<Said>> {
        self.answers.remove(&request)
    }

    /// Asks and hears, with a log that keeps what it is asked to.
    pub fn hear(&mut self, ask: Ask) -> Result<Said> {
        let request = self.ask(ask);
        self.keep();
        self.answer(request).expect("answered once it is kept")
    }

    pub fn beat(&mut self, beat: Beat) -> Result<Told> {
        match self.hear(Ask::Hold(beat.into()))? {
            Said::Told(told) => Ok(told),
            other => panic!("a consumer was told {other:?}"),
        }
    }

    /// A consumer comes in, wants `rain`, and hears what it may hold.
    pub fn enter(&mut self, id: &str) -> Told {
        self.beat(comes(id)).expect("it may come in")
    }

    /// The consumer says that it holds what it was told to.
    pub fn obey(&mut self, told: &Told) -> Told {
        let holds = self.kept.consumers[&told.consumer].held.clone();
        let beat = Beat { holds: Some(holds), ..alive(&told.consumer, told.epoch) };
        self.beat(beat).expect("it is known")
    }

    pub fn held(&self, id: &str) -> Vec<u32> {
        self.kept.consumers[id].held.iter().map(|it| it.partition).collect()
    }

    pub fn commit(&mut self, id: &str, generation: i32, parts: &[u32]) -> Option<Refusal> {
        let caller = Caller { generation, consumer: id.into(), instance: None };
        let offsets = parts.iter().map(|n| (part("rain", *n), Default::default())).collect();
        let request = self.ask(Ask::Commit { caller, offsets });
        let refused = self.answer(request).map(|result| result.expect_err("commits are passed on"));
        assert_eq!(refused.is_none(), self.passed.contains(&request));
        refused
    }
}

pub fn hash(name: &str) -> u128 {
    name.bytes().fold(7, |hash, byte| hash * 31 + u128::from(byte))
}

pub fn part(stream: &str, partition: u32) -> PartitionId {
    PartitionId { stream: StreamId(hash(stream)), partition }
}

pub fn comes(id: &str) -> Beat {
    Beat {
        consumer: id.into(),
        rebalance_ms: Some(REBALANCE_MS),
        names: Some(vec!["rain".into()]),
        holds: Some(Hand::new()),
        ..alive(id, 0)
    }
}

pub fn alive(id: &str, epoch: i32) -> Beat {
    let (client, host) = ("app".into(), "/10.0.0.1".into());
    Beat { consumer: id.into(), epoch, client, host, ..Beat::default() }
}
