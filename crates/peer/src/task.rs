//! One stage on one bucket: gathers chunks, lets user code fold them, commits, and begins again.
//!
//! # Supervision
//! Child of `tasks::Tasks`. A panic in user code is `flow`'s to catch; anything else that goes wrong ends this
//! actor, and its parent builds it again from the fold: nothing is lost, since nothing but the log is true.

use crate::exchange::{Exchanges, Seat, Wants};
use crate::limits;
use crate::router::Router;
use crate::shards::{Found, Query, Standing};
use flow::{Action, Chunk, Input, Restored, StageCode, TaskStreams};
use model::entry::Commit;
use model::{Op, ShardId, TaskId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use replica::{Answer, Refusal};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct Task;

pub struct Args {
    pub id: TaskId,
    pub shard: ShardId,
    pub term: u64,
    pub code: Arc<StageCode>,
    pub streams: TaskStreams,
    pub router: Router,
    pub exchanges: Arc<Exchanges>,
    pub seat: Seat,
}

pub enum Msg {
    /// Gather, fold, commit once; then again.
    Run,
}

pub struct State {
    args: Args,
    /// Away while user code runs on it.
    task: Option<Box<flow::Task>>,
    committed: Option<u64>,
    next_time: Instant,
    /// Tasks know only how much time has passed since then.
    start: Instant,
    /// Which source goes first: another one each time, so that none starves behind a bound.
    first: usize,
    /// Sources on other peers had something when they were last asked.
    busy: bool,
    /// There was more than one commit may take.
    more: bool,
}

/// What one turn of user code came to.
struct Turned {
    task: Box<flow::Task>,
    actions: Vec<Action>,
    more: bool,
}

impl Actor for Task {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, me: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        me.cast(Msg::Run)?;
        let now = Instant::now();
        Ok(State {
            args,
            task: None,
            committed: None,
            next_time: now,
            start: now,
            first: 0,
            busy: false,
            more: false,
        })
    }

    async fn handle(
        &self,
        me: ActorRef<Msg>,
        msg: Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Run => state.on_run().await?,
        }
        me.cast(Msg::Run)?;
        Ok(())
    }
}

impl State {
    async fn on_run(&mut self) -> Result<(), ActorProcessingErr> {
        if self.task.is_none() {
            self.restore().await?;
        }
        let task = self.task.take().ok_or("the task is away")?;
        let wants = self.wants(&task);
        let (here, there) = self.args.exchanges.split(&wants);
        let told = self.args.seat.heard();
        let remote = if there.is_empty() {
            Vec::new()
        } else {
            let idle = here.from.is_empty() && !self.busy;
            let wait = if idle { limits::TASK_IDLE } else { Duration::ZERO };
            self.args.exchanges.ask(&wants, there.clone(), wait).await
        };
        self.busy = remote.iter().any(is_news);
        let timed = Instant::now() >= self.next_time;
        if told || timed || self.more || task.has_more() || remote.iter().any(is_news) {
            return self.turn(task, here, remote, timed).await;
        }
        self.task = Some(task);
        let poll = Instant::now() + limits::TASK_POLL;
        let until = if there.is_empty() { self.next_time } else { poll.min(self.next_time) };
        // Told or not: the next look decides.
        let _ = tokio::time::timeout_at(until.into(), self.args.seat.told()).await;
        Ok(())
    }

    /// Computes, and commits what comes of it.
    async fn turn(
        &mut self,
        task: Box<flow::Task>,
        here: Wants,
        remote: Vec<Chunk>,
        timed: bool,
    ) -> Result<(), ActorProcessingErr> {
        let turned = self.compute(task, here, remote, timed).await?;
        if timed {
            self.next_time = Instant::now() + limits::TASK_IDLE;
        }
        self.args.seat.set_eager(turned.task.has_timers());
        self.more = turned.more;
        self.task = Some(turned.task);
        self.carry_out(turned.actions).await
    }

    fn wants(&mut self, task: &flow::Task) -> Wants {
        let mut from: Vec<_> = task.positions().collect();
        if !from.is_empty() {
            self.first = (self.first + 1) % from.len();
            from.rotate_left(self.first);
        }
        let partials = task.partials();
        Wants { code: self.args.code.clone(), bucket: self.args.id.bucket, from, partials }
    }

