//! Events: append, with or without an idempotency key, and read.

use super::answer::{body, ok};
use super::{Asked, Failure, Json, known, streams};
use crate::call::{Ask, Said};
use crate::shards::{Found, Query as Look};
use crate::span::Span;
use crate::{limits, wall_ms};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use door::http::{AppendedPart, Event, Events, EventsAppended, EventsQuery, NewEvents};
use door::trace::{Parent, TRACEPARENT};
use futures::future::join_all;
use model::catalogue::Stream;
use model::hash::{hash128, shard_of};
use model::{Batch, Op, Origin, PartitionId, PeerId, Problem, ShardId};
use net::Lane;
use replica::Answer;
use std::collections::BTreeMap;
use std::iter::once;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The longest idempotency key.
const KEY_BYTES_MAX: usize = 255;

pub async fn append(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<EventsAppended>, Failure> {
    let span =
        Span::request("append over HTTP", || Parent::read(headers.get(TRACEPARENT)?.as_bytes()));
    span.word("stream", &name);
    let new: NewEvents = body(&bytes)?;
    let catalogue = known::with_stream(&asked, &name).await?;
    let stream = catalogue.stream(&name).ok_or_else(|| streams::unknown(&name))?;
    if stream.written_by.is_some() {
        return Err(Problem::new(
            "SH0302",
            format!("stream `{name}` is written by a pipeline"),
            "a stage alone writes it; clients may only read it",
            "append to another stream",
        )
        .into());
    }
    let key = idempotency_key(&headers, &name)?;
    let now_ms = wall_ms() as i64;
    // A repeated request must build the same batches: its key decides where keyless events go, not a counter.
    let spread = key.map_or_else(|| asked.spread.fetch_add(1, Ordering::Relaxed), |key| key as u64);
    let partitions = match key {
        Some(key) => layout(&asked, stream, &new, key).await?,
        None => stream.partitions,
    };
    let batches = door::http::batches(&new, partitions, now_ms, spread)?;
    let most = stream.settings.batch_bytes_max.map_or(door::BATCH_BYTES_MAX, |it| it as usize);
    if let Some(large) = batches.iter().map(|part| part.batch.size()).find(|size| *size > most) {
        return Err(too_large(&name, large, most).into());
    }
    let bodies = match key {
        Some(_) => door::http::bodies(&new, partitions, spread)?,
        None => BTreeMap::new(),
    };
    let began = Instant::now();
    let mut numbers = asked.door.spare.take();
    let mut begun = Vec::with_capacity(batches.len());
    for part in batches {
        let partition = PartitionId { stream: stream.id, partition: part.partition };
        let shard = shard_of(stream.placement, part.partition, asked.router.board.shards());
        let origin = match key {
            Some(key) => {
                let body = bodies.get(&part.partition).copied().unwrap_or_default();
                Origin::Key { key, body }
            }
            None => asked.door.number(&mut numbers, shard),
        };
        let batch = part.batch.bytes().clone();
        let size = batch.len() as u64;
        let op = Op::Append { partition, origin, batch };
        let way = span.part("commit");
        way.number("shard", i64::from(shard.0));
        way.number("events", i64::from(part.count));
        begun.push((part.partition, part.count, size, asked.router.begin(shard, op), way));
    }
    let mut appended = Vec::with_capacity(begun.len());
    let meter = &asked.router.board.meter;
    for (partition, count, size, begun, way) in begun {
        let answer = begun.answer().await;
        if let Err(error) = &answer {
            way.fail(&error.to_string());
        }
        meter.produced(answer.is_ok(), u64::from(count), size, began.elapsed());
        match answer? {
            Answer::Appended { base_offset, .. } => {
                way.number("offset", base_offset);
                appended.push(AppendedPart { partition, offset: base_offset, count });
            }
            other => {
                let because = format!("{other:?}");
                return Err(crate::problems::internal("an unexpected answer", because).into());
            }
        }
    }
    asked.door.spare.put_back(numbers);
    ok(EventsAppended { appended })
}

fn too_large(stream: &str, size: usize, most: usize) -> Problem {
    Problem::new(
        "SH0401",
        format!("the events are too large for stream `{stream}`"),
        format!("together they have {size} bytes, the stream takes {most} bytes at once"),
        format!("send fewer at once, or shoal stream configure {stream} --batch-bytes-max BYTES"),
    )
}

/// How many partitions the stream had when a request with this key was first taken, or has now. It may have grown since;
/// then the keys of events decide for other partitions, and the same request would be taken once more. What it has
/// appended tells: some of it may lie where it would lie now as well, but never more than where it was put.
async fn layout(
    asked: &Asked,
    stream: &Stream,
    new: &NewEvents,
    key: u128,
) -> Result<u32, Failure> {
    let (mut best, mut most) = (stream.partitions, 0);
    if new.partition.is_some() || stream.layouts.is_empty() {
        return Ok(best);
    }
    for partitions in once(stream.partitions).chain(stream.layouts.iter().rev().copied()) {
        let found = appended(asked, stream, door::http::bodies(new, partitions, key as u64)?, key);
        let found = found.await?;
        if found > most {
            (best, most) = (partitions, found);
        }
    }
    Ok(best)
}

/// How many of these bodies, by partition, requests with a key have appended.
async fn appended(
    asked: &Asked,
    stream: &Stream,
    bodies: BTreeMap<u32, u64>,
    key: u128,
) -> Result<u32, Failure> {
    let mut by_shard: BTreeMap<ShardId, Vec<(PartitionId, u64)>> = BTreeMap::new();
    for (partition, body) in bodies {
        let shard = shard_of(stream.placement, partition, asked.router.board.shards());
        let id = PartitionId { stream: stream.id, partition };
        by_shard.entry(shard).or_default().push((id, body));
    }
    let looks = by_shard.into_iter().map(|(shard, bodies)| async move {
        asked.router.ask(shard, Look::Key { key, bodies }, true).await
    });
    let mut count = 0;
    for found in join_all(looks).await {
        match found?.0 {
            Found::Key(found) => count += found,
            other => {
                let because = format!("{other:?}");
                return Err(crate::problems::internal("an unexpected answer", because).into());
            }
        }
    }
    Ok(count)
}

fn idempotency_key(headers: &HeaderMap, stream: &str) -> Result<Option<u128>, Failure> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.as_bytes();
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Problem::new(
            "SH0404",
            "the idempotency key is not one",
            format!("it has {} bytes; 1 to {KEY_BYTES_MAX} are allowed", key.len()),
            "send a fresh UUID a request, and the same one when you repeat it",
        )
        .into());
    }
    Ok(Some(hash128(&[stream.as_bytes(), &[0], key].concat())))
}

