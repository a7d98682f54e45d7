//! Gets tasks their events: from replicas here where there are any, else from the peer that leads the source.
//!
//! A replica that has applied a range computes it as well as its leader does: chunks are pure functions of it.
//! Runs user code, so everything here that computes is called on blocking threads only.

mod puller;

pub use puller::Seat;

use crate::board::Mark;
use crate::call::{Ask, Said, WantChunks};
use crate::limits;
use crate::router::Router;
use dashmap::DashMap;
use flow::{Chunk, Exchange, Miss, Pipelines, StageCode, Want};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use model::hash::shard_of;
use model::{Catalogue, PartitionId, ShardId, StageId, StreamId, TaskId};
use net::Lane;
use puller::Puller;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::Segments;

/// One exchange a stage's code and source partition; the code is named by its address, which [`Exchanges::code`]
/// keeps the same.
type Key = (usize, PartitionId);

/// All exchanges of this peer.
pub struct Exchanges {
    router: Router,
    segments: Arc<Segments>,
    pipelines: Arc<Pipelines>,
    /// The code of each stage, by pipeline and stage: one for all its tasks, so that they share its exchanges.
    codes: DashMap<(String, String), Arc<StageCode>>,
    open: DashMap<Key, Arc<Mutex<Exchange>>>,
    /// Who feeds the exchanges of a stage; by the address of its code.
    pullers: DashMap<usize, Arc<Puller>>,
    start: Instant,
}

/// What one task asks for.
#[derive(Clone)]
pub struct Wants {
    pub code: Arc<StageCode>,
    pub bucket: u32,
    pub from: Vec<(PartitionId, i64)>,
    /// As in [`Want::partials`].
    pub partials: Option<i64>,
}

impl Exchanges {
    pub fn new(router: Router, segments: Arc<Segments>, pipelines: Arc<Pipelines>) -> Self {
        Self {
            router,
            segments,
            pipelines,
            codes: DashMap::new(),
            open: DashMap::new(),
            pullers: DashMap::new(),
            start: Instant::now(),
        }
    }

    /// The code of a stage that this peer holds.
    pub fn code(&self, pipeline: &str, stage: &str) -> Option<Arc<StageCode>> {
        let key = (pipeline.to_owned(), stage.to_owned());
        if let Some(code) = self.codes.get(&key) {
            return Some(code.clone());
        }
        let code = self.pipelines.stage(pipeline, stage)?;
        Some(self.codes.entry(key).or_insert(code).clone())
    }

    /// Where a partition lies; nothing if the catalogue does not know its stream yet.
    pub fn shard(&self, partition: PartitionId) -> Option<ShardId> {
        let board = &self.router.board;
        let placement = board.catalogue().streams.get(&partition.stream)?.placement;
        Some(shard_of(placement, partition.partition, board.shards()))
    }

    /// Parts what is wanted into what replicas here have and what must be asked for. A replica that is behind, or damaged,
    /// says nothing: a task would take its silence for an idle source.
    pub fn split(&self, wants: &Wants) -> (Wants, Vec<(ShardId, PartitionId, i64)>) {
        let mut here = Wants { from: Vec::new(), ..wants.clone() };
        let mut there = Vec::new();
        for (partition, at) in &wants.from {
            match self.shard(*partition) {
                Some(shard) if self.router.board.is_current(shard) => {
                    here.from.push((*partition, *at));
                }
                Some(shard) => there.push((shard, *partition, *at)),
                None => {}
            }
        }
        (here, there)
    }

