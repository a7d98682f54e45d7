//! Starts the tasks of the shards that are led here, ends those of shards that are not, restarts what fails.
//!
//! # Supervision
//! Child of `peer::Peer`, parent of every `task::Task`. A task that fails, or cannot be built, restarts alone with a
//! growing pause; one that fails [`limits::TASK_FAILURES`] times in a row is parked, visibly and with its reason: it
//! tries again every [`limits::TASK_PARKED`], in its shard's next term, and when a person resumes its pipeline.

use crate::exchange::{Exchanges, Seat};
use crate::limits;
use crate::router::Router;
use crate::task;
use flow::{SourceCode, SourceStream, StageCode, TaskStreams};
use model::catalogue::{Catalogue, Stage};
use model::hash::shard_of;
use model::{PartitionId, ShardId, TaskId};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A task that ran so long had not failed in a row.
const HEALTHY: Duration = Duration::from_secs(10);

pub struct Tasks;

pub struct Args {
    pub router: Router,
    pub exchanges: Arc<Exchanges>,
}

pub enum Msg {
    /// What is led here, or the catalogue, changed.
    Look,
    /// The pause of a task that failed there is over.
    Restart(TaskId, Place),
    /// What the tasks here do.
    Status(oneshot::Sender<Vec<TaskStatus>>),
}

/// One task here, as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    pub task: TaskId,
    /// `running`, `restarting` or `parked`.
    pub state: String,
    pub restarts: u32,
    /// Why it ended last, while it does not run.
    pub because: Option<String>,
}

/// One task that should run here.
struct Slot {
    place: Place,
    actor: Option<ActorCell>,
    restarts: u32,
    failures: u32,
    began: Instant,
    parked: bool,
    because: Option<String>,
}

/// Where and since when a task runs: whatever changes of it, the task begins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    shard: ShardId,
    term: u64,
    /// The round of its pipeline.
    round: u32,
}

pub struct State {
    args: Args,
    me: ActorRef<Msg>,
    slots: BTreeMap<TaskId, Slot>,
    by_actor: HashMap<ActorId, TaskId>,
}

/// How the tasks of a peer are; none if it ends.
pub async fn here(tasks: &ActorRef<Msg>) -> Vec<TaskStatus> {
    let (reply, answer) = oneshot::channel();
    if tasks.cast(Msg::Status(reply)).is_err() {
        return Vec::new();
    }
    answer.await.unwrap_or_default()
}

impl Actor for Tasks {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, me: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let mut leads = args.router.board.watch_leads();
        let mut catalogue = args.router.board.watch_catalogue();
        let look = me.clone();
        tokio::spawn(async move {
            loop {
                let changed = tokio::select! {
                    changed = leads.changed() => changed,
                    changed = catalogue.changed() => changed,
                };
                if changed.is_err() || look.cast(Msg::Look).is_err() {
                    return;
                }
            }
        });
        me.cast(Msg::Look)?;
        Ok(State { args, me, slots: BTreeMap::new(), by_actor: HashMap::new() })
    }

    async fn handle(
        &self,
        _me: ActorRef<Msg>,
        msg: Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Look => state.on_look().await,
            Msg::Restart(task, place) => state.on_restart(task, place).await,
            Msg::Status(reply) => state.on_status(reply),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => state.on_ended(&cell, &error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, why) => {
                state.on_ended(&cell, why.as_deref().unwrap_or("it was stopped"));
            }
            _ => {}
        }
        Ok(())
    }
}

impl State {
    async fn on_look(&mut self) {
        let wanted = self.wanted();
        let stale: Vec<_> = self
            .slots
            .iter()
            .filter(|(task, slot)| wanted.get(task) != Some(&slot.place))
            .map(|(task, _)| *task)
            .collect();
        for task in stale {
            self.end(task);
        }
        for (task, place) in wanted {
            if self.slots.contains_key(&task) {
                continue;
            }
            let began = Instant::now();
            let slot = Slot {
                place,
                actor: None,
                restarts: 0,
                failures: 0,
                began,
                parked: false,
                because: None,
            };
            self.slots.insert(task, slot);
            self.on_restart(task, place).await;
        }
    }

    /// The tasks that should run here now.
    fn wanted(&self) -> BTreeMap<TaskId, Place> {
        let board = &self.args.router.board;
        let catalogue = board.catalogue();
        let mut wanted = BTreeMap::new();
        for pipeline in catalogue.pipelines.values().filter(|pipeline| !pipeline.paused) {
            for stage in &pipeline.stages {
                let code = self.args.exchanges.code(&pipeline.name, &stage.name);
                if code.is_none_or(|code| code.version != pipeline.version) {
                    continue;
                }
                for bucket in 0..stage.buckets {
                    let shard = shard_of(stage.id.0, bucket, board.shards());
                    if board.leading(shard) {
                        let task = TaskId { stage: stage.id, bucket };
                        let term = board.term(shard);
                        wanted.insert(task, Place { shard, term, round: pipeline.round });
                    }
                }
            }
        }
        wanted
    }

    fn end(&mut self, task: TaskId) {
        let Some(slot) = self.slots.remove(&task) else { return };
        if let Some(actor) = slot.actor {
            self.by_actor.remove(&actor.get_id());
            actor.kill();
        }
    }

