//! Pipelines: which run, how their tasks are, stopping them for a while or for good.

use super::answer::ok;
use super::{Asked, Failure, Json, known};
use crate::figures::Figures;
use crate::shards::{Found, Query};
use crate::tasks::TaskStatus;
use crate::{problems, shape, survey};
use axum::extract::{Path, State};
use door::http::{
    HotKey, HotKeys, PipelineDetail, PipelineRow, PipelineState, Pipelines, StageDetail, TaskRow,
    Wished,
};
use flow::Heat;
use model::catalogue::{Catalogue, Change, Changed, Pipeline, Stage};
use model::hash::shard_of;
use model::{PeerId, Problem, StreamId, TaskId};
use std::collections::BTreeMap;

/// Hot keys of a stage that are told.
const KEYS: usize = 16;

pub async fn list(State(asked): State<Asked>) -> Result<Json<Pipelines>, Failure> {
    let catalogue = asked.router.board.catalogue();
    let tasks = survey::tasks_of_all(&asked.router, &asked.tasks).await;
    let row = |pipeline: &Pipeline| PipelineRow {
        name: pipeline.name.clone(),
        version: pipeline.version,
        stages: pipeline.stages.len() as u32,
        state: state(&catalogue, pipeline, &tasks),
    };
    ok(Pipelines { pipelines: catalogue.pipelines.values().map(row).collect() })
}

/// Parked when nobody holds its code, or a task of it is parked.
fn state(catalogue: &Catalogue, pipeline: &Pipeline, tasks: &[TaskStatus]) -> PipelineState {
    let held = is_held(catalogue, pipeline);
    let of_it = |task: &&TaskStatus| pipeline.stages.iter().any(|s| s.id == task.task.stage);
    let parked = tasks.iter().filter(of_it).any(|task| task.state == "parked");
    match (pipeline.paused, held && !parked) {
        (true, _) => PipelineState::Paused,
        (false, true) => PipelineState::Running,
        (false, false) => PipelineState::Parked,
    }
}

/// The pipelines that are parked: nobody holds their code, or a task of theirs failed too often.
pub(super) fn parked(catalogue: &Catalogue, told: &BTreeMap<PeerId, Figures>) -> Vec<String> {
    let tasks = || told.values().flat_map(|told| &told.tasks);
    let is_parked = |it: &&Pipeline| {
        let fails = tasks().any(|task| task.pipeline == it.name && !task.parked.is_empty());
        !it.paused && (fails || !is_held(catalogue, it))
    };
    catalogue.pipelines.values().filter(is_parked).map(|it| it.name.clone()).collect()
}

/// Whether some peer of the roster has the code of the running version.
pub(super) fn is_held(catalogue: &Catalogue, pipeline: &Pipeline) -> bool {
    catalogue.roster.values().any(|peer| {
        peer.holds
            .iter()
            .any(|(name, version, _)| *name == pipeline.name && *version == pipeline.version)
    })
}

/// Stops the tasks where they are.
pub async fn pause(asked: State<Asked>, name: Path<String>) -> Result<Json<Wished>, Failure> {
    steer(asked, name, true).await
}

/// Lets the tasks begin again, parked ones too.
pub async fn resume(asked: State<Asked>, name: Path<String>) -> Result<Json<Wished>, Failure> {
    steer(asked, name, false).await
}

async fn steer(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    paused: bool,
) -> Result<Json<Wished>, Failure> {
    let change = Change::Pause { pipeline: name.clone(), paused };
    match shape::propose(&asked.router, change).await? {
        Changed::Done { index } => ok(Wished { index }),
        Changed::Refused { .. } => Err(unknown(&name).into()),
        other => Err(problems::internal("an unexpected answer", format!("{other:?}")).into()),
    }
}

/// Forgets one that nobody holds the code of, with all that it keeps and writes.
pub async fn delete(
    State(asked): State<Asked>,
    Path(name): Path<String>,
) -> Result<Json<Wished>, Failure> {
    let catalogue = known::catalogue(&asked, |it| it.pipelines.contains_key(&name)).await?;
    let pipeline = catalogue.pipelines.get(&name).ok_or_else(|| unknown(&name))?;
    let stages = pipeline.stages.iter().map(|stage| stage.id).collect();
    let what = format!("pipeline `{name}` was not deleted");
    let change = Change::DeletePipeline { pipeline: name.clone(), stages };
    match asked.door.change(&what, change).await {
        Ok(()) => ok(Wished { index: asked.router.board.catalogue().index }),
        Err(problem) => Err(Problem { fix: way_out(&problem, &name), ..problem }.into()),
    }
}

