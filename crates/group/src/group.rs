//! The machine of one group.
//!
//! Invariants: C1 a request is answered once; C2 the generation grows with each round and never falls; C3 no
//! assignment is told before the log keeps it; C4 a consumer of an old generation changes nothing; C5 an
//! instance belongs to one consumer. What it forgets by itself it forgets by time alone.

mod join;
mod life;
mod share;

use crate::action::Action;
use crate::input::Input;
use crate::limits::{FIRST_MS, FIRST_MS_MAX, REBALANCE_MS_MAX};
use bytes::Bytes;
use model::group::{self, Ask, Caller, Described, Formed, Joined, Refusal, Said};
use std::collections::{BTreeMap, BTreeSet};

/// A group, as its coordinator has it in mind.
#[derive(Debug)]
pub struct Group {
    phase: Phase,
    generation: i32,
    kind: String,
    protocol: String,
    leader: String,
    consumers: BTreeMap<String, Consumer>,
    /// The consumer of each instance.
    instances: BTreeMap<String, String>,
    /// Ids that were given out, and until when they may come back.
    given: BTreeMap<String, u64>,
    /// Restarted instances that are told so when the log keeps their new ids, by number.
    returned: BTreeMap<u64, (u64, Joined)>,
    numbers: u64,
    /// The log keeps something of it.
    known: bool,
}

/// Where the dance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No consumers; offsets may be there.
    Empty,
    /// A new generation gathers: at `until_ms` it is formed of those that are there; before `settled_ms` it
    /// waits even if all are.
    Preparing { since_ms: u64, until_ms: u64, settled_ms: u64 },
    /// All know the generation; the leader shares out, then the log keeps it (`keeping`).
    Completing { until_ms: u64, keeping: Option<u64> },
    /// Everybody has an assignment.
    Stable,
}

/// One consumer.
#[derive(Debug)]
struct Consumer {
    instance: Option<String>,
    client: String,
    host: String,
    session_ms: u32,
    rebalance_ms: u32,
    /// Ways to share, best first, each with what it subscribes to.
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    /// Its last sign of life.
    heard_ms: u64,
    /// The request that waits for the next generation.
    joining: Option<u64>,
    /// The request that waits for an assignment.
    syncing: Option<u64>,
}

impl Group {
    /// A group as the log keeps it, if it does; all its consumers count as alive now.
    pub fn new(now_ms: u64, kept: Option<Formed>) -> Self {
        let known = kept.is_some();
        let Formed { generation, kind, protocol, leader, consumers } = kept.unwrap_or_default();
        let restored = |(id, it): (String, group::Consumer)| {
            let consumer = Consumer {
                instance: it.instance,
                client: it.client,
                host: it.host,
                session_ms: it.session_ms,
                rebalance_ms: it.rebalance_ms,
                protocols: vec![(protocol.clone(), it.subscription)],
                assignment: it.assignment,
                heard_ms: now_ms,
                joining: None,
                syncing: None,
            };
            (id, consumer)
        };
        let consumers: BTreeMap<_, _> = consumers.into_iter().map(restored).collect();
        let named = |(id, it): (&String, &Consumer)| Some((it.instance.clone()?, id.clone()));
        Self {
            phase: if consumers.is_empty() { Phase::Empty } else { Phase::Stable },
            instances: consumers.iter().filter_map(named).collect(),
            generation,
            kind,
            protocol,
            leader,
            consumers,
            given: BTreeMap::new(),
            returned: BTreeMap::new(),
            numbers: 0,
            known,
        }
    }

