//! OffsetForLeaderEpoch (23): where an epoch of a partition has ended; by it a client finds out whether what
//! it has read is still there.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is asked of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochPart {
    pub stream: Arc<str>,
    pub partition: i32,
    /// The leader epoch the client believes in.
    pub current: Option<i32>,
    /// The epoch whose end is asked for.
    pub epoch: i32,
}

/// The answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochEnd {
    pub stream: Arc<str>,
    pub partition: i32,
    /// The epoch, or the last one before it, and the offset after it; `None` if there is no such epoch.
    pub result: Result<Option<(i32, i64)>, KafkaError>,
}

impl EpochPart {
    pub fn refuse(self, error: KafkaError) -> EpochEnd {
        EpochEnd { stream: self.stream, partition: self.partition, result: Err(error) }
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Vec<EpochPart>, Flaw> {
    if version >= 3 {
        let _replica = reader.i32()?;
    }
    let parts = reader.parts(12, |reader, stream| {
        let partition = reader.i32()?;
        let current = Some(reader.i32()?).filter(|epoch| *epoch >= 0);
        let epoch = reader.i32()?;
        reader.tags()?;
        Ok(EpochPart { stream: stream.clone(), partition, current, epoch })
    })?;
    reader.tags()?;
    parts.ok_or(Flaw::Null("the list of topics"))
}

pub(super) fn encode(writer: &mut Writer, parts: &[EpochEnd]) {
    writer.i32(0);
    writer.parts(
        parts,
        |part| &part.stream,
        |writer, part| {
            let (epoch, offset) = part.result.ok().flatten().unwrap_or((-1, -1));
            writer.error(part.result.err());
            writer.i32(part.partition);
            writer.i32(epoch);
            writer.i64(offset);
        },
    );
    writer.tags();
}
