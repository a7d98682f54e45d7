//! DeleteRecords (21): the events of partitions below an offset are forgotten.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is to be forgotten of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimPart {
    pub stream: Arc<str>,
    pub partition: i32,
    /// `None`: all there is.
    pub below: Option<i64>,
}

/// The answer for one partition: its first offset from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimmedPart {
    pub stream: Arc<str>,
    pub partition: i32,
    pub result: Result<i64, KafkaError>,
}

impl TrimPart {
    pub fn refuse(self, error: KafkaError) -> TrimmedPart {
        TrimmedPart { stream: self.stream, partition: self.partition, result: Err(error) }
    }
}

pub(super) fn decode(reader: &mut Reader) -> Result<Vec<TrimPart>, Flaw> {
    let parts = reader.parts(12, |reader, stream| {
        let partition = reader.i32()?;
        let offset = reader.i64()?;
        reader.tags()?;
        // Less than -1 is no offset: it is found to be out of range.
        let below = Some(offset).filter(|offset| *offset != -1);
        Ok(TrimPart { stream: stream.clone(), partition, below })
    })?;
    let _timeout_ms = reader.i32()?;
    reader.tags()?;
    parts.ok_or(Flaw::Null("the list of topics"))
}

pub(super) fn encode(writer: &mut Writer, parts: &[TrimmedPart]) {
    writer.i32(0);
    writer.parts(
        parts,
        |part| &part.stream,
        |writer, part| {
            writer.i32(part.partition);
            writer.i64(part.result.unwrap_or(-1));
            writer.error(part.result.err());
        },
    );
    writer.tags();
}
