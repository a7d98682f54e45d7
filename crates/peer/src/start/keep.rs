//! Opens what the disk kept and makes replicas of it.
//!
//! Promises that segments hold nothing above the fold they belong to, and that a replica whose log is in doubt
//! does not start: it is named, so that its shard can give this peer a new one.

use crate::problems;
use model::{PartitionId, Problem, ReplicaId, ShardId};
use replica::{Config, Journalled, Reopened, Replica, Tabled};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use store::{
    Disk, Folder, Head, Journal, RealDisk, Record, Recovered, Saved, Segments, Sound, Tables,
};

/// Everything that was kept.
pub struct Kept {
    pub journal: Journal,
    pub segments: Arc<Segments>,
    pub tables: Arc<Tables>,
    pub replicas: Vec<(ShardId, Replica)>,
    pub tombstones: BTreeMap<ShardId, ReplicaId>,
    pub durable: BTreeMap<ShardId, u64>,
    /// Replicas that must be replaced.
    pub doubts: Vec<(ShardId, ReplicaId)>,
}

pub(super) async fn open(
    folder: &Folder,
    head: &Head,
    founding: bool,
    seed: u64,
    path: PathBuf,
) -> Result<Kept, Problem> {
    let shown = folder.path().to_path_buf();
    let head = head.clone();
    let work = move || open_all(&path, &head, founding, seed);
    let opened = tokio::task::spawn_blocking(work).await;
    let opened = opened.map_err(|e| problems::internal("the data folder was not opened", e))?;
    opened.map_err(|e| problems::folder(&shown, &e))
}

fn open_all(
    path: &std::path::Path,
    head: &Head,
    founding: bool,
    seed: u64,
) -> Result<Kept, store::Error> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(path));
    let (mut journal, mut recovered) =
        Journal::open(disk.clone(), store::journal::Limits::default())?;
    let segments = Segments::open(disk.clone(), store::segments::Limits::default())?;
    let Sound { tables, saved, damage } = Tables::open_sound(path, &*disk, head.shards)?;
    if let Some(what) = damage {
        tracing::error!(what, "the tables were damaged: what only they held is fetched anew");
    }
    let mut opening = Opening { head, seed, tables: &tables, saved, kept: Parts::default() };
    if founding {
        let begin = |shard| Record::Begin { shard, replica: ReplicaId(1), base: (1, 1) };
        let begins: Vec<_> = (0..head.shards).map(|s| begin(ShardId(s))).collect();
        journal.write(&begins)?;
        journal.sync()?;
    }
    for index in 0..head.shards {
        opening.shard(ShardId(index), founding, &mut recovered)?;
    }
    let mut parts = opening.kept;
    settle_segments(&segments, &mut parts)?;
    bury(&mut journal, &mut parts)?;
    Ok(Kept {
        journal,
        segments: Arc::new(segments),
        tables: Arc::new(tables),
        replicas: parts.replicas,
        tombstones: parts.tombstones,
        durable: parts.durable,
        doubts: parts.doubts,
    })
}

/// A replica in doubt never comes back under its id: a leader that knows of nothing it had acknowledged would let it
/// begin once more.
fn bury(journal: &mut Journal, parts: &mut Parts) -> Result<(), store::Error> {
    let mut records = Vec::new();
    for (shard, replica) in parts.doubts.iter().copied() {
        records.push(Record::Tombstone { shard, replica });
        let known = parts.tombstones.entry(shard).or_default();
        *known = replica.max(*known);
    }
    if records.is_empty() {
        return Ok(());
    }
    journal.write(&records)?;
    journal.sync().map(drop)
}

#[derive(Default)]
struct Parts {
    replicas: Vec<(ShardId, Replica)>,
    tombstones: BTreeMap<ShardId, ReplicaId>,
    durable: BTreeMap<ShardId, u64>,
    doubts: Vec<(ShardId, ReplicaId)>,
}

struct Opening<'a> {
    head: &'a Head,
    seed: u64,
    tables: &'a Tables,
    saved: BTreeMap<ShardId, Saved>,
    kept: Parts,
}

impl Opening<'_> {
    fn config(&self, shard: ShardId) -> Config {
        Config {
            shard,
            mesh: self.head.mesh,
            shards: self.head.shards,
            replication: self.head.replication,
            peer: self.head.peer,
            seed: self.seed ^ (u64::from(shard.0) << 48),
        }
    }

    fn shard(
        &mut self,
        shard: ShardId,
        founding: bool,
        recovered: &mut Recovered,
    ) -> Result<(), store::Error> {
        let config = self.config(shard);
        if founding {
            let founded = Replica::new(config.clone(), Replica::founded(&config));
            self.kept.replicas.push((shard, founded.expect("a founder's log is empty")));
            return Ok(());
        }
        let found = recovered.shards.remove(&shard);
        if let Some(found) = found.as_ref().filter(|found| found.tombstone.0 > 0) {
            self.kept.tombstones.insert(shard, found.tombstone);
        }
        let journal = found.map(|found| Journalled {
            replica: found.replica,
            base: found.base,
            hard: found.hard,
            entries: found.entries,
            doubt: found.doubt,
        });
        let tables = self.saved.remove(&shard).map(|saved| Tabled {
            replica: saved.applied.replica,
            index: saved.applied.index,
            commit: saved.applied.hard.commit,
            small: saved.small,
            rows: saved.rows,
        });
        match replica::reopen(config, journal, recovered.doubt.as_deref(), tables) {
            Reopened::Nothing => self.tables.remove(shard),
            Reopened::Replica { replica, stale } => {
                if stale {
                    self.tables.remove(shard)?;
                }
                self.kept.durable.insert(shard, replica.fold().index());
                self.kept.replicas.push((shard, *replica));
                Ok(())
            }
            Reopened::Foreign { why } => Err(store::Error::Newer {
                what: format!("the state of {shard}"),
                written_by: format!("another version ({why})"),
                this: env!("CARGO_PKG_VERSION").to_owned(),
            }),
            Reopened::Doubt { replica, why } => {
                tracing::error!(%shard, %replica, why, "a replica is in doubt and must be replaced");
                self.kept.doubts.push((shard, replica));
                self.tables.remove(shard)
            }
        }
    }
}

/// Cuts every partition to the fold it belongs to; what belongs to no fold here is removed. A replica whose
/// segments fall short of its fold is in doubt.
fn settle_segments(segments: &Segments, parts: &mut Parts) -> Result<(), store::Error> {
    let mut known: BTreeSet<PartitionId> = BTreeSet::new();
    let mut short = BTreeMap::new();
    for (shard, replica) in &parts.replicas {
        for (partition, found) in replica.fold().partitions() {
            match segments.truncate_to(partition, found.next_offset) {
                Ok(()) => drop(known.insert(partition)),
                Err(error @ (store::Error::Missing(_) | store::Error::Rot(_))) => {
                    tracing::error!(%shard, ?partition, %error, "a replica is in doubt");
                    short.insert(*shard, replica.id());
                }
                Err(error) => return Err(error),
            }
        }
    }
    parts.replicas.retain(|(shard, _)| !short.contains_key(shard));
    parts.doubts.extend(short);
    for partition in segments.partitions()? {
        if !known.contains(&partition) {
            segments.remove(partition)?;
        }
    }
    Ok(())
}
