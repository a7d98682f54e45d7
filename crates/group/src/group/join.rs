//! How consumers come in, come back, and take over an instance.

use super::{Consumer, Group, Phase};
use crate::action::Action;
use crate::limits::*;
use bytes::Bytes;
use model::group::{Join, Joined, Refusal, Said};

/// A request, and luck for it.
type Request = (u64, u128);

impl Group {
    pub(super) fn on_join(
        &mut self,
        now_ms: u64,
        (request, fresh): Request,
        join: Join,
        actions: &mut Vec<Action>,
    ) -> Result<Option<Said>, Refusal> {
        self.check(&join)?;
        if let Some(instance) = &join.instance {
            match self.instances.get(instance).cloned() {
                Some(id) if join.consumer.is_empty() => {
                    let new = named(instance, fresh);
                    return self.take_over(now_ms, (id, new), request, join, actions);
                }
                Some(id) if id != join.consumer => return Err(Refusal::Fenced),
                None if !join.consumer.is_empty() => return Err(Refusal::UnknownConsumer),
                _ => {}
            }
        }
        if join.consumer.is_empty() {
            if self.consumers.len() + self.given.len() >= CONSUMERS_MAX {
                return Err(Refusal::Full);
            }
            let id = named(join.instance.as_ref().unwrap_or(&join.client), fresh);
            if join.comes_back && join.instance.is_none() {
                self.given.insert(id.clone(), now_ms + join.session_ms as u64);
                return Err(Refusal::ComeBack(id));
            }
            self.add(now_ms, id, request, join, actions);
            return Ok(None);
        }
        if self.given.remove(&join.consumer).is_some() {
            self.add(now_ms, join.consumer.clone(), request, join, actions);
            return Ok(None);
        }
        self.rejoin(now_ms, request, join, actions)
    }

    fn check(&self, join: &Join) -> Result<(), Refusal> {
        if !SESSION_MS.contains(&join.session_ms) || join.rebalance_ms <= 0 {
            return Err(Refusal::BadSession);
        }
        if join.kind.is_empty() || join.protocols.is_empty() {
            return Err(Refusal::Inconsistent);
        }
        let words = join.instance.iter().chain([&join.client, &join.kind, &join.consumer]);
        let names = join.protocols.iter().map(|(name, _)| name);
        if join.protocols.len() > PROTOCOLS_MAX
            || words.chain(names).any(|word| word.len() > WORD_BYTES_MAX)
            || self.said_bytes(&join.consumer) + said(&join.protocols) > BYTES_MAX
        {
            return Err(Refusal::Full);
        }
        let held = join.instance.as_ref().and_then(|instance| self.instances.get(instance));
        let itself = held.map_or(join.consumer.as_str(), String::as_str);
        if self.consumers.keys().all(|id| id == itself) {
            return Ok(());
        }
        let shared = self.shared(Some(itself));
        let fits = join.protocols.iter().any(|(name, _)| shared.contains(name.as_str()));
        if fits && join.kind == self.kind { Ok(()) } else { Err(Refusal::Inconsistent) }
    }

    /// What all consumers but one have said.
    fn said_bytes(&self, but: &str) -> usize {
        let others = self.consumers.iter().filter(|(id, _)| *id != but);
        others.map(|(_, it)| said(&it.protocols)).sum()
    }

    fn add(
        &mut self,
        now_ms: u64,
        id: String,
        request: u64,
        join: Join,
        actions: &mut Vec<Action>,
    ) {
        if self.consumers.is_empty() {
            self.kind = join.kind.clone();
        }
        if self.leader.is_empty() {
            self.leader = id.clone();
        }
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.consumers.insert(id, Consumer::of(now_ms, request, join));
        self.prepare(now_ms, actions);
    }