    /// Computes with user code on a thread where it may take its time.
    async fn compute(
        &mut self,
        mut task: Box<flow::Task>,
        here: Wants,
        remote: Vec<Chunk>,
        timed: bool,
    ) -> Result<Turned, ActorProcessingErr> {
        let exchanges = self.args.exchanges.clone();
        let board = self.args.router.board.clone();
        let committed = self.committed.take();
        let start = self.start;
        let work = move || -> Result<Turned, String> {
            let mut actions = Vec::new();
            let now_ms = start.elapsed().as_millis() as u64;
            task.set_clock(crate::wall_ms() as i64);
            if timed {
                board.set_heat(task.id(), task.heat(now_ms));
            }
            if let Some(sequence) = committed {
                let input = Input::Committed { sequence };
                task.step(now_ms, input, &mut actions).map_err(text)?;
            }
            let mut chunks = exchanges.gather(&here)?;
            let behind = chunks.iter().any(|chunk| is_news(chunk) && exchanges.has_more(chunk));
            chunks.extend(remote);
            let moved = chunks.iter().any(is_news);
            let ends: Vec<_> = chunks.iter().map(|chunk| (chunk.source, chunk.to)).collect();
            let size: usize = chunks.iter().map(Chunk::size).sum();
            // Empty chunks belong to it now and then: they show which sources are idle.
            if actions.is_empty() && (moved || timed) {
                task.step(now_ms, Input::Chunks(chunks), &mut actions).map_err(text)?;
            }
            if actions.is_empty() && timed {
                task.step(now_ms, Input::Time, &mut actions).map_err(text)?;
            }
            // A chunk that was cut short, or not taken whole, leaves more behind: so does one of an older range, which
            // nobody feeds ahead.
            let reached: BTreeMap<_, _> = task.positions().collect();
            let short = ends.iter().any(|(source, to)| reached.get(source) != Some(to));
            let more = size >= limits::CHUNK_BYTES || short || behind;
            Ok(Turned { task, actions, more })
        };
        let mut working = tokio::task::spawn_blocking(work);
        let began = Instant::now();
        loop {
            match tokio::time::timeout(limits::TASK_SLOW, &mut working).await {
                Ok(done) => return Ok(done??),
                Err(_) => self.is_slow(began.elapsed()),
            }
        }
    }

    /// Says that user code does not come back; whatever else its shard does goes on.
    fn is_slow(&self, since: Duration) {
        let Args { id, code, router, .. } = &self.args;
        let called = format!("{}.{} bucket {}", code.pipeline, code.name, id.bucket);
        let seconds = since.as_secs();
        let said = format!("{called} has not come back from user code for {seconds} s");
        router.board.meter.note("task", said.clone());
        tracing::warn!("{said}");
    }

    async fn carry_out(&mut self, actions: Vec<Action>) -> Result<(), ActorProcessingErr> {
        let stage = self.args.code.name.clone();
        let mut pause = 0;
        for action in actions {
            match action {
                Action::Commit(commit) => self.commit(commit).await?,
                Action::Failed { place, cause, attempt, wait_ms } => {
                    tracing::warn!(%stage, place, cause, attempt, "a processor failed");
                    pause = pause.max(wait_ms);
                }
                Action::Dead { place, cause } => {
                    let meter = &self.args.router.board.meter;
                    meter.dead.inc();
                    meter.note("dead", format!("{stage} gave up the event at {place}: {cause}"));
                    let code = &self.args.code;
                    let look = format!("shoal dead show {}.{}", code.pipeline, code.name);
                    tracing::error!(%stage, place, cause, look, "an event was given up");
                }
            }
        }
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    async fn commit(&mut self, commit: Box<Commit>) -> Result<(), ActorProcessingErr> {
        let meter = &self.args.router.board.meter;
        loop {
            let op = Op::Commit(commit.clone());
            match self.args.router.propose_here(self.args.shard, op).await {
                Ok(Answer::Committed { sequence }) => {
                    let now = Instant::now();
                    for it in &commit.moves {
                        meter.consumed(it.source, it.from, it.to, now);
                    }
                    self.committed = Some(sequence);
                    return Ok(());
                }
                // Nothing was proposed: the same again, when there is room.
                Err(Refusal::Busy | Refusal::Full) => {
                    tokio::time::sleep(limits::HOLD_PAUSE).await;
                }
                Ok(other) => return Err(format!("an unexpected answer: {other:?}").into()),
                Err(refusal) => return Err(format!("the commit was refused: {refusal:?}").into()),
            }
        }
    }

    /// Builds the task from what is committed of it.
    async fn restore(&mut self) -> Result<(), ActorProcessingErr> {
        let args = &self.args;
        let query = Query::Restore { task: args.id };
        let found = args.router.ask_here(args.shard, query, false).await;
        let Some((Found::Restore(standing, rows), _)) = found else {
            return Err("its shard does not answer".into());
        };
        let Standing { sequence, version, watermark_ms, positions } =
            standing.unwrap_or_else(|| Standing { watermark_ms: i64::MIN, ..Standing::default() });
        let term = args.term;
        let restored = Restored { term, version, sequence, watermark_ms, positions, rows };
        let (id, code, streams) = (args.id, args.code.clone(), args.streams.clone());
        let make = move || flow::Task::new(id, code, restored, streams);
        let task = tokio::task::spawn_blocking(make).await?.map_err(text)?;
        self.task = Some(Box::new(task));
        Ok(())
    }
}

fn is_news(chunk: &Chunk) -> bool {
    chunk.to > chunk.from
}

fn text(error: flow::Error) -> String {
    error.to_string()
}
