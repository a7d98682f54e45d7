//! Feeds the exchanges of a stage as its sources move, and wakes the tasks that got something.
//!
//! Does what `peer::exchange::puller` does, as events instead of a thread.

use super::board::Mark;
use super::task::{IDLE_US, POLL_US};
use super::world::{Of, World};
use model::{PartitionId, StageId, StreamId, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// A task whose bucket got nothing is told so late that its sources moved, µs.
const LAG_US: u64 = 250_000;

/// Feeds the exchanges of one stage.
#[derive(Default)]
pub struct Puller {
    /// How far each source was fed.
    seen: BTreeMap<PartitionId, i64>,
    told_all_us: u64,
    moved_since: bool,
    /// When it looks next.
    due_us: Option<u64>,
}

/// What one look found.
#[derive(Default)]
struct Found {
    /// A source has moved.
    moved: bool,
    /// Tasks must take what is there first.
    full: bool,
    /// Buckets that got something.
    rung: BTreeSet<u32>,
}

impl World {
    /// A stream moved: the stages that read it and have tasks here look.
    pub fn pull_stream(&mut self, h: usize, stream: StreamId) {
        let Some(process) = self.process(h) else { return };
        let catalogue = process.board.catalogue();
        let stages = catalogue.pipelines.values().flat_map(|pipeline| &pipeline.stages);
        let readers = stages.filter(|stage| stage.sources.contains(&stream));
        for stage in readers.map(|stage| stage.id).collect::<Vec<_>>() {
            self.pull_soon(h, stage, 20);
        }
    }

    /// Looks at the sources of a stage before long, if a task of it is here.
    pub fn pull_soon(&mut self, h: usize, stage: StageId, delay_us: u64) {
        let due_us = self.now_us() + delay_us;
        let Some(process) = self.process(h) else { return };
        if !process.tasks.keys().any(|task| task.stage == stage) {
            process.pullers.remove(&stage);
            return;
        }
        let puller = process.pullers.entry(stage).or_default();
        if puller.due_us.is_none_or(|due| due_us < due) {
            puller.due_us = Some(due_us);
            self.soon(h, delay_us, Of::Pull { stage });
        }
    }

    /// It is time to look, unless a look before this one made another plan.
    pub fn pull(&mut self, h: usize, stage: StageId) -> Result<(), String> {
        let now_us = self.now_us();
        let Some(puller) = self.process(h).and_then(|process| process.pullers.get_mut(&stage))
        else {
            return Ok(());
        };
        if puller.due_us.is_none_or(|due| due > now_us) {
            return Ok(());
        }
        puller.due_us = None;
        let Found { moved, full, mut rung } = self.look_at_sources(h, stage);
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(puller) = process.pullers.get_mut(&stage) else { return Ok(()) };
        puller.moved_since |= moved;
        let is_late = puller.moved_since && now_us >= puller.told_all_us + LAG_US;
        if is_late {
            (puller.told_all_us, puller.moved_since) = (now_us, false);
        }
        let wait_us = match (full, puller.moved_since) {
            (true, _) => POLL_US,
            (false, true) => LAG_US,
            (false, false) => IDLE_US,
        };
        for (id, task) in process.tasks.iter().filter(|(id, _)| id.stage == stage) {
            if full || is_late || moved && task.is_eager() {
                rung.insert(id.bucket);
            }
        }
        for bucket in rung {
            self.ring(h, TaskId { stage, bucket });
        }
        self.pull_soon(h, stage, wait_us);
        Ok(())
    }

    /// Feeds what has moved since the last look.
    fn look_at_sources(&mut self, h: usize, stage: StageId) -> Found {
        let mut found = Found::default();
        let Some(process) = self.process(h) else { return found };
        let catalogue = process.board.catalogue();
        let sources = catalogue.stage(stage).map_or(&[][..], |(_, stage)| &stage.sources);
        for stream in sources {
            let partitions = catalogue.streams.get(stream).map_or(0, |stream| stream.partitions);
            for partition in 0..partitions {
                let id = PartitionId { stream: *stream, partition };
                let Some(process) = self.process(h) else { return found };
                let Some(mark) = process.board.mark(id) else { continue };
                let seen = process.pullers.get(&stage).and_then(|puller| puller.seen.get(&id));
                if seen == Some(&mark.1) {
                    continue;
                }
                found.moved = true;
                if self.feed_ahead(h, stage, (id, mark), &mut found.rung) {
                    found.full = true;
                } else if let Some(process) = self.process(h)
                    && let Some(puller) = process.pullers.get_mut(&stage)
                {
                    puller.seen.insert(id, mark.1);
                }
            }
        }
        found
    }

    /// Feeds one partition as far as it is applied; true if there is no room for it.
    fn feed_ahead(
        &mut self,
        h: usize,
        stage: StageId,
        (id, mark): (PartitionId, Mark),
        rung: &mut BTreeSet<u32>,
    ) -> bool {
        let now_ms = self.now_us() / 1000;
        let is_full = loop {
            let Ok(exchange) = self.exchange(h, stage, id) else { return true };
            match exchange.ahead(now_ms) {
                None => break true,
                Some(from) if from >= mark.1 => break false,
                Some(from) if self.feed(h, stage, id, (from, mark)).is_err() => break true,
                Some(_) => {}
            }
        };
        if let Ok(exchange) = self.exchange(h, stage, id) {
            exchange.news(|bucket| rung.extend([bucket]));
        }
        is_full
    }
}
