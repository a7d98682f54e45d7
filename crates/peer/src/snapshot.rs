//! Snapshots between peers: a manifest, the small fold and the rows in pieces, and ranges of partitions.
//!
//! The receiver fetches what it lacks in small pieces on the bulk lane, goes on where it was after a failure, and only
//! then lets consensus install. Rows go from one peer's tables to the other's: they are nowhere in memory whole but in
//! the fold that is made of them. Segments that are here already are kept: committed bytes never change.

use crate::call::{Ask, Calls, Failed, Piece, Said, Where};
use crate::limits;
use crate::meter::Meter;
use crate::shards;
use crate::throttle::Throttle;
use bytes::Bytes;
use dashmap::DashMap;
use model::{Batch, HardState, PartitionId, PeerId, ReplicaId, ShardId, codec, hash};
use net::{Lane, PeerKey};
use ractor::ActorRef;
use replica::Fold;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use store::tables::Frozen;
use store::{Applied, Segments, Tables};

const VERSION: u8 = 2;

/// What consensus carries: what to fetch, and how to know it.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    shard: ShardId,
    index: u64,
    /// Size and checksum of the small fold.
    size: u64,
    checksum: u128,
    partitions: Vec<(PartitionId, i64, i64)>,
}

/// Folds that followers may be fetching. Dropped when nobody has asked for [`limits::SNAPSHOT_IDLE`].
#[derive(Default)]
pub struct Exports {
    held: DashMap<(ShardId, u64), Held>,
}

struct Held {
    small: Bytes,
    rows: Arc<Frozen>,
    used: Instant,
}

impl Exports {
    fn hold(&self, shard: ShardId, index: u64, small: Bytes, rows: Frozen) {
        // One follower may still be at the last one when another asks for a newer: not more than two of a shard.
        let last = self.held.iter().map(|held| *held.key()).filter(|(of, _)| *of == shard).max();
        self.held.retain(|key, _| key.0 != shard || Some(*key) == last);
        self.held
            .insert((shard, index), Held { small, rows: Arc::new(rows), used: Instant::now() });
    }

    /// Lets go of what nobody has asked for lately.
    pub fn sweep(&self) {
        self.held.retain(|_, held| held.used.elapsed() < limits::SNAPSHOT_IDLE);
    }

    /// A piece of an export; nothing if it is no longer held, or cannot be read. Reads the disk.
    pub fn piece(&self, shard: ShardId, index: u64, at: &Where) -> Option<Piece> {
        let (small, rows) = {
            let mut held = self.held.get_mut(&(shard, index))?;
            held.used = Instant::now();
            (held.small.clone(), held.rows.clone())
        };
        match at {
            Where::Small(at) => {
                let at = usize::try_from(*at).ok().filter(|at| *at <= small.len())?;
                let end = (at + limits::SNAPSHOT_CHUNK).min(small.len());
                Some(Piece::Small(small.slice(at..end)))
            }
            Where::Rows(after) => {
                let after = after.as_ref().map(|(task, key)| (*task, &key[..]));
                match rows.read(after, limits::SNAPSHOT_CHUNK) {
                    Ok(rows) => Some(Piece::Rows(rows)),
                    Err(error) => {
                        tracing::warn!(%shard, %error, "rows of a snapshot cannot be read");
                        None
                    }
                }
            }
        }
    }
}

/// Holds a fold for others, and makes its manifest.
pub fn export(
    exports: &Exports,
    shard: ShardId,
    index: u64,
    (small, rows): (Vec<u8>, Frozen),
    partitions: Vec<(PartitionId, i64, i64)>,
) -> Bytes {
    let (size, checksum) = (small.len() as u64, hash::hash128(&small));
    exports.hold(shard, index, small.into(), rows);
    codec::encode(VERSION, &Manifest { shard, index, size, checksum, partitions }).into()
}

/// A replica's time here. What is fetched for it is written [`during`](Self::during) it: nothing comes after its end,
/// when its files have gone or are another's.
#[derive(Clone, Debug, Default)]
pub struct Tenure(Arc<Mutex<bool>>);

impl Tenure {
    /// Waits for what is being written; nothing is written any more.
    pub fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn during<T, E: std::fmt::Display>(
        &self,
        write: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, String> {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *ended {
            return Err("its replica is gone".into());
        }
        write().map_err(text)
    }
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
    pub tenure: Tenure,
}

/// What fetching needs.
#[derive(Clone)]
pub struct Fetcher {
    pub meter: Arc<Meter>,
    pub calls: Arc<Calls>,
    pub segments: Arc<Segments>,
    pub tables: Arc<Tables>,
    pub shards: ActorRef<shards::Msg>,
    pub throttle: Arc<Throttle>,
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
        let small = self.small(&manifest, key).await?;
        if hash::hash128(&small) != manifest.checksum {
            return Err("its checksum differs".into());
        }
        let mut fold = Fold::restore(&small, std::iter::empty()).map_err(text)?;
        let generation = self.rows(&manifest, key, &mut fold).await?;
        for part in &manifest.partitions {
            self.partition(wanted, *part, key).await?;
        }
        let partitions: Vec<_> = manifest.partitions.iter().map(|(id, _, _)| *id).collect();
        let this = self.clone();
        let Wanted { shard, replica, index, term, hard, .. } = *wanted;
        let tenure = wanted.tenure.clone();
        let keep = move || {
            this.segments.sync(&partitions).map_err(text)?;
            let applied = Applied { replica, index, term, hard };
            let finish = || this.tables.finish(shard, generation, applied, &small);
            if !tenure.during(finish)? {
                return Err("it came too late: what is here is newer".into());
            }
            this.tables.sync().map_err(text)?;
            Ok(fold)
        };
        tokio::task::spawn_blocking(keep).await.map_err(text)?
    }

