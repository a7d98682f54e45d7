//! Groups of consumers: which there are, how far each is; moving and forgetting those that nobody is in.

mod steer;

pub use steer::{delete, seek};

use super::answer::ok;
use super::{Asked, Failure, Json};
use crate::shards::{Found, Query};
use axum::extract::{Path, State};
use door::http::{Group, GroupConsumer, GroupOffset, GroupRow, Groups};
use futures::future::join_all;
use model::group::Listed;
use model::hash::{shard_of, shard_of_group};
use model::{PartitionId, Problem, ShardId};

pub async fn list(State(asked): State<Asked>) -> Result<Json<Groups>, Failure> {
    let shards = (0..asked.router.board.shards()).map(ShardId);
    let ask = |shard| asked.router.ask(shard, Query::Groups, false);
    let mut groups = Vec::new();
    for found in join_all(shards.map(ask)).await {
        let (Found::Groups(listed), _) = found? else { continue };
        let row = |it: Listed| GroupRow { name: it.name, kind: it.kind, active: it.has_consumers };
        groups.extend(listed.into_iter().map(row));
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    ok(Groups { groups })
}

pub async fn describe(
    State(asked): State<Asked>,
    Path(name): Path<String>,
) -> Result<Json<Group>, Failure> {
    let group = find(&asked, &name).await?;
    ok(shown(&asked, name, &group).await)
}

/// The group of this name, as its log keeps it at this moment.
async fn find(asked: &Asked, name: &str) -> Result<Box<model::group::Group>, Failure> {
    let shard = shard_of_group(name, asked.router.board.shards());
    let query = Query::Group { name: name.to_owned() };
    match asked.router.ask(shard, query, true).await? {
        (Found::Group(Some(group)), _) => Ok(group),
        _ => Err(Problem::new(
            "SH0310",
            format!("there is no group `{name}`"),
            "nobody has joined or committed under this name, or it was forgotten",
            "shoal group list",
        )
        .into()),
    }
}

async fn shown(asked: &Asked, name: String, group: &model::group::Group) -> Group {
    let consumer = |(id, client, host): (&str, &str, &str)| GroupConsumer {
        id: id.to_owned(),
        client: client.to_owned(),
        host: host.to_owned(),
    };
    let offsets = group.offsets.iter().map(|(id, at)| offset(asked, *id, at.offset));
    let offsets = join_all(offsets).await.into_iter().flatten().collect();
    Group {
        name,
        kind: group.kind().to_owned(),
        generation: group.generation(),
        consumers: group.consumers().map(consumer).collect(),
        offsets,
    }
}

/// Nothing of a stream that is no more.
async fn offset(asked: &Asked, partition: PartitionId, offset: i64) -> Option<GroupOffset> {
    let catalogue = asked.router.board.catalogue();
    let stream = catalogue.streams.get(&partition.stream)?;
    let shard = shard_of(stream.placement, partition.partition, asked.router.board.shards());
    let end = match asked.router.ask(shard, Query::Mark { partition }, false).await {
        Ok((Found::Mark(mark), _)) => Some(mark.map_or(0, |(_, end)| end)),
        _ => None,
    };
    let lag = end.map(|end| (end - offset).max(0));
    Some(GroupOffset { stream: stream.name.clone(), partition: partition.partition, offset, lag })
}
