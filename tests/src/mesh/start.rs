//! From a disk to a running process: found the mesh or join it, open what is kept, and what a start tells the others.
//!
//! Does what `peer::start` and the duties of `peer::peer` do.

use super::board::Board;
use super::calls::{Ask, Asker, Said};
use super::duties::{DOUBTS_US, FOLLOW_US};
use super::host::Process;
use super::stay::{STAY_US, Survey};
use super::trace::note;
use super::world::{Event, MESH, Of, REPLICATION, SHARDS, World};
use super::writer::Writer;
use model::catalogue::{Addresses, Change, Enrolled};
use model::id::FOUNDER;
use model::{Catalogue, PartitionId, PeerId, ReplicaId, ShardId};
use replica::{Journalled, Reopened, Replica, TICK_MS, Tabled};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::{Journal, Record, Recovered, Segments};

/// How long a host waits before it asks again to be let in, µs.
const JOIN_AGAIN_US: u64 = 300_000;

/// What a start finds, before there is a process.
#[derive(Default)]
struct Kept {
    replicas: Vec<(ShardId, Replica)>,
    tombstones: BTreeMap<ShardId, ReplicaId>,
    durable: BTreeMap<ShardId, u64>,
    doubts: Vec<(ShardId, ReplicaId, String)>,
}

impl World {
    pub fn start(&mut self, h: usize) -> Result<(), String> {
        let life = self.hosts[h].begin_life();
        if let Some(me) = self.hosts[h].head {
            return self.open(h, me, false);
        }
        if h == 0 && self.hosts[h].generation == 0 {
            let founded = Catalogue {
                mesh: MESH,
                shards: SHARDS,
                replication: REPLICATION,
                next_peer: FOUNDER.0,
                ..Catalogue::default()
            };
            self.hosts[h].head = Some(FOUNDER);
            self.hosts[h].catalogue = Arc::new(founded);
            return self.open(h, FOUNDER, true);
        }
        self.ask_to_join(h, life);
        Ok(())
    }

    /// Asks any peer that runs to let this host in, and again until one does.
    fn ask_to_join(&mut self, h: usize, life: u64) {
        let up = (0..self.hosts.len()).filter(|at| *at != h && self.hosts[*at].process.is_some());
        let up: Vec<usize> = up.collect();
        let again = Event::Joined { host: h, life, said: Said::No("nobody answers".into()) };
        self.after(3_000_000, again);
        if up.is_empty() {
            return;
        }
        let to = *self.dice.pick(&up);
        let enrolled = Box::new(self.enrolled(h, PeerId(0)));
        let (from, key) = (Asker { host: h, life, id: 0 }, self.hosts[h].key());
        for delay in self.network.deliver(h, to, &mut self.dice).into_iter().flatten() {
            let (key, ask) = (key.clone(), Ask::Join(enrolled.clone()));
            self.soon(to, delay, Of::Asked { from, key, ask });
        }
    }

    fn enrolled(&self, h: usize, id: PeerId) -> Enrolled {
        let host = &self.hosts[h];
        Enrolled {
            id,
            key: host.key(),
            name: format!("h{h}-{}", host.generation),
            zone: String::new(),
            weight: 100,
            addresses: Addresses::default(),
            incarnation: host.incarnation,
            holds: self.code.holds(),
            version: "simulated".into(),
        }
    }

    pub fn joined(&mut self, h: usize, life: u64, said: Said) -> Result<(), String> {
        let host = &mut self.hosts[h];
        if host.life() != life || host.head.is_some() {
            return Ok(());
        }
        let Said::Joined { peer, catalogue } = said else {
            let delay = JOIN_AGAIN_US + self.dice.range(0, JOIN_AGAIN_US);
            if matches!(said, Said::No(why) if why == "nobody answers") {
                self.ask_to_join(h, life);
            } else {
                let why = Said::No("nobody answers".into());
                self.after(delay, Event::Joined { host: h, life, said: why });
            }
            return Ok(());
        };
        note!(self, "h{h} is {peer}");
        let host = &mut self.hosts[h];
        (host.head, host.catalogue) = (Some(peer), catalogue);
        self.open(h, peer, false)
    }

