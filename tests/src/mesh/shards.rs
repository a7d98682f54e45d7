//! Steps all replicas of a process in turns and carries out what they ask for.
//!
//! Does what `peer::shards` does, in its order: a turn drains what came in, writes what is committed to the segments,
//! sends one frame to each neighbour and hands one frame to the journal's thread.

use super::host::Letter;
use super::trace::note;
use super::world::{Of, SHARDS, World};
use model::{PartitionId, PeerId, ReplicaId, ShardId};
use replica::{Action, BEAT_TICKS, Input, Replica, TICK_MS};
use store::Record;

/// Replicas of the shards led by one host that are on their way at once.
const MOVES: usize = 2;

impl World {
    /// Steps one replica, carries its actions out and sees to it that a turn follows; false if it refused.
    pub fn step(&mut self, h: usize, shard: ShardId, input: Input) -> Result<bool, String> {
        let now = self.now(h);
        let Some(process) = self.process(h).filter(|process| !process.writer.is_fenced()) else {
            return Ok(false);
        };
        let Some(slot) = process.slot(shard) else { return Ok(false) };
        let mut actions = Vec::new();
        let stepped = slot.replica.step(now, input, &mut actions);
        let newly_dirty = !slot.dirty && slot.replica.needs_turn();
        slot.dirty |= newly_dirty;
        if newly_dirty {
            process.dirty.push(shard);
        }
        self.carry_out(h, shard, actions)?;
        if let Err(error) = &stepped {
            self.step_failed(h, shard, error)?;
        }
        self.schedule_turn(h);
        Ok(stepped.is_ok())
    }

    pub fn schedule_turn(&mut self, h: usize) {
        let Some(process) = self.process(h) else { return };
        let work = !process.dirty.is_empty()
            || !process.outgoing.is_empty()
            || !process.records.is_empty();
        if work && !process.turning {
            process.turning = true;
            let delay = self.dice.range(20, 300);
            self.soon(h, delay, Of::Turn);
        }
    }

    fn step_failed(
        &mut self,
        h: usize,
        shard: ShardId,
        error: &replica::Error,
    ) -> Result<(), String> {
        if !error.is_fatal() {
            note!(self, "h{h} {shard} refuses: {error}");
            return Ok(());
        }
        let Some(slot) = self.process(h).and_then(|process| process.slot(shard)) else {
            return Ok(());
        };
        let id = slot.replica.id();
        self.silent(h, shard, id, &error.to_string())?;
        self.remove(h, shard)
    }

    /// A replica falls silent: only what was done to its disk excuses that.
    pub fn silent(
        &mut self,
        h: usize,
        shard: ShardId,
        id: ReplicaId,
        why: &str,
    ) -> Result<(), String> {
        note!(self, "h{h} {shard} {id} falls silent: {why}");
        self.outcome.doubts += 1;
        self.truth.silenced(h, shard);
        let is_member = self.truth.configuration(shard).members.contains_key(&id);
        let host = &self.hosts[h];
        let harmed = [&host.damage, &host.rotten].into_iter().any(|it| it.contains(&(shard, id)));
        if harmed || !is_member {
            return Ok(());
        }
        Err(format!("{shard} on h{h} falls silent on a sound disk: {why}"))
    }

