//! SyncGroup (14): a consumer asks for its assignment; the leader brings everybody's.

use super::wire::{Flaw, Reader, Writer};
use super::{Ask, KafkaError};
use bytes::Bytes;
use model::group::{self, Caller, Refusal, Said, Sync};

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Ask, Flaw> {
    let group = reader.text("a group's name")?;
    let generation = reader.i32()?;
    let consumer = reader.text("a member's id")?;
    let instance = if version >= 3 { reader.text_opt()? } else { None };
    let (mut kind, mut protocol) = (None, None);
    if version >= 5 {
        (kind, protocol) = (reader.text_opt()?, reader.text_opt()?);
    }
    let assignments = reader.array("the list of assignments", 3, |reader| {
        let id = reader.text("a member's id")?;
        let assignment = reader.blob_opt()?.unwrap_or_default();
        reader.tags()?;
        Ok((id, assignment))
    })?;
    reader.tags()?;
    let caller = Caller { generation, consumer, instance };
    Ok(Ask::Group { group, ask: group::Ask::Sync(Sync { caller, kind, protocol, assignments }) })
}

pub(super) fn encode(writer: &mut Writer, version: i16, reply: &Result<Said, Refusal>) {
    if version >= 1 {
        writer.i32(0);
    }
    let none = (None, None, &Bytes::new());
    let (error, (kind, protocol, assignment)) = match reply {
        Ok(Said::Synced { kind, protocol, assignment }) => {
            (None, (Some(&**kind), Some(&**protocol), assignment))
        }
        Ok(_) => (Some(KafkaError::Unknown), none),
        Err(refusal) => (Some(refusal.into()), none),
    };
    writer.error(error);
    if version >= 5 {
        writer.text_opt(kind);
        writer.text_opt(protocol);
    }
    writer.blob(&[Bytes::clone(assignment)]);
    writer.tags();
}
