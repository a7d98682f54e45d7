//! What disks do wrong: they fail, lose power in the middle, rot, lose and misdirect writes, or are replaced.
//!
//! Rot and loss are confined to one host at a time, as the product promises no more, and never hit the last frame of
//! a journal: that cannot be told from a torn one.

use super::super::faults::Fault;
use super::super::rot::shard_and_replica;
use super::super::trace::note;
use super::super::world::{Event, Of, SHARDS, World};
use model::catalogue::Change;
use model::{ReplicaId, ShardId};
use std::collections::BTreeSet;
use store::Disk;

impl World {
    /// A disk fails from now on, for a while.
    pub(super) fn fail(&mut self, h: usize, how: impl FnOnce(&mut store::sim::Faults)) {
        self.hosts[h].failing = true;
        self.hosts[h].disk.set(how);
        let lasts = self.dice.range(100_000, 3_000_000);
        self.after(lasts, Event::Mend { host: h });
    }

    /// A failing disk works again.
    pub fn mend(&mut self, h: usize) {
        self.hosts[h].disk.set(|faults| *faults = store::sim::Faults::default());
        // A process that runs on may find out later.
        self.hosts[h].failing = self.hosts[h].process.is_some() && self.hosts[h].failing;
    }

    /// The power goes in the middle of one of the next changes of a disk.
    pub(super) fn arm(&mut self, h: usize) {
        let changes = self.dice.range(0, 60);
        let seed = self.dice.next();
        let host = &mut self.hosts[h];
        (host.armed, host.failing) = (true, true);
        host.disk.cut_at(host.disk.changes() + changes, seed);
    }

    /// After the end of a process: if its disk had lost power, all of that host had.
    pub fn after_power(&mut self, h: usize) {
        if !std::mem::take(&mut self.hosts[h].armed) {
            let faults = self.hosts[h].disk.faults();
            self.hosts[h].failing = faults.fail_syncs || faults.fail_writes;
            return;
        }
        let was_off = self.hosts[h].disk.is_off();
        self.hosts[h].disk.restore();
        if was_off {
            let dice = &mut self.dice;
            self.hosts[h].tables.cut(dice);
        }
        self.mend(h);
    }

    /// A host gets a new disk: it is another peer now, and the operator removes the old one. Only while everything
    /// has all its copies.
    pub(super) fn wipe(&mut self, h: usize) -> bool {
        let Some(peer) = self.hosts[h].head.filter(|_| self.is_whole().is_ok()) else {
            return false;
        };
        note!(self, "h{h} loses its disk");
        let damage = self.replicas_on(h);
        self.end(h);
        self.hosts[h].damage = damage;
        self.replace_disk(h);
        self.clients.order(Change::Remove { peer, incarnation: u64::MAX, shrink: false });
        true
    }

    /// Bits of a segment flip, or of a journal while nobody runs: in frames that were synced, and not in the last.
    pub(super) fn rot(&mut self, h: usize) -> bool {
        if self.is_whole().is_err() {
            return false;
        }
        if self.dice.chance(500) {
            return self.rot_segment(h);
        }
        let damage = self.replicas_on(h);
        let disk = self.hosts[h].disk.clone();
        self.kill(h);
        let names = disk.list("journal").unwrap_or_default();
        let files = names.iter().filter(|name| name.ends_with(".journal"));
        let files: Vec<String> = files.map(|name| format!("journal/{name}")).collect();
        let Some(newest) = files.last() else { return false };
        let path = self.dice.pick(&files).clone();
        let written = match path == *newest {
            true => disk.last_write(&path).map_or(0, |(at, _)| at),
            false => disk.open(&path).and_then(|file| file.len()).unwrap_or(0),
        };
        if written == 0 {
            return false;
        }
        self.hosts[h].damage = damage;
        self.flip(h, &path, written);
        true
    }

