//! Streams: list, make, describe.

use super::answer::{body, ok};
use super::{Asked, Failure, Json};
use crate::shards::{Found, Query};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use door::http::{NewStream, Part, Stream, Streams};
use model::hash::shard_of;
use model::{Catalogue, PartitionId, Problem, catalogue};

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
    let (stream, created) =
        asked.door.create_stream(&new.name, new.partitions, model::Settings::default()).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Json(status, shown(&asked.router.board.catalogue(), &stream)))
}

pub async fn describe(
    State(asked): State<Asked>,
    Path(name): Path<String>,
) -> Result<Json<Stream>, Failure> {
    let catalogue = asked.router.board.catalogue();
    let stream = catalogue.stream(&name).ok_or_else(|| unknown(&name))?;
    let parts = (0..stream.partitions).map(|partition| part(&asked, stream, partition));
    let parts = futures::future::join_all(parts).await;
    let mut shown = shown(&catalogue, stream);
    shown.parts = Some(parts);
    ok(shown)
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
