//! Starts the tasks of the shards that are led here, ends those of shards that are not, restarts what fails.
//!
//! # Supervision
//! Child of `peer::Peer`, parent of every `task::Task`. A task that fails restarts alone with a growing pause; one
//! that fails [`limits::TASK_FAILURES`] times without a commit between is parked, visibly, until its shard's next
//! term.

use crate::exchange::{Exchanges, Seat};
use crate::limits;
use crate::router::Router;
use crate::task;
use flow::{SourceCode, SourceStream, StageCode, TaskStreams};
use model::catalogue::{Catalogue, Stage};
use model::hash::shard_of;
use model::{PartitionId, ShardId, TaskId};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

pub struct Tasks;

pub struct Args {
    pub router: Router,
    pub exchanges: Arc<Exchanges>,
}

pub enum Msg {
    /// What is led here, or the catalogue, changed.
    Look,
    /// A failed task's pause is over.
    Restart(TaskId),
    /// What the tasks here do.
    Status(oneshot::Sender<Vec<TaskStatus>>),
}

/// One task here, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    pub task: TaskId,
    pub state: &'static str,
    pub restarts: u32,
}

/// One task that should run here.
struct Slot {
    shard: ShardId,
    term: u64,
    actor: Option<ActorCell>,
    restarts: u32,
    failures: u32,
    began: Instant,
    parked: bool,
}

pub struct State {
    args: Args,
    me: ActorRef<Msg>,
    slots: BTreeMap<TaskId, Slot>,
    by_actor: HashMap<ActorId, TaskId>,
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
            Msg::Restart(task) => state.on_restart(task).await,
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
            .filter(|(task, slot)| wanted.get(task) != Some(&(slot.shard, slot.term)))
            .map(|(task, _)| *task)
            .collect();
        for task in stale {
            self.end(task);
        }
        for (task, (shard, term)) in wanted {
            if self.slots.contains_key(&task) {
                continue;
            }
            let began = Instant::now();
            let slot =
                Slot { shard, term, actor: None, restarts: 0, failures: 0, began, parked: false };
            self.slots.insert(task, slot);
            self.on_restart(task).await;
        }
    }

    /// The tasks that should run here now, with shard and term.
    fn wanted(&self) -> BTreeMap<TaskId, (ShardId, u64)> {
        let board = &self.args.router.board;
        let catalogue = board.catalogue();
        let mut wanted = BTreeMap::new();
        for pipeline in catalogue.pipelines.values() {
            for stage in &pipeline.stages {
                let code = self.args.exchanges.code(&pipeline.name, &stage.name);
                if code.is_none_or(|code| code.version != pipeline.version) {
                    continue;
                }
                for bucket in 0..stage.buckets {
                    let shard = shard_of(stage.id.0, bucket, board.shards());
                    if board.leading(shard) {
                        let task = TaskId { stage: stage.id, bucket };
                        wanted.insert(task, (shard, board.term(shard)));
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

    async fn on_restart(&mut self, task: TaskId) {
        let Some(args) = self.args_of(task) else { return };
        let Some(slot) = self.slots.get_mut(&task).filter(|slot| slot.actor.is_none()) else {
            return;
        };
        let supervisor = self.me.get_cell();
        match Actor::spawn_linked(None, task::Task, args, supervisor).await {
            Ok((actor, _)) => {
                slot.began = Instant::now();
                self.by_actor.insert(actor.get_id(), task);
                slot.actor = Some(actor.get_cell());
            }
            Err(error) => tracing::error!(?task, %error, "a task cannot start"),
        }
    }

    fn args_of(&self, task: TaskId) -> Option<task::Args> {
        let catalogue = self.args.router.board.catalogue();
        let (pipeline, stage) = catalogue.stage(task.stage)?;
        let slot = self.slots.get(&task)?;
        let code = self.args.exchanges.code(&pipeline.name, &stage.name)?;
        Some(task::Args {
            id: task,
            shard: slot.shard,
            term: slot.term,
            streams: streams_of(&catalogue, stage, &code, task.bucket)?,
            router: self.args.router.clone(),
            exchanges: self.args.exchanges.clone(),
            seat: self.seat_of(&code, task.bucket)?,
            code,
        })
    }

    fn seat_of(&self, code: &Arc<StageCode>, bucket: u32) -> Option<Seat> {
        let seat = self.args.exchanges.seat(code, bucket);
        seat.inspect_err(|error| tracing::error!(%error, "a stage has no thread")).ok()
    }

    fn on_ended(&mut self, cell: &ActorCell, why: &str) {
        let Some(task) = self.by_actor.remove(&cell.get_id()) else { return };
        let Some(slot) = self.slots.get_mut(&task) else { return };
        slot.actor = None;
        if !self.args.router.board.leading(slot.shard) {
            // Its shard is led elsewhere now; the look that follows removes the slot.
            return;
        }
        slot.restarts += 1;
        let healthy = slot.began.elapsed() > Duration::from_secs(10);
        slot.failures = if healthy { 1 } else { slot.failures + 1 };
        if slot.failures >= limits::TASK_FAILURES {
            slot.parked = true;
            tracing::error!(?task, why, "a task keeps failing and is parked");
            return;
        }
        let pause =
            Duration::from_millis(10 << slot.failures.min(10)).min(limits::TASK_BACKOFF_MAX);
        tracing::warn!(?task, why, ?pause, "a task ended and starts again from its last commit");
        drop(self.me.send_after(pause, move || Msg::Restart(task)));
    }

    fn on_status(&self, reply: oneshot::Sender<Vec<TaskStatus>>) {
        let status = |(task, slot): (&TaskId, &Slot)| TaskStatus {
            task: *task,
            state: match (slot.parked, slot.actor.is_some()) {
                (true, _) => "parked",
                (false, true) => "running",
                (false, false) => "restarting",
            },
            restarts: slot.restarts,
        };
        // The asker may have stopped waiting; then nobody needs the answer.
        let _ = reply.send(self.slots.iter().map(status).collect());
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
