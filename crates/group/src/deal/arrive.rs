//! How consumers come in, say what they want, and leave.

use super::{Dealer, Seat};
use crate::deal::assign::Assignor;
use crate::limits::{CONSUMERS_MAX, REBALANCE_MS_MAX, SAID_BYTES_MAX, WORD_BYTES_MAX};
use model::deal::{AWAY, Beat, COMES, Consumer, Hand, LEAVES, Told};
use model::group::Refusal;
use std::collections::BTreeSet;

/// Whose place a consumer takes that comes in.
enum Place {
    New,
    /// Its own: it has given up all it held.
    Own,
    /// That of the consumer that bore its instance's name.
    Of(String),
}

impl Dealer {
    pub(super) fn beat(&mut self, now_ms: u64, fresh: u128, beat: Beat) -> Result<Told, Refusal> {
        check(&beat)?;
        match beat.epoch {
            COMES => self.come(now_ms, fresh, beat),
            LEAVES => self.leave(now_ms, beat),
            AWAY => self.go_away(beat),
            1.. => self.go_on(now_ms, beat),
            epoch => Err(Refusal::BadAsk(format!("no member's epoch is {epoch}"))),
        }
    }

    fn come(&mut self, now_ms: u64, fresh: u128, mut beat: Beat) -> Result<Told, Refusal> {
        if beat.consumer.is_empty() {
            beat.consumer = format!("{fresh:032x}");
        }
        let id = beat.consumer.clone();
        let place = self.place(&beat)?;
        let holds = Hand::new();
        let mut kept = Consumer {
            instance: beat.instance,
            rack: beat.rack,
            client: beat.client,
            host: beat.host,
            rebalance_ms: beat.rebalance_ms.unwrap_or_default().min(REBALANCE_MS_MAX),
            names: beat.names.unwrap_or_default().into_iter().collect(),
            pattern: beat.pattern.filter(|pattern| !pattern.is_empty()),
            assignor: beat.assignor,
            epoch: COMES,
            ..Consumer::default()
        };
        let former = match &place {
            Place::New => None,
            Place::Own => Some(&id),
            Place::Of(former) => Some(former),
        };
        self.check_room(former.unwrap_or(&id), &kept)?;
        self.learn(kept.pattern.as_deref())?;
        let former = former.cloned();
        let mut same = false;
        if let Some((former, seat)) =
            former.and_then(|id| Some((id.clone(), self.seats.remove(&id)?)))
        {
            same = wants_the_same(&seat.kept, &kept);
            self.free(seat.kept.held.iter().chain(&seat.kept.owed));
            kept.target = seat.kept.target;
            self.news.gone.insert(former);
        }
        if let Some(instance) = &kept.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.seats.insert(id.clone(), Seat { kept, heard_ms: now_ms, owes_ms: now_ms });
        self.news.put.insert(id.clone());
        if !same {
            self.renew();
        }
        self.deal_if_due(now_ms);
        self.reconcile(now_ms, &id, Some(&holds));
        Ok(self.told(&id, true))
    }

    fn place(&self, beat: &Beat) -> Result<Place, Refusal> {
        let own = self.seats.get(&beat.consumer);
        if own.is_some_and(|it| it.kept.instance != beat.instance) {
            return Err(Refusal::Fenced);
        }
        let holder = beat.instance.as_ref().and_then(|instance| self.instances.get(instance));
        match holder {
            Some(id) if *id != beat.consumer => {
                let is_away = self.seats.get(id).is_none_or(|it| it.kept.epoch == AWAY);
                if is_away { Ok(Place::Of(id.clone())) } else { Err(Refusal::Unreleased) }
            }
            _ if own.is_some() => Ok(Place::Own),
            _ if self.seats.len() >= CONSUMERS_MAX => Err(Refusal::Full),
            _ => Ok(Place::New),
        }
    }

