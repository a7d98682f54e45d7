//! The membership machine: foca's gossip, with hints from connections and a search for who is
//! missing.
//!
//! Invariants:
//! - M1: what is told of a member, state by state, is what gossip believes after the step.
//! - M2: a member that is gone, or was said to exist, is asked for again until it is alive or
//!   forgotten.
//! - M3: after it left, the machine asks for nothing more.
//! - M4: nobody stays suspect: it lives or is gone within the time for suspicion. Gossip's own timers end with the
//!   identity they were set under, and that of a peer which others called gone is renewed.

use crate::{Action, Identity, Input, Limits, Member, State, limits};
use bytes::Bytes;
use foca::{Config, Foca, NoCustomBroadcast, PeriodicParams, PostcardCodec, Timer};
use rand::{SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::{NonZeroU8, NonZeroUsize},
    time::Duration,
};
use thiserror::Error;

/// Why an input was refused. Nothing changed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The bytes are not a packet of this protocol: drop them, and say who sent them.
    #[error("malformed packet: {0}")]
    Packet(String),
    /// The packet names us as its sender: two peers have one key.
    #[error("a packet from a peer with our own key")]
    Ourselves,
}

/// What one peer believes of the others.
pub struct Mesh {
    foca: Foca<Identity, PostcardCodec, StdRng, NoCustomBroadcast>,
    limits: Limits,
    /// All others ever heard of and not forgotten, by key.
    members: BTreeMap<Vec<u8>, Member>,
    /// Keys that were said to be members' and are not heard of yet.
    wanted: BTreeSet<Vec<u8>>,
    /// The last key that was sought; the search goes round.
    sought: Vec<u8>,
    due: Timers,
    has_started: bool,
    has_left: bool,
}

/// Timers that were asked for and are not due yet.
#[derive(Default)]
struct Timers {
    by_token: BTreeMap<u64, Due>,
    next: u64,
}

/// What a timer is for.
enum Due {
    Gossip(Timer<Identity>),
    /// A member that became suspect: if it said nothing since, it is gone.
    Suspicion {
        id: Identity,
        incarnation: foca::Incarnation,
    },
    /// Ask for who is missing.
    Seek,
}

impl Mesh {
    /// A machine that knows only itself. Equal seeds and inputs give equal actions.
    ///
    /// # Panics
    /// If the identity is larger than `limits` allow: check addresses where they are set.
    pub fn new(seed: u64, identity: Identity, limits: Limits) -> Self {
        if let Err(because) = identity.check() {
            panic!("our own identity must fit into a packet: {because}");
        }
        let dice = StdRng::seed_from_u64(seed);
        Self {
            foca: Foca::new(identity, config(&limits), dice, PostcardCodec),
            limits,
            members: BTreeMap::new(),
            wanted: BTreeSet::new(),
            sought: Vec::new(),
            due: Timers::default(),
            has_started: false,
            has_left: false,
        }
    }

    /// Takes one input at a moment of monotonic time and says what must be done.
    pub fn step(
        &mut self,
        now_us: u64,
        input: Input,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        if self.has_left {
            return Ok(());
        }
        if !std::mem::replace(&mut self.has_started, true) {
            self.due.ask(self.limits.seek_period_us, Due::Seek, actions);
        }
        match input {
            Input::Join { key } => self.on_join(key, actions),
            Input::Packet { bytes } => self.on_packet(&bytes, actions)?,
            Input::Timer { token } => self.on_timer(token, actions),
            Input::Up { key } => self.on_up(key, actions),
            Input::Down { key } => self.on_down(&key, actions),
            Input::Forget { key } => self.forget(&key, actions),
            Input::Leave => self.on_leave(actions),
        }
        self.tell(now_us, actions);
        Ok(())
    }

    /// This peer as it tells itself to others.
    pub fn identity(&self) -> &Identity {
        self.foca.identity()
    }