    fn rejoin(
        &mut self,
        now_ms: u64,
        request: u64,
        join: Join,
        actions: &mut Vec<Action>,
    ) -> Result<Option<Said>, Refusal> {
        let id = join.consumer.clone();
        let consumer = self.consumers.get_mut(&id).ok_or(Refusal::UnknownConsumer)?;
        let same = consumer.protocols == join.protocols;
        let settled = match self.phase {
            // It did not hear the answer.
            Phase::Completing { .. } => same,
            // A leader comes back to share out anew.
            Phase::Stable => same && id != self.leader,
            Phase::Empty | Phase::Preparing { .. } => false,
        };
        consumer.heard_ms = now_ms;
        if settled {
            return Ok(Some(Said::Joined(self.joined(&id))));
        }
        if self.consumers.len() == 1 {
            self.kind = join.kind.clone();
        }
        self.rejoined(now_ms, &id, request, join, actions);
        self.prepare(now_ms, actions);
        Ok(None)
    }

    /// Puts what a consumer says now in the place of what it said before.
    fn rejoined(
        &mut self,
        now_ms: u64,
        id: &str,
        request: u64,
        join: Join,
        actions: &mut Vec<Action>,
    ) {
        let Some(old) = self.consumers.get_mut(id) else { return };
        let new = Consumer::of(now_ms, request, join);
        let old = std::mem::replace(old, new);
        if let Some(consumer) = self.consumers.get_mut(id) {
            consumer.assignment = old.assignment;
            consumer.instance = old.instance;
        }
        // It asked twice: the first asking is given up.
        for request in old.joining.into_iter().chain(old.syncing) {
            actions.push(Action::Answer { request, result: Err(Refusal::Rebalancing) });
        }
    }

    /// A process that bears the instance's name takes the place of the one before.
    fn take_over(
        &mut self,
        now_ms: u64,
        (old, new): (String, String),
        request: u64,
        join: Join,
        actions: &mut Vec<Action>,
    ) -> Result<Option<Said>, Refusal> {
        let Some(before) = self.consumers.remove(&old) else {
            return Err(Refusal::UnknownConsumer);
        };
        for request in before.joining.into_iter().chain(before.syncing) {
            actions.push(Action::Answer { request, result: Err(Refusal::Fenced) });
        }
        let (skips, leads) = (join.skips, old == self.leader);
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), new.clone());
        }
        if leads {
            self.leader = new.clone();
        }
        let mut consumer = Consumer::of(now_ms, request, join);
        consumer.assignment = before.assignment;
        let subscribed = consumer.subscription(&self.protocol);
        let same = subscribed
            == before
                .protocols
                .iter()
                .find(|(name, _)| *name == self.protocol)
                .map(|(_, bytes)| bytes.clone())
                .unwrap_or_default();
        self.consumers.insert(new.clone(), consumer);
        if self.phase != Phase::Stable || !same || self.elected() != self.protocol {
            self.prepare(now_ms, actions);
            return Ok(None);
        }
        let mut joined = self.joined(&new);
        match (leads, skips) {
            (true, true) => joined.skip = true,
            // It would share out anew if it knew that it leads.
            (true, false) => joined = Joined { leader: old, consumers: Vec::new(), ..joined },
            (false, _) => {}
        }
        if let Some(consumer) = self.consumers.get_mut(&new) {
            consumer.joining = None;
        }
        let number = self.keep(actions);
        self.returned.insert(number, (request, joined));
        Ok(None)
    }
}

impl Consumer {
    fn of(now_ms: u64, request: u64, join: Join) -> Self {
        Self {
            instance: join.instance,
            client: join.client,
            host: join.host,
            session_ms: join.session_ms.max(0) as u32,
            // Old clients give none.
            rebalance_ms: match join.rebalance_ms {
                0.. => (join.rebalance_ms as u32).min(REBALANCE_MS_MAX),
                _ => join.session_ms.max(0) as u32,
            },
            protocols: join.protocols,
            assignment: Bytes::new(),
            heard_ms: now_ms,
            joining: Some(request),
            syncing: None,
        }
    }
}

/// An id for a consumer, in which people find its client again.
fn named(client: &str, fresh: u128) -> String {
    let client = &client[..client.floor_char_boundary(CLIENT_BYTES_MAX)];
    let h = format!("{fresh:032x}");
    format!("{client}-{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

fn said(protocols: &[(String, Bytes)]) -> usize {
    protocols.iter().map(|(name, bytes)| name.len() + bytes.len()).sum()
}
