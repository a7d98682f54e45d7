//! Snapshots between peers: a manifest, an export of the small fold and the rows, and ranges of partitions.
//!
//! The receiver fetches what it lacks in small pieces on the bulk lane, resumes where it was, checks every
//! checksum, and only then lets consensus install. Segments it has already are kept: committed bytes never change.

use crate::call::{Ask, Calls, Said};
use crate::limits;
use crate::shards;
use bytes::Bytes;
use dashmap::DashMap;
use model::{Batch, HardState, PartitionId, PeerId, ReplicaId, ShardId, TaskId, codec, hash};
use net::{Lane, PeerKey};
use ractor::ActorRef;
use replica::Fold;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;
use store::{Applied, Segments, Tables};

const VERSION: u8 = 1;

/// What consensus carries: what to fetch, and how to know it.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    shard: ShardId,
    index: u64,
    size: u64,
    checksum: u128,
    partitions: Vec<(PartitionId, i64, i64)>,
}

/// The content of an export.
#[derive(Serialize, Deserialize)]
struct Content {
    #[serde(with = "serde_bytes")]
    small: Vec<u8>,
    rows: Vec<(TaskId, Bytes, Bytes)>,
}

/// Exports that followers may be fetching. Dropped when nobody has asked for [`limits::SNAPSHOT_IDLE`].
#[derive(Default)]
pub struct Exports {
    held: DashMap<(ShardId, u64), (Bytes, Instant)>,
}

impl Exports {
    fn hold(&self, shard: ShardId, index: u64, bytes: Bytes) {
        self.held
            .retain(|(of, _), (_, used)| *of != shard && used.elapsed() < limits::SNAPSHOT_IDLE);
        self.held.insert((shard, index), (bytes, Instant::now()));
    }

    /// A piece of an export and its whole size; nothing if it is no longer held.
    pub fn piece(&self, shard: ShardId, index: u64, at: u64) -> Option<(Bytes, u64)> {
        let mut held = self.held.get_mut(&(shard, index))?;
        held.1 = Instant::now();
        let size = held.0.len();
        let at = usize::try_from(at).ok().filter(|at| *at <= size)?;
        let end = (at + limits::SNAPSHOT_CHUNK).min(size);
        Some((held.0.slice(at..end), size as u64))
    }
}

/// Every row of a fold; the bytes are shared, not copied.
pub fn all_rows(fold: &Fold) -> Vec<(TaskId, Bytes, Bytes)> {
    let mut rows = Vec::new();
    for (task, _) in fold.tasks() {
        rows.extend(fold.scan(task, &[], usize::MAX).into_iter().map(|(k, v)| (task, k, v)));
    }
    rows
}

/// Makes an export and its manifest.
pub fn export(
    exports: &Exports,
    shard: ShardId,
    index: u64,
    small: Vec<u8>,
    rows: Vec<(TaskId, Bytes, Bytes)>,
    partitions: Vec<(PartitionId, i64, i64)>,
) -> Bytes {
    let bytes = Bytes::from(codec::encode(VERSION, &Content { small, rows }));
    let size = bytes.len() as u64;
    let manifest = Manifest { shard, index, size, checksum: hash::hash128(&bytes), partitions };
    exports.hold(shard, index, bytes);
    codec::encode(VERSION, &manifest).into()
}

/// A snapshot that consensus offers to the replica here.
#[derive(Debug)]
pub struct Wanted {
    pub shard: ShardId,
    pub replica: ReplicaId,
    pub from: PeerId,
    pub index: u64,
    pub term: u64,
    pub manifest: Bytes,
    pub message: Bytes,
    pub hard: HardState,
}

/// What fetching needs.
#[derive(Clone)]
pub struct Fetcher {
    pub calls: Arc<Calls>,
    pub segments: Arc<Segments>,
    pub tables: Arc<Tables>,
    pub shards: ActorRef<shards::Msg>,
    /// Snapshots fetched at once.
    pub permits: Arc<tokio::sync::Semaphore>,
}