    /// All other members heard of and not forgotten, by key.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    fn on_join(&mut self, key: Vec<u8>, actions: &mut Vec<Action>) {
        if key == self.identity().key || self.is_here(&key) {
            return;
        }
        if self.wanted.len() < self.limits.members_max && key.len() <= limits::KEY_BYTES_MAX {
            self.wanted.insert(key.clone());
            self.announce(&key, actions);
        }
    }

    fn on_packet(&mut self, bytes: &[u8], actions: &mut Vec<Action>) -> Result<(), Error> {
        let mut outcome = Outcome { due: &mut self.due, actions };
        match self.foca.handle_data(bytes, &mut outcome) {
            Err(foca::Error::DataFromOurselves) => Err(Error::Ourselves),
            Err(
                error @ (foca::Error::DataTooBig
                | foca::Error::Decode(_)
                | foca::Error::MalformedPacket),
            ) => Err(Error::Packet(error.to_string())),
            // the sender is confused, and that it is alive counts nevertheless
            Err(_) | Ok(()) => Ok(()),
        }
    }

    fn on_timer(&mut self, token: u64, actions: &mut Vec<Action>) {
        match self.due.by_token.remove(&token) {
            Some(Due::Gossip(timer)) => {
                let mut outcome = Outcome { due: &mut self.due, actions };
                // the only errors are timers that came late: the next probe starts afresh
                drop(self.foca.handle_timer(timer, &mut outcome));
            }
            Some(Due::Suspicion { id, incarnation }) => self.on_suspicion(id, incarnation, actions),
            Some(Due::Seek) => self.seek(actions),
            // not ours: a machine before this one asked for it
            None => {}
        }
    }

    fn on_up(&mut self, key: Vec<u8>, actions: &mut Vec<Action>) {
        if key == self.identity().key {
            return;
        }
        self.announce(&key, actions);
        // if it was suspected meanwhile, it must hear so to say that it lives
        let mut outcome = Outcome { due: &mut self.due, actions };
        drop(self.foca.gossip(&mut outcome));
    }

    fn on_down(&mut self, key: &[u8], actions: &mut Vec<Action>) {
        let Some(member) = self.believed(key) else { return };
        if member.state() != foca::State::Alive {
            return;
        }
        let (id, incarnation) = (member.id().clone(), member.incarnation());
        self.believe(foca::Member::new(id, incarnation, foca::State::Suspect), actions);
    }

    /// M4: a suspect that has said nothing since is gone; one that was suspected again meanwhile gets as long again.
    fn on_suspicion(
        &mut self,
        id: Identity,
        incarnation: foca::Incarnation,
        actions: &mut Vec<Action>,
    ) {
        let found = self.believed(&id.key).filter(|found| found.id() == &id);
        let Some(found) = found.filter(|found| found.state() == foca::State::Suspect) else {
            return;
        };
        let latest = found.incarnation();
        if latest == incarnation {
            self.believe(foca::Member::new(id, incarnation, foca::State::Down), actions);
        } else {
            let due = Due::Suspicion { id, incarnation: latest };
            self.due.ask(self.limits.suspect_us, due, actions);
        }
    }

    fn forget(&mut self, key: &[u8], actions: &mut Vec<Action>) {
        self.wanted.remove(key);
        let Some(member) = self.believed(key) else { return };
        let (id, incarnation) = (member.id().clone(), member.incarnation());
        if member.state() != foca::State::Down {
            self.believe(foca::Member::new(id.clone(), incarnation, foca::State::Down), actions);
        }
        let mut outcome = Outcome { due: &mut self.due, actions };
        drop(self.foca.handle_timer(Timer::RemoveDown(id), &mut outcome));
        self.members.remove(key);
    }

    fn on_leave(&mut self, actions: &mut Vec<Action>) {
        let mut outcome = Outcome { due: &mut self.due, actions };
        drop(self.foca.leave_cluster(&mut outcome));
        self.has_left = true;
        self.due.by_token.clear();
    }

    /// Asks some of those who are missing, in turn, whether they are here.
    fn seek(&mut self, actions: &mut Vec<Action>) {
        self.wanted
            .retain(|key| self.members.get(key).is_none_or(|member| member.state == State::Gone));
        let gone = self.members.values().filter(|member| member.state == State::Gone);
        let missing: BTreeSet<&Vec<u8>> =
            self.wanted.iter().chain(gone.map(|member| &member.identity.key)).collect();
        let missing: Vec<&Vec<u8>> = missing.into_iter().collect();
        let start = missing.partition_point(|key| **key <= self.sought);
        let count = missing.len().min(usize::from(self.limits.seek_members));
        let next: Vec<Vec<u8>> =
            missing.iter().cycle().skip(start).take(count).map(|key| key.to_vec()).collect();
        for key in &next {
            self.announce(key, actions);
        }
        if let Some(last) = next.last() {
            self.sought.clone_from(last);
        }
        self.due.ask(self.limits.seek_period_us, Due::Seek, actions);
    }

    fn announce(&mut self, key: &[u8], actions: &mut Vec<Action>) {
        let mut outcome = Outcome { due: &mut self.due, actions };
        // it cannot fail: both identities were checked to fit
        drop(self.foca.announce(Identity::of_key(key.to_vec()), &mut outcome));
    }

    fn believe(&mut self, update: foca::Member<Identity>, actions: &mut Vec<Action>) {
        let mut outcome = Outcome { due: &mut self.due, actions };
        // it cannot fail: the identity was checked to fit
        drop(self.foca.apply_many(std::iter::once(update), true, &mut outcome));
    }

    fn believed(&self, key: &[u8]) -> Option<&foca::Member<Identity>> {
        self.foca.iter_membership_state().find(|member| member.id().key == key)
    }

    fn is_here(&self, key: &[u8]) -> bool {
        self.members.get(key).is_some_and(|member| member.state != State::Gone)
    }

    /// M1: finds what this step changed and tells it, in the order of keys.
    fn tell(&mut self, now_us: u64, actions: &mut Vec<Action>) {
        let mut changed = BTreeMap::new();
        let mut suspects = Vec::new();
        let own = &self.identity().key;
        // An earlier life of this peer, called gone by others, is nobody to seek.
        let others = self.foca.iter_membership_state().filter(|found| found.id().key != *own);
        for found in others {
            let (id, state) = (found.id(), State::from(found.state()));
            let known = self.members.get(&id.key);
            if known.is_some_and(|known| known.state == state && known.identity == *id) {
                continue;
            }
            if state == State::Suspect {
                let incarnation = found.incarnation();
                suspects.push(Due::Suspicion { id: id.clone(), incarnation });
            }
            let member = Member { identity: id.clone(), state, since_us: now_us };
            changed.insert(id.key.clone(), member);
        }
        for due in suspects {
            self.due.ask(self.limits.suspect_us, due, actions);
        }
        if !changed.is_empty() {
            self.members.extend(changed.clone());
            actions.push(Action::Changed(changed.into_values().collect()));
            self.forget_the_longest_gone(actions);
        }
    }

    fn forget_the_longest_gone(&mut self, actions: &mut Vec<Action>) {
        while self.members.len() > self.limits.members_max {
            let gone = self.members.values().filter(|member| member.state == State::Gone);
            let Some(longest) = gone.min_by_key(|member| member.since_us) else { return };
            let key = longest.identity.key.clone();
            self.forget(&key, actions);
        }
    }
}

