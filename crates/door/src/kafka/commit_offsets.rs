//! OffsetCommit (8): how far a group has come.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};
use model::group::{Caller, Committed};
use std::sync::Arc;

/// From this version on a client knows of epochs of members.
const EPOCHS_MIN: i16 = 9;
/// The longest metadata of one offset, as Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4_096;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffsets {
    pub group: String,
    pub caller: Caller,
    pub parts: Vec<CommitPart>,
}

/// What is committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPart {
    pub stream: Arc<str>,
    pub partition: i32,
    /// Or the answer for this part.
    pub committed: Result<Committed, KafkaError>,
}

/// The answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedPart {
    pub stream: Arc<str>,
    pub partition: i32,
    pub result: Result<(), KafkaError>,
}

impl CommitPart {
    /// Its own refusal, if it has one, goes before that of the whole.
    pub fn refuse(self, error: KafkaError) -> CommittedPart {
        let Self { stream, partition, committed } = self;
        CommittedPart { stream, partition, result: Err(committed.err().unwrap_or(error)) }
    }
}

impl CommitOffsets {
    pub fn refuse(self, error: KafkaError) -> Vec<CommittedPart> {
        self.parts.into_iter().map(|part| part.refuse(error)).collect()
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<CommitOffsets, Flaw> {
    let group = reader.text("a group's name")?;
    let generation = reader.i32()?;
    let consumer = reader.text("a member's id")?;
    let instance = if version >= 7 { reader.text_opt()? } else { None };
    if version <= 4 {
        let _retention_ms = reader.i64()?;
    }
    let parts = reader.parts(13, |reader, stream| {
        let partition = reader.i32()?;
        let committed = committed(reader, version >= 6)?;
        reader.tags()?;
        Ok(CommitPart { stream: stream.clone(), partition, committed })
    })?;
    reader.tags()?;
    let parts = parts.ok_or(Flaw::Null("the list of topics"))?;
    Ok(CommitOffsets { group, caller: Caller { generation, consumer, instance }, parts })
}

/// Offset, epoch and metadata, as they stand in two APIs.
pub(in crate::kafka) fn committed(
    reader: &mut Reader,
    has_epoch: bool,
) -> Result<Result<Committed, KafkaError>, Flaw> {
    let offset = reader.i64()?;
    let epoch = if has_epoch { reader.i32()? } else { -1 };
    let metadata = reader.text_opt()?.unwrap_or_default();
    if metadata.len() > METADATA_BYTES_MAX {
        return Ok(Err(KafkaError::MetadataTooLarge));
    }
    Ok(Ok(Committed { offset, epoch, metadata }))
}

pub(super) fn encode(writer: &mut Writer, version: i16, parts: &[CommittedPart]) {
    if version >= 3 {
        writer.i32(0);
    }
    let told = |error| match error {
        KafkaError::StaleConsumerEpoch if version < EPOCHS_MIN => KafkaError::IllegalGeneration,
        other => other,
    };
    writer.parts(
        parts,
        |part| &part.stream,
        |writer, part| {
            writer.i32(part.partition);
            writer.error(part.result.err().map(told));
        },
    );
    writer.tags();
}
