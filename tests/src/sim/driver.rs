//! A peer as far as one shard needs it: drives the real machine, its disk and its links.

use super::bulk::Content;
use super::clients::Seen;
use super::disk::{Disk, Frame, Part};
use super::world::{Ask, Event, Reply, World};
use bytes::Bytes;
use model::{Epoch, PeerId, ReplicaId};
use replica::{Action, Arrival, BEAT_TICKS, Input, Now, Replica, TICK_MS, arrival};
use std::collections::BTreeMap;

/// A peer: its disk outlives its processes.
pub struct Peer {
    pub id: i32,
    pub disk: Disk,
    /// Counts starts and ends of the process; odd while it runs.
    lives: u64,
    pub replica: Option<Replica>,
    pub paused_until_us: u64,
    pub wall_ahead_ms: i64,
    /// Syncs take this much longer, µs.
    pub slow_us: u64,
    /// What its replica is told of it; a new process finds out anew.
    pub strained: bool,
    turning: bool,
    ticks: u64,
    /// Frames that the running sync covers.
    syncing: usize,
    /// The manifest that is being fetched.
    pub fetching: Option<Bytes>,
    /// What was fetched for a snapshot that is being installed, by its index.
    pub fetched: Option<(u64, Content)>,
    /// Requests that are not answered, with the moment they came.
    pub asked: BTreeMap<u64, u64>,
}

impl Peer {
    pub fn new(id: i32) -> Self {
        Self {
            id,
            disk: Disk::default(),
            lives: 0,
            replica: None,
            paused_until_us: 0,
            wall_ahead_ms: 0,
            slow_us: 0,
            strained: false,
            turning: false,
            ticks: 0,
            syncing: 0,
            fetching: None,
            fetched: None,
            asked: BTreeMap::new(),
        }
    }

    pub fn is_up(&self) -> bool {
        self.lives % 2 == 1
    }

    pub fn life_number(&self) -> u64 {
        self.lives
    }

    /// The process ends, and with it everything that was in memory.
    pub fn end(&mut self) {
        assert!(self.is_up(), "only what runs can end");
        let (id, lives, wall_ahead_ms) = (self.id, self.lives + 1, self.wall_ahead_ms);
        let disk = std::mem::take(&mut self.disk);
        *self = Self { disk, lives, wall_ahead_ms, ..Self::new(id) };
    }
}

impl World {
    pub(super) fn peer(&mut self, id: i32) -> &mut Peer {
        self.peers.get_mut(&id).expect("peers are never taken out of the world")
    }

