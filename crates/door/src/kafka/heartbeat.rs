//! Heartbeat (12): a consumer's sign of life, answered with whether it must join anew.

use super::wire::{Flaw, Reader, Writer};
use super::{Ask, KafkaError};
use model::group::{self, Caller, Refusal, Said};

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Ask, Flaw> {
    let group = reader.text("a group's name")?;
    let generation = reader.i32()?;
    let consumer = reader.text("a member's id")?;
    let instance = if version >= 3 { reader.text_opt()? } else { None };
    reader.tags()?;
    let ask = group::Ask::Beat(Caller { generation, consumer, instance });
    Ok(Ask::Group { group, ask })
}

pub(super) fn encode(writer: &mut Writer, version: i16, reply: &Result<Said, Refusal>) {
    if version >= 1 {
        writer.i32(0);
    }
    writer.error(reply.as_ref().err().map(KafkaError::from));
    writer.tags();
}
