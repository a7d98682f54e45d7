//! How a generation's assignments are told: the leader shares out, the log keeps it, then everybody hears.

use super::{Group, Phase};
use crate::action::Action;
use crate::limits::BYTES_MAX;
use bytes::Bytes;
use model::group::{Refusal, Said, Sync};

impl Group {
    pub(super) fn on_sync(
        &mut self,
        now_ms: u64,
        request: u64,
        sync: Sync,
        actions: &mut Vec<Action>,
    ) -> Result<Option<Said>, Refusal> {
        self.known(&sync.caller)?.heard_ms = now_ms;
        let differs =
            |said: &Option<String>, is: &str| said.as_ref().is_some_and(|said| said != is);
        if differs(&sync.kind, &self.kind) || differs(&sync.protocol, &self.protocol) {
            return Err(Refusal::Inconsistent);
        }
        match self.phase {
            Phase::Empty => Err(Refusal::UnknownConsumer),
            Phase::Preparing { .. } => Err(Refusal::Rebalancing),
            Phase::Stable => Ok(Some(self.synced(&sync.caller.consumer))),
            Phase::Completing { keeping, .. } => {
                let id = sync.caller.consumer;
                let shares = id == self.leader && keeping.is_none();
                let bytes: usize = sync.assignments.iter().map(|(_, bytes)| bytes.len()).sum();
                if shares && bytes > BYTES_MAX {
                    return Err(Refusal::Full);
                }
                if let Some(twice) =
                    self.consumers.get_mut(&id).and_then(|it| it.syncing.replace(request))
                {
                    let result = Err(Refusal::Rebalancing);
                    actions.push(Action::Answer { request: twice, result });
                }
                if shares {
                    self.share(sync.assignments, actions);
                }
                Ok(None)
            }
        }
    }

    /// The leader has shared out: nobody hears of it before the log keeps it.
    fn share(&mut self, assignments: Vec<(String, Bytes)>, actions: &mut Vec<Action>) {
        for (id, assignment) in assignments {
            if let Some(consumer) = self.consumers.get_mut(&id) {
                consumer.assignment = assignment;
            }
        }
        let number = self.keep(actions);
        if let Phase::Completing { keeping, .. } = &mut self.phase {
            *keeping = Some(number);
        }
    }

    pub(super) fn on_kept(
        &mut self,
        now_ms: u64,
        number: u64,
        result: Result<(), Refusal>,
        actions: &mut Vec<Action>,
    ) {
        if let Some((request, joined)) = self.returned.remove(&number) {
            let result = result.map(|()| Said::Joined(joined));
            actions.push(Action::Answer { request, result });
            return;
        }
        match self.phase {
            Phase::Completing { keeping: Some(kept), .. } if kept == number => {}
            // The dance went on without it.
            _ => return,
        }
        let Err(refusal) = result else {
            self.phase = Phase::Stable;
            let ids: Vec<String> = self.consumers.keys().cloned().collect();
            for id in ids {
                self.tell_assignment(now_ms, &id, actions);
            }
            return;
        };
        for consumer in self.consumers.values_mut() {
            consumer.assignment = Bytes::new();
        }
        self.refuse_waiting(&refusal, actions);
        self.prepare(now_ms, actions);
    }

    fn tell_assignment(&mut self, now_ms: u64, id: &str, actions: &mut Vec<Action>) {
        let synced = self.synced(id);
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        if let Some(request) = consumer.syncing.take() {
            consumer.heard_ms = now_ms;
            actions.push(Action::Answer { request, result: Ok(synced) });
        }
    }

    fn synced(&self, id: &str) -> Said {
        let assignment = self.consumers.get(id).map(|it| it.assignment.clone());
        Said::Synced {
            kind: self.kind.clone(),
            protocol: self.protocol.clone(),
            assignment: assignment.unwrap_or_default(),
        }
    }
}
