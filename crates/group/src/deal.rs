//! The machine of a group whose coordinator deals the partitions out.
//!
//! Consumers say what they want and what they have in their hands; the coordinator deals targets, and brings each
//! consumer there by itself: first it gives up what is no longer its own, then it takes what is free.
//!
//! Invariants: D1 no partition is held or owed by two consumers; D2 the epoch never falls; D3 nothing is told before
//! the log keeps it; D4 who comes with an epoch it was not told changes nothing; D5 an instance belongs to one
//! consumer. A change that the log does not take makes the machine useless: it is made anew from the log.

mod arrive;
pub mod assign;
mod hands;
mod wishes;

use crate::action::Action;
use crate::limits::{BEAT_MS, BEAT_SOON_MS, DEAL_ITEMS_PER_MS, SILENCE_MS};
use assign::Assignor;
use model::deal::{Beat, Consumer, Deal, Redeal, Round, Told};
use model::group::{Caller, Committed, Refusal, Said};
use model::{Catalogue, PartitionId, StreamId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use wishes::Wishes;

/// The dealing side of a group, as its coordinator has it in mind.
#[derive(Debug)]
pub struct Dealer {
    round: Round,
    seats: BTreeMap<String, Seat>,
    /// The consumer of each instance.
    instances: BTreeMap<String, String>,
    /// Who holds or owes a partition.
    holders: BTreeMap<PartitionId, String>,
    wishes: Wishes,
    news: News,
    /// The number of the last change that the log was asked to keep, and of the last that it keeps.
    sent: u64,
    kept: u64,
    /// Answers that wait for a change to be kept: its number, the request, what it is told.
    waiting: VecDeque<(u64, u64, Told)>,
    /// Not before this it is dealt anew.
    next_ms: u64,
    lost: bool,
}

/// One consumer.
#[derive(Debug)]
struct Seat {
    kept: Consumer,
    /// Its last sign of life.
    heard_ms: u64,
    /// Since when it owes.
    owes_ms: u64,
}

/// What the log does not know yet.
#[derive(Debug, Default)]
struct News {
    put: BTreeSet<String>,
    gone: BTreeSet<String>,
    /// The round is another.
    round: bool,
}

impl Dealer {
    /// The group as the log keeps it, if it was dealt.
    pub(crate) fn new(now_ms: u64, kept: Option<Deal>) -> Self {
        let Deal { round, consumers } = kept.unwrap_or_default();
        let mut dealer = Self {
            round,
            seats: BTreeMap::new(),
            instances: BTreeMap::new(),
            holders: BTreeMap::new(),
            wishes: Wishes::default(),
            news: News::default(),
            sent: 0,
            kept: 0,
            waiting: VecDeque::new(),
            next_ms: 0,
            lost: false,
        };
        for (id, kept) in consumers {
            if let Some(pattern) = &kept.pattern {
                // It was taken by an earlier coordinator; if this build does not know it, it matches nothing.
                let _ = dealer.wishes.learn(pattern);
            }
            if let Some(instance) = &kept.instance {
                dealer.instances.insert(instance.clone(), id.clone());
            }
            let parts = kept.held.iter().chain(&kept.owed);
            dealer.holders.extend(parts.map(|part| (*part, id.clone())));
            dealer.seats.insert(id, Seat { kept, heard_ms: now_ms, owes_ms: now_ms });
        }
        dealer
    }

    pub(crate) fn on_beat(
        &mut self,
        now_ms: u64,
        (request, fresh): (u64, u128),
        beat: Beat,
        actions: &mut Vec<Action>,
    ) {
        let result = match self.lost {
            true => Err(Refusal::NotCoordinator),
            false => self.beat(now_ms, fresh, beat),
        };
        self.keep(actions);
        match result {
            Ok(told) if self.kept < self.sent => {
                self.waiting.push_back((self.sent, request, told));
            }
            result => actions.push(Action::Answer { request, result: result.map(Said::Told) }),
        }
    }

    /// What became of a change that was to be kept.
    pub(crate) fn on_kept(
        &mut self,
        number: u64,
        result: Result<(), Refusal>,
        actions: &mut Vec<Action>,
    ) {
        match result {
            Ok(()) => self.kept = self.kept.max(number),
            Err(refusal) => {
                self.lost = true;
                for (_, request, _) in std::mem::take(&mut self.waiting) {
                    actions.push(Action::Answer { request, result: Err(refusal.clone()) });
                }
            }
        }
        while self.waiting.front().is_some_and(|(number, ..)| *number <= self.kept) {
            let Some((_, request, told)) = self.waiting.pop_front() else { break };
            actions.push(Action::Answer { request, result: Ok(Said::Told(told)) });
        }
    }

    pub(crate) fn on_tick(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let silent = |it: &Seat| now_ms.saturating_sub(it.heard_ms) >= SILENCE_MS;
        let late = |it: &Seat| {
            let patience_ms = u64::from(it.kept.rebalance_ms);
            !it.kept.owed.is_empty() && now_ms.saturating_sub(it.owes_ms) >= patience_ms
        };
        let gone = self.seats.iter().filter(|(_, it)| silent(it) || late(it));
        let gone: Vec<String> = gone.map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.remove(id);
        }
        self.deal_if_due(now_ms);
        self.keep(actions);
    }

    /// Streams came, went or grew, perhaps.
    pub(crate) fn on_catalogue(
        &mut self,
        now_ms: u64,
        catalogue: Arc<Catalogue>,
        actions: &mut Vec<Action>,
    ) {
        if !self.wishes.learn_catalogue(catalogue) || self.lost {
            return;
        }
        let is_newer = self.wishes.index() >= self.round.catalogue;
        if is_newer && self.has_consumers() && self.wanted_parts() != self.dealt_parts() {
            self.renew();
        }
        self.deal_if_due(now_ms);
        self.keep(actions);
    }

    /// It commits with the epoch it was told last; with the one before only what has been its own all the while.
    pub(crate) fn may_commit(
        &self,
        caller: &Caller,
        offsets: &[(PartitionId, Committed)],
    ) -> Result<(), Refusal> {
        let kept = &self.seats.get(&caller.consumer).ok_or(Refusal::UnknownConsumer)?.kept;
        let own =
            |(part, _): &(PartitionId, _)| kept.held.contains(part) || kept.owed.contains(part);
        let late = caller.generation == kept.previous && offsets.iter().all(own);
        match caller.generation {
            1.. if caller.generation == kept.epoch || late => Ok(()),
            _ => Err(Refusal::StaleEpoch),
        }
    }

    /// Who is no consumer may read as well.
    pub(crate) fn may_read(&self, caller: &Caller) -> Result<(), Refusal> {
        if caller.consumer.is_empty() && caller.generation < 0 {
            return Ok(());
        }
        self.may_commit(caller, &[])
    }

    /// Nobody is in it, and the group goes another way.
    pub(crate) fn end(&mut self) {
        (self.round, self.next_ms) = (Round::default(), 0);
    }

    pub(crate) fn has_consumers(&self) -> bool {
        !self.seats.is_empty()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.seats.is_empty() && self.waiting.is_empty()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    pub(crate) fn is_known(&self) -> bool {
        self.round.version > 0
    }

    pub(crate) fn state(&self) -> &'static str {
        let settled = |it: &Seat| it.kept.owed.is_empty() && it.kept.held == it.kept.target;
        match self.seats.is_empty() {
            true => "Empty",
            false if self.round.dealt != self.round.epoch => "Assigning",
            false
                if self
                    .seats
                    .values()
                    .all(|it| it.kept.epoch == self.round.dealt && settled(it)) =>
            {
                "Stable"
            }
            false => "Reconciling",
        }
    }

    /// All there is to know.
    pub(crate) fn deal(&self) -> Deal {
        let consumers = self.seats.iter().map(|(id, it)| (id.clone(), it.kept.clone()));
        Deal { round: self.round.clone(), consumers: consumers.collect() }
    }

    /// Asks the log to keep what is new.
    fn keep(&mut self, actions: &mut Vec<Action>) {
        let News { put, mut gone, round } = std::mem::take(&mut self.news);
        if put.is_empty() && gone.is_empty() && !round {
            return;
        }
        self.round.version += 1;
        self.sent += 1;
        gone.retain(|id| !self.seats.contains_key(id));
        let kept = |id: String| Some((id.clone(), self.seats.get(&id)?.kept.clone()));
        let put = put.into_iter().filter_map(kept).collect();
        let redeal = Redeal { round: self.round.clone(), put, gone };
        actions.push(Action::Deal { number: self.sent, redeal });
    }

    /// Who shares, or what is shared, is another.
    fn renew(&mut self) {
        self.round.epoch = self.round.epoch.checked_add(1).unwrap_or(1);
        self.news.round = true;
    }

    /// Deals targets for the present epoch. It takes time that others need, so it is not done at every change.
    fn deal_if_due(&mut self, now_ms: u64) {
        if self.round.dealt == self.round.epoch
            || now_ms < self.next_ms
            || self.wishes.index() < self.round.catalogue
        {
            return;
        }
        let (parts, assignor) = (self.wanted_parts(), self.elected());
        let order = |id: &'_ str, it: &'_ Consumer| it.instance.clone().unwrap_or(id.to_owned());
        let sharers: Vec<assign::Sharer<'_>> = self
            .seats
            .iter()
            .map(|(id, it)| assign::Sharer {
                order: (it.kept.instance.is_none(), order(id, &it.kept)),
                streams: self.wishes.streams(&it.kept),
                before: &it.kept.target,
            })
            .collect();
        let targets = assignor.assign(&sharers, &parts);
        for ((id, it), target) in self.seats.iter_mut().zip(targets) {
            if it.kept.target != target {
                it.kept.target = target;
                self.news.put.insert(id.clone());
            }
        }
        self.round.dealt = self.round.epoch;
        self.round.assignor = assignor.name().to_owned();
        self.round.catalogue = self.wishes.index();
        self.news.round = true;
        let items = parts.values().map(|count| u64::from(*count)).sum::<u64>();
        self.next_ms = now_ms + (items + self.seats.len() as u64) / DEAL_ITEMS_PER_MS;
    }

    /// The assignor that most consumers prefer, of those that prefer one.
    fn elected(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        let named = self.seats.values().filter_map(|it| it.kept.assignor.as_deref());
        for assignor in named.filter_map(Assignor::named) {
            *votes.entry(assignor).or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(it, votes)| (*votes, std::cmp::Reverse(*it)));
        most.map_or(Assignor::Uniform, |(assignor, _)| assignor)
    }

    /// The streams that somebody wants, with their numbers of partitions.
    fn wanted_parts(&self) -> BTreeMap<StreamId, u32> {
        let wanted = self.seats.values().flat_map(|it| self.wishes.streams(&it.kept));
        wanted.collect::<BTreeSet<_>>().into_iter().map(|id| (id, self.wishes.parts(id))).collect()
    }

    /// The same as it was dealt last: every partition of it is somebody's target.
    fn dealt_parts(&self) -> BTreeMap<StreamId, u32> {
        let mut parts = BTreeMap::new();
        for part in self.seats.values().flat_map(|it| &it.kept.target) {
            *parts.entry(part.stream).or_default() += 1;
        }
        parts
    }

    fn told(&self, id: &str, shows: bool) -> Told {
        let Some(Seat { kept, .. }) = self.seats.get(id) else { return Told::default() };
        let waits = kept.held != kept.target || kept.epoch != self.round.epoch;
        Told {
            consumer: id.to_owned(),
            epoch: kept.epoch,
            beat_ms: if waits { BEAT_SOON_MS } else { BEAT_MS },
            hand: shows.then(|| kept.held.clone()),
        }
    }
}
