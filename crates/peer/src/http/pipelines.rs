//! Pipelines: which run, and how their tasks are.

use super::answer::ok;
use super::{Asked, Failure, Json};
use crate::shards::{Found, Query};
use crate::tasks::{self, TaskStatus};
use axum::extract::{Path, State};
use door::http::{PipelineDetail, PipelineRow, PipelineState, Pipelines, StageDetail, TaskRow};
use model::catalogue::{Catalogue, Pipeline, Stage};
use model::hash::shard_of;
use model::{Problem, StreamId, TaskId};
use tokio::sync::oneshot;

pub async fn list(State(asked): State<Asked>) -> Result<Json<Pipelines>, Failure> {
    let catalogue = asked.router.board.catalogue();
    let tasks = here(&asked).await;
    let row = |pipeline: &Pipeline| PipelineRow {
        name: pipeline.name.clone(),
        version: pipeline.version,
        stages: pipeline.stages.len() as u32,
        state: state(&catalogue, pipeline, &tasks),
    };
    ok(Pipelines { pipelines: catalogue.pipelines.values().map(row).collect() })
}

/// Parked when nobody holds its code, or a task here is parked.
fn state(catalogue: &Catalogue, pipeline: &Pipeline, tasks: &[TaskStatus]) -> PipelineState {
    let held = catalogue.roster.values().any(|peer| {
        peer.holds
            .iter()
            .any(|(name, version, _)| *name == pipeline.name && *version == pipeline.version)
    });
    let of_it = |task: &&TaskStatus| pipeline.stages.iter().any(|s| s.id == task.task.stage);
    let parked = tasks.iter().filter(of_it).any(|task| task.state == "parked");
    if held && !parked { PipelineState::Running } else { PipelineState::Parked }
}

async fn here(asked: &Asked) -> Vec<TaskStatus> {
    let (reply, answer) = oneshot::channel();
    if asked.tasks.cast(tasks::Msg::Status(reply)).is_err() {
        return Vec::new();
    }
    answer.await.unwrap_or_default()
}

pub async fn describe(
    State(asked): State<Asked>,
    Path(name): Path<String>,
) -> Result<Json<PipelineDetail>, Failure> {
    let catalogue = asked.router.board.catalogue();
    let pipeline = catalogue.pipelines.get(&name).ok_or_else(|| {
        Problem::new(
            "SH0304",
            format!("there is no pipeline `{name}`"),
            "no peer of this mesh has registered it",
            "shoal pipeline list",
        )
    })?;
    let here = here(&asked).await;
    let mut stages = Vec::with_capacity(pipeline.stages.len());
    for stage in &pipeline.stages {
        stages.push(stage_detail(&asked, &catalogue, stage, &here).await);
    }
    ok(PipelineDetail {
        name,
        version: pipeline.version,
        fingerprint: format!("{:016x}", pipeline.fingerprint),
        stages,
    })
}

async fn stage_detail(
    asked: &Asked,
    catalogue: &Catalogue,
    stage: &Stage,
    here: &[TaskStatus],
) -> StageDetail {
    let named = |id: &StreamId| catalogue.streams.get(id).map(|stream| stream.name.clone());
    let rows = (0..stage.buckets).map(|bucket| task_row(asked, stage, bucket, here));
    StageDetail {
        name: stage.name.clone(),
        buckets: stage.buckets,
        sources: stage.sources.iter().filter_map(named).collect(),
        view: stage.view.clone(),
        output: stage.output.as_ref().and_then(named),
        dead: stage.dead.as_ref().and_then(named),
        tasks: futures::future::join_all(rows).await,
    }
}

async fn task_row(asked: &Asked, stage: &Stage, bucket: u32, here: &[TaskStatus]) -> TaskRow {
    let board = &asked.router.board;
    let task = TaskId { stage: stage.id, bucket };
    let shard = shard_of(stage.id.0, bucket, board.shards());
    let standing = match asked.router.ask(shard, Query::Task { task }, false).await {
        Ok((Found::Task(standing), _)) => standing.unwrap_or_default(),
        _ => Default::default(),
    };
    let own = here.iter().find(|status| status.task == task);
    TaskRow {
        bucket,
        shard: shard.0,
        peer: board.leader(shard).map(|peer| peer.0),
        state: own.map_or("elsewhere", |status| status.state).to_owned(),
        sequence: standing.sequence,
        watermark_ms: standing.watermark_ms,
        restarts: own.map_or(0, |status| status.restarts),
    }
}
