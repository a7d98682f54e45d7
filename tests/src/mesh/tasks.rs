//! Starts the tasks of the shards that are led here, ends those of shards that are not, restarts what fails.
//!
//! Does what `peer::tasks` does.

use super::task::Task;
use super::trace::note;
use super::world::{Of, SHARDS, World};
use flow::{SourceStream, StageCode, TaskStreams};
use model::hash::shard_of;
use model::{Catalogue, PartitionId, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;

const FAILURES_MAX: u32 = 10;
const BACKOFF_MAX_US: u64 = 10_000_000;
const HEALTHY_US: u64 = 10_000_000;

impl World {
    pub fn tasks_may_have_moved(&mut self, h: usize) {
        let Some(process) = self.process(h) else { return };
        if process.looked != process.board.moves {
            process.looked = process.board.moves;
            self.soon(h, 10, Of::LookForTasks);
        }
    }

    /// Ends the tasks that should not run here, begins those that should.
    pub fn look_for_tasks(&mut self, h: usize) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let catalogue = process.board.catalogue();
        let mut wanted = BTreeMap::new();
        for pipeline in catalogue.pipelines.values() {
            for stage in &pipeline.stages {
                for bucket in 0..stage.buckets {
                    let shard = shard_of(stage.id.0, bucket, SHARDS);
                    if process.board.leading(shard) {
                        let task = TaskId { stage: stage.id, bucket };
                        wanted.insert(task, (shard, process.board.term(shard)));
                    }
                }
            }
        }
        process.tasks.retain(|id, task| wanted.get(id) == Some(&(task.shard, task.term)));
        let missing = wanted.into_iter().filter(|(id, _)| !process.tasks.contains_key(id));
        let missing: Vec<_> = missing.collect();
        for (id, (shard, term)) in missing {
            let Some((code, streams)) = self.code_of(&catalogue, id) else { continue };
            let now_us = self.now_us();
            let task = Task::new((shard, term), code, streams, now_us);
            let Some(process) = self.process(h) else { return Ok(()) };
            process.tasks.insert(id, task);
            self.again(h, id, 10);
            self.pull_soon(h, id.stage, 10);
        }
        Ok(())
    }

    /// A task's code, and the streams around it.
    fn code_of(&self, catalogue: &Catalogue, id: TaskId) -> Option<(Arc<StageCode>, TaskStreams)> {
        let (pipeline, stage) = catalogue.stage(id.stage)?;
        let code = self.code.stage(&pipeline.name, &stage.name)?;
        let partition = |stream| PartitionId { stream, partition: id.bucket };
        let source = |name: &str| {
            let stream = catalogue.stream(name)?;
            Some(SourceStream { stream: stream.id, partitions: stream.partitions })
        };
        let sources = code.sources.iter().map(|of| source(&of.stream)).collect::<Option<_>>()?;
        let (output, dead) = (stage.output.map(partition), partition(stage.dead?));
        let sides = stage.sides.iter().copied().map(partition).collect();
        Some((code, TaskStreams { output, sides, dead, sources }))
    }

    /// The task ends and is built again from its last commit after a pause.
    pub fn task_failed(&mut self, h: usize, id: TaskId, why: &str) -> Result<(), String> {
        note!(self, "h{h} {id:?} fails: {why}");
        let now_us = self.now_us();
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(task) = process.tasks.get_mut(&id) else { return Ok(()) };
        task.fail();
        if !process.board.leading(task.shard) {
            return Ok(());
        }
        let healthy = now_us - task.began_us > HEALTHY_US;
        task.failures = if healthy { 1 } else { task.failures + 1 };
        if task.failures >= FAILURES_MAX {
            task.parked = true;
            return Ok(());
        }
        let pause_us = (10_000 << task.failures.min(10)).min(BACKOFF_MAX_US);
        self.soon(h, pause_us, Of::Restart { task: id });
        Ok(())
    }

    pub fn on_restart(&mut self, h: usize, id: TaskId) -> Result<(), String> {
        let now_us = self.now_us();
        if let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) {
            task.began_us = now_us;
            self.again(h, id, 10);
        }
        Ok(())
    }

    /// Tasks of this process that are parked.
    pub fn parked(&self, h: usize) -> usize {
        let process = self.hosts[h].process.as_deref();
        process.map_or(0, |process| process.tasks.values().filter(|task| task.parked).count())
    }
}
