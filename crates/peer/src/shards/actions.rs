//! Carries out what replicas ask for.

use super::{Left, Slot, State, Waiting, frame_full, record_bytes};
use crate::snapshot;
use bytes::Bytes;
use model::{Batch, PartitionId, PeerId, ReplicaId, ShardId, TaskId};
use replica::{Action, Answer, Refusal, Replica};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use store::Record;

/// Committed batches that wait to be written to their segments, in order, a partition at a time.
#[derive(Default)]
pub(super) struct Appends {
    by_partition: BTreeMap<PartitionId, (ShardId, Vec<Batch>)>,
    /// Tasks whose commits these are; what they promise counts when their batches are readable.
    tasks: Vec<(ShardId, TaskId)>,
    /// Answers that must not leave before the batches are readable.
    answers: Vec<(ShardId, u64, Result<Answer, Refusal>)>,
}

impl Appends {
    pub(super) fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// Shards whose batches found no room.
    fn stuck(&self) -> BTreeSet<ShardId> {
        self.by_partition.values().map(|(shard, _)| *shard).collect()
    }
}

impl State {
    pub(super) fn config(&self, shard: ShardId) -> replica::Config {
        replica::Config {
            shard,
            mesh: self.args.mesh,
            shards: self.args.board.shards(),
            replication: self.args.replication,
            peer: self.args.board.me(),
            seed: self.args.seed ^ (u64::from(shard.0) << 48),
        }
    }

    pub(super) fn record(&mut self, record: Record) {
        self.records_bytes += record_bytes(&record);
        self.records.push(record);
        if frame_full(self.records_bytes) {
            self.write();
        }
    }

    pub(super) fn carry_out(&mut self, shard: ShardId, actions: Vec<Action>) {
        for action in actions {
            let Some(slot) = self.slot(shard) else { return };
            let replica = slot.replica.id();
            match action {
                Action::Persist { number, snapshot, entries, hard } => {
                    self.persist(shard, replica, number, snapshot, entries, hard);
                }
                Action::Send { to, to_replica, message, patience } => {
                    let way = (shard, to_replica, replica);
                    self.outgoing.message(to, way, &message, patience);
                }
                Action::Append { partition, batch } => {
                    let entry = self.appends.by_partition.entry(partition);
                    entry.or_insert_with(|| (shard, Vec::new())).1.push(batch);
                }
                Action::Trim { partition, offset } => self.trim(shard, partition, offset),
                Action::Drop { partition } => self.dropped(shard, partition),
                Action::Answer { request, result } => {
                    self.appends.answers.push((shard, request, result));
                }
                Action::Applied { .. } => {}
                Action::TaskMoved { task, .. } => self.appends.tasks.push((shard, task)),
                Action::Role { term, leader, leading } => self.role(shard, term, leader, leading),
                Action::Catalogue => self.catalogue_changed(shard),
                Action::WantManifest { .. } => {
                    slot.wants_manifest = true;
                    self.on_checkpoint();
                }
                Action::Fetch { from, index, term, manifest, message } => {
                    self.fetch(shard, from, index, term, manifest, message);
                }
                Action::Gone => self.remove(shard, Left::Nothing),
            }
        }
        if self.appends.by_partition.is_empty() {
            self.send_answers();
        } else if !self.turn_due {
            self.flush_appends();
        }
    }

    fn persist(
        &mut self,
        shard: ShardId,
        replica: ReplicaId,
        number: u64,
        snapshot: Option<(u64, u64)>,
        entries: Vec<model::LogEntry>,
        hard: Option<model::HardState>,
    ) {
        if let Some((index, term)) = snapshot {
            self.record(Record::Snapshot { shard, replica, index, term });
        }
        if !entries.is_empty() {
            self.record(Record::Entries { shard, replica, entries });
        }
        if let Some(hard) = hard {
            self.record(Record::Hard { shard, replica, hard });
        }
        self.persists.push((shard, replica, number));
    }