pub async fn read(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Events>, Failure> {
    ok(page(&asked, &name, &query).await?)
}

/// Events of one partition, after a wait if there are none yet.
pub(super) async fn page(
    asked: &Asked,
    name: &str,
    query: &EventsQuery,
) -> Result<Events, Failure> {
    let catalogue = known::with_stream(asked, name).await?;
    let stream = catalogue.stream(name).ok_or_else(|| streams::unknown(name))?;
    if query.partition >= stream.partitions {
        let what = format!("stream `{name}` has no partition {}", query.partition);
        let because = format!("it has {}", stream.partitions);
        let fix = format!("shoal stream describe {name}");
        return Err(Problem::new("SH0306", what, because, fix).into());
    }
    let partition = PartitionId { stream: stream.id, partition: query.partition };
    let shard = shard_of(stream.placement, query.partition, asked.router.board.shards());
    let wait = Duration::from_millis(query.wait_ms.min(door::http::WAIT_MS_MAX));
    let until = Instant::now() + wait;
    loop {
        let found = read_once(asked, partition, shard, query).await?;
        if !found.events.is_empty() {
            let bytes = found.events.iter().map(|it| it.value.text().len() as u64).sum();
            asked.router.board.meter.given(found.events.len() as u64, bytes);
        }
        if !found.events.is_empty() || Instant::now() >= until || asked.router.board.stopping() {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Where a partition begins and ends for those who read it.
pub(super) async fn ends(
    asked: &Asked,
    stream: &model::catalogue::Stream,
    partition: u32,
) -> Result<(i64, i64), Failure> {
    let id = PartitionId { stream: stream.id, partition };
    let shard = shard_of(stream.placement, partition, asked.router.board.shards());
    let look = crate::shards::Query::Mark { partition: id };
    match asked.router.ask(shard, look, true).await? {
        (crate::shards::Found::Mark(mark), _) => Ok(mark.unwrap_or((0, 0))),
        _ => Err(crate::problems::internal("an unexpected answer", "no mark").into()),
    }
}

async fn read_once(
    asked: &Asked,
    partition: PartitionId,
    shard: ShardId,
    query: &EventsQuery,
) -> Result<Events, Failure> {
    let look = Look::Mark { partition };
    let (found, _) = asked.router.ask(shard, look, true).await?;
    let Found::Mark(mark) = found else {
        return Err(crate::problems::internal("an unexpected answer", "no mark").into());
    };
    let (start, high) = mark.unwrap_or((0, 0));
    if query.offset < start || query.offset > high {
        return Err(Problem::new(
            "SH0403",
            format!("offset {} is outside of partition {}", query.offset, query.partition),
            format!("it has the offsets {start} to {high}"),
            format!("read from offset {start}"),
        )
        .into());
    }
    let max = query.max.clamp(1, door::http::READ_MAX);
    let (batches, peer) = batches(asked, partition, shard, query.offset, high).await?;
    let mut events = Vec::new();
    let mut next = query.offset;
    'batches: for batch in &batches {
        let is_shown = !batch.is_control();
        let records = is_shown.then(|| batch.records(limits::BATCH_PLAIN_BYTES)).transpose();
        for record in records.map_err(malformed)?.into_iter().flatten() {
            let record = record.map_err(malformed)?;
            if record.offset < query.offset {
                continue;
            }
            if events.len() == max {
                break 'batches;
            }
            next = record.offset + 1;
            events.push(Event::of(query.partition, &record));
        }
        next = next.max(batch.next_offset());
    }
    Ok(Events { events, next, high, peer: peer.0 })
}

pub(super) fn malformed(error: model::batch::Error) -> Failure {
    let fix = "read the stream with a Kafka client, which sees the batch as it was sent";
    Problem::new("SH0402", "a stored batch cannot be read", error.to_string(), fix).into()
}

/// Reads on where a read has ended early: if that is because the disk gave back something else, it is noted.
fn read_here(
    asked: &Asked,
    partition: PartitionId,
    from: i64,
    below: i64,
) -> Result<Vec<Batch>, store::Error> {
    let mut found: Vec<Batch> = Vec::new();
    let mut left = limits::BATCH_BYTES;
    let mut next = from;
    while next < below && left > 0 {
        let read = asked.segments.read(partition, next, below, left);
        match asked.router.board.witness(partition, read) {
            Ok(more) if more.is_empty() => break,
            Ok(more) => {
                next = more.last().map_or(below, Batch::next_offset);
                left = left.saturating_sub(more.iter().map(Batch::size).sum());
                found.extend(more);
            }
            Err(error) if found.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(found)
}

/// Batches of a partition, and the peer whose copy they are of: this one's if it has them, else the leader's.
pub(super) async fn batches(
    asked: &Asked,
    partition: PartitionId,
    shard: ShardId,
    from: i64,
    below: i64,
) -> Result<(Vec<Batch>, PeerId), Failure> {
    let board = &asked.router.board;
    if from >= below {
        return Ok((Vec::new(), board.me()));
    }
    let broken = |because: String| {
        Failure::from(Problem::new(
            "SH0207",
            "stored events cannot be read",
            because,
            "read them through another peer",
        ))
    };
    let leader = board.leader(shard);
    let enough = board.mark(partition).is_some_and(|mark| mark.stable >= below);
    if enough && board.here(shard) {
        match read_here(asked, partition, from, below) {
            Ok(found) => return Ok((board.shown(partition, found), board.me())),
            Err(error) if leader == Some(board.me()) => return Err(broken(error.to_string())),
            Err(error) => tracing::warn!(?partition, %error, "events are read at their leader"),
        }
    }
    let Some((leader, key)) = leader.and_then(|peer| Some((peer, board.key_of(peer)?))) else {
        return Ok((Vec::new(), board.me()));
    };
    let bytes_max = limits::BATCH_BYTES as u32;
    let ask = Ask::Batches { partition, shard, from, below, bytes_max };
    match asked.router.calls.ask(&key, Lane::Request, ask).await {
        Ok(Said::Batches(found)) => {
            let found = found.into_iter().map(Batch::trusted).collect::<Result<_, _>>();
            Ok((found.map_err(malformed)?, leader))
        }
        Ok(Said::No(why)) => Err(broken(why)),
        _ => Ok((Vec::new(), leader)),
    }
}
