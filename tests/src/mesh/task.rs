//! One stage on one bucket: gathers chunks, folds them, commits, and begins again.
//!
//! Does what `peer::task` does. Differs in that a task which waits for sources on other peers asks again every 50 ms
//! instead of every 5.

use super::calls::{Ask, Then};
use super::exchange::Asking;
use super::host::Waiting;
use super::trace::note;
use super::world::{Of, World};
use flow::{Action, Chunk, Input, Restored, StageCode, TaskStreams};
use model::entry::Commit;
use model::{Op, PartitionId, ShardId, TaskId};
use replica::{Answer, Refusal};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const IDLE_US: u64 = 1_000_000;
pub const POLL_US: u64 = 50_000;
const PAUSE_US: u64 = 20_000;

/// One task that should run here.
pub struct Task {
    pub shard: ShardId,
    pub term: u64,
    code: Arc<StageCode>,
    streams: TaskStreams,
    /// Away before it is built, and after a failure.
    task: Option<Box<flow::Task>>,
    /// Counts what it was told to do next: what was meant for an earlier moment is void.
    run: u64,
    committed: Option<u64>,
    commit: Option<Box<Commit>>,
    next_time_us: u64,
    first: usize,
    gathering: Option<Gathering>,
    asleep: bool,
    /// All its sources have a replica here.
    is_local: bool,
    /// It was told that there is something for it, and has heard it.
    rung: bool,
    told: bool,
    /// Every move of a source is news.
    eager: bool,
    /// Sources on other peers had something when they were last asked.
    busy: bool,
    /// There was more than one commit may take.
    more: bool,
    pub failures: u32,
    pub began_us: u64,
    pub parked: bool,
}

/// What is asked of other peers and not all here yet.
struct Gathering {
    here: Vec<(PartitionId, i64)>,
    chunks: Vec<Chunk>,
    left: usize,
    /// Those who have nothing answer late: the first news is enough.
    waits: bool,
}

impl Task {
    pub fn new(
        (shard, term): (ShardId, u64),
        code: Arc<StageCode>,
        streams: TaskStreams,
        now_us: u64,
    ) -> Self {
        Self {
            shard,
            term,
            code,
            streams,
            task: None,
            run: 0,
            committed: None,
            commit: None,
            next_time_us: now_us,
            first: 0,
            gathering: None,
            asleep: false,
            is_local: true,
            rung: true,
            told: false,
            eager: false,
            busy: false,
            more: false,
            failures: 0,
            began_us: now_us,
            parked: false,
        }
    }

    /// Forgets everything that is only in memory; it is built again when it begins again.
    pub fn fail(&mut self) {
        (self.task, self.committed, self.commit, self.gathering) = (None, None, None, None);
        self.run += 1;
    }

    /// What it says of itself when it asks for chunks.
    fn asking(&self, id: TaskId) -> Asking {
        Asking { task: id, partials: self.task.as_ref().and_then(|task| task.partials()) }
    }

    /// Whether every move of a source is news.
    pub fn is_eager(&self) -> bool {
        self.eager
    }

    /// Steps the machine with what was gathered, in the order in which `peer::task` does.
    fn turn(
        &mut self,
        now_ms: u64,
        timed: bool,
        chunk_bytes: usize,
        chunks: Vec<Chunk>,
    ) -> Result<Vec<Action>, flow::Error> {
        let mut actions = Vec::new();
        let committed = self.committed.take();
        let Some(task) = &mut self.task else { return Ok(actions) };
        let moved = chunks.iter().any(is_news);
        let ends: Vec<_> = chunks.iter().map(|chunk| (chunk.source, chunk.to)).collect();
        let size: usize = chunks.iter().map(Chunk::size).sum();
        if let Some(sequence) = committed {
            task.step(now_ms, Input::Committed { sequence }, &mut actions)?;
        }
        if actions.is_empty() && (moved || timed) {
            task.step(now_ms, Input::Chunks(chunks), &mut actions)?;
        }
        if actions.is_empty() && timed {
            task.step(now_ms, Input::Time, &mut actions)?;
        }
        let reached: BTreeMap<_, _> = task.positions().collect();
        let short = ends.iter().any(|(source, to)| reached.get(source) != Some(to));
        self.more = size >= chunk_bytes || short;
        self.eager = task.has_timers();
        Ok(actions)
    }
}

fn is_news(chunk: &Chunk) -> bool {
    chunk.to > chunk.from
}

fn went(chunk: &Chunk) -> (u32, i64, i64) {
    (chunk.source.partition, chunk.from, chunk.to)
}

