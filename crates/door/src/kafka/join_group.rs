//! JoinGroup (11): a consumer wants to be in the group's next generation.

use super::wire::{Flaw, Reader, Writer};
use super::{Ask, KafkaError};
use bytes::Bytes;
use model::group::{self, Join, Joined, Refusal, Said};

/// From this version on a new consumer comes back with the id it was given.
const COMES_BACK_MIN: i16 = 4;

pub(super) fn decode(reader: &mut Reader, version: i16, client: Option<&str>) -> Result<Ask, Flaw> {
    let group = reader.text("a group's name")?;
    let session_ms = reader.i32()?;
    let rebalance_ms = if version >= 1 { reader.i32()? } else { session_ms };
    let consumer = reader.text("a member's id")?;
    let instance = if version >= 5 { reader.text_opt()? } else { None };
    let kind = reader.text("a protocol type")?;
    let protocols = reader.array("the list of protocols", 3, |reader| {
        let name = reader.text("a protocol's name")?;
        let subscription = reader.blob_opt()?.unwrap_or_default();
        reader.tags()?;
        Ok((name, subscription))
    })?;
    if version >= 8 {
        let _reason = reader.text_opt()?;
    }
    reader.tags()?;
    let ask = group::Ask::Join(Join {
        consumer,
        instance,
        client: client.unwrap_or_default().to_owned(),
        // The gateway knows where the client is.
        host: String::new(),
        session_ms,
        rebalance_ms,
        kind,
        protocols,
        comes_back: version >= COMES_BACK_MIN,
        skips: version >= 9,
    });
    Ok(Ask::Group { group, ask })
}

pub(super) fn encode(writer: &mut Writer, version: i16, reply: &Result<Said, Refusal>) {
    if version >= 2 {
        writer.i32(0);
    }
    let none = Joined { generation: -1, ..Joined::default() };
    let (error, joined) = match reply {
        Ok(Said::Joined(joined)) => (None, joined.clone()),
        Ok(_) => (Some(KafkaError::Unknown), none),
        Err(Refusal::ComeBack(id)) => {
            (Some(KafkaError::ConsumerIdRequired), Joined { consumer: id.clone(), ..none })
        }
        Err(refusal) => (Some(refusal.into()), none),
    };
    writer.error(error);
    writer.i32(joined.generation);
    if version >= 7 {
        writer.text_opt(Some(&*joined.kind).filter(|_| error.is_none()));
        writer.text_opt(Some(&*joined.protocol).filter(|_| error.is_none()));
    } else {
        writer.text(&joined.protocol);
    }
    writer.text(&joined.leader);
    if version >= 9 {
        writer.bool(joined.skip);
    }
    writer.text(&joined.consumer);
    writer.count(joined.consumers.len());
    for (id, instance, subscription) in &joined.consumers {
        writer.text(id);
        if version >= 5 {
            writer.text_opt(instance.as_deref());
        }
        writer.blob(&[Bytes::clone(subscription)]);
        writer.tags();
    }
    writer.tags();
}
