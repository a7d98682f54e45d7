//! Opens what the disk kept and makes replicas of it.
//!
//! Promises that segments hold nothing above the fold they belong to, and that a replica whose log is in doubt
//! does not start: its files are set aside, and it is named, so that its shard can give this peer a new one. Where
//! nobody can, since it was the shard's only voter, nothing is touched and nothing starts.

use crate::problems;
use model::{PartitionId, Problem, ReplicaId, ShardId};
use replica::{Config, Journalled, Reopened, Replica, Tabled};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{
    Aside, Disk, Folder, Head, Journal, RealDisk, Record, Recovered, Saved, Segments, Sound, Tables,
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
    /// What those have left, and what earlier ones have.
    pub aside: Arc<Aside>,
}

/// How a folder is to be opened.
pub struct Way {
    pub path: PathBuf,
    pub founding: bool,
    /// This peer's mesh has nobody in its roster yet: it may have been interrupted while it was founded.
    pub fresh: bool,
    pub seed: u64,
    /// Peers in the roster, as far as this one knows.
    pub peers: usize,
    /// Go on without shards whose only copy is in doubt.
    pub without_damaged: bool,
}

/// Why a folder was not opened.
enum Failed {
    Store(store::Error),
    /// These replicas were the only voters of their shards.
    Alone(Vec<Doubt>),
}

impl From<store::Error> for Failed {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// A replica that does not go on.
#[derive(Debug)]
struct Doubt {
    shard: ShardId,
    replica: ReplicaId,
    /// The file or folder that is not what it was.
    file: String,
    why: String,
    /// Whether it was its shard's only voter, if that can be read.
    alone: Option<bool>,
}

pub(super) async fn open(folder: &Folder, head: &Head, way: Way) -> Result<Kept, Problem> {
    let shown = folder.path().to_path_buf();
    let head = head.clone();
    let opened = tokio::task::spawn_blocking(move || open_all(&head, &way)).await;
    let opened = opened.map_err(|e| problems::internal("the data folder was not opened", e))?;
    opened.map_err(|failed| match failed {
        Failed::Store(error) => problems::folder(&shown, &error),
        Failed::Alone(doubts) => alone(&shown, &doubts),
    })
}

/// The only copy of a shard is damaged.
fn alone(folder: &Path, doubts: &[Doubt]) -> Problem {
    let shown = folder.display();
    let shards: Vec<_> = doubts.iter().map(|doubt| doubt.shard.to_string()).collect();
    let first = doubts.first().expect("it is refused for at least one");
    let file = format!("{shown}/{}", first.file);
    Problem::new(
        "SH0208",
        format!(
            "the data folder {shown} has the only copy of {}, and it is damaged",
            shards.join(", ")
        ),
        format!("{file}: {}", first.why),
        format!(
            "put {file} back as it was and start again; or start without what is damaged, whose files \
             are then kept in {shown}/aside: shoal start --data {shown} --without-damaged"
        ),
    )
}

fn open_all(head: &Head, way: &Way) -> Result<Kept, Failed> {
    let (path, founding, seed) = (&way.path, way.founding, way.seed);
    let aside = Aside::open(path)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(path));
    let (mut journal, mut recovered) =
        Journal::open(disk.clone(), store::journal::Limits::default())?;
    let segments = Segments::open(disk.clone(), store::segments::Limits::default())?;
    let Sound { tables, saved, damage } = Tables::open_sound(path, &*disk, head.shards)?;
    if let Some(what) = damage {
        tracing::error!(what, "the tables were damaged: what only they held is fetched anew");
    }
    let founding = founding
        || way.fresh
            && recovered.doubt.is_none()
            && recovered.shards.is_empty()
            && saved.is_empty();
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
    let known = settle_segments(&segments, &mut parts)?;
    if !way.without_damaged {
        let few = way.peers <= 2;
        let is_alone = |doubt: &mut Doubt| doubt.alone.unwrap_or(few);
        let alone: Vec<Doubt> = parts.doubts.extract_if(.., is_alone).collect();
        if !alone.is_empty() {
            return Err(Failed::Alone(alone));
        }
    }
    set_aside(&aside, &tables, &parts)?;
    for partition in segments.partitions()? {
        match known.get(&partition) {
            Some(None) => {}
            Some(Some(shard)) => aside.keep_partition(&segments, Some(*shard), partition)?,
            None if aside.is_empty() => segments.remove(partition)?,
            None => aside.keep_partition(&segments, None, partition)?,
        }
    }
    aside.clear()?;
    bury(&mut journal, &mut parts)?;
    for Doubt { shard, .. } in &parts.doubts {
        tables.remove(*shard)?;
    }
    Ok(Kept {
        journal,
        segments: Arc::new(segments),
        tables: Arc::new(tables),
        replicas: parts.replicas,
        tombstones: parts.tombstones,
        durable: parts.durable,
        doubts: parts.doubts.iter().map(|doubt| (doubt.shard, doubt.replica)).collect(),
        aside: Arc::new(aside),
    })
}