    /// Takes one input at a moment of a clock that never falls.
    pub fn step(&mut self, now_ms: u64, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Asked { request, ask, fresh } => {
                let done = self.on_ask(now_ms, request, ask, fresh, actions);
                if let Some(result) = done.transpose() {
                    actions.push(Action::Answer { request, result });
                }
            }
            Input::Kept { number, result } => self.on_kept(now_ms, number, result, actions),
            Input::Tick => self.on_tick(now_ms, actions),
            // These are not of the dance.
            Input::Dealt { .. } | Input::Catalogue(_) => {}
        }
    }

    /// `Ok(None)`: it is answered later.
    fn on_ask(
        &mut self,
        now_ms: u64,
        request: u64,
        ask: Ask,
        fresh: u128,
        actions: &mut Vec<Action>,
    ) -> Result<Option<Said>, Refusal> {
        match ask {
            Ask::Join(join) => self.on_join(now_ms, (request, fresh), join, actions),
            Ask::Sync(sync) => self.on_sync(now_ms, request, sync, actions),
            Ask::Beat(caller) => self.on_beat(now_ms, &caller).map(|()| Some(Said::Done)),
            Ask::Leave(leaving) => Ok(Some(Said::Left(self.on_leave(now_ms, leaving, actions)))),
            Ask::Commit { caller, offsets } => {
                self.may_commit(now_ms, &caller)?;
                self.known = true;
                actions.push(Action::Commit { request, offsets });
                Ok(None)
            }
            Ask::Describe => Ok(Some(Said::Described(self.described()))),
            Ask::Delete if self.phase == Phase::Empty => {
                // If the log does not forget it after all, the log says so to who asks.
                self.known = false;
                actions.push(Action::Delete { request });
                Ok(None)
            }
            Ask::Delete => Err(Refusal::InUse),
            // Who is asked these is not dancing.
            Ask::Hold(_) | Ask::Read(_) | Ask::DescribeDeal => Err(Refusal::NotDealt),
        }
    }

    /// Nobody is or waits here: what the log keeps is all there is to know.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Empty && self.given.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.phase == Phase::Empty
    }

    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The group's state in Kafka's words; one that nobody knows of is `Dead`.
    pub fn state(&self) -> &'static str {
        match self.phase {
            Phase::Empty if !self.known => "Dead",
            Phase::Empty => "Empty",
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing { .. } => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    fn described(&self) -> Described {
        let stable = self.phase == Phase::Stable;
        let consumers = self.formed().consumers.into_iter().map(|(id, mut it)| {
            if !stable {
                (it.subscription, it.assignment) = (Bytes::new(), Bytes::new());
            }
            (id, it)
        });
        Described {
            state: self.state().into(),
            kind: self.kind.clone(),
            protocol: if stable { self.protocol.clone() } else { String::new() },
            consumers: consumers.collect(),
        }
    }

    /// What the log is to keep.
    fn formed(&self) -> Formed {
        let kept = |(id, it): (&String, &Consumer)| {
            let consumer = group::Consumer {
                instance: it.instance.clone(),
                client: it.client.clone(),
                host: it.host.clone(),
                session_ms: it.session_ms,
                rebalance_ms: it.rebalance_ms,
                subscription: it.subscription(&self.protocol),
                assignment: it.assignment.clone(),
            };
            (id.clone(), consumer)
        };
        Formed {
            generation: self.generation,
            kind: self.kind.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            consumers: self.consumers.iter().map(kept).collect(),
        }
    }

    fn keep(&mut self, actions: &mut Vec<Action>) -> u64 {
        self.numbers += 1;
        self.known = true;
        actions.push(Action::Keep { number: self.numbers, formed: self.formed() });
        self.numbers
    }

    /// The consumer that asks, if it is who it says.
    fn known(&mut self, caller: &Caller) -> Result<&mut Consumer, Refusal> {
        self.holds(&caller.consumer, caller.instance.as_deref())?;
        if self.consumers.contains_key(&caller.consumer) && caller.generation != self.generation {
            return Err(Refusal::OldGeneration);
        }
        self.consumers.get_mut(&caller.consumer).ok_or(Refusal::UnknownConsumer)
    }

    /// Whether an instance, if one is named, is held by this consumer.
    fn holds(&self, consumer: &str, instance: Option<&str>) -> Result<(), Refusal> {
        match instance.map(|instance| self.instances.get(instance)) {
            None => Ok(()),
            Some(None) => Err(Refusal::UnknownConsumer),
            Some(Some(id)) if id != consumer => Err(Refusal::Fenced),
            Some(Some(_)) => Ok(()),
        }
    }

    /// Begins a new generation, unless one is being formed; forms it when nobody is missing.
    fn prepare(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let first = self.phase == Phase::Empty;
        if let Phase::Preparing { since_ms, settled_ms, .. } = &mut self.phase {
            if *settled_ms > now_ms {
                *settled_ms = (now_ms + FIRST_MS).min(*since_ms + FIRST_MS_MAX);
            }
        } else {
            self.refuse_waiting(&Refusal::Rebalancing, actions);
            let settled_ms = if first { now_ms + FIRST_MS } else { now_ms };
            let until_ms = now_ms + self.rebalance_ms();
            self.phase = Phase::Preparing { since_ms: now_ms, until_ms, settled_ms };
        }
        self.form_if_ready(now_ms, actions);
    }

    /// Answers all that wait for an assignment.
    fn refuse_waiting(&mut self, refusal: &Refusal, actions: &mut Vec<Action>) {
        let syncing = self.consumers.values_mut().filter_map(|it| it.syncing.take());
        let returned = std::mem::take(&mut self.returned).into_values().map(|(request, _)| request);
        for request in syncing.chain(returned) {
            actions.push(Action::Answer { request, result: Err(refusal.clone()) });
        }
    }

    fn rebalance_ms(&self) -> u64 {
        let longest = self.consumers.values().map(|it| it.rebalance_ms).max();
        u64::from(longest.unwrap_or(0).min(REBALANCE_MS_MAX))
    }

    fn form_if_ready(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Phase::Preparing { until_ms, settled_ms, .. } = self.phase else { return };
        let all = self.given.is_empty() && self.consumers.values().all(|it| it.joining.is_some());
        if all && (now_ms >= settled_ms || self.consumers.is_empty()) || now_ms >= until_ms {
            self.form(now_ms, actions);
        }
    }

    /// Forms the generation of those that are there.
    fn form(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        // An instance that restarts is waited for until its session ends.
        let gone: Vec<String> = self
            .consumers
            .iter()
            .filter(|(_, it)| it.joining.is_none() && it.instance.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.remove(&id, actions);
        }
        let joined = |it: &Consumer| it.joining.is_some();
        let until_ms = now_ms + self.rebalance_ms();
        if !self.consumers.is_empty() && !self.consumers.values().any(joined) {
            self.phase = Phase::Preparing { since_ms: now_ms, until_ms, settled_ms: now_ms };
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.consumers.is_empty() {
            (self.protocol, self.leader) = (String::new(), String::new());
            self.phase = Phase::Empty;
            // Nobody waits for it; if it is lost, a later coordinator waits for sessions to end.
            self.keep(actions);
            return;
        }
        if !self.consumers.get(&self.leader).is_some_and(joined) {
            let next = self.consumers.iter().find(|(_, it)| joined(it));
            self.leader = next.map(|(id, _)| id.clone()).unwrap_or_default();
        }
        self.protocol = self.elected();
        self.phase = Phase::Completing { until_ms, keeping: None };
        let ids: Vec<String> = self.consumers.keys().cloned().collect();
        for id in ids {
            self.tell_generation(now_ms, &id, actions);
        }
    }

    /// Answers a consumer's join with the present generation.
    fn tell_generation(&mut self, now_ms: u64, id: &str, actions: &mut Vec<Action>) {
        let joined = self.joined(id);
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        consumer.assignment = Bytes::new();
        if let Some(request) = consumer.joining.take() {
            consumer.heard_ms = now_ms;
            actions.push(Action::Answer { request, result: Ok(Said::Joined(joined)) });
        }
    }

    fn joined(&self, id: &str) -> Joined {
        let shown = |(id, it): (&String, &Consumer)| {
            (id.clone(), it.instance.clone(), it.subscription(&self.protocol))
        };
        let leads = id == self.leader;
        Joined {
            generation: self.generation,
            kind: self.kind.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            consumer: id.to_owned(),
            skip: false,
            consumers: if leads { self.consumers.iter().map(shown).collect() } else { Vec::new() },
        }
    }

    /// The way to share that most consumers like best of those that all know; ties go to the leader's order.
    fn elected(&self) -> String {
        let all = self.shared(None);
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for it in self.consumers.values() {
            let best = it.protocols.iter().find(|(name, _)| all.contains(name.as_str()));
            if let Some((name, _)) = best {
                *votes.entry(name).or_default() += 1;
            }
        }
        let order = |name: &str| {
            let leader = self.consumers.get(&self.leader);
            leader.and_then(|it| it.protocols.iter().position(|(known, _)| known == name))
        };
        let best =
            votes.into_iter().max_by_key(|(name, votes)| (*votes, std::cmp::Reverse(order(name))));
        best.map(|(name, _)| name.to_owned()).unwrap_or_default()
    }

    /// The ways to share that all consumers know, one of them perhaps left out.
    fn shared(&self, but: Option<&str>) -> BTreeSet<&str> {
        let others = self.consumers.iter().filter(|(id, _)| Some(id.as_str()) != but);
        let mut sets = others.map(|(_, it)| it.names());
        let first = sets.next().unwrap_or_default();
        sets.fold(first, |all, next| all.intersection(&next).copied().collect())
    }
}

impl Consumer {
    fn names(&self) -> BTreeSet<&str> {
        self.protocols.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn subscription(&self, protocol: &str) -> Bytes {
        let known = self.protocols.iter().find(|(name, _)| name == protocol);
        known.map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }
}
