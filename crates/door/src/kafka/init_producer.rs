//! InitProducerId (22): an id for an idempotent producer, or the next epoch of a transactional one.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};

/// Before this version clients know only an invalid epoch, and take it as being fenced.
const FENCED_VERSION_MIN: i16 = 4;

/// The question. An idempotent producer's earlier id is not taken up again: it gets a new one, whose epoch is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitProducer {
    /// Set by transactional producers.
    pub transactional: Option<String>,
    /// How long a transaction may be open.
    pub timeout_ms: i32,
    /// The id and epoch that the producer had, if it says so.
    pub before: Option<(i64, i16)>,
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<InitProducer, Flaw> {
    let transactional = reader.text_opt()?;
    let timeout_ms = reader.i32()?;
    let before = if version >= 3 { (reader.i64()?, reader.i16()?) } else { (-1, -1) };
    reader.tags()?;
    let before = Some(before).filter(|(id, _)| *id >= 0);
    Ok(InitProducer { transactional, timeout_ms, before })
}

pub(super) fn encode(writer: &mut Writer, version: i16, reply: Result<(i64, i16), KafkaError>) {
    writer.i32(0);
    writer.error(reply.err().map(|error| match error {
        KafkaError::ProducerFenced if version < FENCED_VERSION_MIN => {
            KafkaError::InvalidProducerEpoch
        }
        other => other,
    }));
    let (id, epoch) = reply.unwrap_or((-1, -1));
    writer.i64(id);
    writer.i16(epoch);
    writer.tags();
}