impl Fetcher {
    /// Fetches and installs into the store, then tells the shards; a failure is told too.
    pub async fn fetch(self, wanted: Wanted, key: PeerKey) {
        let Ok(_permit) = self.permits.acquire().await else { return };
        let (shard, replica) = (wanted.shard, wanted.replica);
        let outcome = self.install(&wanted, &key).await;
        let installed = outcome.is_ok();
        let msg = match outcome {
            Ok(fold) => {
                let message = wanted.message;
                shards::Msg::Fetched { shard, replica, message, fold: Box::new(fold) }
            }
            Err(why) => {
                tracing::warn!(%shard, from = %wanted.from, why, "a snapshot was not fetched");
                shards::Msg::FetchFailed { shard, replica }
            }
        };
        if self.shards.cast(msg).is_err() {
            return;
        }
        let ask = Ask::Installed { shard, replica, installed };
        if let Err(error) = self.calls.ask(&key, Lane::Request, ask).await {
            tracing::debug!(%shard, %error, "the leader was not told of a snapshot's end");
        }
    }

    async fn install(&self, wanted: &Wanted, key: &PeerKey) -> Result<Fold, String> {
        let manifest: Manifest = codec::decode(VERSION, &wanted.manifest).map_err(text)?;
        if manifest.shard != wanted.shard || manifest.index != wanted.index {
            return Err("its manifest is of another shard or index".into());
        }
        let bytes = self.export(&manifest, key).await?;
        if hash::hash128(&bytes) != manifest.checksum {
            return Err("its checksum differs".into());
        }
        let Content { small, rows } = codec::decode(VERSION, &bytes).map_err(text)?;
        for (partition, start, next) in &manifest.partitions {
            self.partition(wanted.shard, *partition, *start, *next, key).await?;
        }
        let partitions: Vec<_> = manifest.partitions.iter().map(|(id, _, _)| *id).collect();
        let this = self.clone();
        let Wanted { shard, replica, index, term, hard, .. } = *wanted;
        let keep = move || {
            this.segments.sync(&partitions).map_err(text)?;
            let applied = Applied { replica, index, term, hard };
            if !this.tables.replace(shard, applied, &small, &rows).map_err(text)? {
                return Err("it came too late: what is here is newer".into());
            }
            this.tables.sync().map_err(text)?;
            Fold::restore(&small, rows.into_iter()).map_err(text)
        };
        tokio::task::spawn_blocking(keep).await.map_err(text)?
    }

    async fn export(&self, manifest: &Manifest, key: &PeerKey) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < manifest.size {
            let at = bytes.len() as u64;
            let ask = Ask::Export { shard: manifest.shard, index: manifest.index, at };
            match self.calls.ask(key, Lane::Bulk, ask).await.map_err(text)? {
                Said::Export { bytes: piece, size }
                    if size == manifest.size && !piece.is_empty() =>
                {
                    bytes.extend_from_slice(&piece);
                }
                other => return Err(format!("its export is not to be had: {}", short(&other))),
            }
        }
        Ok(bytes)
    }

    /// Brings one partition up to `next`, from where its segments end here.
    async fn partition(
        &self,
        shard: ShardId,
        partition: PartitionId,
        start: i64,
        next: i64,
        key: &PeerKey,
    ) -> Result<(), String> {
        let mut at = self.segments.next_offset(partition).map_err(text)?;
        if at > next {
            return Err("segments here are ahead of the snapshot".into());
        }
        if at < start {
            self.segments.remove(partition).map_err(text)?;
            at = start;
        }
        while at < next {
            let ask = Ask::Batches {
                partition,
                shard,
                from: at,
                below: next,
                bytes_max: limits::SNAPSHOT_CHUNK as u32,
            };
            let Said::Batches(found) = self.calls.ask(key, Lane::Bulk, ask).await.map_err(text)?
            else {
                return Err("its batches are not to be had".into());
            };
            let batches: Result<Vec<_>, _> = found.into_iter().map(Batch::trusted).collect();
            let batches = batches.map_err(text)?;
            let Some(last) = batches.last() else {
                return Err("its batches are not to be had".into());
            };
            let reached = last.next_offset();
            if batches[0].base_offset() < at || reached > next {
                return Err("its batches do not join".into());
            }
            self.segments.append_many(partition, &batches).map_err(text)?;
            at = reached;
        }
        Ok(())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn short(said: &Said) -> String {
    match said {
        Said::No(why) => why.clone(),
        _ => "an unexpected answer".into(),
    }
}
