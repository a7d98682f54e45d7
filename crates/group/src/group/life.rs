//! Signs of life, leaving, and what silence means.

use super::{Group, Phase};
use crate::action::Action;
use model::group::{Caller, Refusal};

impl Group {
    pub(super) fn on_beat(&mut self, now_ms: u64, caller: &Caller) -> Result<(), Refusal> {
        self.known(caller)?.heard_ms = now_ms;
        match self.phase {
            Phase::Empty => Err(Refusal::UnknownConsumer),
            Phase::Preparing { .. } => Err(Refusal::Rebalancing),
            Phase::Completing { .. } | Phase::Stable => Ok(()),
        }
    }

    /// Consumers of the present generation commit, also while the next is being prepared; who belongs to none
    /// may only where there are none.
    pub(super) fn may_commit(&mut self, now_ms: u64, caller: &Caller) -> Result<(), Refusal> {
        if caller.generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        self.known(caller)?.heard_ms = now_ms;
        match self.phase {
            Phase::Completing { .. } => Err(Refusal::Rebalancing),
            _ => Ok(()),
        }
    }

    pub(super) fn on_leave(
        &mut self,
        now_ms: u64,
        leaving: Vec<(String, Option<String>)>,
        actions: &mut Vec<Action>,
    ) -> Vec<(String, Option<String>, Result<(), Refusal>)> {
        let mut left = Vec::with_capacity(leaving.len());
        for (id, instance) in leaving {
            let result = self.leave(id.clone(), instance.as_deref(), actions);
            left.push((id, instance, result));
        }
        if left.iter().any(|(_, _, result)| result.is_ok()) {
            self.missed(now_ms, actions);
        }
        left
    }

    fn leave(
        &mut self,
        mut id: String,
        instance: Option<&str>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        if id.is_empty()
            && let Some(held) = instance.and_then(|name| self.instances.get(name))
        {
            id = held.clone();
        }
        self.holds(&id, instance)?;
        if self.given.remove(&id).is_none() && !self.remove(&id, actions) {
            return Err(Refusal::UnknownConsumer);
        }
        Ok(())
    }

    /// Consumers are gone: the others share anew.
    fn missed(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::Empty => {}
            Phase::Preparing { .. } => self.form_if_ready(now_ms, actions),
            Phase::Completing { .. } | Phase::Stable => self.prepare(now_ms, actions),
        }
    }

    pub(super) fn remove(&mut self, id: &str, actions: &mut Vec<Action>) -> bool {
        let Some(gone) = self.consumers.remove(id) else { return false };
        for request in gone.joining.into_iter().chain(gone.syncing) {
            actions.push(Action::Answer { request, result: Err(Refusal::UnknownConsumer) });
        }
        if let Some(instance) = &gone.instance {
            self.instances.remove(instance);
        }
        if self.leader == id {
            self.leader = self.consumers.keys().next().cloned().unwrap_or_default();
        }
        true
    }

    pub(super) fn on_tick(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.given.retain(|_, until_ms| now_ms < *until_ms);
        let late = match self.phase {
            Phase::Completing { until_ms, keeping: None } => now_ms >= until_ms,
            _ => false,
        };
        let mut gone = Vec::new();
        for (id, it) in &self.consumers {
            let silent = now_ms.saturating_sub(it.heard_ms) >= u64::from(it.session_ms);
            // Who waits for us is alive, but who does not share in time is not waited for.
            if silent && !it.is_waiting() || late && it.syncing.is_none() {
                gone.push(id.clone());
            }
        }
        for id in &gone {
            self.remove(id, actions);
        }
        if !gone.is_empty() || late {
            self.missed(now_ms, actions);
        }
        self.form_if_ready(now_ms, actions);
    }
}