    /// Bits of one segment flip while its process runs; sometimes a consumer comes upon them soon.
    fn rot_segment(&mut self, h: usize) -> bool {
        let Some(process) = self.hosts[h].process.as_deref() else { return false };
        let folds = process.slots.iter().flatten().map(|slot| slot.replica.fold());
        let partitions: Vec<_> = folds.flat_map(|fold| fold.partitions()).map(|it| it.0).collect();
        if partitions.is_empty() {
            return false;
        }
        let partition = *self.dice.pick(&partitions);
        let Some(whose) = shard_and_replica(process, partition) else { return false };
        let (disk, folder) = (self.hosts[h].disk.clone(), store::segments::folder(partition));
        let names = disk.list(&folder).unwrap_or_default();
        let files = names.iter().filter(|name| name.ends_with(".seg"));
        let files: Vec<String> = files.map(|name| format!("{folder}/{name}")).collect();
        if files.is_empty() {
            return false;
        }
        let path = self.dice.pick(&files).clone();
        let written = disk.open(&path).and_then(|file| file.len()).unwrap_or(0);
        if written == 0 {
            return false;
        }
        self.hosts[h].rotten.insert(whose);
        self.flip(h, &path, written);
        let delay = self.dice.range(0, 2_000_000);
        self.soon(h, delay, Of::Consume { partition });
        true
    }

    fn flip(&mut self, h: usize, path: &str, below: u64) {
        for _ in 0..self.dice.range(1, 4) {
            let (at, bit) = (self.dice.range(0, below), self.dice.range(0, 8) as u8);
            note!(self, "h{h} has rot at {at} of {path}");
            self.hosts[h].disk.flip(path, at, bit);
        }
    }

    /// The next frame of a journal is lost, or lands elsewhere; nobody notices before the next start.
    pub(super) fn lose_write(&mut self, h: usize) {
        if self.is_whole().is_err() {
            return;
        }
        let damage = self.replicas_on(h);
        let Some(process) = self.process(h) else { return };
        // The one that is lost, and two that say later that it had been synced.
        let until = process.writer.frames() + 3;
        let by = self.dice.chance(500).then(|| 4096 * self.dice.range(1, 9));
        note!(self, "h{h} loses its next frame, or finds it {by:?} bytes on");
        let host = &mut self.hosts[h];
        (host.damage, host.spared_until) = (damage, Some(until));
        if let Some(process) = self.process(h) {
            process.writer.mislay(by);
        }
    }

    /// A host that was spared has written enough: now its process may end, and does.
    pub fn spare_no_more(&mut self, h: usize) {
        let Some(until) = self.hosts[h].spared_until else { return };
        let frames = self.process(h).map_or(0, |process| process.writer.frames());
        if frames >= until {
            self.hosts[h].spared_until = None;
            self.befell(Fault::LoseWrite);
            let delay = self.dice.range(0, 2_000_000);
            self.soon(h, delay, Of::Die);
        }
    }

    fn replicas_on(&self, h: usize) -> BTreeSet<(ShardId, ReplicaId)> {
        let process = self.hosts[h].process.as_deref();
        let id = |shard| Some((shard, process?.replica(shard)?.id()));
        (0..SHARDS).map(ShardId).filter_map(id).collect()
    }

    /// Every shard has all its copies, each knows its configuration, and no disk is damaged.
    pub fn is_whole(&mut self) -> Result<(), String> {
        for h in 0..self.hosts.len() {
            let truth = &self.truth;
            let member =
                |it: &(ShardId, ReplicaId)| truth.configuration(it.0).members.contains_key(&it.1);
            // What was damaged of replicas that are removed stays damaged, but nobody needs it.
            let host = &self.hosts[h];
            if host.damage.iter().chain(&host.rotten).any(member) || host.failing {
                return Err(format!("h{h} has a bad disk"));
            }
        }
        for shard in (0..SHARDS).map(ShardId) {
            let configuration = self.truth.configuration(shard);
            if configuration.is_joint() || configuration.voters().len() < 3 {
                return Err(format!("{shard} has {:?}", configuration.members));
            }
            for id in configuration.members.keys() {
                let mut there = self.hosts.iter().filter_map(|host| host.process.as_deref());
                let knows = there.any(|process| {
                    process.replica(shard).is_some_and(|replica| {
                        replica.id() == *id && replica.fold().configuration() == configuration
                    })
                });
                if !knows {
                    return Err(format!("{shard} misses {id}"));
                }
            }
        }
        Ok(())
    }
}
