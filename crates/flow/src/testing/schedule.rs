//! The course of things that a seed gives: who runs next, how much it sees, when it dies.

use super::{Placed, Running, TestMesh, add};
use crate::chunk::Chunk;
use crate::exchange::{Exchange, Want};
use crate::{Action, Error, Input, Task};
use model::entry::Commit;
use model::{PartitionId, StageId, StreamId, TaskId};

/// Turns of all tasks before the mesh is thought to run in circles.
const TURNS_MAX: usize = 10_000_000;
/// How often in a row a task may be parked.
const PARKED_MAX: u32 = 5;
/// Among which tasks move when they die.
pub(super) const PEERS: usize = 3;
/// What a turn takes, for exchanges that wait for slow tasks; tasks see the test's own time.
const TURN_MS: u64 = 20;
/// Commits that may still arrive.
const ADRIFT_MAX: usize = 8;

impl TestMesh {
    /// Runs tasks in any order until all are quiet.
    pub(super) fn settle(&mut self) {
        for running in self.tasks.values_mut() {
            running.is_quiet = false;
        }
        for _ in 0..TURNS_MAX {
            let busy = self.tasks.iter().filter(|(_, running)| !running.is_quiet);
            let mut busy: Vec<TaskId> = busy.map(|(id, _)| *id).collect();
            if busy.is_empty() {
                if !self.let_go() {
                    return;
                }
                continue;
            }
            let id = busy.swap_remove(self.dice.below(busy.len()));
            if self.dice.chance(5) {
                self.arrive();
            }
            self.turns += 1;
            self.turn(id);
        }
        panic!("the mesh did not come to rest");
    }

    /// Nothing comes any more: tasks commit what they held back. False if none did.
    fn let_go(&mut self) -> bool {
        let sequence = |mesh: &Self| mesh.fold.commits();
        let before = sequence(self);
        let mut is_whole = true;
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        for id in ids {
            let mut actions = Vec::new();
            if let Some(task) = &mut self.running(id).task {
                let stepped = task.step(u64::MAX, Input::Time, &mut actions);
                stepped.expect("the time is always welcome");
            }
            self.carry_out(id, actions);
            // One that dies of it has to come back.
            let running = self.running(id);
            if running.task.is_none() {
                (running.is_quiet, is_whole) = (false, false);
            }
        }
        sequence(self) > before || !is_whole
    }

    /// A commit of a task that has died reaches the log after all.
    fn arrive(&mut self) {
        if let Some(commit) = self.adrift.pop() {
            self.apply(&commit);
        }
    }

    fn turn(&mut self, id: TaskId) {
        if self.crashes && self.dice.chance(3) {
            self.crash(id);
        }
        if self.running(id).task.is_none() {
            let code = std::sync::Arc::clone(&self.stages[&id.stage].code);
            let task = Task::new(id, code, self.fold.restored(id), self.streams_of(id));
            self.running(id).task = Some(task.expect("the fold never runs a newer version"));
        }
        let is_full = self.dice.chance(50);
        let chunks = self.gather(id, is_full);
        let at_end = is_full && chunks.iter().all(|c| c.to == self.fold.next_offset(c.source));
        let mut actions = Vec::new();
        let now_ms = self.now_ms.unsigned_abs();
        let clock_ms = self.now_ms;
        let task = self.running(id).task.as_mut().expect("it was just built");
        task.set_clock(clock_ms);
        match task.step(now_ms, Input::Chunks(chunks), &mut actions) {
            Ok(()) => self.running(id).parked = 0,
            Err(Error::Parked { stage, cause }) => {
                let running = self.running(id);
                running.parked += 1;
                assert!(running.parked < PARKED_MAX, "stage {stage:?} cannot go on: {cause}");
            }
            Err(error) => panic!("the test mesh drives a task wrongly: {error}"),
        }
        self.running(id).is_quiet = at_end && actions.is_empty();
        self.carry_out(id, actions);
    }

    fn running(&mut self, id: TaskId) -> &mut Running {
        self.tasks.get_mut(&id).expect("every task of every stage is there")
    }

    fn crash(&mut self, id: TaskId) {
        let peer = self.dice.below(PEERS);
        self.running(id).peer = peer;
        if let Some(task) = self.running(id).task.take() {
            self.tally = add(self.tally, task.tally());
        }
    }

