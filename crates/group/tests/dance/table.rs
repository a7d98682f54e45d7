//! A group under test, with its clock and its log.

use bytes::Bytes;
use group::{Action, Group, Input};
use model::group::{Ask, Caller, Formed, Join, Joined, Refusal, Said, Sync};
use std::collections::BTreeMap;

pub const SESSION_MS: i32 = 10_000;
pub const REBALANCE_MS: i32 = 20_000;
/// More than a first generation waits for others.
pub const FIRST_MS: u64 = 400;

pub type Result<T> = std::result::Result<T, Refusal>;

pub struct Table {
    pub group: Group,
    pub now_ms: u64,
    pub answers: BTreeMap<u64, Result<Said>>,
    /// What the log was asked to keep and has not.
    pub keeps: Vec<(u64, Formed)>,
    /// What it keeps.
    pub kept: Formed,
    /// Requests whose commit or deletion the group let pass.
    pub passed: Vec<u64>,
    pub requests: u64,
}

impl Table {
    pub fn new() -> Self {
        Self { group: Group::new(0, None), ..Self::of(Formed::default()) }
    }

    pub fn of(kept: Formed) -> Self {
        Self {
            group: Group::new(0, Some(kept.clone())),
            now_ms: 0,
            answers: BTreeMap::new(),
            keeps: Vec::new(),
            kept,
            passed: Vec::new(),
            requests: 0,
        }
    }

    pub fn step(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.group.step(self.now_ms, input, &mut actions);
        for action in actions {
            match action {
                Action::Answer { request, result } => {
                    assert!(request <= self.requests, "request {request} was never made");
                    let twice = self.answers.insert(request, result);
                    assert_eq!(twice, None, "C1: request {request} is answered twice");
                }
                Action::Keep { number, formed } => self.keeps.push((number, formed)),
                Action::Commit { request, .. } | Action::Delete { request } => {
                    self.passed.push(request);
                }
                Action::Deal { .. } => panic!("nobody deals in a dance"),
            }
        }
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
        for (number, formed) in std::mem::take(&mut self.keeps) {
            assert!(formed.generation >= self.kept.generation, "C2: the generation falls");
            self.kept = formed;
            self.step(Input::Kept { number, result: Ok(()) });
        }
    }

    /// The log keeps nothing of it.
    pub fn lose(&mut self) {
        for (number, _) in std::mem::take(&mut self.keeps) {
            self.step(Input::Kept { number, result: Err(Refusal::NotCoordinator) });
        }
    }

    pub fn answer(&mut self, request: u64) -> Option<Result<Said>> {
        self.answers.remove(&request)
    }

    pub fn joined(&mut self, request: u64) -> Joined {
        match self.answer(request) {
            Some(Ok(Said::Joined(joined))) => joined,
            other => panic!("request {request} was not joined: {other:?}"),
        }
    }

    pub fn synced(&mut self, request: u64) -> Bytes {
        match self.answer(request) {
            Some(Ok(Said::Synced { assignment, .. })) => assignment,
            other => panic!("request {request} has no assignment: {other:?}"),
        }
    }

    /// A new consumer comes in the way that today's clients do.
    pub fn enter(&mut self) -> u64 {
        let request = self.ask(Ask::Join(Join { comes_back: true, ..join("") }));
        match self.answer(request) {
            Some(Err(Refusal::ComeBack(id))) => self.ask(Ask::Join(join(&id))),
            other => panic!("no id was given: {other:?}"),
        }
    }

    pub fn sync(&mut self, joined: &Joined, shares: &[(&str, &'static str)]) -> u64 {
        let share = |(id, bytes): &(&str, &'static str)| {
            ((*id).to_owned(), Bytes::from_static(bytes.as_bytes()))
        };
        let assignments = shares.iter().map(share).collect();
        let caller = caller(joined);
        self.ask(Ask::Sync(Sync { caller, assignments, ..Sync::default() }))
    }

    pub fn beat(&mut self, joined: &Joined) -> Result<()> {
        let request = self.ask(Ask::Beat(caller(joined)));
        self.answer(request).expect("answered at once").map(|_| ())
    }

    /// Two consumers share: the leader first.
    pub fn two(&mut self) -> (Joined, Joined) {
        let (a, b) = (self.enter(), self.enter());
        self.wait(FIRST_MS);
        let (a, b) = (self.joined(a), self.joined(b));
        let (leader, other) = if a.leader == a.consumer { (a, b) } else { (b, a) };
        let first = self.sync(&leader, &[(&leader.consumer, "one"), (&other.consumer, "two")]);
        let second = self.sync(&other, &[]);
        self.keep();
        assert_eq!((&self.synced(first)[..], &self.synced(second)[..]), (&b"one"[..], &b"two"[..]));
        (leader, other)
    }
}

pub fn join(id: &str) -> Join {
    Join {
        consumer: id.into(),
        client: "app".into(),
        host: "/10.0.0.1".into(),
        session_ms: SESSION_MS,
        rebalance_ms: REBALANCE_MS,
        kind: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
        ..Join::default()
    }
}

pub fn caller(joined: &Joined) -> Caller {
    let Joined { generation, consumer, .. } = joined.clone();
    Caller { generation, consumer, instance: None }
}