    /// Writes what is committed to the segments, moves the marks, wakes readers, then lets answers go. Where there is
    /// no room, all of that waits for the shard, and for no other.
    pub(super) fn flush_appends(&mut self) {
        for (partition, (shard, batches)) in std::mem::take(&mut self.appends.by_partition) {
            // A snapshot that was not finished may have brought the first of them already.
            match self.args.segments.append_missing(partition, &batches) {
                Ok(()) => {}
                Err(store::Error::NoRoom { .. }) => {
                    self.appends.by_partition.insert(partition, (shard, batches));
                    continue;
                }
                Err(error) => {
                    self.on_fenced(format!("a segment cannot be written: {error}"));
                    return;
                }
            }
            let board = self.args.board.clone();
            let Some(slot) = self.slot(shard) else { continue };
            if let Some(found) = slot.replica.fold().partition(partition) {
                board.note(partition, found);
                // Where it is led, its answer tells since when it was under way.
                if !slot.replica.is_leading() {
                    board.meter.arrived(partition, found.next_offset, Instant::now());
                }
            }
            self.args.board.stream_moved(partition.stream);
        }
        let stuck = self.appends.stuck();
        for (shard, task) in std::mem::take(&mut self.appends.tasks) {
            if stuck.contains(&shard) {
                self.appends.tasks.push((shard, task));
                continue;
            }
            let Some(slot) = self.slot(shard) else { continue };
            let standing = slot.replica.fold().task(task);
            let promise = standing.map(|standing| (standing.watermark_ms, standing.is_idle));
            if let Some(promise) = promise {
                self.args.board.set_promise(task, promise);
            }
        }
        self.send_answers();
    }

    fn send_answers(&mut self) {
        let stuck = self.appends.stuck();
        for (shard, request, result) in std::mem::take(&mut self.appends.answers) {
            if stuck.contains(&shard) {
                self.appends.answers.push((shard, request, result));
                continue;
            }
            match self.waiting.remove(&request) {
                // An asker may have stopped waiting; then nobody needs the answer.
                Some(Waiting::Reply(reply)) => drop(reply.send(result)),
                Some(Waiting::Append(partition, since, reply)) => {
                    if let Ok(Answer::Appended { base_offset, .. }) = &result {
                        // One more than its first: what a task has read of it, it has read all of.
                        self.args.board.meter.arrived(partition, base_offset + 1, since);
                    }
                    drop(reply.send(result));
                }
                Some(Waiting::Query(shard, query, reply)) => {
                    self.answer_query(shard, &query, &result, reply);
                }
                None => {}
            }
        }
    }

    fn trim(&mut self, shard: ShardId, partition: PartitionId, offset: i64) {
        self.flush_appends();
        if let Err(error) = self.args.segments.trim(partition, offset) {
            tracing::warn!(?partition, offset, %error, "old events cannot be removed");
        }
        if self.appends.by_partition.contains_key(&partition) {
            // What waits for room cannot be read: it is said with the rest, when it can be.
            return;
        }
        let board = self.args.board.clone();
        let Some(slot) = self.slot(shard) else { return };
        if let Some(found) = slot.replica.fold().partition(partition) {
            board.note(partition, found);
        }
    }

    /// A partition is no more: nobody reads it from now on, its files go with the next checkpoint.
    fn dropped(&mut self, shard: ShardId, partition: PartitionId) {
        self.flush_appends();
        self.appends.by_partition.remove(&partition);
        let Some(slot) = self.slot(shard) else { return };
        let index = slot.replica.fold().index();
        self.args.board.forget_mark(partition);
        self.dropped.push((shard, index, partition));
    }

    /// The tables hold the fold up to this index: it knows the partitions no more that were dropped before.
    pub(super) fn remove_dropped(&mut self, shard: ShardId, index: u64) {
        let gone = |(of, at, _): &mut (ShardId, u64, PartitionId)| *of == shard && *at <= index;
        for (_, _, partition) in self.dropped.extract_if(.., gone) {
            if let Err(error) = self.args.segments.remove(partition) {
                tracing::warn!(?partition, %error, "files of a dropped partition stay behind");
            }
        }
    }

    fn role(&mut self, shard: ShardId, term: u64, leader: Option<PeerId>, leading: bool) {
        if self.args.board.led(shard, term, leader, leading) {
            tracing::debug!(%shard, term, ?leader, leading, "the role changed");
            if leading {
                self.crowned.push((shard, term));
            }
        }
    }

    fn catalogue_changed(&mut self, shard: ShardId) {
        let Some(slot) = self.slot(shard) else { return };
        let Some(catalogue) = slot.replica.fold().catalogue().cloned() else { return };
        // Whoever needs it watches the board; the ring's targets come back as a message.
        self.args.board.learn(catalogue);
    }

