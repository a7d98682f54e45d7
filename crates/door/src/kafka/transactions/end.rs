//! EndTxn (26): a transaction ends, one way or the other.

use crate::kafka::KafkaError;
use crate::kafka::wire::{Flaw, Reader, Writer};

/// Before this version clients know only an invalid epoch, and take it as being fenced.
const FENCED_VERSION_MIN: i16 = 2;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndTransaction {
    pub id: String,
    pub producer: i64,
    pub epoch: i16,
    pub commit: bool,
}

pub(super) fn decode(reader: &mut Reader) -> Result<EndTransaction, Flaw> {
    let id = reader.text("a transactional id")?;
    let (producer, epoch) = (reader.i64()?, reader.i16()?);
    let commit = reader.bool()?;
    reader.tags()?;
    Ok(EndTransaction { id, producer, epoch, commit })
}

/// Also the answer to AddOffsetsToTxn.
pub(super) fn encode(writer: &mut Writer, version: i16, result: Result<(), KafkaError>) {
    writer.i32(0);
    writer.error(result.err().map(|error| fenced(error, version)));
    writer.tags();
}

/// Being fenced in the words of a version.
pub(super) fn fenced(error: KafkaError, version: i16) -> KafkaError {
    match error {
        KafkaError::ProducerFenced if version < FENCED_VERSION_MIN => {
            KafkaError::InvalidProducerEpoch
        }
        other => other,
    }
}
