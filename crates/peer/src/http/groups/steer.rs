//! A person moves a group to another place of a stream, or forgets it.
//!
//! Both are what Kafka's tools ask for, of the group's coordinator: an entry of the group's shard, or nothing. Promises
//! that a group with consumers is refused by its coordinator, which alone knows who is in it; that all partitions
//! of one seek are moved by one entry; and that who is told of a failure is told when the outcome is not known.

use super::{find, shown};
use crate::http::answer::{body, ok};
use crate::http::{Asked, Failure, Json, events, known, streams};
use crate::limits;
use axum::body::Bytes;
use axum::extract::{Path, State};
use door::http::{Extent, Group, Seek, SeekTo, Sought, SoughtOffset};
use futures::future::try_join_all;
use model::catalogue::Stream;
use model::group::{self, Ask, Caller, Committed, Refusal};
use model::{PartitionId, Problem};
use std::time::Instant;

/// Forgets a group that nobody is in; answers what it was.
pub async fn delete(
    State(asked): State<Asked>,
    Path(name): Path<String>,
) -> Result<Json<Group>, Failure> {
    let group = find(&asked, &name).await?;
    let was = shown(&asked, name.clone(), &group).await;
    match tell(&asked, &name, &Ask::Delete).await {
        // It was there a moment ago: this request, told twice, or somebody else has forgotten it.
        Ok(()) | Err(Refusal::Missing) => ok(was),
        Err(refusal) => Err(refused(&name, "deleted", &refusal).into()),
    }
}