    /// Asks sources for chunks: all of them, or some.
    fn gather(&mut self, id: TaskId, is_full: bool) -> Vec<Chunk> {
        let task = self.running(id).task.as_ref().expect("it was just built");
        let positions: Vec<(PartitionId, i64)> = task.positions().collect();
        let partials = task.partials();
        let mut chunks = Vec::new();
        for (source, from) in positions {
            if is_full || self.dice.chance(30) {
                chunks.push(self.ask(id, source, (from, partials)));
            }
        }
        chunks
    }

    fn ask(&mut self, id: TaskId, source: PartitionId, at: (i64, Option<i64>)) -> Chunk {
        let from = at.0;
        let end = self.fold.next_offset(source);
        let mut chunk = match from == end {
            true => Chunk::nothing(source, from),
            false => self.compute(id, source, at, end),
        };
        if let Some(stage) = self.writer_of(source.stream) {
            let writer = TaskId { stage, bucket: source.partition };
            chunk.promise(self.fold.promise(writer), end);
        }
        chunk
    }

    /// The stage that writes a stream.
    fn writer_of(&self, stream: StreamId) -> Option<StageId> {
        let writes = |placed: &Placed| placed.output == Some(stream);
        self.stages.iter().find(|(_, placed)| writes(placed)).map(|(id, _)| *id)
    }

    fn compute(
        &mut self,
        id: TaskId,
        source: PartitionId,
        (from, partials): (i64, Option<i64>),
        end: i64,
    ) -> Chunk {
        let now_ms = self.turns * TURN_MS;
        let at = (self.running(id).peer, id.stage, source);
        if self.crashes && self.dice.chance(2) {
            self.exchanges.remove(&at);
        }
        let placed = &self.stages[&id.stage];
        let index = placed.sources.iter().position(|of| of.stream == source.stream);
        let index = index.expect("a task reads its stage's sources");
        let code = &placed.code;
        let exchange = self
            .exchanges
            .entry(at)
            .or_insert_with(|| Exchange::new(code.clone(), source, index, now_ms));
        let bytes_max = [1, 100, 10_000, 1 << 20][self.dice.below(4)];
        loop {
            match exchange.chunk(now_ms, Want { bucket: id.bucket, from, bytes_max, partials }) {
                Ok(chunk) => return chunk,
                Err(miss) => {
                    let count = 1 + self.dice.below(8);
                    let batches = self.fold.read(source, miss.feed_from, count);
                    exchange.feed(miss.feed_from, &batches, end);
                }
            }
        }
    }

    fn carry_out(&mut self, id: TaskId, mut actions: Vec<Action>) {
        loop {
            let commit = actions.drain(..).find_map(|action| match action {
                Action::Commit(commit) => Some(commit),
                Action::Failed { .. } | Action::Dead { .. } => None,
            });
            let Some(commit) = commit else {
                return;
            };
            let luck = if self.crashes { self.dice.below(100) } else { 100 };
            if luck < 5 {
                // It dies before anybody hears of its commit, which may arrive later.
                self.crash(id);
                self.adrift.insert(0, *commit);
                self.adrift.truncate(ADRIFT_MAX);
                return;
            }
            let applied = self.apply(&commit);
            if luck < 10 {
                return self.crash(id);
            }
            if luck < 15 {
                assert_eq!(self.apply(&commit), None, "a commit is applied once");
            }
            let Some(sequence) = applied else {
                return self.crash(id);
            };
            let now_ms = self.now_ms.unsigned_abs();
            let task = self.running(id).task.as_mut().expect("it made the commit");
            let stepped = task.step(now_ms, Input::Committed { sequence }, &mut actions);
            stepped.expect("the commit was under way");
        }
    }

    fn apply(&mut self, commit: &Commit) -> Option<u64> {
        let sequence = self.fold.apply(commit)?;
        self.running(commit.task).is_quiet = false;
        let written: Vec<StreamId> = self.stages[&commit.task.stage].writes().collect();
        for stream in written {
            // Whoever reads it has something to do; so have, harmlessly, its stage's other tasks.
            let reads =
                |id: &TaskId| self.stages[&id.stage].sources.iter().any(|of| of.stream == stream);
            let readers: Vec<TaskId> = self.tasks.keys().filter(|id| reads(id)).copied().collect();
            for id in readers {
                self.running(id).is_quiet = false;
            }
        }
        Some(sequence)
    }
}
