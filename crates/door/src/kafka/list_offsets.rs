//! ListOffsets (2): the first and the next offset of a partition, and offsets by time.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOffsets {
    /// `read_committed`: the next offset is the last stable one.
    pub committed: bool,
    pub parts: Vec<OffsetPart>,
}

/// What is asked of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetPart {
    pub stream: Arc<str>,
    pub partition: i32,
    /// The leader epoch the client believes in.
    pub epoch: Option<i32>,
    /// Or the answer for this part.
    pub place: Result<Place, KafkaError>,
}

/// Which offset is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    First,
    /// The offset the next event will have.
    Next,
    /// The event with the greatest time.
    MaxTime,
    /// The first event at or after this time, ms; looked up inside the batch.
    Time(i64),
}

/// The answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundPart {
    pub stream: Arc<str>,
    pub partition: i32,
    pub result: Result<Found, KafkaError>,
}

/// An offset and the time of its event. `Found::NOTHING` when no event is late enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub offset: i64,
    /// -1 for first and next.
    pub time_ms: i64,
    /// The epoch of the offset's batch, or -1.
    pub epoch: i32,
}

impl Found {
    pub const NOTHING: Self = Self { offset: -1, time_ms: -1, epoch: -1 };
}

impl ListOffsets {
    pub(super) fn refuse(self, error: KafkaError) -> Vec<FoundPart> {
        self.parts.into_iter().map(|part| part.refuse(error)).collect()
    }
}

impl OffsetPart {
    /// The refusal of the place itself if there is one, else this.
    pub fn refuse(self, error: KafkaError) -> FoundPart {
        let result = Err(self.place.err().unwrap_or(error));
        FoundPart { stream: self.stream, partition: self.partition, result }
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<ListOffsets, Flaw> {
    let _replica = reader.i32()?;
    let committed = version >= 2 && reader.i8()? == 1;
    let mut parts = Vec::new();
    let topics = reader.count(3)?.ok_or(Flaw::Null("the list of topics"))?;
    for _ in 0..topics {
        let stream = reader.name("a topic's name")?;
        let count = reader.count(12)?.ok_or(Flaw::Null("a topic's list of partitions"))?;
        for _ in 0..count {
            let partition = reader.i32()?;
            let epoch = if version >= 4 { reader.i32()? } else { -1 };
            let place = place(reader.i64()?, version);
            reader.tags()?;
            let epoch = Some(epoch).filter(|epoch| *epoch >= 0);
            parts.push(OffsetPart { stream: stream.clone(), partition, epoch, place });
        }
        reader.tags()?;
    }
    reader.tags()?;
    Ok(ListOffsets { committed, parts })
}

fn place(time_ms: i64, version: i16) -> Result<Place, KafkaError> {
    match time_ms {
        -2 => Ok(Place::First),
        -1 => Ok(Place::Next),
        -3 if version >= 7 => Ok(Place::MaxTime),
        0.. => Ok(Place::Time(time_ms)),
        _ => Err(KafkaError::UnsupportedVersion),
    }
}

pub(super) fn encode(writer: &mut Writer, version: i16, parts: &[FoundPart]) {
    if version >= 2 {
        writer.i32(0);
    }
    let runs = || parts.chunk_by(|a, b| a.stream == b.stream);
    writer.count(runs().count());
    for run in runs() {
        writer.text(&run[0].stream);
        writer.count(run.len());
        for part in run {
            let found = part.result.unwrap_or(Found::NOTHING);
            writer.i32(part.partition);
            writer.error(part.result.err());
            writer.i64(found.time_ms);
            writer.i64(found.offset);
            if version >= 4 {
                writer.i32(found.epoch);
            }
            writer.tags();
        }
        writer.tags();
    }
    writer.tags();
}