/// Moves a group that nobody is in, or tells where it would go on from.
pub async fn seek(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<Sought>, Failure> {
    let seek: Seek = body(&bytes)?;
    let catalogue = known::with_stream(&asked, &seek.stream).await?;
    let stream = catalogue.stream(&seek.stream).ok_or_else(|| streams::unknown(&seek.stream))?;
    let group = find(&asked, &name).await?;
    let partitions = meant(stream, seek.partition)?;
    let places = partitions.map(|partition| place(&asked, stream, seek.to, partition));
    let places = try_join_all(places).await?;
    let id = |partition| PartitionId { stream: stream.id, partition };
    let from = |partition| group.offsets.get(&id(partition)).map(|it| it.offset);
    let sought = |(partition, to): &(u32, i64)| SoughtOffset {
        partition: *partition,
        from: from(*partition),
        to: *to,
    };
    let offsets = places.iter().map(sought).collect();
    may_move(&name, &group)?;
    if !seek.dry {
        let commit = |(partition, offset): (u32, i64)| {
            // The epoch and the words were of another offset.
            (id(partition), Committed { offset, epoch: -1, metadata: String::new() })
        };
        let caller = Caller { generation: -1, ..Caller::default() };
        let ask = Ask::Commit { caller, offsets: places.into_iter().map(commit).collect() };
        let moved = tell(&asked, &name, &ask).await;
        moved.map_err(|refusal| refused(&name, "moved", &refusal))?;
    }
    ok(Sought { group: name, stream: seek.stream, done: !seek.dry, offsets })
}

fn meant(stream: &Stream, partition: Option<u32>) -> Result<std::ops::Range<u32>, Problem> {
    match partition {
        None => Ok(0..stream.partitions),
        Some(partition) if partition < stream.partitions => Ok(partition..partition + 1),
        Some(partition) => Err(Problem::new(
            "SH0306",
            format!("stream `{}` has no partition {partition}", stream.name),
            format!("it has {}", stream.partitions),
            format!("shoal stream describe {}", stream.name),
        )),
    }
}

/// What the log knows already speaks against it. Whether somebody is coming in its coordinator says.
fn may_move(name: &str, group: &group::Group) -> Result<(), Problem> {
    match group.has_consumers() || !group.pending.is_empty() {
        true => Err(refused(name, "moved", &Refusal::InUse)),
        false => Ok(()),
    }
}

/// A partition, and the offset that is meant in it.
async fn place(
    asked: &Asked,
    stream: &Stream,
    to: SeekTo,
    partition: u32,
) -> Result<(u32, i64), Failure> {
    let at_time = match to {
        SeekTo::TimeMs(time_ms) => asked.door.at_time(&stream.name, partition, time_ms).await?,
        _ => None,
    };
    let (start, next) = events::ends(asked, stream, partition).await?;
    Ok((partition, to.within(&stream.name, Extent { partition, start, next, at_time })?))
}

/// Asks a group's coordinator, and again while nobody coordinates: each of these asks is the same however often it
/// is said.
async fn tell(asked: &Asked, name: &str, ask: &Ask) -> Result<(), Refusal> {
    let until = Instant::now() + limits::HOLD;
    loop {
        let refusal = match asked.door.ask_group(name.to_owned(), ask.clone()).await {
            Ok(_) => return Ok(()),
            Err(refusal) => refusal,
        };
        let passes = matches!(refusal, Refusal::NotCoordinator | Refusal::Loading);
        if !passes || Instant::now() >= until || asked.router.board.stopping() {
            return Err(refusal);
        }
        tokio::time::sleep(limits::HOLD_PAUSE).await;
    }
}

fn refused(name: &str, done: &str, refusal: &Refusal) -> Problem {
    let what = format!("group `{name}` was not {done}");
    match refusal {
        Refusal::NotCoordinator | Refusal::Loading => Problem::new(
            "SH0504",
            what,
            "its shard's leader did not decide in time; the outcome is unknown",
            format!("shoal group describe {name}, then the same again"),
        ),
        Refusal::Full => Problem::new(
            "SH0503",
            what,
            "what its shard keeps of groups has reached its limit",
            "delete groups that nobody needs: shoal group list",
        ),
        Refusal::BadGroup => {
            Problem::new("SH0002", what, "no group can have this name", "shoal group list")
        }
        // All others say that the group has consumers and the asker is none of them.
        _ => Problem::new(
            "SH0312",
            what,
            "it has consumers, or a transaction that will move it is open",
            format!("stop them, look with shoal group describe {name}, then the same again"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::group::{Consumer, Formed, Pending};

    #[test]
    fn a_group_is_moved_only_while_nobody_is_in_it_and_no_transaction_will_move_it() {
        assert!(may_move("g", &group::Group::default()).is_ok());
        let consumers = [("c".to_owned(), Consumer::default())].into();
        let formed = Formed { consumers, ..Formed::default() };
        let danced = group::Group { formed, ..group::Group::default() };
        let pending = [(7, Pending::default())].into();
        let pending = group::Group { pending, ..group::Group::default() };
        for group in [danced, pending] {
            let problem = may_move("g", &group).expect_err("it is in use");
            assert_eq!((problem.code.as_str(), problem.exit_code()), ("SH0312", 5));
            assert_eq!(door::http::status(&problem.code), 409);
        }
    }

    #[test]
    fn what_a_coordinator_says_to_who_is_no_consumer_is_that_the_group_is_in_use() {
        let code = |refusal: &Refusal| refused("g", "moved", refusal).code;
        for refusal in [Refusal::UnknownConsumer, Refusal::Rebalancing, Refusal::InUse] {
            assert_eq!(code(&refusal), "SH0312", "{refusal:?}");
        }
        assert_eq!(code(&Refusal::NotCoordinator), "SH0504");
        assert_eq!(code(&Refusal::Full), "SH0503");
    }

    #[test]
    fn one_partition_is_meant_or_all_and_none_that_the_stream_does_not_have() {
        let stream = Stream {
            id: model::StreamId(1),
            name: "s".into(),
            partitions: 3,
            layouts: Vec::new(),
            placement: 1,
            written_by: None,
            settings: model::Settings::default(),
        };
        assert_eq!(meant(&stream, None), Ok(0..3));
        assert_eq!(meant(&stream, Some(2)), Ok(2..3));
        assert_eq!(meant(&stream, Some(3)).expect_err("there is none").code, "SH0306");
    }
}
