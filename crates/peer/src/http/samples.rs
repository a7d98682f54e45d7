//! Samples of what tasks keep, for who wants to know whether a new version of their code can read it.

use super::answer::ok;
use super::{Asked, Failure, Json, known};
use crate::shards::{Found, Query as Look};
use axum::extract::{Path, Query, State};
use door::http::{Sample, SampleQuery};
use model::hash::shard_of;
use model::{Problem, TaskId};

/// Rows of one task.
const ROWS: usize = 1_000;

pub async fn sample(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    Query(query): Query<SampleQuery>,
) -> Result<Json<Sample>, Failure> {
    let board = &asked.router.board;
    let catalogue = known::catalogue(&asked, |it| it.pipelines.contains_key(&name)).await?;
    let stages = catalogue.pipelines.get(&name).map(|pipeline| &pipeline.stages[..]);
    let mut stages = stages.unwrap_or_default().iter();
    let stage = stages.find(|of| of.name == query.stage && query.bucket < of.buckets);
    let stage = stage.ok_or_else(|| {
        Problem::new(
            "SH0304",
            format!("there is no bucket {} of a stage `{name}.{}`", query.bucket, query.stage),
            "the pipeline that runs has other stages",
            format!("shoal pipeline describe {name}"),
        )
    })?;
    let task = TaskId { stage: stage.id, bucket: query.bucket };
    let shard = shard_of(stage.id.0, query.bucket, board.shards());
    let found = match board.here(shard) {
        true => asked.router.ask_here(shard, Look::Restore { task }, false).await,
        false => None,
    };
    let Some((Found::Restore(standing, rows), _)) = found else {
        let what = format!("this peer does not keep bucket {}", query.bucket);
        let because = "a sample is read where the rows are";
        return Err(Problem::new("SH0305", what, because, "ask a peer that holds its shard").into());
    };
    let step = rows.len().div_ceil(ROWS).max(1);
    let version = standing.map_or(0, |standing| standing.version);
    ok(Sample::of(version, rows.iter().step_by(step)))
}