impl World {
    /// The task goes on after a while; whatever else was planned for it is void.
    pub fn again(&mut self, h: usize, id: TaskId, delay_us: u64) {
        let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) else {
            return;
        };
        task.run += 1;
        task.asleep = false;
        let run = task.run;
        self.soon(h, delay_us, Of::Task { task: id, run });
    }

    /// A task is told that there is something for it.
    pub fn ring(&mut self, h: usize, id: TaskId) {
        let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) else {
            return;
        };
        task.rung = true;
        if task.asleep {
            self.again(h, id, 20);
        }
    }

    pub fn on_task(&mut self, h: usize, id: TaskId, run: u64) -> Result<(), String> {
        let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) else {
            return Ok(());
        };
        if task.run != run {
            return Ok(());
        }
        task.asleep = false;
        if let Some(commit) = task.commit.take() {
            return self.commit(h, id, commit);
        }
        if task.task.is_none()
            && let Err(why) = self.restore(h, id)
        {
            return self.task_failed(h, id, &why);
        }
        let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) else {
            return Ok(());
        };
        let mut from: Vec<_> = task.task.iter().flat_map(|task| task.positions()).collect();
        if !from.is_empty() {
            task.first = (task.first + 1) % from.len();
            from.rotate_left(task.first);
        }
        let (here, there) = self.split(h, &from);
        let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) else {
            return Ok(());
        };
        task.told = std::mem::take(&mut task.rung);
        task.is_local = there.is_empty();
        if there.is_empty() {
            return self.task_looks(h, id, here, Vec::new());
        }
        let wait_us = if here.is_empty() && !task.busy { IDLE_US } else { 0 };
        let by_peer = self.ask_for_chunks(h, there);
        let left = by_peer.len();
        let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) else {
            return Ok(());
        };
        task.gathering = Some(Gathering { here, chunks: Vec::new(), left, waits: wait_us > 0 });
        let asker = task.asking(id);
        if left == 0 {
            return self.gathered(h, id);
        }
        for (key, from) in by_peer {
            let ask = Ask::Chunks { asker, from, wait_us };
            self.call(h, &key, ask, Then::Chunks(id, run));
        }
        Ok(())
    }

    /// Who is to be asked for what lies elsewhere: the leader of each shard, or its owner.
    fn ask_for_chunks(
        &mut self,
        h: usize,
        there: Vec<(ShardId, PartitionId, i64)>,
    ) -> BTreeMap<Vec<u8>, Vec<(PartitionId, i64)>> {
        let mut by_peer: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let Some(process) = self.process(h) else { return by_peer };
        for (shard, partition, at) in there {
            let board = &process.board;
            let owner = || board.ring().target(shard).first().copied();
            let peer = board.leader(shard).or_else(owner);
            if let Some(key) = peer.and_then(|peer| board.key_of(peer)) {
                by_peer.entry(key.to_vec()).or_default().push((partition, at));
            }
        }
        by_peer
    }

    /// Builds the task from what is committed of it.
    fn restore(&mut self, h: usize, id: TaskId) -> Result<(), String> {
        let process = self.process(h).ok_or("its process has ended")?;
        let shard = process.tasks.get(&id).ok_or("it is not here")?.shard;
        let replica = process.replica(shard).ok_or("its shard does not answer")?;
        let state = replica.fold().task(id).cloned().unwrap_or_default();
        let rows = replica.fold().scan(id, &[], usize::MAX);
        let task = process.tasks.get_mut(&id).ok_or("it is not here")?;
        let restored = Restored {
            term: task.term,
            version: state.version,
            sequence: state.sequence,
            watermark_ms: state.watermark_ms,
            positions: state.positions,
            rows,
        };
        let made = flow::Task::new(id, task.code.clone(), restored, task.streams.clone());
        task.task = Some(Box::new(made.map_err(|error| error.to_string())?));
        Ok(())
    }

    /// Another peer's chunks came, or none.
    pub fn chunks_came(
        &mut self,
        h: usize,
        id: TaskId,
        run: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), String> {
        let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) else {
            return Ok(());
        };
        if task.run != run {
            return Ok(());
        }
        let Some(gathering) = &mut task.gathering else { return Ok(()) };
        gathering.chunks.extend(chunks);
        gathering.left -= 1;
        if gathering.left == 0 || gathering.waits && gathering.chunks.iter().any(is_news) {
            self.gathered(h, id)
        } else {
            Ok(())
        }
    }

    fn gathered(&mut self, h: usize, id: TaskId) -> Result<(), String> {
        let task = self.process(h).and_then(|process| process.tasks.get_mut(&id));
        let Some(gathering) = task.and_then(|task| task.gathering.take()) else { return Ok(()) };
        self.task_looks(h, id, gathering.here, gathering.chunks)
    }

    /// Whether there is anything to do; if not, the task waits until it is told.
    fn task_looks(
        &mut self,
        h: usize,
        id: TaskId,
        here: Vec<(PartitionId, i64)>,
        remote: Vec<Chunk>,
    ) -> Result<(), String> {
        let now_us = self.now_us();
        let Some(slot) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) else {
            return Ok(());
        };
        slot.busy = remote.iter().any(is_news);
        let timed = now_us >= slot.next_time_us;
        let has_more = slot.task.as_ref().is_some_and(|task| task.has_more());
        if slot.told || timed || slot.more || has_more || remote.iter().any(is_news) {
            return self.turn_task(h, id, here, remote);
        }
        let until_us = match slot.is_local {
            true => slot.next_time_us,
            false => slot.next_time_us.min(now_us + POLL_US),
        };
        let rung = slot.rung;
        self.again(h, id, if rung { 20 } else { until_us - now_us });
        if let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) {
            task.asleep = !rung;
        }
        Ok(())
    }

    /// One turn of user code, and what comes of it.
    fn turn_task(
        &mut self,
        h: usize,
        id: TaskId,
        here: Vec<(PartitionId, i64)>,
        remote: Vec<Chunk>,
    ) -> Result<(), String> {
        let (now_us, now_ms) = (self.now_us(), self.now_us() / 1000);
        let slot = self.process(h).and_then(|process| process.tasks.get(&id));
        let Some(asker) = slot.map(|slot| slot.asking(id)) else { return Ok(()) };
        let chunks = match self.gather(h, asker, &here) {
            Ok(chunks) => chunks,
            Err(why) => return self.task_failed(h, id, &why),
        };
        let chunk_bytes = self.menu.chunk_bytes;
        let Some(process) = self.process(h) else { return Ok(()) };
        let end = |chunk: &Chunk| process.board.mark(chunk.source).map_or(0, |(_, next)| next);
        let behind = chunks.iter().any(|chunk| is_news(chunk) && chunk.to < end(chunk));
        let Some(slot) = process.tasks.get_mut(&id) else { return Ok(()) };
        let timed = now_us >= slot.next_time_us;
        if timed {
            slot.next_time_us = now_us + IDLE_US;
        }
        let chunks: Vec<Chunk> = chunks.into_iter().chain(remote).collect();
        let gone: Vec<_> = chunks.iter().filter(|chunk| is_news(chunk)).map(went).collect();
        let stepped = slot.turn(now_ms, timed, chunk_bytes, chunks);
        slot.more |= behind;
        let actions = match stepped {
            Ok(actions) => actions,
            Err(error) => return self.task_failed(h, id, &error.to_string()),
        };
        if !gone.is_empty() {
            note!(self, "h{h} {id:?} takes {gone:?}");
        }
        let mut pause_ms = 0;
        for action in actions {
            match action {
                Action::Commit(commit) => return self.commit(h, id, commit),
                Action::Failed { wait_ms, .. } => pause_ms = pause_ms.max(wait_ms),
                Action::Dead { .. } => {}
            }
        }
        self.again(h, id, 20 + 1000 * pause_ms);
        Ok(())
    }

    fn commit(&mut self, h: usize, id: TaskId, commit: Box<Commit>) -> Result<(), String> {
        let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) else {
            return Ok(());
        };
        task.commit = Some(commit.clone());
        let (shard, run) = (task.shard, task.run);
        note!(self, "h{h} {shard} {id:?} commits {}", commit.sequence);
        self.propose(h, shard, Op::Commit(commit), Waiting::Commit(id, run))
    }

    pub fn commit_answered(
        &mut self,
        h: usize,
        id: TaskId,
        run: u64,
        result: Result<Answer, Refusal>,
    ) -> Result<(), String> {
        let Some(task) = self.process(h).and_then(|process| process.tasks.get_mut(&id)) else {
            return Ok(());
        };
        if task.run != run {
            return Ok(());
        }
        match result {
            Ok(Answer::Committed { sequence }) => {
                (task.committed, task.commit) = (Some(sequence), None);
                self.clients.committed(id, sequence);
                self.again(h, id, 20);
                Ok(())
            }
            // Nothing was proposed: the same again, when there is room.
            Err(Refusal::Busy) => {
                self.again(h, id, PAUSE_US);
                Ok(())
            }
            other => self.task_failed(h, id, &format!("the commit was answered {other:?}")),
        }
    }
}
