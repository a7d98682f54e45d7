//! InitProducerId (22): an id for an idempotent producer.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};

/// The question. An id that the producer had before is not taken up again: it gets a new one, whose
/// epoch is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitProducer {
    /// Set by transactional producers. No transaction is offered yet: answer
    /// [`KafkaError::InvalidTransaction`].
    pub transactional: Option<String>,
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<InitProducer, Flaw> {
    let transactional = reader.text_opt()?;
    let _timeout_ms = reader.i32()?;
    if version >= 3 {
        let _id = reader.i64()?;
        let _epoch = reader.i16()?;
    }
    reader.tags()?;
    Ok(InitProducer { transactional })
}

pub(super) fn encode(writer: &mut Writer, reply: Result<i64, KafkaError>) {
    writer.i32(0);
    writer.error(reply.err());
    writer.i64(reply.unwrap_or(-1));
    writer.i16(if reply.is_ok() { 0 } else { -1 });
    writer.tags();
}