    pub fn on_turn(&mut self, h: usize) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        process.turning = false;
        let dirty = std::mem::take(&mut process.dirty);
        // What gathers may wait for a pace, what is under way goes on.
        let paced = self.dice.chance(500);
        let mut held = Vec::new();
        for shard in dirty {
            let Some(slot) = self.process(h).and_then(|process| process.slot(shard)) else {
                continue;
            };
            let goes_on = slot.replica.needs_round();
            if paced && !goes_on {
                held.push(shard);
                continue;
            }
            slot.dirty = false;
            self.step(h, shard, if paced { Input::Round } else { Input::Turn })?;
        }
        if let Some(process) = self.process(h).filter(|_| !held.is_empty()) {
            process.dirty.extend(held);
            self.schedule_turn(h);
        }
        self.flush_appends(h)?;
        self.send_frames(h);
        self.write(h)
    }

    pub fn on_tick(&mut self, h: usize) -> Result<(), String> {
        self.soon(h, TICK_MS * 1000, Of::Tick);
        self.tell_of_rot(h)?;
        let Some(process) = self.process(h) else { return Ok(()) };
        process.ticks += 1;
        let beat = process.ticks.is_multiple_of(BEAT_TICKS);
        self.for_all(h, |_| Input::Tick { beat })?;
        self.grant_moves(h)
    }

    /// Lets shards that are led here begin further moves.
    fn grant_moves(&mut self, h: usize) -> Result<(), String> {
        let now = self.now(h);
        let Some(process) = self.process(h) else { return Ok(()) };
        let slots = || process.slots.iter().flatten();
        let moving = slots().filter(|slot| slot.replica.is_moving(now)).count();
        let wants = |shard: &ShardId| process.replica(*shard).is_some_and(Replica::wants_move);
        let wanting: Vec<ShardId> = (0..SHARDS).map(ShardId).filter(wants).collect();
        let free = MOVES.saturating_sub(moving);
        wanting.into_iter().take(free).try_for_each(|shard| {
            self.step(h, shard, Input::MayMove)?;
            Ok(())
        })
    }

    fn for_all(&mut self, h: usize, input: impl Fn(ShardId) -> Input) -> Result<(), String> {
        for shard in (0..SHARDS).map(ShardId) {
            self.step(h, shard, input(shard))?;
        }
        Ok(())
    }

    pub fn on_targets(&mut self, h: usize) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let (ring, epoch) = (process.board.ring(), process.board.catalogue().epoch);
        let least = process.board.least();
        for shard in (0..SHARDS).map(ShardId) {
            let peers = ring.target(shard).to_vec();
            if !peers.is_empty() {
                self.step(h, shard, Input::Target { epoch, peers, least })?;
            }
        }
        Ok(())
    }

    pub fn on_lost(&mut self, h: usize, peer: PeerId) -> Result<(), String> {
        self.for_all(h, |_| Input::Lost { peer })
    }

    pub fn on_hand_over(&mut self, h: usize) -> Result<(), String> {
        self.for_all(h, |_| Input::HandOver)
    }

    pub fn carry_out(
        &mut self,
        h: usize,
        shard: ShardId,
        actions: Vec<Action>,
    ) -> Result<(), String> {
        for action in actions {
            let Some(slot) = self.process(h).and_then(|process| process.slot(shard)) else {
                return Ok(());
            };
            let me = slot.replica.id();
            self.act(h, shard, me, action)?;
        }
        let Some(process) = self.process(h) else { return Ok(()) };
        if process.appends.is_empty() {
            self.send_answers(h)
        } else if !process.turning {
            self.flush_appends(h)
        } else {
            Ok(())
        }
    }

    fn act(
        &mut self,
        h: usize,
        shard: ShardId,
        me: ReplicaId,
        action: Action,
    ) -> Result<(), String> {
        match action {
            Action::Persist { number, snapshot, entries, hard } => {
                self.truth.written(h, shard, &entries)?;
                if let Some((index, term)) = snapshot {
                    note!(self, "h{h} {shard} {me} begins its log at {index} of term {term}");
                    self.record(h, Record::Snapshot { shard, replica: me, index, term })?;
                }
                if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                    let (first, last) = (first.index, last.index);
                    note!(self, "h{h} {shard} {me} writes entries {first} to {last}");
                    self.record(h, Record::Entries { shard, replica: me, entries })?;
                }
                if let Some(hard) = hard {
                    note!(self, "h{h} {shard} {me} writes {hard:?}");
                    self.record(h, Record::Hard { shard, replica: me, hard })?;
                }
                let Some(process) = self.process(h) else { return Ok(()) };
                process.persists.push((shard, me, number));
                Ok(())
            }
            Action::Send { to, to_replica, message, .. } => {
                let Some(process) = self.process(h) else { return Ok(()) };
                let letter = Letter { shard, to: to_replica, from: me, message };
                process.outgoing.entry(to).or_default().push(letter);
                Ok(())
            }
            Action::Append { partition, batch } => {
                self.truth.appended(h, partition, &batch)?;
                let Some(process) = self.process(h) else { return Ok(()) };
                let gathered = process.appends.entry(partition);
                gathered.or_insert_with(|| (shard, Vec::new())).1.push(batch);
                Ok(())
            }
            // Nobody trims or deletes here yet.
            Action::Trim { .. } | Action::Drop { .. } => Ok(()),
            Action::TaskMoved { task, .. } => {
                let Some(process) = self.process(h) else { return Ok(()) };
                process.moved.push((shard, task));
                Ok(())
            }
            Action::Answer { request, result } => {
                let Some(process) = self.process(h) else { return Ok(()) };
                process.answers.push((request, result));
                Ok(())
            }
            Action::Applied { .. } => self.applied(h, shard),
            Action::Role { term, leader, leading } => {
                note!(self, "h{h} {shard} {me} term {term} leader {leader:?} leading {leading}");
                let Some(process) = self.hosts[h].process.as_deref_mut() else { return Ok(()) };
                process.board.led(shard, term, leader, leading);
                let Some(replica) = process.replica(shard) else { return Ok(()) };
                self.truth.role(h, shard, replica, term, leading)?;
                self.tasks_may_have_moved(h);
                Ok(())
            }
            Action::Catalogue => {
                let replica = self.process(h).and_then(|process| process.replica(shard));
                let catalogue = replica.and_then(|replica| replica.fold().catalogue().cloned());
                catalogue.map_or(Ok(()), |catalogue| self.learn(h, catalogue))
            }
            Action::WantManifest { .. } => {
                if let Some(slot) = self.process(h).and_then(|process| process.slot(shard)) {
                    slot.wants_manifest = true;
                }
                self.checkpoint(h)
            }
            Action::Fetch { from, index, term, manifest, message } => {
                self.fetch(h, shard, super::fetch::Offer { from, index, term, manifest, message })
            }
            Action::Gone => {
                note!(self, "h{h} {shard} {me} is gone");
                self.remove(h, shard)
            }
        }
    }

    fn applied(&mut self, h: usize, shard: ShardId) -> Result<(), String> {
        let Some(process) = self.hosts[h].process.as_deref_mut() else { return Ok(()) };
        let Some(replica) = process.replica(shard) else { return Ok(()) };
        note!(self, "h{h} {shard} applied {}", replica.fold().index());
        let process = self.hosts[h].process.as_deref_mut().ok_or("it was just there")?;
        let replica = process.replica(shard).ok_or("it was just there")?;
        let moved = self.truth.applied(h, shard, replica)?;
        if moved {
            self.configuration_moved();
        }
        Ok(())
    }

    pub fn record(&mut self, h: usize, record: Record) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        process.records.push(record);
        Ok(())
    }

    /// Writes what is committed to the segments, moves the marks, wakes readers, then lets answers go.
    pub fn flush_appends(&mut self, h: usize) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        for (partition, (shard, batches)) in std::mem::take(&mut process.appends) {
            let Some(process) = self.process(h) else { return Ok(()) };
            if let Err(error) = process.segments.append_missing(partition, &batches) {
                return self.fenced(h, &format!("a segment cannot be written: {error}"));
            }
            let found =
                process.replica(shard).and_then(|replica| replica.fold().partition(partition));
            if let Some(found) = found {
                let mark = (found.start, found.next_offset);
                process.board.set_mark(partition, mark);
            }
            self.stream_moved(h, partition);
        }
        let Some(process) = self.process(h) else { return Ok(()) };
        for (shard, task) in std::mem::take(&mut process.moved) {
            let standing = process.replica(shard).and_then(|replica| replica.fold().task(task));
            let promise = standing.map(|standing| (standing.watermark_ms, standing.is_idle));
            if let Some(promise) = promise {
                process.board.set_promise(task, promise);
            }
        }
        self.send_answers(h)
    }

    fn send_answers(&mut self, h: usize) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        for (request, result) in std::mem::take(&mut process.answers) {
            let Some(process) = self.process(h) else { return Ok(()) };
            let fenced = process.writer.is_fenced();
            let Some(waiting) = process.waiting.remove(&request) else {
                match fenced {
                    true => continue,
                    false => return Err(format!("h{h} answers request {request} twice")),
                }
            };
            note!(self, "h{h} answers {request}: {result:?}");
            let shard = waiting.0;
            self.tell(h, shard, waiting.1, result)?;
        }
        Ok(())
    }

    /// Whoever waits for events of this stream looks again.
    fn stream_moved(&mut self, h: usize, partition: PartitionId) {
        self.pull_stream(h, partition.stream);
    }

    /// Takes a newer catalogue; whoever depends on it is told.
    pub fn learn(
        &mut self,
        h: usize,
        catalogue: std::sync::Arc<model::Catalogue>,
    ) -> Result<(), String> {
        let ring = self.ring_of(&catalogue);
        let Some(process) = self.process(h) else { return Ok(()) };
        if process.board.learn(catalogue.clone(), ring) {
            self.hosts[h].catalogue = catalogue;
            self.on_targets(h)?;
            self.on_roster(h)?;
            self.tasks_may_have_moved(h);
        }
        Ok(())
    }
}