    /// Opens what the disk kept and sets the process going.
    fn open(&mut self, h: usize, me: PeerId, founding: bool) -> Result<(), String> {
        let (journal, segments, kept) = match self.open_all(h, me, founding) {
            Ok(opened) => opened,
            Err(why) if self.hosts[h].failing => {
                // The next start may find the disk in a better mood.
                note!(self, "h{h} cannot start: {why}");
                self.end(h);
                return Ok(());
            }
            Err(why) => return Err(format!("h{h} cannot start on a sound disk: {why}")),
        };
        let catalogue = self.hosts[h].catalogue.clone();
        let ring = self.ring_of(&catalogue);
        let host = &self.hosts[h];
        let identity = ::mesh::Identity {
            key: host.key(),
            peer: me,
            incarnation: host.incarnation,
            renewals: 0,
            addresses: Addresses::default(),
        };
        let seed = self.seed ^ (h as u64) << 24 ^ host.life() << 8;
        let Kept { replicas, tombstones, durable, doubts } = kept;
        let mut duties: Vec<Change> = Vec::new();
        if founding {
            duties.push(Change::Found { mesh: MESH, shards: SHARDS, replication: REPLICATION });
        }
        duties.push(Change::Join { enrolled: self.enrolled(h, me), replaces: None });
        let dice = &mut self.dice;
        let mut draw = || u128::from(dice.next()) << 64 | u128::from(dice.next());
        duties.extend(self.code.registrations(&mut draw).into_iter().map(Change::Register));
        let process = Process {
            board: Board::new(me, SHARDS, catalogue, ring),
            slots: (0..SHARDS).map(|_| None).collect(),
            tombstones,
            dirty: Vec::new(),
            turning: false,
            ticks: 0,
            next_request: 1,
            waiting: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            records: Vec::new(),
            persists: Vec::new(),
            appends: BTreeMap::new(),
            answers: Vec::new(),
            writer: Writer::new(journal),
            keeping: false,
            part: 0,
            durable,
            exports: BTreeMap::new(),
            fetches: BTreeMap::new(),
            segments: Arc::new(segments),
            calls: BTreeMap::new(),
            held: BTreeMap::new(),
            next_number: 0,
            gossip: ::mesh::Mesh::new(seed, identity, ::mesh::Limits::default()),
            enrolled: Vec::new(),
            tasks: BTreeMap::new(),
            looked: 0,
            exchanges: BTreeMap::new(),
            pullers: BTreeMap::new(),
            moved: Vec::new(),
            duties: duties.into(),
            asked: PeerId(0),
            survey: Survey::new(),
            doubts: doubts.iter().map(|(shard, replica, _)| (*shard, *replica)).collect(),
            rotten: BTreeMap::new(),
            reported: BTreeMap::new(),
        };
        self.hosts[h].process = Some(Box::new(process));
        note!(self, "h{h} starts as {me} with {} replicas", replicas.len());
        for (shard, replica, why) in &doubts {
            self.silent(h, *shard, *replica, why)?;
        }
        // What was read without a doubt is sound.
        let in_doubt = |it: &(ShardId, ReplicaId)| doubts.iter().any(|(s, r, _)| (*s, *r) == *it);
        self.hosts[h].damage.retain(in_doubt);
        for (shard, replica) in replicas {
            self.seat(h, shard, replica)?;
        }
        self.on_targets(h)?;
        self.on_roster(h)?;
        self.begin_duties(h);
        self.relapse(h);
        Ok(())
    }

    fn begin_duties(&mut self, h: usize) {
        let offset = self.dice.range(0, TICK_MS * 1000);
        self.soon(h, offset, Of::Tick);
        let first = self.dice.range(300_000, 2_000_000);
        self.soon(h, first, Of::Checkpoint);
        self.soon(h, 1_000, Of::Duty);
        self.soon(h, FOLLOW_US, Of::Follow);
        self.soon(h, STAY_US, Of::Stay);
        self.soon(h, DOUBTS_US, Of::Doubts);
        self.soon(h, 10, Of::LookForTasks);
        let key = self.hosts[h].key();
        for other in (0..self.hosts.len()).filter(|other| *other != h) {
            let stands = self.hosts[other].process.is_some()
                && self.network.hears(h, other)
                && self.network.hears(other, h);
            if stands {
                let delay = self.dice.range(1_000, 20_000);
                self.soon(other, delay, Of::Up { key: key.clone() });
                let theirs = self.hosts[other].key();
                self.soon(h, delay, Of::Up { key: theirs });
            }
        }
    }