    fn fetch(
        &mut self,
        shard: ShardId,
        from: PeerId,
        index: u64,
        term: u64,
        manifest: Bytes,
        message: Bytes,
    ) {
        let Some(slot) = self.slot(shard) else { return };
        if slot.fetching {
            return;
        }
        slot.fetching = true;
        let replica = slot.replica.id();
        let hard = slot.replica.hard();
        let tenure = slot.tenure.clone();
        let wanted =
            snapshot::Wanted { shard, replica, from, index, term, manifest, message, hard, tenure };
        let key = self.args.board.key_of(from);
        let fetcher = self.args.fetcher.clone();
        match key {
            Some(key) => drop(tokio::spawn(fetcher.fetch(wanted, key))),
            None => self.on_fetch_failed(shard, replica),
        }
    }

    /// Answers what waits at the replica here before a newer one takes its place.
    pub(super) fn retire(&mut self, shard: ShardId) {
        let mut actions = Vec::new();
        if let Some(slot) = self.slot(shard) {
            slot.replica.retire(&mut actions);
            self.carry_out(shard, actions);
            self.remove(shard, Left::Aside);
        }
    }

    /// The replica here is no more: its tombstone outlives it.
    pub(super) fn remove(&mut self, shard: ShardId, left: Left) {
        let Some(slot) = self.slots[usize::from(shard.0)].take() else { return };
        let Slot { replica, tenure, .. } = slot;
        tenure.end();
        let id = replica.id();
        tracing::debug!(%shard, replica = %id, "a replica was removed from here");
        self.tombstones.insert(shard, id);
        // It says nothing of the replica that may come next.
        self.durable.remove(&shard);
        self.record(Record::Tombstone { shard, replica: id });
        self.appends.by_partition.retain(|_, (of, _)| *of != shard);
        self.args.board.gone(shard);
        self.leave_files(shard, &replica, left);
        self.schedule_turn();
    }

    fn leave_files(&self, shard: ShardId, replica: &Replica, left: Left) {
        for (task, _) in replica.fold().tasks() {
            self.args.board.forget_promise(task);
        }
        for (partition, _) in replica.fold().partitions() {
            self.args.board.forget_mark(partition);
        }
        let done = match left {
            Left::Nothing => self.drop_files(shard, replica),
            Left::Aside => self.set_aside(shard, replica),
        };
        if let Err(error) = done {
            tracing::warn!(%shard, %error, "files of a removed replica stay behind");
        }
    }

    fn drop_files(&self, shard: ShardId, replica: &Replica) -> Result<(), store::Error> {
        for (partition, _) in replica.fold().partitions() {
            self.args.segments.remove(partition)?;
        }
        let (tables, id) = (self.args.tables.clone(), replica.id());
        // A large table takes long to be swept.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = tables.retire(shard, id) {
                tracing::warn!(%shard, %error, "rows of a removed replica stay behind");
            }
        });
        Ok(())
    }

    /// Its rows stay in the tables until its successor's take their place.
    fn set_aside(&self, shard: ShardId, replica: &Replica) -> Result<(), store::Error> {
        let aside = &self.args.aside;
        aside.begin(shard, replica.id(), "it was replaced while it ran")?;
        for (partition, _) in replica.fold().partitions() {
            aside.keep_partition(&self.args.segments, Some(shard), partition)?;
        }
        Ok(())
    }

    /// Lets go of what was set aside of shards whose new replica votes, so it is whole, or that a quorum elsewhere leads
    /// and that belong here no more.
    pub(super) fn settle_aside(&mut self) {
        let aside = self.args.aside.clone();
        for shard in aside.shards().into_keys() {
            let votes = |slot: &mut Slot| {
                let configuration = slot.replica.fold().configuration();
                let id = slot.replica.id();
                !configuration.is_joint() && configuration.voters().contains(&id)
            };
            let board = &self.args.board;
            let moved = !board.ring().target(shard).contains(&board.me())
                && board.leader(shard).is_some_and(|leader| leader != board.me());
            if !moved && !self.slot(shard).is_some_and(votes) {
                continue;
            }
            tracing::info!(%shard, "the new replica is whole: what the damaged one has left is removed");
            if let Err(error) = aside.settle(shard) {
                tracing::warn!(%shard, %error, "what was set aside is not removed");
            }
        }
    }
}
