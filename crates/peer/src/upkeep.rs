//! Keeps what streams promise: old events go when their stream's settings say so, all of them when it is deleted. What
//! tasks keep goes with their pipeline.
//!
//! The leader of each shard proposes it; what goes, goes by entries of that shard. Promises that nothing goes
//! that a pipeline still needs, and nothing of a stream that is merely not known here yet.

mod ended;

use crate::limits;
use crate::router::Router;
use crate::shards::{Found, Query};
use crate::wall_ms;
use ended::Ended;
use model::catalogue::{Catalogue, Stream};
use model::hash::shard_of;
use model::{Op, PartitionId, ShardId, StreamId, TaskId};
use replica::retention::{File, Kept};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::Segments;

/// Looks after the partitions whose shards are led here.
pub async fn upkeep(router: Router, segments: Arc<Segments>) {
    let mut ended = Ended::default();
    loop {
        tokio::time::sleep(limits::UPKEEP).await;
        // First the tasks: whoever writes a partition is to be gone before it is.
        ended.sweep(&router).await;
        drop_deleted(&router).await;
        let catalogue = router.board.catalogue();
        for stream in catalogue.streams.values().filter(|stream| stream.settings.forgets()) {
            Retention { router: &router, segments: &segments, catalogue: &catalogue, stream }
                .keep()
                .await;
        }
    }
}

/// Drops the partitions of streams that are no more.
async fn drop_deleted(router: &Router) {
    let board = &router.board;
    let suspects = board.unknown_streams();
    if suspects.is_empty() {
        return;
    }
    // What had events before this moment was in the catalogue before this moment, or is no more.
    let Ok(catalogue) = router.catalogue_now().await else { return };
    let gone: BTreeSet<StreamId> =
        suspects.into_iter().filter(|id| !catalogue.streams.contains_key(id)).collect();
    for shard in (0..board.shards()).map(ShardId).filter(|shard| board.leading(*shard)) {
        let found = router.ask_here(shard, Query::Partitions, false).await;
        let Some((Found::Partitions(partitions), _)) = found else { continue };
        for partition in partitions.into_iter().filter(|id| gone.contains(&id.stream)) {
            propose(router, shard, Op::Drop { partition }).await;
        }
    }
}

async fn propose(router: &Router, shard: ShardId, op: Op) {
    if let Err(refusal) = router.propose_here(shard, op).await {
        tracing::debug!(%shard, ?refusal, "something may be forgotten; it is tried again");
    }
}

/// One stream whose settings let it forget.
struct Retention<'a> {
    router: &'a Router,
    segments: &'a Arc<Segments>,
    catalogue: &'a Catalogue,
    stream: &'a Stream,
}

impl Retention<'_> {
    async fn keep(&self) {
        // Asked once for all partitions, and only if something is due.
        let mut needed = None;
        for partition in 0..self.stream.partitions {
            let id = PartitionId { stream: self.stream.id, partition };
            let shard = shard_of(self.stream.placement, partition, self.router.board.shards());
            if !self.router.board.leading(shard) || !self.clock_is_right(shard).await {
                continue;
            }
            if self.may_go(id, None).await.is_none() {
                continue;
            }
            if needed.is_none() {
                needed = self.positions().await;
            }
            let Some(needed) = &needed else { return };
            let reads = self.has_readers().then(|| needed.get(&id).copied().unwrap_or(0));
            if let Some(offset) = self.may_go(id, reads).await {
                propose(self.router, shard, Op::Trim { partition: id, offset }).await;
            }
        }
    }

    /// A leader whose clock differs from the other voters' must not call events old.
    async fn clock_is_right(&self, shard: ShardId) -> bool {
        let found = self.router.ask_here(shard, Query::Skewed, false).await;
        matches!(found, Some((Found::Skewed(false), _)))
    }

    async fn may_go(&self, id: PartitionId, needed: Option<i64>) -> Option<i64> {
        let mark = self.router.board.mark(id)?;
        let settings = self.stream.settings;
        let segments = self.segments.clone();
        let work = move || {
            let files = segments.files(id)?;
            let files: Vec<File> =
                files.iter().map(|it| File { next: it.next_offset, bytes: it.bytes }).collect();
            let young = match settings.retention_ms() {
                Some(ms) => {
                    let since = wall_ms().saturating_sub(ms);
                    let since = i64::try_from(since).unwrap_or(i64::MAX);
                    segments.position_by_time(id, since)?.map(|(offset, _)| offset)
                }
                None => None,
            };
            let young = young.filter(|offset| *offset < mark.next);
            let kept = Kept { start: mark.start, next: mark.next, files: &files, young, needed };
            Ok::<_, store::Error>(kept.may_go(&settings))
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(below)) => below,
            Ok(Err(error)) => {
                tracing::warn!(partition = ?id, %error, "its old events cannot be found");
                None
            }
            Err(_) => None,
        }
    }

    fn readers(&self) -> impl Iterator<Item = TaskId> {
        let stages = self.catalogue.pipelines.values().flat_map(|pipeline| &pipeline.stages);
        let reads = stages.filter(|stage| stage.sources.contains(&self.stream.id));
        reads.flat_map(|stage| (0..stage.buckets).map(|bucket| TaskId { stage: stage.id, bucket }))
    }

    fn has_readers(&self) -> bool {
        self.readers().next().is_some()
    }

    /// The lowest committed position of each partition over all tasks that read the stream; nothing if one of
    /// them cannot be asked. A partition that is missing was read by nobody.
    async fn positions(&self) -> Option<BTreeMap<PartitionId, i64>> {
        let mut lowest: Option<BTreeMap<PartitionId, i64>> = None;
        for task in self.readers() {
            let shard = shard_of(task.stage.0, task.bucket, self.router.board.shards());
            let Ok((Found::Task(standing), _)) =
                self.router.ask(shard, Query::Task { task }, false).await
            else {
                return None;
            };
            let positions = standing.unwrap_or_default().positions;
            let of_task = positions.into_iter().map(|(id, (offset, _))| (id, offset)).collect();
            lowest = Some(match lowest {
                None => of_task,
                Some(lowest) => both(&lowest, &of_task),
            });
        }
        Some(lowest.unwrap_or_default())
    }
}

/// The lower offset where both have one; who has none has read nothing.
fn both(
    a: &BTreeMap<PartitionId, i64>,
    b: &BTreeMap<PartitionId, i64>,
) -> BTreeMap<PartitionId, i64> {
    let lower = |(id, offset): (&PartitionId, &i64)| Some((*id, *offset.min(b.get(id)?)));
    a.iter().filter_map(lower).collect()
}
