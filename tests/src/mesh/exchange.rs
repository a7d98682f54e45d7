//! The exchange that tasks pull from: replicas here where there are any, else the peer that leads the source.
//!
//! Does what `peer::exchange` does, in smaller chunks.

use super::board::Mark;
use super::calls::{Ask, Asker, Said};
use super::task::POLL_US;
use super::world::{Of, SHARDS, World};
use flow::{Chunk, Exchange, Miss, Want};
use model::hash::shard_of;
use model::{PartitionId, ShardId, StageId, TaskId};
use std::collections::btree_map::Entry;

/// Source partitions with the offsets to ask from, those on other peers with their shards.
type Split = (Vec<(PartitionId, i64)>, Vec<(ShardId, PartitionId, i64)>);

/// Which task asks for chunks.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    pub task: TaskId,
    /// As in [`Want::partials`].
    pub partials: Option<i64>,
}

impl World {
    /// Parts what is wanted into what replicas here have and what must be asked for.
    pub fn split(&mut self, h: usize, from: &[(PartitionId, i64)]) -> Split {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        let Some(process) = self.process(h) else { return (here, there) };
        let catalogue = process.board.catalogue();
        for (partition, at) in from {
            let Some(stream) = catalogue.streams.get(&partition.stream) else { continue };
            let shard = shard_of(stream.placement, partition.partition, SHARDS);
            let current = process.replica(shard).is_some_and(replica::Replica::is_current);
            match current && !process.rotten.contains_key(&shard) {
                true => here.push((*partition, *at)),
                false => there.push((shard, *partition, *at)),
            }
        }
        (here, there)
    }

    /// Chunks of the partitions that have a replica here.
    pub fn gather(
        &mut self,
        h: usize,
        asking: Asking,
        from: &[(PartitionId, i64)],
    ) -> Result<Vec<Chunk>, String> {
        let mut chunks = Vec::with_capacity(from.len());
        let mut bytes = 0;
        for (partition, at) in from {
            if bytes >= self.menu.task_bytes {
                break;
            }
            let chunk = self.chunk(h, asking, (*partition, *at))?;
            bytes += chunk.size();
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    /// The chunk, with what the stage that writes the source promises.
    fn chunk(
        &mut self,
        h: usize,
        asking: Asking,
        (source, at): (PartitionId, i64),
    ) -> Result<Chunk, String> {
        let process = self.process(h).ok_or("its process has ended")?;
        let catalogue = process.board.catalogue();
        let writer = catalogue.streams.get(&source.stream).and_then(|stream| stream.written_by);
        let writer = writer.map(|stage| TaskId { stage, bucket: source.partition });
        let promise = writer.map(|task| process.board.promise(task).unwrap_or((i64::MIN, false)));
        let end = process.board.mark(source).map_or(0, |(_, next)| next);
        let mut chunk = self.compute(h, asking, (source, at))?;
        if let Some(promise) = promise {
            chunk.promise(promise, end);
        }
        Ok(chunk)
    }

    fn compute(
        &mut self,
        h: usize,
        asking: Asking,
        (source, at): (PartitionId, i64),
    ) -> Result<Chunk, String> {
        let (now_ms, bytes_max) = (self.now_us() / 1000, self.menu.chunk_bytes);
        let Asking { task: TaskId { stage, bucket }, partials } = asking;
        let want = Want { bucket, from: at, bytes_max, partials };
        let mark = self.process(h).and_then(|process| process.board.mark(source));
        let Some(mark) = mark.filter(|(_, next)| at < *next) else {
            return Ok(Chunk::nothing(source, at));
        };
        loop {
            let exchange = self.exchange(h, stage, source)?;
            let from = match exchange.chunk(now_ms, want) {
                Ok(chunk) => return Ok(chunk),
                Err(Miss { feed_from }) => feed_from,
            };
            if from >= mark.1 {
                return Ok(Chunk::nothing(source, at));
            }
            self.feed(h, stage, source, (from, mark))?;
        }
    }

    pub fn exchange(
        &mut self,
        h: usize,
        stage: StageId,
        source: PartitionId,
    ) -> Result<&mut Exchange, String> {
        let (now_ms, code) = (self.now_us() / 1000, self.code.clone());
        let process = self.process(h).ok_or("its process has ended")?;
        let catalogue = process.board.catalogue();
        let (pipeline, of) = catalogue.stage(stage).ok_or("its stage is gone")?;
        let stream = catalogue.streams.get(&source.stream).ok_or("its stream is gone")?;
        match process.exchanges.entry((stage, source)) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(place) => {
                let code = code.stage(&pipeline.name, &of.name).ok_or("its code is not here")?;
                let index = code.sources.iter().position(|s| s.stream == stream.name);
                let index = index.ok_or("the stage does not read this stream")?;
                Ok(place.insert(Exchange::new(code, source, index, now_ms)))
            }
        }
    }

    /// Computes the next stretch of a partition, from `from` on.
    pub fn feed(
        &mut self,
        h: usize,
        stage: StageId,
        source: PartitionId,
        (from, (start, next)): (i64, Mark),
    ) -> Result<(), String> {
        let read_bytes = self.menu.read_bytes;
        let process = self.process(h).ok_or("its process has ended")?;
        let read = process.segments.read(source, from.max(start), next, read_bytes);
        let batches = self.witness(h, source, read)?;
        if batches.is_empty() && from >= start {
            return Err(format!("offsets {from} to {next} are not to be had"));
        }
        let below = if batches.is_empty() { start } else { next };
        self.exchange(h, stage, source)?.feed(from, &batches, below);
        Ok(())
    }

    /// Answers another peer's task; waits a moment for the first event.
    pub fn on_await(
        &mut self,
        h: usize,
        from: Asker,
        ask: Ask,
        until_us: u64,
    ) -> Result<(), String> {
        let Ask::Chunks { asker, from: places, .. } = &ask else { return Ok(()) };
        let (here, _) = self.split(h, places);
        let said = match self.gather(h, *asker, &here) {
            Ok(chunks) => {
                let moved = chunks.iter().any(|chunk| chunk.to > chunk.from);
                if !moved && self.now_us() < until_us {
                    self.soon(h, 2 * POLL_US, Of::Await { from, ask, until_us });
                    return Ok(());
                }
                Said::Chunks(chunks)
            }
            Err(why) => Said::No(why),
        };
        self.answer(h, from, said);
        Ok(())
    }
}