    /// A consumer that was told an epoch is alive, and says what is new with it.
    fn go_on(&mut self, now_ms: u64, beat: Beat) -> Result<Told, Refusal> {
        let id = beat.consumer.clone();
        self.holds_instance(&beat)?;
        let kept = &self.seats.get(&id).ok_or(Refusal::UnknownConsumer)?.kept;
        let heard = beat.epoch == kept.epoch;
        // The answer that told it the present epoch was lost: then it holds no more than it was given by that.
        let missed = beat.epoch == kept.previous
            && beat.holds.as_ref().is_some_and(|holds| holds.is_subset(&kept.held));
        if !heard && !missed {
            return Err(Refusal::OldEpoch);
        }
        let wants = beat.names.is_some() || beat.pattern.is_some();
        let shows = !heard || wants && beat.rebalance_ms.is_some() && beat.holds.is_some();
        let holds = self.tell(&id, beat)?;
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.heard_ms = now_ms;
        }
        self.deal_if_due(now_ms);
        let moved = self.reconcile(now_ms, &id, holds.as_ref());
        Ok(self.told(&id, shows || moved))
    }

    /// Takes what a consumer says of itself; gives back what it holds.
    fn tell(&mut self, id: &str, beat: Beat) -> Result<Option<Hand>, Refusal> {
        let Beat { rack, rebalance_ms, names, pattern, assignor, holds, .. } = beat;
        let says = rack.is_some() || rebalance_ms.is_some() || assignor.is_some();
        if !says && names.is_none() && pattern.is_none() {
            return Ok(holds);
        }
        let old = &self.seats.get(id).ok_or(Refusal::UnknownConsumer)?.kept;
        let pattern = pattern.map(|pattern| Some(pattern).filter(|it| !it.is_empty()));
        // Without its hands, which nothing here changes: they may be large.
        let new = Consumer {
            instance: old.instance.clone(),
            rack: rack.or_else(|| old.rack.clone()),
            client: old.client.clone(),
            host: old.host.clone(),
            rebalance_ms: rebalance_ms.unwrap_or(old.rebalance_ms).min(REBALANCE_MS_MAX),
            names: names.map_or_else(|| old.names.clone(), |names| names.into_iter().collect()),
            pattern: pattern.unwrap_or_else(|| old.pattern.clone()),
            assignor: assignor.or_else(|| old.assignor.clone()),
            ..Consumer::default()
        };
        let same = wants_the_same(old, &new);
        if same && (&new.rack, new.rebalance_ms) == (&old.rack, old.rebalance_ms) {
            return Ok(holds);
        }
        self.check_room(id, &new)?;
        self.learn(new.pattern.as_deref())?;
        let Some(seat) = self.seats.get_mut(id) else { return Ok(holds) };
        let Consumer { rack, rebalance_ms, names, pattern, assignor, .. } = new;
        (seat.kept.rack, seat.kept.rebalance_ms) = (rack, rebalance_ms);
        (seat.kept.names, seat.kept.pattern, seat.kept.assignor) = (names, pattern, assignor);
        self.news.put.insert(id.to_owned());
        if !same {
            self.renew();
        }
        Ok(holds)
    }

    fn leave(&mut self, now_ms: u64, beat: Beat) -> Result<Told, Refusal> {
        self.holds_instance(&beat)?;
        if !self.remove(&beat.consumer) {
            return Err(Refusal::UnknownConsumer);
        }
        self.deal_if_due(now_ms);
        Ok(Told { consumer: beat.consumer, epoch: LEAVES, ..Told::default() })
    }

    /// A static consumer ends; its place is kept until its session does.
    fn go_away(&mut self, beat: Beat) -> Result<Told, Refusal> {
        if beat.instance.is_none() {
            return Err(Refusal::BadAsk("only a static member comes back: it has no id".into()));
        }
        self.holds_instance(&beat)?;
        let seat = self.seats.get_mut(&beat.consumer).ok_or(Refusal::UnknownConsumer)?;
        if seat.kept.epoch != AWAY {
            (seat.kept.previous, seat.kept.epoch) = (COMES, AWAY);
            self.news.put.insert(beat.consumer.clone());
        }
        Ok(Told { consumer: beat.consumer, epoch: AWAY, ..Told::default() })
    }

    /// Whether an instance, if one is named, is held by this consumer.
    fn holds_instance(&self, beat: &Beat) -> Result<(), Refusal> {
        match beat.instance.as_ref().map(|instance| self.instances.get(instance)) {
            Some(None) => Err(Refusal::UnknownConsumer),
            Some(Some(id)) if *id != beat.consumer => Err(Refusal::Fenced),
            _ => Ok(()),
        }
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        let Some(gone) = self.seats.remove(id) else { return false };
        self.free(gone.kept.held.iter().chain(&gone.kept.owed));
        if let Some(instance) = &gone.kept.instance {
            self.instances.remove(instance);
        }
        self.news.put.remove(id);
        self.news.gone.insert(id.to_owned());
        self.renew();
        true
    }

    /// What all consumers say must fit into an entry, beside what all hold.
    fn check_room(&self, but: &str, new: &Consumer) -> Result<(), Refusal> {
        let others = self.seats.iter().filter(|(id, _)| *id != but);
        let others: usize = others.map(|(id, it)| id.len() + it.kept.said_size()).sum();
        if others + new.said_size() > SAID_BYTES_MAX { Err(Refusal::Full) } else { Ok(()) }
    }

    fn learn(&mut self, pattern: Option<&str>) -> Result<(), Refusal> {
        let Some(pattern) = pattern else { return Ok(()) };
        let used = self.seats.values().filter_map(|it| it.kept.pattern.as_deref());
        self.wishes.keep_only(&used.collect::<BTreeSet<_>>());
        self.wishes.learn(pattern)
    }
}

fn check(beat: &Beat) -> Result<(), Refusal> {
    if beat.assignor.as_deref().is_some_and(|name| Assignor::named(name).is_none()) {
        return Err(Refusal::NoAssignor);
    }
    let optional = [&beat.instance, &beat.rack, &beat.pattern].into_iter().flatten();
    let mut words = optional.chain([&beat.consumer, &beat.client]);
    if words.any(|word| word.len() > WORD_BYTES_MAX) { Err(Refusal::Full) } else { Ok(()) }
}

fn wants_the_same(old: &Consumer, new: &Consumer) -> bool {
    (&old.names, &old.pattern, &old.assignor) == (&new.names, &new.pattern, &new.assignor)
}