    async fn on_restart(&mut self, task: TaskId, place: Place) {
        let waits = |slot: &&Slot| slot.place == place && slot.actor.is_none();
        if self.slots.get(&task).filter(waits).is_none() {
            return;
        }
        let started = match self.args_of(task) {
            Ok(args) => {
                let supervisor = self.me.get_cell();
                let spawned = Actor::spawn_linked(None, task::Task, args, supervisor).await;
                spawned.map_err(|error| format!("it cannot start: {error}"))
            }
            Err(why) => Err(why),
        };
        match started {
            Ok((actor, _)) => {
                let slot = self.slots.get_mut(&task).expect("looked up above");
                slot.began = Instant::now();
                self.by_actor.insert(actor.get_id(), task);
                slot.actor = Some(actor.get_cell());
            }
            Err(why) => self.failed(task, &why),
        }
    }

    /// What a task is built from, or why it cannot be built now.
    fn args_of(&self, task: TaskId) -> Result<task::Args, String> {
        let catalogue = self.args.router.board.catalogue();
        let (pipeline, stage) = catalogue.stage(task.stage).ok_or("its stage is gone")?;
        let place = self.slots.get(&task).ok_or("it has no place")?.place;
        let code = self.args.exchanges.code(&pipeline.name, &stage.name);
        let code = code.ok_or("this peer does not hold its code")?;
        let streams = streams_of(&catalogue, stage, &code, task.bucket);
        Ok(task::Args {
            id: task,
            shard: place.shard,
            term: place.term,
            streams: streams.ok_or("the catalogue does not have all of its streams")?,
            router: self.args.router.clone(),
            exchanges: self.args.exchanges.clone(),
            seat: self.seat_of(&code, task.bucket)?,
            code,
        })
    }

    fn seat_of(&self, code: &Arc<StageCode>, bucket: u32) -> Result<Seat, String> {
        let seat = self.args.exchanges.seat(code, bucket);
        seat.map_err(|error| format!("its stage has no thread: {error}"))
    }

    fn on_ended(&mut self, cell: &ActorCell, why: &str) {
        let Some(task) = self.by_actor.remove(&cell.get_id()) else { return };
        let Some(slot) = self.slots.get_mut(&task) else { return };
        slot.actor = None;
        if slot.began.elapsed() > HEALTHY {
            (slot.failures, slot.parked) = (0, false);
        }
        self.failed(task, why);
    }

    /// A task ended, or could not be built: it tries again later.
    fn failed(&mut self, task: TaskId, why: &str) {
        let Some(slot) = self.slots.get_mut(&task) else { return };
        if !self.args.router.board.leading(slot.place.shard) {
            // Its shard is led elsewhere now; the look that follows removes the slot.
            return;
        }
        slot.restarts += 1;
        slot.failures = slot.failures.saturating_add(1);
        slot.because = Some(why.to_owned());
        let meter = &self.args.router.board.meter;
        meter.restarts.inc();
        let called = spoken(&self.args, task);
        let pause = if slot.failures >= limits::TASK_FAILURES {
            if !std::mem::replace(&mut slot.parked, true) {
                meter.note("task", format!("{called} is parked, it keeps failing: {why}"));
                tracing::error!(?task, why, "a task keeps failing and is parked");
            }
            limits::TASK_PARKED
        } else {
            let pause = Duration::from_millis(10 << slot.failures.min(10));
            meter.note("task", format!("{called} ended and starts again: {why}"));
            tracing::warn!(?task, why, ?pause, "a task starts again from its last commit");
            pause.min(limits::TASK_BACKOFF_MAX)
        };
        let place = slot.place;
        drop(self.me.send_after(pause, move || Msg::Restart(task, place)));
    }

    fn on_status(&self, reply: oneshot::Sender<Vec<TaskStatus>>) {
        let status = |(task, slot): (&TaskId, &Slot)| {
            let runs = slot.actor.is_some();
            // A parked task that tries again has not mended yet.
            let parked = slot.parked && !(runs && slot.began.elapsed() > HEALTHY);
            let state = match (parked, runs) {
                (true, _) => "parked",
                (false, true) => "running",
                (false, false) => "restarting",
            };
            TaskStatus {
                task: *task,
                state: state.to_owned(),
                restarts: slot.restarts,
                because: slot.because.clone().filter(|_| parked || !runs),
            }
        };
        // The asker may have stopped waiting; then nobody needs the answer.
        let _ = reply.send(self.slots.iter().map(status).collect());
    }
}

/// What people call a task.
fn spoken(args: &Args, task: TaskId) -> String {
    let catalogue = args.router.board.catalogue();
    match catalogue.stage(task.stage) {
        Some((pipeline, stage)) => {
            format!("{}.{} bucket {}", pipeline.name, stage.name, task.bucket)
        }
        None => format!("{task:?}"),
    }
}

/// The partitions a task writes beside its rows, and its sources in the order of its code; nothing while the
/// catalogue does not have them all.
fn streams_of(
    catalogue: &Catalogue,
    stage: &Stage,
    code: &StageCode,
    bucket: u32,
) -> Option<TaskStreams> {
    let partition = |stream| PartitionId { stream, partition: bucket };
    let source = |source: &SourceCode| {
        let stream = catalogue.stream(&source.stream)?;
        Some(SourceStream { stream: stream.id, partitions: stream.partitions })
    };
    Some(TaskStreams {
        output: stage.output.map(partition),
        sides: stage.sides.iter().copied().map(partition).collect(),
        dead: partition(stage.dead?),
        sources: code.sources.iter().map(source).collect::<Option<_>>()?,
    })
}
