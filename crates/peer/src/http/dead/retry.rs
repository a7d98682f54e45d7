//! Tries dead letters again: their events are appended once more to the streams they came from, for one stage alone.
//!
//! A partition's letters go in order, up to the first that cannot be tried again: what is behind it stays until
//! that one is dropped. So a log that is trimmed from its beginning says exactly what is still dead.

use super::super::{Failure, Json, events};
use super::{Dead, about, header};
use crate::http::Asked;
use crate::http::answer::{body, ok};
use axum::body::Bytes;
use axum::extract::{Path, State};
use door::http::{About, Done, Stopped};
use flow::{RETRY, is_mark_of, retry_mark};
use model::batch::{BatchBuilder, HEADER_BYTES, Record};
use model::hash::{hash64, hash128, shard_of};
use model::{Op, Origin, PartitionId, ShardId};
use replica::Answer;

/// Letters that are read at once.
const LETTERS: usize = 1_000;

/// Why a letter was not tried again: it cannot be, or that failed for now.
enum Not {
    Possible(String),
    Now(Failure),
}

impl From<Failure> for Not {
    fn from(failure: Failure) -> Self {
        Self::Now(failure)
    }
}

pub async fn retry(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<Done>, Failure> {
    let dead = Dead::named(&asked, &name).await?;
    let mut done = Done { letters: 0, stopped: Vec::new() };
    for (partition, (start, end)) in dead.meant(body(&bytes)?).await? {
        let mut at = start;
        let stopped = again(&dead, partition, (&mut at, end)).await;
        // What was appended is dead no more, also if the rest failed.
        if at > start {
            dead.forget(partition, at).await?;
            done.letters += (at - start).unsigned_abs();
        }
        match stopped {
            Ok(()) => {}
            Err(Not::Possible(because)) => {
                done.stopped.push(Stopped { partition, offset: at, because });
            }
            Err(Not::Now(failure)) => return Err(failure),
        }
    }
    ok(done)
}

/// Tries the letters of a partition again, and moves `at` behind each that was.
async fn again(dead: &Dead, partition: u32, (at, end): (&mut i64, i64)) -> Result<(), Not> {
    while *at < end {
        let letters = dead.letters(partition, (*at, end), LETTERS).await?;
        if letters.is_empty() {
            return Err(Not::Possible("it cannot be read".into()));
        }
        for letter in letters {
            *at = letter.offset;
            one(dead, partition, &letter).await?;
            *at = letter.offset + 1;
        }
    }
    Ok(())
}

async fn one(dead: &Dead, partition: u32, letter: &Record) -> Result<(), Not> {
    let not = |because: &str| Err(Not::Possible(because.to_owned()));
    let Some(of) = about(letter) else { return not("it is about a timer and not about an event") };
    if header(letter, "cause").is_some_and(|cause| cause == "late") {
        return not("it came too late, and would be later still");
    }
    let catalogue = dead.asked.router.board.catalogue();
    let Some(source) = catalogue.stream(&of.stream) else { return not("its stream is gone") };
    if source.written_by.is_some() {
        return not("its stream is written by a stage; nobody else may write there");
    }
    let id = PartitionId { stream: source.id, partition: of.partition };
    let shards = dead.asked.router.board.shards();
    let shard = shard_of(source.placement, of.partition, shards);
    let Some(event) = event(dead, (id, shard), &of).await? else {
        return not("its event is not kept any more");
    };
    let whole = header(letter, "scope").is_some_and(|scope| scope == "event");
    let stage = format!("{}.{}", dead.pipeline, dead.stage);
    let before = header(&event, RETRY).filter(|mark| is_mark_of(mark, &stage));
    // Tried again before, it is for no more buckets than then.
    let mark = before.map_or_else(
        || retry_mark(&stage, (!whole).then_some(partition)),
        std::borrow::Cow::into_owned,
    );
    // The letter's place names the append: asked for again, it is known.
    let place = [dead.stream.id.0.to_be_bytes(), (partition as u128).to_be_bytes()];
    let place = [&place.concat()[..], &letter.offset.to_be_bytes()].concat();
    let batch = copy(&event, &mark).map_err(|error| Not::Possible(error.to_string()))?;
    let origin = Origin::Key { key: hash128(&place), body: hash64(&batch[HEADER_BYTES..]) };
    let op = Op::Append { partition: id, origin, batch };
    match dead.asked.router.propose(shard, op).await.map_err(Failure::from)? {
        Answer::Appended { .. } => Ok(()),
        other => {
            let because = format!("{other:?}");
            Err(Not::Now(crate::problems::internal("an unexpected answer", because).into()))
        }
    }
}

/// The event that a letter is about, if it is kept.
async fn event(
    dead: &Dead,
    (id, shard): (PartitionId, ShardId),
    of: &About,
) -> Result<Option<Record>, Failure> {
    let query = crate::shards::Query::Mark { partition: id };
    let (found, _) = dead.asked.router.ask(shard, query, true).await?;
    let crate::shards::Found::Mark(Some((start, next))) = found else { return Ok(None) };
    if !(start..next).contains(&of.offset) {
        return Ok(None);
    }
    let (batches, _) = events::batches(&dead.asked, id, shard, of.offset, of.offset + 1).await?;
    for batch in &batches {
        for record in batch.records(crate::limits::BATCH_PLAIN_BYTES).map_err(events::malformed)? {
            let record = record.map_err(events::malformed)?;
            if record.offset == of.offset {
                return Ok(Some(record));
            }
        }
    }
    Ok(None)
}

/// The same event with the mark of whom it is for.
fn copy(event: &Record, mark: &str) -> Result<bytes::Bytes, model::batch::Error> {
    let texts: Vec<(String, Option<&[u8]>)> = event
        .headers
        .iter()
        .filter(|(name, _)| name != RETRY.as_bytes())
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.as_deref()))
        .collect();
    let mut headers: Vec<(&str, Option<&[u8]>)> =
        texts.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    headers.push((RETRY, Some(mark.as_bytes())));
    let mut builder = BatchBuilder::new();
    builder.push(event.time_ms, event.key.as_deref(), event.value.as_deref(), &headers);
    Ok(builder.build()?.bytes().clone())
}
