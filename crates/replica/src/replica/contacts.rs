//! Who was heard of, and when; and what is said beside consensus: who is a member no more.

use super::Replica;
use crate::action::Action;
use crate::error::Error;
use crate::input::Now;
use crate::limits::{KNOCK_US, LIVE_US, MEMBERS_MAX, PARTINGS, STRANGERS_MAX};
use crate::wire::{self, ANY, Body, Packet};
use bytes::Bytes;
use model::{PeerId, ReplicaId};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the other replicas by their messages.
#[derive(Default)]
pub struct Contacts {
    others: BTreeMap<ReplicaId, Contact>,
    /// The moment a leader was last known.
    led_us: u64,
    knocked_us: u64,
    /// Removed replicas that a leader still has to tell so, and how often.
    parting: BTreeMap<ReplicaId, (PeerId, u32)>,
}

struct Contact {
    peer: PeerId,
    heard_us: u64,
    /// Its wall clock minus ours when it was heard, ms.
    ahead_ms: i64,
    /// It was strained then.
    strained: bool,
    /// Its connection broke after it was heard.
    lost: bool,
}

impl Contacts {
    fn hear(&mut self, now: Now, peer: PeerId, packet: &Packet) {
        let (id, strained, wall_ms) = (packet.from, packet.strained, packet.wall_ms);
        if !self.others.contains_key(&id) && self.others.len() >= STRANGERS_MAX {
            let oldest = self.others.iter().min_by_key(|(_, contact)| contact.heard_us);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.others.remove(&oldest);
            }
        }
        let ahead_ms = wall_ms.wrapping_sub(now.wall_ms) as i64;
        let contact = Contact { peer, heard_us: now.mono_us, ahead_ms, strained, lost: false };
        self.others.insert(id, contact);
    }

    /// These replicas were removed.
    pub fn part(&mut self, removed: impl Iterator<Item = (ReplicaId, PeerId)>) {
        self.parting.extend(removed.map(|(id, peer)| (id, (peer, PARTINGS))));
        while self.parting.len() > MEMBERS_MAX {
            self.parting.pop_first();
        }
    }

    /// Marks all replicas of a peer whose connection broke.
    pub fn lose(&mut self, peer: PeerId) {
        for contact in self.others.values_mut().filter(|contact| contact.peer == peer) {
            contact.lost = true;
        }
    }

    pub fn is_lost(&self, id: ReplicaId) -> bool {
        self.others.get(&id).is_some_and(|contact| contact.lost)
    }

    /// Heard of lately, and its connection has not broken since.
    pub fn is_live(&self, id: ReplicaId, now: Now) -> bool {
        self.others.get(&id).is_some_and(|contact| {
            !contact.lost && now.mono_us.saturating_sub(contact.heard_us) < LIVE_US
        })
    }

    /// Live, and able to lead without strain.
    pub fn is_calm(&self, id: ReplicaId, now: Now) -> bool {
        let calm = self.others.get(&id).is_some_and(|contact| !contact.strained);
        calm && self.is_live(id, now)
    }

    /// How far ahead of ours a live replica's clock is, ms.
    pub fn ahead_ms(&self, id: ReplicaId, now: Now) -> Option<i64> {
        let live = self.is_live(id, now);
        self.others.get(&id).filter(|_| live).map(|contact| contact.ahead_ms)
    }
}

impl Replica {
    pub(super) fn peer_of(&self, id: ReplicaId) -> Option<PeerId> {
        if id == self.id {
            return Some(self.config.peer);
        }
        let member = self.fold.members().get(&id).map(|member| member.peer);
        member.or_else(|| self.contacts.others.get(&id).map(|contact| contact.peer))
    }

