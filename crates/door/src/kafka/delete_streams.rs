//! DeleteTopics (20): streams are forgotten, by name or, from version 6 on, by id.

use super::wire::{Flaw, Reader, Writer};
use super::{KafkaError, Refused, Wanted};
use model::StreamId;

/// From this version on each stream has its id beside its name.
const BY_ID_MIN: i16 = 6;

/// The answer for one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedStream {
    pub name: Option<String>,
    pub id: StreamId,
    pub result: Result<(), Refused>,
}

impl Wanted {
    /// The answer to somebody who wants it gone.
    pub fn deleted(self, result: Result<(), Refused>) -> DeletedStream {
        match self {
            Self::Name(name) => DeletedStream { name: Some(name), id: StreamId(0), result },
            Self::Id(id) => DeletedStream { name: None, id, result },
            Self::BadName(name) => {
                // A name that cannot be is the name of no stream.
                let result = Err(KafkaError::UnknownStream.into());
                DeletedStream { name: Some(name), id: StreamId(0), result }
            }
        }
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Vec<Wanted>, Flaw> {
    let bytes_min = if version >= BY_ID_MIN { 18 } else { 1 };
    let wanted = reader.array("the list of topics", bytes_min, |reader| {
        if version < BY_ID_MIN {
            return Ok(Wanted::named(reader.text("a topic's name")?));
        }
        let name = reader.text_opt()?;
        let id = StreamId(reader.uuid()?);
        reader.tags()?;
        Ok(name.map_or(Wanted::Id(id), Wanted::named))
    })?;
    let _timeout_ms = reader.i32()?;
    reader.tags()?;
    Ok(wanted)
}

pub(super) fn encode(writer: &mut Writer, version: i16, streams: &[DeletedStream]) {
    if version >= 1 {
        writer.i32(0);
    }
    writer.count(streams.len());
    for stream in streams {
        let refused = stream.result.as_ref().err();
        if version >= BY_ID_MIN {
            writer.text_opt(stream.name.as_deref());
            writer.uuid(stream.id.0);
        } else {
            writer.text(stream.name.as_deref().unwrap_or_default());
        }
        writer.error(refused.map(|refused| refused.error));
        if version >= 5 {
            writer.text_opt(refused.and_then(Refused::text));
        }
        writer.tags();
    }
    writer.tags();
}
