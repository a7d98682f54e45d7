//! CreatePartitions (37): streams get more partitions.

use super::wire::{Flaw, Reader, Writer};
use super::{KafkaError, Refused};
use crate::PARTITIONS_MAX;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowStreams {
    pub streams: Vec<Growth>,
    /// Check only.
    pub validate_only: bool,
}

/// How many partitions a stream is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    pub name: String,
    /// Or the answer for this stream.
    pub partitions: Result<u32, Refused>,
}

/// The answer for one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    pub name: String,
    pub result: Result<(), Refused>,
}

impl GrowStreams {
    pub(super) fn refuse(self, error: KafkaError) -> Vec<Grown> {
        let refuse = |growth: Growth| Grown {
            name: growth.name,
            result: Err(growth.partitions.err().unwrap_or(error.into())),
        };
        self.streams.into_iter().map(refuse).collect()
    }
}

pub(super) fn decode(reader: &mut Reader) -> Result<GrowStreams, Flaw> {
    let streams = reader.array("the list of topics", 7, |reader| {
        let name = reader.text("a topic's name")?;
        let count = reader.i32()?;
        let assignments = reader.array_opt(4, |reader| {
            reader.array("the list of brokers", 4, Reader::i32)?;
            reader.tags()
        })?;
        reader.tags()?;
        Ok(Growth { name, partitions: check(count, assignments.is_some()) })
    })?;
    let _timeout_ms = reader.i32()?;
    let validate_only = reader.bool()?;
    reader.tags()?;
    Ok(GrowStreams { streams, validate_only })
}

fn check(count: i32, assigned: bool) -> Result<u32, Refused> {
    if assigned {
        let text = "the ring places replicas; leave the assignments out";
        return Err(Refused::new(KafkaError::InvalidAssignment, text));
    }
    match u32::try_from(count) {
        Ok(count @ 1..=PARTITIONS_MAX) => Ok(count),
        _ => {
            let text = format!("a stream has 1 to {PARTITIONS_MAX} partitions");
            Err(Refused::new(KafkaError::InvalidPartitions, text))
        }
    }
}

pub(super) fn encode(writer: &mut Writer, streams: &[Grown]) {
    writer.i32(0);
    writer.count(streams.len());
    for stream in streams {
        let refused = stream.result.as_ref().err();
        writer.text(&stream.name);
        writer.error(refused.map(|refused| refused.error));
        writer.text_opt(refused.and_then(Refused::text));
        writer.tags();
    }
    writer.tags();
}
