//! LeaveGroup (13): consumers leave, one before version 3, any number from then on.

use super::wire::{Flaw, Reader, Writer};
use super::{Ask, KafkaError};
use model::group::{self, Refusal, Said};

/// From this version on consumers leave in numbers, each with an answer of its own.
const MANY_MIN: i16 = 3;

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Ask, Flaw> {
    let group = reader.text("a group's name")?;
    let leaving = if version < MANY_MIN {
        vec![(reader.text("a member's id")?, None)]
    } else {
        reader.array("the list of members", 4, |reader| {
            let (id, instance) = (reader.text("a member's id")?, reader.text_opt()?);
            if version >= 5 {
                let _reason = reader.text_opt()?;
            }
            reader.tags()?;
            Ok((id, instance))
        })?
    };
    reader.tags()?;
    Ok(Ask::Group { group, ask: group::Ask::Leave(leaving) })
}

pub(super) fn encode(writer: &mut Writer, version: i16, reply: &Result<Said, Refusal>) {
    if version >= 1 {
        writer.i32(0);
    }
    let (mut error, left) = match reply {
        Ok(Said::Left(left)) => (None, &left[..]),
        Ok(_) => (Some(KafkaError::Unknown), &[][..]),
        Err(refusal) => (Some(refusal.into()), &[][..]),
    };
    if version < MANY_MIN {
        let alone = left.first().and_then(|(_, _, result)| result.as_ref().err());
        error = error.or(alone.map(KafkaError::from));
    }
    writer.error(error);
    if version >= MANY_MIN {
        writer.count(left.len());
        for (id, instance, result) in left {
            writer.text(id);
            writer.text_opt(instance.as_deref());
            writer.error(result.as_ref().err().map(KafkaError::from));
            writer.tags();
        }
    }
    writer.tags();
}
