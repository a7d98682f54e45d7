//! Dead letters: which stages have some, what they say, and trying them again or dropping them.
//!
//! Promises that a letter which is tried again is appended once, however often it is asked for, and is gone from
//! the dead letters only after that. The event goes to the stage that gave it up and to no other.

mod retry;

pub use retry::retry;

use super::answer::{body, ok};
use super::{Asked, Failure, Json, events, known};
use crate::limits;
use crate::shards::{Found, Query as Look};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use door::http::{
    About, DeadStage, DeadStages, Done, Letter, Letters, LettersQuery, READ_MAX, Shown, UpTo,
};
use model::batch::Record;
use model::catalogue::{Catalogue, Pipeline, Stage, Stream};
use model::hash::shard_of;
use model::{Op, PartitionId, Problem, ShardId};
use replica::Answer;

/// The dead letters of one stage.
struct Dead {
    asked: Asked,
    pipeline: String,
    stage: String,
    stream: Stream,
}

/// Letters of a partition: the first that is kept, and the end.
type Range = (i64, i64);

/// The stage of this name, written `pipeline.stage`.
fn stage<'a>(catalogue: &'a Catalogue, name: &str) -> Option<(&'a Pipeline, &'a Stage)> {
    let mut stages =
        catalogue.pipelines.values().flat_map(|p| p.stages.iter().map(move |s| (p, s)));
    stages.find(|(pipeline, stage)| format!("{}.{}", pipeline.name, stage.name) == name)
}

impl Dead {
    fn of(asked: &Asked, catalogue: &Catalogue, of: (&Pipeline, &Stage)) -> Option<Self> {
        let (pipeline, stage) = (of.0.name.clone(), of.1.name.clone());
        let stream = catalogue.streams.get(&of.1.dead?)?.clone();
        Some(Self { asked: asked.clone(), pipeline, stage, stream })
    }

    /// That of the stage of this name.
    async fn named(asked: &Asked, name: &str) -> Result<Self, Failure> {
        let catalogue = known::catalogue(asked, |known| stage(known, name).is_some()).await?;
        let found = stage(&catalogue, name).and_then(|of| Self::of(asked, &catalogue, of));
        found.ok_or_else(|| {
            Problem::new(
                "SH0304",
                format!("there is no stage `{name}`"),
                "a stage is named PIPELINE.STAGE, and has the name of its view or stream",
                "shoal dead list",
            )
            .into()
        })
    }

    fn partition(&self, partition: u32) -> (PartitionId, ShardId) {
        let shard = shard_of(self.stream.placement, partition, self.asked.router.board.shards());
        (PartitionId { stream: self.stream.id, partition }, shard)
    }

    async fn range(&self, partition: u32) -> Result<Range, Failure> {
        let (partition, shard) = self.partition(partition);
        match self.asked.router.ask(shard, Look::Mark { partition }, true).await? {
            (Found::Mark(mark), _) => Ok(mark.unwrap_or((0, 0))),
            _ => Err(crate::problems::internal("an unexpected answer", "no mark").into()),
        }
    }

    async fn ranges(&self) -> Result<Vec<Range>, Failure> {
        let ranges = (0..self.stream.partitions).map(|partition| self.range(partition));
        futures::future::try_join_all(ranges).await
    }

    /// Letters of [from, below), at most `max`.
    async fn letters(
        &self,
        partition: u32,
        (from, below): Range,
        max: usize,
    ) -> Result<Vec<Record>, Failure> {
        let (id, shard) = self.partition(partition);
        let mut found = Vec::new();
        let mut next = from;
        while next < below && found.len() < max {
            let (batches, _) = events::batches(&self.asked, id, shard, next, below).await?;
            let Some(last) = batches.last() else { break };
            let end = last.next_offset();
            for batch in &batches {
                for record in batch.records(limits::BATCH_PLAIN_BYTES).map_err(events::malformed)? {
                    let record = record.map_err(events::malformed)?;
                    if (next..below).contains(&record.offset) && found.len() < max {
                        found.push(record);
                    }
                }
            }
            next = end;
        }
        Ok(found)
    }