    async fn small(&self, manifest: &Manifest, key: &PeerKey) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < manifest.size {
            match self.piece(manifest, Where::Small(bytes.len() as u64), key).await? {
                Piece::Small(piece) if !piece.is_empty() => {
                    self.took(piece.len() as u64).await;
                    bytes.extend_from_slice(&piece);
                }
                _ => return Err("its fold is not what was asked for".into()),
            }
        }
        Ok(bytes)
    }

    /// Brings the rows into the tables and into the fold, a piece at a time; returns the generation they lie under.
    async fn rows(
        &self,
        manifest: &Manifest,
        key: &PeerKey,
        fold: &mut Fold,
    ) -> Result<u32, String> {
        let shard = manifest.shard;
        let tables = self.tables.clone();
        let begun = tokio::task::spawn_blocking(move || tables.begin(shard)).await.map_err(text)?;
        let generation = begun.map_err(text)?;
        let mut after = None;
        loop {
            let Piece::Rows(rows) = self.piece(manifest, Where::Rows(after.clone()), key).await?
            else {
                return Err("its rows are not what was asked for".into());
            };
            let Some(last) = rows.last().map(|(task, key, _)| (*task, key.clone())) else {
                return Ok(generation);
            };
            if after.is_some_and(|after| last <= after) {
                return Err("its rows go in circles".into());
            }
            after = Some(last);
            let bytes = rows.iter().map(|(_, key, value)| (key.len() + value.len()) as u64).sum();
            self.took(bytes).await;
            fold.bring(&rows);
            let tables = self.tables.clone();
            let put = move || tables.put(shard, generation, &rows);
            if !tokio::task::spawn_blocking(put).await.map_err(text)?.map_err(text)? {
                return Err("another snapshot has overtaken it".into());
            }
        }
    }

    /// Bytes came: more is asked for when the rate allows it.
    async fn took(&self, bytes: u64) {
        self.meter.handoff_bytes.inc_by(bytes);
        tokio::time::sleep(self.throttle.book(Instant::now(), bytes)).await;
    }

    /// Asks for one piece, again where the way is bad for a while: what is here already stays.
    async fn piece(&self, manifest: &Manifest, at: Where, key: &PeerKey) -> Result<Piece, String> {
        let ask = Ask::Export { shard: manifest.shard, index: manifest.index, at };
        match self.ask(ask, key).await? {
            Said::Export(piece) => Ok(piece),
            other => Err(format!("its export is not to be had: {}", short(&other))),
        }
    }

    async fn ask(&self, ask: Ask, key: &PeerKey) -> Result<Said, String> {
        let mut failed = Failed::Down;
        for _ in 0..limits::SNAPSHOT_TRIES {
            match self.calls.ask(key, Lane::Bulk, ask.clone()).await {
                Ok(said) => return Ok(said),
                Err(error) => failed = error,
            }
            tokio::time::sleep(limits::SNAPSHOT_PAUSE).await;
        }
        Err(text(failed))
    }

    /// Brings one partition up to `next`, from where its segments end here.
    async fn partition(
        &self,
        wanted: &Wanted,
        (partition, start, next): (PartitionId, i64, i64),
        key: &PeerKey,
    ) -> Result<(), String> {
        let (shard, tenure) = (wanted.shard, &wanted.tenure);
        let mut at = tenure.during(|| self.segments.resume(partition, start))?;
        if at > next {
            return Err("segments here are ahead of the snapshot".into());
        }
        while at < next {
            let ask = Ask::Stored {
                partition,
                shard,
                from: at,
                below: next,
                bytes_max: limits::SNAPSHOT_CHUNK as u32,
            };
            let Said::Batches(found) = self.ask(ask, key).await? else {
                return Err("its batches are not to be had".into());
            };
            let batches: Result<Vec<_>, _> = found.into_iter().map(Batch::one).collect();
            let batches = batches.map_err(text)?;
            let Some(last) = batches.last() else {
                return Err("its batches are not to be had".into());
            };
            let reached = last.next_offset();
            self.took(batches.iter().map(Batch::size).sum::<usize>() as u64).await;
            // Events may have been deleted up to inside of the first batch, which is kept whole.
            let joins = batches[0].base_offset() >= at || (at == start && reached > at);
            if !joins || reached > next {
                return Err("its batches do not join".into());
            }
            tenure.during(|| self.segments.append_many(partition, &batches))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_replicas_end_waits_for_what_is_written_for_it_and_nothing_is_written_after_it() {
        let tenure = Tenure::default();
        let (begun, begins) = mpsc::channel();
        let (let_go, goes_on) = mpsc::channel::<()>();
        let (ended, ends) = mpsc::channel();
        std::thread::scope(|scope| {
            let here = tenure.clone();
            scope.spawn(move || {
                let written = here.during(|| {
                    begun.send(()).map_err(text)?;
                    goes_on.recv().map_err(text)
                });
                assert_eq!(written, Ok(()));
            });
            begins.recv().expect("it writes");
            scope.spawn(|| {
                tenure.end();
                ended.send(()).expect("somebody waits");
            });
            let early = ends.recv_timeout(Duration::from_millis(50));
            assert!(early.is_err(), "it ended in the middle of a write");
            let_go.send(()).expect("it writes");
            ends.recv().expect("it ends");
        });
        let late = tenure.during(|| -> Result<(), String> { panic!("written after the end") });
        assert!(late.is_err());
    }
}
