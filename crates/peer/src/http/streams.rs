//! Streams: list, make, describe, set, delete.

use super::answer::{body, ok};
use super::{Asked, Failure, Json, known};
use crate::shards::{Found, Query};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use door::http::{NewSettings, NewStream, Part, Stream, StreamSettings, Streams};
use model::catalogue::Change;
use model::hash::shard_of;
use model::{Catalogue, PartitionId, Problem, catalogue};

/// How often a stream is set when others set it at the same time.
const ATTEMPTS: usize = 5;

pub fn unknown(name: &str) -> Problem {
    Problem::new(
        "SH0301",
        format!("there is no stream `{name}`"),
        "nobody has made it, or its name is spelled differently",
        "shoal stream list, or shoal stream create NAME",
    )
}

pub async fn list(State(asked): State<Asked>) -> Result<Json<Streams>, Failure> {
    let catalogue = asked.router.board.catalogue();
    let streams = catalogue.stream_names.keys().filter_map(|name| catalogue.stream(name));
    ok(Streams { streams: streams.map(|stream| shown(&catalogue, stream)).collect() })
}

pub async fn create(State(asked): State<Asked>, bytes: Bytes) -> Result<Json<Stream>, Failure> {
    let new: NewStream = body(&bytes)?;
    new.check()?;
    let (stream, created) = asked
        .door
        .create_stream(&new.name, new.partitions, model::Settings::default(), crate::limits::HOLD)
        .await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Json(status, shown(&asked.router.board.catalogue(), &stream)))
}

pub async fn describe(
    State(asked): State<Asked>,
    Path(name): Path<String>,
) -> Result<Json<Stream>, Failure> {
    let catalogue = known::with_stream(&asked, &name).await?;
    let stream = catalogue.stream(&name).ok_or_else(|| unknown(&name))?;
    let parts = (0..stream.partitions).map(|partition| part(&asked, stream, partition));
    let parts = futures::future::join_all(parts).await;
    let mut shown = shown(&catalogue, stream);
    shown.parts = Some(parts);
    ok(shown)
}

/// Forgets a stream that no pipeline uses; answers what it was.
pub async fn delete(
    State(asked): State<Asked>,
    Path(name): Path<String>,
) -> Result<Json<Stream>, Failure> {
    let catalogue = known::with_stream(&asked, &name).await?;
    let stream = catalogue.stream(&name).ok_or_else(|| unknown(&name))?;
    let what = format!("stream `{name}` was not deleted");
    asked.door.change(&what, Change::DeleteStream { stream: stream.id }).await?;
    ok(shown(&catalogue, stream))
}

pub async fn settings(
    State(asked): State<Asked>,
    Path(name): Path<String>,
) -> Result<Json<StreamSettings>, Failure> {
    let catalogue = known::with_stream(&asked, &name).await?;
    let stream = catalogue.stream(&name).ok_or_else(|| unknown(&name))?;
    ok(stream.settings.into())
}

pub async fn configure(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<StreamSettings>, Failure> {
    let new: NewSettings = body(&bytes)?;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let catalogue = known::with_stream(&asked, &name).await?;
        let stream = catalogue.stream(&name).ok_or_else(|| unknown(&name))?;
        let to = new.upon(stream.settings)?;
        if to == stream.settings {
            return ok(to.into());
        }
        let what = format!("stream `{name}` was not set");
        let change = Change::Configure { stream: stream.id, from: stream.settings, to };
        match asked.door.change(&what, change).await {
            Ok(()) => return ok(to.into()),
            // Somebody else has set it, and it is known here by now or soon.
            Err(problem) if problem.code == "SH0504" => last = Some(problem),
            Err(problem) => return Err(problem.into()),
        }
    }
    let never = || crate::problems::internal("nothing was tried", "there are attempts");
    Err(last.unwrap_or_else(never).into())
}

async fn part(asked: &Asked, stream: &catalogue::Stream, partition: u32) -> Part {
    let board = &asked.router.board;
    let shard = shard_of(stream.placement, partition, board.shards());
    let query = Query::Mark { partition: PartitionId { stream: stream.id, partition } };
    let (start, next) = match asked.router.ask(shard, query, true).await {
        Ok((Found::Mark(mark), _)) => mark.unwrap_or((0, 0)),
        _ => (-1, -1),
    };
    Part { partition, shard: shard.0, leader: board.leader(shard).map(|peer| peer.0), start, next }
}

fn shown(catalogue: &Catalogue, stream: &catalogue::Stream) -> Stream {
    let writer = stream.written_by.and_then(|stage| catalogue.stage(stage));
    Stream {
        name: stream.name.clone(),
        id: stream.id.to_string(),
        partitions: stream.partitions,
        written_by: writer.map(|(pipeline, stage)| format!("{}.{}", pipeline.name, stage.name)),
        parts: None,
    }
}