    /// Chunks of the partitions that have a replica here. Blocks: computes with user code, may read segments.
    pub fn gather(&self, wants: &Wants) -> Result<Vec<Chunk>, String> {
        let mut chunks = Vec::with_capacity(wants.from.len());
        let mut bytes = 0;
        for (partition, at) in &wants.from {
            if bytes >= limits::TASK_BYTES {
                break;
            }
            let chunk = self.chunk(wants, *partition, *at)?;
            bytes += chunk.size();
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    /// Whether more of the chunk's source is applied here than it tells of.
    pub fn has_more(&self, chunk: &Chunk) -> bool {
        self.router.board.mark(chunk.source).is_some_and(|mark| chunk.to < mark.stable)
    }

    /// The chunk, with what the stage that writes the source promises.
    fn chunk(&self, wants: &Wants, source: PartitionId, at: i64) -> Result<Chunk, String> {
        let board = &self.router.board;
        let writer = writer_of(&board.catalogue(), source.stream);
        let writer = writer.map(|stage| TaskId { stage, bucket: source.partition });
        // Before the mark, which moves first: what is promised holds from that mark on.
        let promise = writer.map(|task| board.promise(task).unwrap_or((i64::MIN, false)));
        let end = board.mark(source).map_or(0, |mark| mark.stable);
        let mut chunk = self.compute(wants, source, at)?;
        if let Some(promise) = promise {
            chunk.promise(promise, end);
        }
        Ok(chunk)
    }

    fn compute(&self, wants: &Wants, source: PartitionId, at: i64) -> Result<Chunk, String> {
        let Some(mark) = self.router.board.mark(source) else {
            return Ok(Chunk::nothing(source, at));
        };
        if at >= mark.stable {
            return Ok(Chunk::nothing(source, at));
        }
        let exchange = self.exchange(&wants.code, source)?;
        let mut exchange = lock(&exchange);
        let Wants { bucket, partials, .. } = *wants;
        let want = Want { bucket, from: at, bytes_max: limits::CHUNK_BYTES, partials };
        loop {
            let from = match exchange.chunk(self.now_ms(), want) {
                Ok(chunk) => return Ok(chunk),
                Err(Miss { feed_from }) => feed_from,
            };
            if from >= mark.stable {
                return Ok(Chunk::nothing(source, at));
            }
            self.feed(&mut exchange, source, from, mark)?;
        }
    }

    /// Computes the next stretch of a partition, from `from` on.
    fn feed(
        &self,
        exchange: &mut Exchange,
        source: PartitionId,
        from: i64,
        mark: Mark,
    ) -> Result<(), String> {
        let read =
            self.segments.read(source, from.max(mark.start), mark.stable, limits::EXCHANGE_READ);
        let batches = self.router.board.witness(source, read).map_err(|e| e.to_string())?;
        if batches.is_empty() && from >= mark.start {
            return Err(format!("offsets {from} to {} are not to be had", mark.stable));
        }
        let below = if batches.is_empty() { mark.start } else { mark.stable };
        let batches = self.router.board.shown(source, batches);
        exchange.feed(from, &batches, below);
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn exchange(
        &self,
        code: &Arc<StageCode>,
        source: PartitionId,
    ) -> Result<Arc<Mutex<Exchange>>, String> {
        let key = (Arc::as_ptr(code) as usize, source);
        if let Some(open) = self.open.get(&key) {
            return Ok(open.clone());
        }
        let catalogue = self.router.board.catalogue();
        let stream = catalogue.streams.get(&source.stream).ok_or("its stream is gone")?;
        let index = code.sources.iter().position(|s| s.stream == stream.name);
        let index = index.ok_or("the stage does not read this stream")?;
        let made = Exchange::new(code.clone(), source, index, self.now_ms());
        let made = Arc::new(Mutex::new(made));
        Ok(self.open.entry(key).or_insert(made).clone())
    }

    /// A task's seat: from now on the stage's exchanges are fed as its sources move, and the task is told.
    pub fn seat(self: &Arc<Self>, code: &Arc<StageCode>, bucket: u32) -> std::io::Result<Seat> {
        let key = Arc::as_ptr(code) as usize;
        let mut puller = self.pullers.entry(key).or_insert_with(|| Puller::new(code.clone()));
        if !puller.is_running() {
            *puller = Puller::new(code.clone());
            puller.start(self.clone())?;
        }
        Ok(puller.seat(bucket))
    }

    /// Asks other peers for the partitions that have no replica here; one call a peer. Where those who have nothing are
    /// to wait for events, the first news is enough: the others would hold it up.
    pub async fn ask(
        &self,
        wants: &Wants,
        there: Vec<(ShardId, PartitionId, i64)>,
        wait: Duration,
    ) -> Vec<Chunk> {
        let mut by_peer: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (shard, partition, at) in there {
            let board = &self.router.board;
            let peer = board.leader(shard).or_else(|| board.ring().target(shard).first().copied());
            by_peer.entry(peer).or_default().push((partition, at));
        }
        let calls = by_peer.into_iter().filter_map(|(peer, from)| {
            let key = self.router.board.key_of(peer?)?;
            let ask = Ask::Chunks(WantChunks {
                pipeline: wants.code.pipeline.clone(),
                stage: wants.code.name.clone(),
                version: wants.code.version,
                bucket: wants.bucket,
                from,
                partials: wants.partials,
                wait_ms: wait.as_millis() as u32,
            });
            Some(async move { self.router.calls.ask(&key, Lane::Request, ask).await })
        });
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut calls: FuturesUnordered<_> = calls.collect();
        while let Some(said) = calls.next().await {
            match said {
                Ok(Said::Chunks(found)) => chunks.extend(found),
                Ok(Said::No(why)) => tracing::debug!(why, "a source did not answer"),
                Ok(_) => tracing::debug!("a source answered something else"),
                Err(error) => tracing::debug!(%error, "a source did not answer"),
            }
            if !wait.is_zero() && chunks.iter().any(|chunk| chunk.to > chunk.from) {
                break;
            }
        }
        chunks
    }

    /// Answers another peer's task; waits a moment for the first event.
    pub async fn chunks_here(self: &Arc<Self>, wanted: WantChunks) -> Result<Vec<Chunk>, String> {
        let code = self.code(&wanted.pipeline, &wanted.stage);
        let code = code.filter(|code| code.version == wanted.version);
        let code = code.ok_or("this peer does not hold that version of the pipeline")?;
        if wanted.bucket >= code.buckets {
            return Err("the stage has no such bucket".into());
        }
        let wait = Duration::from_millis(u64::from(wanted.wait_ms)).min(limits::CALL / 2);
        let until = Instant::now() + wait;
        let WantChunks { bucket, from, partials, .. } = wanted;
        let wants = Wants { code, bucket, from, partials };
        let (wants, _) = self.split(&wants);
        let streams: Vec<_> = wants.from.iter().map(|(p, _)| p.stream).collect();
        loop {
            let news = self.router.board.news(&streams);
            let this = self.clone();
            let ask = wants.clone();
            let gathered = tokio::task::spawn_blocking(move || this.gather(&ask)).await;
            let chunks = gathered.map_err(|e| e.to_string())??;
            let left = until.saturating_duration_since(Instant::now());
            if chunks.iter().any(|chunk| chunk.to > chunk.from) || left.is_zero() {
                return Ok(chunks);
            }
            // Late or news: either way the next look decides.
            let _ = tokio::time::timeout(left, news).await;
        }
    }
}

fn lock(exchange: &Mutex<Exchange>) -> MutexGuard<'_, Exchange> {
    exchange.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stage whose results a stream holds; side outputs and dead letters are not in the order of its watermark.
fn writer_of(catalogue: &Catalogue, stream: StreamId) -> Option<StageId> {
    let stage = catalogue.streams.get(&stream)?.written_by?;
    let (_, of) = catalogue.stage(stage)?;
    (of.output == Some(stream)).then_some(stage)
}