    /// The partitions that are meant, each with the range of its letters.
    async fn meant(&self, upto: UpTo) -> Result<Vec<(u32, Range)>, Failure> {
        let UpTo { partition: Some(partition), offset } = upto else {
            if upto.offset.is_some() {
                let because = "each partition counts its letters from 0";
                let fix = "--partition P --offset N, as shoal dead show tells them";
                return Err(Problem::new("SH0404", "no partition is named", because, fix).into());
            }
            return Ok((0..).zip(self.ranges().await?).collect());
        };
        if partition >= self.stream.partitions {
            let what = format!("{} has no partition {partition}", self.stream.name);
            let because = format!("it has {}", self.stream.partitions);
            return Err(Problem::new("SH0306", what, because, "shoal dead show").into());
        }
        let (start, next) = self.range(partition).await?;
        let end = match offset {
            None => next,
            Some(offset) if (start..next).contains(&offset) => offset + 1,
            Some(offset) => {
                let what = format!("there is no letter {offset} in partition {partition}");
                let because = format!("it has the letters {start} to {}", next - 1);
                return Err(Problem::new("SH0403", what, because, "shoal dead show").into());
            }
        };
        Ok(vec![(partition, (start, end))])
    }

    /// Forgets the letters below an offset.
    async fn forget(&self, partition: u32, offset: i64) -> Result<(), Failure> {
        let (partition, shard) = self.partition(partition);
        match self.asked.router.propose(shard, Op::Trim { partition, offset }).await? {
            Answer::Trimmed { .. } => Ok(()),
            other => {
                let because = format!("{other:?}");
                Err(crate::problems::internal("an unexpected answer", because).into())
            }
        }
    }
}

pub async fn list(State(asked): State<Asked>) -> Result<Json<DeadStages>, Failure> {
    let catalogue = asked.router.board.catalogue();
    let mut stages = Vec::new();
    for pipeline in catalogue.pipelines.values() {
        for stage in &pipeline.stages {
            let Some(dead) = Dead::of(&asked, &catalogue, (pipeline, stage)) else { continue };
            let letters =
                dead.ranges().await?.iter().map(|(start, next)| next - start).sum::<i64>();
            let Dead { pipeline, stage, stream, .. } = dead;
            let letters = letters.unsigned_abs();
            stages.push(DeadStage { pipeline, stage, stream: stream.name, letters });
        }
    }
    ok(DeadStages { stages })
}

pub async fn show(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    Query(query): Query<LettersQuery>,
) -> Result<Json<Letters>, Failure> {
    let dead = Dead::named(&asked, &name).await?;
    let max = query.max.clamp(1, READ_MAX);
    let mut letters = Vec::new();
    let mut more = false;
    for (partition, range) in dead.meant(UpTo::default()).await? {
        // One more than is shown tells whether there are more.
        let found = dead.letters(partition, range, max + 1 - letters.len()).await?;
        letters.extend(found.iter().map(|record| letter(partition, record)));
        if letters.len() > max {
            letters.truncate(max);
            more = true;
            break;
        }
    }
    ok(Letters { letters, more })
}

pub async fn drop(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<Done>, Failure> {
    let dead = Dead::named(&asked, &name).await?;
    let mut letters = 0;
    for (partition, (start, end)) in dead.meant(body(&bytes)?).await? {
        if end > start {
            dead.forget(partition, end).await?;
            letters += (end - start).unsigned_abs();
        }
    }
    ok(Done { letters, stopped: Vec::new() })
}

/// A header's text.
fn header<'a>(record: &'a Record, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    let header = record.headers.iter().find(|(of, _)| of == name.as_bytes());
    Some(String::from_utf8_lossy(header?.1.as_deref()?))
}

fn letter(partition: u32, record: &Record) -> Letter {
    Letter {
        partition,
        offset: record.offset,
        time_ms: record.time_ms,
        cause: header(record, "cause").unwrap_or_default().into_owned(),
        attempt: header(record, "attempt").and_then(|text| text.parse().ok()).unwrap_or(0),
        about: about(record),
        timer_ms: header(record, "timer").and_then(|text| text.parse().ok()),
        key: Shown::of(record.key.as_deref()),
        value: Shown::of(record.value.as_deref()),
    }
}

/// The event that a letter is about.
fn about(record: &Record) -> Option<About> {
    Some(About {
        stream: header(record, "stream")?.into_owned(),
        partition: header(record, "partition")?.parse().ok()?,
        offset: header(record, "offset")?.parse().ok()?,
    })
}