/// What helps who may not delete a pipeline.
fn way_out(problem: &Problem, name: &str) -> String {
    match problem.code.as_str() {
        "SH0304" => "shoal pipeline list".to_owned(),
        "SH0309" => "delete the pipeline that reads it first: shoal pipeline list".to_owned(),
        "SH0313" => format!(
            "start those peers with a binary without it, remove the dead ones (shoal remove PEER), then again; \
             or only stop it: shoal pipeline pause {name}"
        ),
        _ => problem.fix.clone(),
    }
}

fn unknown(name: &str) -> Problem {
    Problem::new(
        "SH0304",
        format!("there is no pipeline `{name}`"),
        "no peer of this mesh has registered it",
        "shoal pipeline list",
    )
}

/// The keys that its stages get most, as their tasks at all peers count them.
pub async fn keys(
    State(asked): State<Asked>,
    Path(name): Path<String>,
) -> Result<Json<HotKeys>, Failure> {
    let catalogue = known::catalogue(&asked, |it| it.pipelines.contains_key(&name)).await?;
    let pipeline = catalogue.pipelines.get(&name).ok_or_else(|| unknown(&name))?;
    let (told, silent) = survey::keys_of_all(&asked.router, &name).await;
    let keys = pipeline.stages.iter().flat_map(|stage| hottest(&name, stage, &told)).collect();
    ok(HotKeys { keys, silent: silent.into_iter().map(|peer| peer.0).collect() })
}

/// A stage's keys, the hottest first. A key is in one bucket, so that no two counts are of the same one.
fn hottest(pipeline: &str, stage: &Stage, told: &[(PeerId, TaskId, Heat)]) -> Vec<HotKey> {
    let of_it = || told.iter().filter(|(_, task, _)| task.stage == stage.id);
    let rate = |events: u64, heat: &Heat| events as f64 * 1_000.0 / heat.span_ms.max(1_000) as f64;
    let all: f64 = of_it().map(|(_, _, heat)| rate(heat.events, heat)).sum();
    let row = |(peer, task, heat): &(PeerId, TaskId, Heat), hot: &flow::HotKey| HotKey {
        pipeline: pipeline.to_owned(),
        stage: stage.name.clone(),
        key: String::from_utf8_lossy(&hot.key).into_owned(),
        rate: rate(hot.events, heat),
        share: (rate(hot.events, heat) / all).min(1.0),
        over: (rate(hot.over, heat) / all).min(1.0),
        bucket: task.bucket,
        peer: peer.0,
    };
    let rows = of_it().flat_map(|told| told.2.keys.iter().map(|hot| row(told, hot)));
    let mut rows: Vec<HotKey> = rows.collect();
    rows.sort_by(|a, b| b.rate.total_cmp(&a.rate).then_with(|| a.key.cmp(&b.key)));
    rows.truncate(KEYS);
    rows
}

pub async fn describe(
    State(asked): State<Asked>,
    Path(name): Path<String>,
) -> Result<Json<PipelineDetail>, Failure> {
    let catalogue = known::catalogue(&asked, |it| it.pipelines.contains_key(&name)).await?;
    let pipeline = catalogue.pipelines.get(&name).ok_or_else(|| unknown(&name))?;
    let tasks = survey::tasks_of_all(&asked.router, &asked.tasks).await;
    let mut stages = Vec::with_capacity(pipeline.stages.len());
    for stage in &pipeline.stages {
        stages.push(stage_detail(&asked, &catalogue, stage, &tasks).await);
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
    tasks: &[TaskStatus],
) -> StageDetail {
    let named = |id: &StreamId| catalogue.streams.get(id).map(|stream| stream.name.clone());
    let rows = (0..stage.buckets).map(|bucket| task_row(asked, stage, bucket, tasks));
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

async fn task_row(asked: &Asked, stage: &Stage, bucket: u32, tasks: &[TaskStatus]) -> TaskRow {
    let board = &asked.router.board;
    let task = TaskId { stage: stage.id, bucket };
    let shard = shard_of(stage.id.0, bucket, board.shards());
    // One that has committed nothing yet has no standing, and no watermark.
    let standing = match asked.router.ask(shard, Query::Task { task }, false).await {
        Ok((Found::Task(standing), _)) => standing,
        _ => None,
    };
    let mark = standing.as_ref().map(|standing| standing.watermark_ms);
    let own = tasks.iter().find(|status| status.task == task);
    TaskRow {
        bucket,
        shard: shard.0,
        peer: board.leader(shard).map(|peer| peer.0),
        state: own.map_or("unknown", |status| &status.state).to_owned(),
        because: own.and_then(|status| status.because.clone()),
        sequence: standing.map_or(0, |standing| standing.sequence),
        watermark_ms: mark.filter(|mark| *mark > i64::MIN),
        restarts: own.map_or(0, |status| status.restarts),
    }
}