impl Timers {
    fn ask(&mut self, after_us: u64, due: Due, actions: &mut Vec<Action>) {
        let token = self.next;
        self.next += 1;
        self.by_token.insert(token, due);
        actions.push(Action::Timer { after_us, token });
    }
}

/// Turns foca's wishes into actions.
struct Outcome<'a> {
    due: &'a mut Timers,
    actions: &'a mut Vec<Action>,
}

impl foca::Runtime<Identity> for Outcome<'_> {
    /// Members are compared after each step instead: foca does not tell suspicion.
    fn notify(&mut self, _: foca::Notification<'_, Identity>) {}

    fn send_to(&mut self, to: Identity, packet: &[u8]) {
        let packet = Bytes::copy_from_slice(packet);
        self.actions.push(Action::Send { to: to.key, packet });
    }

    fn submit_after(&mut self, timer: Timer<Identity>, after: Duration) {
        let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.due.ask(after_us, Due::Gossip(timer), self.actions);
    }
}

impl From<foca::State> for State {
    fn from(state: foca::State) -> Self {
        match state {
            foca::State::Alive => Self::Alive,
            foca::State::Suspect => Self::Suspect,
            foca::State::Down => Self::Gone,
        }
    }
}

fn config(limits: &Limits) -> Config {
    let every = |us, members| {
        Some(PeriodicParams { frequency: Duration::from_micros(us), num_members: members })
    };
    let members =
        NonZeroUsize::new(usize::from(limits.gossip_members)).unwrap_or(NonZeroUsize::MIN);
    Config {
        probe_period: Duration::from_micros(limits.probe_period_us),
        probe_rtt: Duration::from_micros(limits.probe_rtt_us),
        num_indirect_probes: members,
        max_transmissions: NonZeroU8::new(limits.transmissions).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: Duration::from_micros(limits.suspect_us),
        // a member that is gone is kept until it is forgotten by hand or by the bound
        remove_down_after: None,
        max_packet_size: NonZeroUsize::new(limits::PACKET_BYTES_MAX).unwrap_or(NonZeroUsize::MIN),
        notify_down_members: true,
        periodic_announce: every(limits.announce_period_us, NonZeroUsize::MIN),
        // foca's own search stops when nobody is left; ours does not
        periodic_announce_to_down_members: None,
        periodic_gossip: every(limits.gossip_period_us, members),
    }
}