    fn open_all(
        &mut self,
        h: usize,
        me: PeerId,
        founding: bool,
    ) -> Result<(Journal, Segments, Kept), String> {
        let text = |error: store::Error| error.to_string();
        let disk = Arc::new(self.hosts[h].disk.clone());
        let (mut journal, mut recovered) =
            Journal::open(disk.clone(), self.menu.journal).map_err(text)?;
        let segments = Segments::open(disk, self.menu.segments).map_err(text)?;
        self.truth.recovered(h, &recovered, &self.hosts[h].damage)?;
        if founding {
            let begin = |shard| Record::Begin { shard, replica: ReplicaId(1), base: (1, 1) };
            let begins: Vec<_> = (0..SHARDS).map(|shard| begin(ShardId(shard))).collect();
            journal.write(&begins).map_err(text)?;
            journal.sync().map_err(text)?;
            self.truth.synced(h, &begins);
        }
        let mut kept = Kept::default();
        for shard in (0..SHARDS).map(ShardId) {
            if founding {
                let config = self.config(h, me, shard);
                let replica = Replica::new(config.clone(), Replica::founded(&config));
                kept.replicas.push((shard, replica.map_err(|error| error.to_string())?));
            } else {
                self.open_shard(h, me, shard, (&mut recovered, &mut kept));
            }
        }
        settle_segments(&segments, &mut kept).map_err(text)?;
        bury(&mut journal, &mut kept).map_err(text)?;
        Ok((journal, segments, kept))
    }

    fn open_shard(
        &mut self,
        h: usize,
        me: PeerId,
        shard: ShardId,
        (recovered, kept): (&mut Recovered, &mut Kept),
    ) {
        let config = self.config(h, me, shard);
        let found = recovered.shards.remove(&shard);
        if let Some(found) = found.as_ref().filter(|found| found.tombstone.0 > 0) {
            kept.tombstones.insert(shard, found.tombstone);
        }
        let journal = found.map(|found| Journalled {
            replica: found.replica,
            base: found.base,
            hard: found.hard,
            entries: found.entries,
            doubt: found.doubt,
        });
        let tables = self.hosts[h].tables.load(shard).map(|saved| Tabled {
            replica: saved.applied.replica,
            index: saved.applied.index,
            commit: saved.applied.hard.commit,
            small: saved.small,
            rows: saved.rows,
        });
        match replica::reopen(config, journal, recovered.doubt.as_deref(), tables) {
            Reopened::Nothing => self.hosts[h].tables.remove(shard),
            Reopened::Replica { replica, stale } => {
                if stale {
                    self.hosts[h].tables.remove(shard);
                }
                kept.durable.insert(shard, replica.fold().index());
                kept.replicas.push((shard, *replica));
            }
            Reopened::Foreign { why } => unreachable!("one build runs: h{h} {shard}: {why}"),
            Reopened::Doubt { replica, why, .. } => {
                kept.doubts.push((shard, replica, why));
                self.hosts[h].tables.remove(shard);
            }
        }
    }
}

/// A replica in doubt never comes back under its id.
fn bury(journal: &mut Journal, kept: &mut Kept) -> Result<(), store::Error> {
    let mut records = Vec::new();
    for (shard, replica, _) in &kept.doubts {
        let (shard, replica) = (*shard, *replica);
        records.push(Record::Tombstone { shard, replica });
        let known = kept.tombstones.entry(shard).or_default();
        *known = replica.max(*known);
    }
    if records.is_empty() {
        return Ok(());
    }
    journal.write(&records)?;
    journal.sync().map(drop)
}

/// Cuts every partition to the fold it belongs to; what belongs to no fold here is removed. A replica whose segments
/// fall short of its fold is in doubt.
fn settle_segments(segments: &Segments, kept: &mut Kept) -> Result<(), store::Error> {
    let mut known: BTreeSet<PartitionId> = BTreeSet::new();
    let mut short = BTreeMap::new();
    for (shard, replica) in &kept.replicas {
        for (partition, found) in replica.fold().partitions() {
            match segments.truncate_to(partition, found.next_offset) {
                Ok(()) => drop(known.insert(partition)),
                Err(error @ (store::Error::Missing(_) | store::Error::Rot(_))) => {
                    short.insert(*shard, (replica.id(), error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
    }
    kept.replicas.retain(|(shard, _)| !short.contains_key(shard));
    kept.doubts.extend(short.into_iter().map(|(shard, (id, why))| (shard, id, why)));
    for partition in segments.partitions()? {
        if !known.contains(&partition) {
            segments.remove(partition)?;
        }
    }
    Ok(())
}
