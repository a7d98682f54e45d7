//! TxnOffsetCommit (28): offsets of a group that count once a transaction is committed. Answered as OffsetCommit is.

use crate::kafka::commit_offsets::{CommitPart, CommittedPart};
use crate::kafka::wire::{Flaw, Reader, Writer};
use crate::kafka::{KafkaError, commit_offsets};
use model::group::Caller;

/// From this version on the producer says which consumer it works for.
const CALLER_VERSION_MIN: i16 = 3;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendOffsets {
    pub id: String,
    pub group: String,
    pub producer: i64,
    pub epoch: i16,
    /// Negative generation and empty id when it does not say.
    pub caller: Caller,
    pub parts: Vec<CommitPart>,
}

impl PendOffsets {
    pub fn refuse(self, error: KafkaError) -> Vec<CommittedPart> {
        self.parts.into_iter().map(|part| part.refuse(error)).collect()
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<PendOffsets, Flaw> {
    let id = reader.text("a transactional id")?;
    let group = reader.text("a group's name")?;
    let (producer, epoch) = (reader.i64()?, reader.i16()?);
    let mut caller = Caller { generation: -1, ..Caller::default() };
    if version >= CALLER_VERSION_MIN {
        caller.generation = reader.i32()?;
        caller.consumer = reader.text("a member's id")?;
        caller.instance = reader.text_opt()?;
    }
    let parts = reader.parts(14, |reader, stream| {
        let partition = reader.i32()?;
        let committed = commit_offsets::committed(reader, version >= 2)?;
        reader.tags()?;
        Ok(CommitPart { stream: stream.clone(), partition, committed })
    })?;
    reader.tags()?;
    let parts = parts.ok_or(Flaw::Null("the list of topics"))?;
    Ok(PendOffsets { id, group, producer, epoch, caller, parts })
}

pub(super) fn encode(writer: &mut Writer, parts: &[CommittedPart]) {
    writer.i32(0);
    writer.parts(
        parts,
        |part| &part.stream,
        |writer, part| {
            writer.i32(part.partition);
            writer.error(part.result.err());
        },
    );
    writer.tags();
}