    /// The mesh is founded on the first peer; the others start with empty disks.
    pub(super) fn found(&mut self) {
        let founded = Replica::founded(&self.config(1));
        let (replica, base, hard) = (founded.replica, founded.base, founded.hard);
        let disk = &mut self.peer(1).disk;
        disk.write(Frame { number: 0, parts: vec![Part::Begin { replica, base, hard }] });
        disk.synced(1);
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            self.after(0, Event::Start { peer, life: 0 });
        }
    }

    pub(super) fn start(&mut self, id: i32) -> Result<(), String> {
        let config = self.config(id);
        let keep = self.menu.log_bytes;
        let peer = self.peer(id);
        peer.lives += 1;
        let life = peer.lives;
        let restored = peer.disk.restore(&config);
        let found = restored.as_ref().map(|r| (r.replica, r.fold.index(), r.hard));
        if let Some(restored) = restored {
            let (replica, index) = (restored.replica, restored.fold.index());
            let mut replica_here = Replica::new(config, restored)
                .map_err(|e| format!("p{id} cannot start {replica}: {e}"))?;
            replica_here.keep_log(keep, 2 * keep);
            peer.replica = Some(replica_here);
            self.invariants.restarted(id, replica, index);
        }
        self.note(format_args!("p{id} starts with {found:?}"));
        let offset = self.dice.range(0, TICK_MS * 1000);
        self.after(offset, Event::Tick { peer: id, life });
        let first = self.dice.range(300_000, 1_500_000);
        self.after(first, Event::Checkpoint { peer: id, life });
        self.after(1_000, Event::Target { peer: id, life });
        self.turn_if_needed(id);
        self.relapse(id);
        Ok(())
    }

    pub(super) fn peer_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Tick { peer, life } => {
                self.after(TICK_MS * 1000, Event::Tick { peer, life });
                let ticks = &mut self.peer(peer).ticks;
                *ticks += 1;
                let beat = ticks.is_multiple_of(BEAT_TICKS);
                self.input(peer, Input::Tick { beat })?;
                let wants = self.peers[&peer].replica.as_ref().is_some_and(Replica::wants_move);
                if wants && self.dice.chance(600) {
                    self.input(peer, Input::MayMove)?;
                }
                Ok(())
            }
            Event::Turn { peer, .. } => {
                // What has gathered may wait for a pace, what is under way goes on.
                let paced = self.dice.chance(500);
                let here = self.peer(peer);
                here.turning = false;
                let goes_on = paced && here.replica.as_ref().is_some_and(Replica::needs_round);
                self.input(peer, if goes_on { Input::Round } else { Input::Turn })
            }
            Event::Synced { peer, frames, .. } => self.synced(peer, frames),
            Event::Checkpoint { peer, life } => self.checkpoint(peer, life),
            Event::Deliver { peer, from, to, message, .. } => self.deliver(peer, from, to, message),
            Event::Lost { peer, other, .. } => {
                self.input(peer, Input::Lost { peer: PeerId(other) })
            }
            Event::Report { peer, replica, .. } => self.input(peer, Input::Replace { replica }),
            Event::Target { peer, .. } => {
                let (epoch, peers, least) = self.target.clone();
                self.input(peer, Input::Target { epoch: Epoch(epoch), peers, least })
            }
            Event::Manifest { peer, .. } => self.manifest(peer),
            Event::Fetched { peer, from, manifest, message, .. } => {
                self.fetched(peer, from, &manifest, message)
            }
            Event::Outcome { peer, to, installed, .. } => {
                self.input(peer, Input::SnapshotOutcome { to, installed })
            }
            Event::Ask { peer, request, ask, .. } => {
                let now = self.now_us();
                if self.peer(peer).replica.is_none() {
                    let result = Err(replica::Refusal::NotLeader { leader: None });
                    self.reply(request, Reply { result, seen: None });
                    return Ok(());
                }
                self.peer(peer).asked.insert(request, now);
                match ask {
                    Ask::Propose(op) => self.input(peer, Input::Propose { request, op }),
                    Ask::Read => self.input(peer, Input::Read { request }),
                }
            }
            other => Err(format!("{other:?} is of no peer")),
        }
    }

    /// Steps the machine and carries out what it asks for.
    pub(super) fn input(&mut self, id: i32, input: Input) -> Result<(), String> {
        let now_us = self.now_us();
        let wall_ms = self.wall_ms(self.peers[&id].wall_ahead_ms);
        let Some(replica) = &mut self.peer(id).replica else { return Ok(()) };
        let now = Now { mono_us: now_us, wall_ms };
        let mut actions = Vec::new();
        let what = replica.id();
        if let Err(error) = replica.step(now, input, &mut actions) {
            if error.is_fatal() {
                return Err(format!("{what} on p{id} stops: {error}"));
            }
            self.note(format_args!("p{id} refuses: {error}"));
        }
        let mut frame = Frame::default();
        for action in actions {
            self.act(id, what, action, &mut frame)?;
        }
        if !frame.parts.is_empty() {
            self.peer(id).disk.write(frame);
            self.sync(id);
        }
        self.turn_if_needed(id);
        Ok(())
    }

    pub(super) fn turn_if_needed(&mut self, id: i32) {
        let peer = self.peer(id);
        let due = peer.replica.as_ref().is_some_and(Replica::needs_turn);
        if due && !peer.turning {
            peer.turning = true;
            let life = peer.lives;
            let delay = self.dice.range(20, 300);
            self.after(delay, Event::Turn { peer: id, life });
        }
    }

    fn act(
        &mut self,
        id: i32,
        me: ReplicaId,
        action: Action,
        frame: &mut Frame,
    ) -> Result<(), String> {
        match action {
            Action::Persist { number, snapshot, entries, hard } => {
                let span = entries.first().zip(entries.last()).map(|(a, b)| (a.index, b.index));
                self.note(format_args!(
                    "p{id} {me} writes #{number} {snapshot:?} {span:?} {hard:?}"
                ));
                self.invariants.written(id, me, &entries)?;
                if let Some((index, _)) = snapshot {
                    self.install(id, me, index)?;
                }
                frame.number = number;
                frame.parts.push(Part::Persist { snapshot, entries, hard });
                Ok(())
            }
            Action::Send { to, to_replica, message, .. } => {
                self.send(id, (me, to.0, to_replica), message);
                Ok(())
            }
            Action::Append { partition, batch } => {
                self.invariants.appended(id, partition, &batch)?;
                let segment = self.peer(id).disk.segments.entry(partition).or_default();
                let next = segment.last().map_or(0, model::Batch::next_offset);
                if next != batch.base_offset() {
                    return Err(format!("p{id} {me}: {batch:?} follows offset {next}"));
                }
                segment.push(batch);
                Ok(())
            }
            Action::Answer { request, result } => self.answered(id, request, result),
            Action::Applied { index } => self.applied(id, me, index),
            Action::Role { term, leader, leading } => {
                self.note(format_args!(
                    "p{id} {me} term {term} leader {leader:?} leading {leading}"
                ));
                let fold = self.peers[&id].replica.as_ref().map(Replica::fold);
                if leading && fold.is_some_and(|fold| fold.term() != term) {
                    return Err(format!(
                        "p{id} {me} answers in term {term} before its first entry"
                    ));
                }
                self.invariants.role(id, me, term, leader, leading)
            }
            Action::WantManifest { .. } => {
                let life = self.peer(id).lives;
                let delay = self.dice.range(1_000, 80_000);
                self.after(delay, Event::Manifest { peer: id, life });
                Ok(())
            }
            Action::Fetch { from, manifest, message, .. } => {
                self.fetch(id, from.0, manifest, message);
                Ok(())
            }
            Action::Gone => {
                self.note(format_args!("p{id} {me} is gone"));
                frame.parts.clear();
                let peer = self.peer(id);
                peer.disk.bury(me);
                (peer.replica, peer.syncing) = (None, 0);
                Ok(())
            }
            Action::Trim { .. }
            | Action::Drop { .. }
            | Action::TaskMoved { .. }
            | Action::Catalogue => Ok(()),
        }
    }

    fn applied(&mut self, id: i32, me: ReplicaId, index: u64) -> Result<(), String> {
        let Some(replica) = &self.peers[&id].replica else { return Ok(()) };
        let fold = replica.fold();
        if fold.index() > index {
            // One step can apply several times; the fold is that of the last.
            return Ok(());
        }
        let digest = fold.digest();
        self.invariants.applied(id, me, index, fold)?;
        let configuration = fold.configuration();
        let seen = (configuration.epoch.0, configuration.next_replica);
        if !configuration.is_joint() && seen > self.settled_epoch {
            self.settled_epoch = seen;
            self.configuration_moved();
        }
        self.note(format_args!("p{id} {me} applied {index} {digest:016x}"));
        Ok(())
    }

    fn answered(
        &mut self,
        id: i32,
        request: u64,
        result: Result<replica::Answer, replica::Refusal>,
    ) -> Result<(), String> {
        if self.peer(id).asked.remove(&request).is_none() {
            return Err(format!("p{id} answers request {request} twice"));
        }
        let fold = self.peers[&id].replica.as_ref().map(Replica::fold);
        let is_read = matches!(result, Ok(replica::Answer::Read { .. }));
        let seen = fold.filter(|_| is_read).map(Seen::of);
        self.note(format_args!("p{id} answers {request}: {result:?}"));
        self.reply(request, Reply { result, seen });
        Ok(())
    }

    fn send(
        &mut self,
        from: i32,
        (me, to, to_replica): (ReplicaId, i32, ReplicaId),
        message: Bytes,
    ) {
        let arrivals = self.network.deliver(from, to, &mut self.dice);
        let Some(life) = self.peers.get(&to).map(Peer::life_number) else { return };
        for delay in arrivals.into_iter().flatten() {
            let from = (me, PeerId(from));
            let message = message.clone();
            self.after(delay, Event::Deliver { peer: to, life, from, to: to_replica, message });
        }
    }

    fn deliver(
        &mut self,
        id: i32,
        from: (ReplicaId, PeerId),
        to: ReplicaId,
        message: Bytes,
    ) -> Result<(), String> {
        let peer = self.peer(id);
        if !peer.is_up() {
            return Ok(());
        }
        let here = peer.replica.as_ref().map(Replica::id);
        match arrival(here, Some(ReplicaId(peer.disk.tombstone)), to, &message) {
            Arrival::Here => {}
            Arrival::Begin => self.create(id, to)?,
            Arrival::Missing => {
                let other = from.1.0;
                let life = self.peers.get(&other).map_or(0, Peer::life_number);
                self.after(300, Event::Report { peer: other, life, replica: to });
                return Ok(());
            }
        }
        self.input(id, Input::Message { from: from.0, from_peer: from.1, message })
    }

    /// A leader says that this replica is a new learner here.
    fn create(&mut self, id: i32, new: ReplicaId) -> Result<(), String> {
        self.note(format_args!("p{id} makes {new}"));
        let config = self.config(id);
        let keep = self.menu.log_bytes;
        let restored = Replica::joining(&config, new);
        let (base, hard) = (restored.base, restored.hard);
        let mut here = Replica::new(config, restored).map_err(|e| e.to_string())?;
        here.keep_log(keep, 2 * keep);
        self.invariants.restarted(id, new, here.fold().index());
        // Who waits for the replica that was here gets no answer from another.
        let mut last = Vec::new();
        if let Some(old) = &mut self.peer(id).replica {
            old.retire(&mut last);
        }
        for action in last {
            if let Action::Answer { request, result } = action {
                self.answered(id, request, result)?;
            }
        }
        let peer = self.peer(id);
        peer.disk.clear();
        peer.disk.write(Frame { number: 0, parts: vec![Part::Begin { replica: new, base, hard }] });
        (peer.replica, peer.syncing) = (Some(here), 0);
        self.sync(id);
        let life = self.peer(id).lives;
        self.after(500, Event::Target { peer: id, life });
        let strained = self.peers[&id].strained;
        self.input(id, Input::Strained { strained })
    }

    /// Starts a sync of all that was written, unless one runs.
    fn sync(&mut self, id: i32) {
        let slow_us = self.peers[&id].slow_us;
        let latency =
            self.dice.range(80, 1_500) + if slow_us > 0 { self.dice.range(0, slow_us) } else { 0 };
        let peer = self.peer(id);
        if peer.syncing == 0 && peer.disk.has_unsynced() {
            peer.syncing = peer.disk.unsynced();
            let (life, frames) = (peer.lives, peer.syncing);
            self.after(latency, Event::Synced { peer: id, life, frames });
        }
    }

    fn synced(&mut self, id: i32, frames: usize) -> Result<(), String> {
        let peer = self.peer(id);
        if peer.syncing != frames || peer.disk.unsynced() < frames {
            // The replica it was for is gone.
            return Ok(());
        }
        peer.syncing = 0;
        let number = peer.disk.synced(frames);
        self.sync(id);
        self.input(id, Input::Persisted { number })
    }
}