    pub(super) fn on_message(
        &mut self,
        now: Now,
        from: (ReplicaId, PeerId),
        message: &Bytes,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let packet = wire::decode(message)?;
        if packet.to != self.id && packet.to != ANY {
            return Err(Error::Message("it is for another replica"));
        }
        if packet.from != from.0 || packet.from == self.id {
            return Err(Error::Sender { said: packet.from, from: from.0 });
        }
        self.contacts.hear(now, from.1, &packet);
        if self.fold.configuration().has_removed(packet.from) {
            if self.may_part() {
                self.say(now, packet.from, Body::Gone, actions);
            }
            return Ok(());
        }
        match packet.body {
            Body::Consensus(m) => return self.on_consensus(now, *m, from.1, message, actions),
            Body::Gone => self.leave(actions),
            Body::Knock => {}
            Body::Fetching { index } => self.snapshots.goes_on(now, packet.from, index),
        }
        Ok(())
    }

    /// Whether removed replicas may go: this replica leads, and a quorum of voters have on their disks that the last
    /// configuration is committed. Before that, a crash of all could leave a group that needs the removed ones.
    fn may_part(&self) -> bool {
        if !self.is_leading() || self.fold.configuration().is_joint() {
            return false;
        }
        let since = self.snapshots.configured_at();
        let knows = |id: &ReplicaId| {
            if *id == self.id {
                return self.journal.durable().commit >= since;
            }
            // R7: a follower says that it is committed only after it is on its disk.
            let progress = self.raw.raft.prs().get(id.0);
            progress.is_some_and(|progress| progress.committed_index >= since)
        };
        let voters = self.fold.configuration().voters();
        voters.iter().filter(|id| knows(id)).count() > voters.len() / 2
    }

    /// A leader tells removed replicas so; who misses it will ask.
    fn tick_parting(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.contacts.parting.is_empty() || !self.may_part() {
            return;
        }
        for (to, (peer, left)) in std::mem::take(&mut self.contacts.parting) {
            let message = self.packet(now, to, Body::Gone);
            actions.push(Action::Send { to: peer, to_replica: to, message, patience: false });
            if left > 1 {
                self.contacts.parting.insert(to, (peer, left - 1));
            }
        }
    }

    /// This replica is no member any more.
    pub(super) fn leave(&mut self, actions: &mut Vec<Action>) {
        self.retire(actions);
        actions.push(Action::Gone);
    }

    /// Sends something that consensus knows nothing of.
    pub(super) fn say(&self, now: Now, to: ReplicaId, body: Body, actions: &mut Vec<Action>) {
        let Some(peer) = self.peer_of(to) else { return };
        let message = self.packet(now, to, body);
        actions.push(Action::Send { to: peer, to_replica: to, message, patience: false });
    }

    fn packet(&self, now: Now, to: ReplicaId, body: Body) -> Bytes {
        let (from, strained, wall_ms) = (self.id, self.strained, now.wall_ms);
        wire::encode(&Packet { from, to, fresh: false, strained, wall_ms, body })
    }

    /// Without a leader for long, asks the others whether it is still one of them: a replica that was away when
    /// it was removed hears of it in no other way.
    pub(super) fn tick_contacts(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.tick_parting(now, actions);
        // A learner keeps its leader for ever in consensus's eyes: only its voice counts.
        let leader = ReplicaId(self.raw.raft.leader_id);
        if leader == self.id || self.contacts.is_live(leader, now) || self.contacts.led_us == 0 {
            self.contacts.led_us = now.mono_us.max(1);
            return;
        }
        let since = self.contacts.led_us.max(self.contacts.knocked_us);
        if now.mono_us.saturating_sub(since) < KNOCK_US {
            return;
        }
        self.contacts.knocked_us = now.mono_us;
        // Its own fold may name only replicas that are gone by now: the ring's target and who spoke to it may know
        // more. Which replicas the peers have it cannot know, so it asks whichever there is.
        let members = self.fold.members().values().map(|member| member.peer);
        let spoke = self.contacts.others.values().map(|contact| contact.peer);
        let known = members.chain(spoke).chain(self.walk.target().iter().copied());
        let peers: BTreeSet<PeerId> = known.filter(|peer| *peer != self.config.peer).collect();
        for to in peers {
            let message = self.packet(now, ANY, Body::Knock);
            actions.push(Action::Send { to, to_replica: ANY, message, patience: false });
        }
    }
}