/// Keeps what replicas in doubt have left; their partitions follow.
fn set_aside(aside: &Aside, tables: &Tables, parts: &Parts) -> Result<(), store::Error> {
    for Doubt { shard, replica, file, why, .. } in &parts.doubts {
        tracing::error!(%shard, %replica, file, why, "a replica is in doubt: its files are set aside, and it must be replaced");
        aside.begin(*shard, *replica, &format!("{file}: {why}"))?;
        if let Some(saved) = tables.load(*shard)? {
            aside.keep_rows(*shard, &saved)?;
        }
    }
    if !parts.doubts.is_empty() && !aside.keep_journal()? {
        tracing::warn!("there is no room to set all of the journal aside");
    }
    Ok(())
}

/// A replica in doubt never comes back under its id: a leader that knows of nothing it had acknowledged would let it
/// begin once more.
fn bury(journal: &mut Journal, parts: &mut Parts) -> Result<(), store::Error> {
    let mut records = Vec::new();
    for Doubt { shard, replica, .. } in &parts.doubts {
        let (shard, replica) = (*shard, *replica);
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
    doubts: Vec<Doubt>,
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
            Reopened::Doubt { replica, why, alone } => {
                let file = "journal".to_owned();
                self.kept.doubts.push(Doubt { shard, replica, file, why, alone });
                Ok(())
            }
        }
    }
}

/// Cuts every partition to the fold it belongs to. A replica whose segments fall short of its fold is in doubt. Returns the
/// partitions that belong to a fold, with the shard if that is in doubt.
fn settle_segments(
    segments: &Segments,
    parts: &mut Parts,
) -> Result<BTreeMap<PartitionId, Option<ShardId>>, store::Error> {
    let mut known = BTreeMap::new();
    let mut short = BTreeMap::new();
    for (shard, replica) in &parts.replicas {
        let found_alone = replica.fold().configuration().is_alone(replica.id());
        for (partition, found) in replica.fold().partitions() {
            match segments.truncate_to(partition, found.next_offset) {
                Ok(()) => drop(known.insert(partition, None)),
                Err(error @ (store::Error::Missing(_) | store::Error::Rot(_))) => {
                    known.insert(partition, None);
                    let (shard, replica, why) = (*shard, replica.id(), error.to_string());
                    let alone = Some(found_alone);
                    let file = store::segments::folder(partition);
                    short.entry(shard).or_insert(Doubt { shard, replica, file, why, alone });
                }
                Err(error) => return Err(error),
            }
        }
    }
    for (shard, replica) in parts.replicas.extract_if(.., |(shard, _)| short.contains_key(shard)) {
        known.extend(replica.fold().partitions().map(|(partition, _)| (partition, Some(shard))));
    }
    parts.doubts.extend(short.into_values());
    Ok(known)
}
