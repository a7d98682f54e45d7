//! One peer goes on alone, when a quorum is lost for good: by a person's word, while the peer does not run.
//!
//! Promises that nothing the folder holds is lost by it, and that the mesh is another one afterwards to all who were
//! not there: the head says so before the journal does, so that what is interrupted in between leads nothing and is done
//! by saying it once more. Never decides; never touches another folder.

use super::keep::{self, Kept};
use crate::{keep_catalogue, problems};
use model::catalogue::Change;
use model::id::CATALOGUE;
use model::{Catalogue, Op, Problem, ReplicaId, ShardId, hash};
use replica::Config;
use replica::recover::{self, Alone};
use std::path::Path;
use store::{Folder, Head, Record};

/// A folder that is ready to go on alone.
pub struct Recovery {
    folder: Folder,
    head: Head,
    catalogue: Catalogue,
    kept: Kept,
    /// What each shard's log is to hold besides; those of `lost` begin anew with it.
    logs: Vec<(ShardId, Alone)>,
    lost: Vec<ShardId>,
}

/// What a person should know before it is done.
pub struct Price {
    pub name: String,
    pub mesh: String,
    /// The number of this recovery.
    pub recovery: u32,
    /// Peers that are out of the mesh for good: their names and where they were.
    pub others: Vec<(String, String)>,
    /// Shards of which a copy is here.
    pub kept: usize,
    /// The shard time of the newest entry that was applied here, ms since 1970.
    pub newest_ms: u64,
    /// Shards of which none is.
    pub lost: usize,
    /// Streams with partitions in those: name, partitions lost, partitions.
    pub streams: Vec<(String, usize, u32)>,
}

impl Recovery {
    /// Opens a folder, as a start does, and finds out what can be kept.
    pub async fn open(path: &Path) -> Result<Self, Problem> {
        let folder = Folder::open(path, false).map_err(|e| problems::folder(path, &e))?;
        let head = folder.head().cloned();
        let head = head.ok_or_else(|| problems::empty_folder(path, "SH0205"))?;
        let copy = keep_catalogue::read(&folder).filter(|copy| copy.mesh == head.mesh);
        let way = keep::Way {
            path: path.to_owned(),
            founding: false,
            fresh: false,
            seed: 0,
            peers: copy.as_ref().map_or(0, |copy| copy.roster.len()),
            without_damaged: false,
        };
        let kept = keep::open(&folder, &head, way).await?;
        let here = kept.replicas.iter().find(|(shard, _)| *shard == CATALOGUE);
        let Some((_, replica)) = here else { return Err(without_catalogue(path)) };
        // Before its first checkpoint a fold is empty until its log is applied again; the copy is of that log.
        let catalogue = match (replica.fold().catalogue().cloned(), copy) {
            (None, None) => return Err(without_catalogue(path)),
            (Some(fold), Some(copy)) if copy.index > fold.index => copy,
            (Some(fold), _) => (*fold).clone(),
            (None, Some(copy)) => copy,
        };
        if !catalogue.roster.contains_key(&head.peer) {
            return Err(crate::end::End::Removed.problem().expect("to be removed is one"));
        }
        let (logs, lost) = logs(&head, &kept)?;
        if lost.is_empty() && catalogue.roster.len() == 1 && logs.iter().all(is_short) {
            return Err(Problem::new(
                "SH0508",
                format!("{} is its whole mesh", head.name),
                "every shard has its only copy here, so no quorum is lost",
                format!("shoal start --data {}", path.display()),
            ));
        }
        Ok(Self { folder, head, catalogue, kept, logs, lost })
    }

    pub fn price(&self) -> Price {
        let Self { head, catalogue, kept, lost, .. } = self;
        let others = catalogue.roster.values().filter(|peer| peer.id != head.peer);
        let streams = catalogue.streams.values().filter_map(|stream| {
            let gone = (0..stream.partitions)
                .filter(|p| lost.contains(&hash::shard_of(stream.placement, *p, head.shards)))
                .count();
            (gone > 0).then(|| (stream.name.clone(), gone, stream.partitions))
        });
        let times = kept.replicas.iter().map(|(_, replica)| replica.fold().time_ms());
        Price {
            name: head.name.clone(),
            mesh: head.mesh.to_string(),
            recovery: head.recovery + 1,
            others: others.map(|peer| (peer.name.clone(), peer.addresses.mesh.clone())).collect(),
            kept: kept.replicas.len(),
            newest_ms: times.max().unwrap_or_default(),
            lost: lost.len(),
            streams: streams.collect(),
        }
    }

    /// Makes it so. The next start goes on alone.
    pub fn carry_out(mut self) -> Result<(), Problem> {
        let path = self.folder.path().to_path_buf();
        let failed = |error: store::Error| problems::folder(&path, &error);
        let me = self.head.peer;
        self.head.mesh = self.head.mesh.recovered();
        self.head.recovery += 1;
        self.folder.write_head(&self.head).map_err(failed)?;
        self.catalogue.mesh = self.head.mesh;
        self.catalogue.roster.retain(|peer, _| *peer == me);
        self.catalogue.away.clear();
        keep_catalogue::write(&self.folder, &self.catalogue);
        for (shard, Alone { replica, entries, hard }) in self.logs {
            let mut records = Vec::new();
            if self.lost.contains(&shard) {
                records.push(Record::Begin { shard, replica, base: (1, 1) });
            }
            if !entries.is_empty() {
                records.push(Record::Entries { shard, replica, entries });
            }
            records.push(Record::Hard { shard, replica, hard });
            self.kept.journal.write(&records).map_err(failed)?;
        }
        self.kept.journal.sync().map(drop).map_err(failed)
    }
}

/// Nothing about who forms the shard has to change.
fn is_short((shard, alone): &(ShardId, Alone)) -> bool {
    alone.entries.len() <= usize::from(*shard == CATALOGUE)
}

/// What each shard's log is to hold, and the shards that begin anew.
type Logs = (Vec<(ShardId, Alone)>, Vec<ShardId>);

fn logs(head: &Head, kept: &Kept) -> Result<Logs, Problem> {
    let (mut logs, mut lost) = (Vec::new(), Vec::new());
    let mesh = head.mesh.recovered();
    for shard in (0..head.shards).map(ShardId) {
        let config = Config {
            shard,
            mesh,
            shards: head.shards,
            replication: head.replication,
            peer: head.peer,
            seed: 0,
        };
        let here = kept.replicas.iter().find(|(of, _)| *of == shard);
        let change = Change::Recover { mesh, peer: head.peer };
        let ops = match shard == CATALOGUE {
            true => vec![Op::Catalogue(Box::new(change))],
            false => Vec::new(),
        };
        let alone = match here {
            Some((_, replica)) => recover::alone(&config, replica, ops),
            None => {
                lost.push(shard);
                let used = kept.tombstones.get(&shard).copied().unwrap_or(ReplicaId(0));
                recover::anew(&config, used)
            }
        };
        logs.push((shard, alone.ok_or_else(|| cannot(shard))?));
    }
    Ok((logs, lost))
}

fn without_catalogue(path: &Path) -> Problem {
    Problem::new(
        "SH0207",
        format!("the data folder {} has no copy of the catalogue", path.display()),
        "streams, pipelines and peers are known by shard 0 alone, and no copy of it is here",
        "shoal recover --unsafe on the folder of another peer of the mesh",
    )
}

fn cannot(shard: ShardId) -> Problem {
    Problem::new(
        "SH0207",
        format!("{shard} cannot go on from the copy that is here"),
        "the shard was taking this copy out when it stopped",
        "shoal recover --unsafe on the folder of another peer",
    )
}
