//! AddPartitionsToTxn (24): partitions that a transaction is going to write to.

use super::end::fenced;
use crate::kafka::KafkaError;
use crate::kafka::committed_offsets::Parts;
use crate::kafka::wire::{Flaw, Reader, Writer};
use std::sync::Arc;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPartitions {
    pub id: String,
    pub producer: i64,
    pub epoch: i16,
    pub parts: Parts,
}

/// The answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedPart {
    pub stream: Arc<str>,
    pub partition: i32,
    pub result: Result<(), KafkaError>,
}

impl AddPartitions {
    pub fn refuse(self, error: KafkaError) -> Vec<AddedPart> {
        let refuse = |(stream, partition)| AddedPart { stream, partition, result: Err(error) };
        self.parts.into_iter().map(refuse).collect()
    }
}

pub(super) fn decode(reader: &mut Reader) -> Result<AddPartitions, Flaw> {
    let id = reader.text("a transactional id")?;
    let (producer, epoch) = (reader.i64()?, reader.i16()?);
    let parts = reader.parts(4, |reader, stream| Ok((stream.clone(), reader.i32()?)))?;
    reader.tags()?;
    let parts = parts.ok_or(Flaw::Null("the list of topics"))?;
    Ok(AddPartitions { id, producer, epoch, parts })
}

pub(super) fn encode(writer: &mut Writer, version: i16, parts: &[AddedPart]) {
    writer.i32(0);
    writer.parts(
        parts,
        |part| &part.stream,
        |writer, part| {
            writer.i32(part.partition);
            writer.error(part.result.err().map(|error| fenced(error, version)));
        },
    );
    writer.tags();
}
