//! CreateTopics (19): new streams.

use super::wire::{Flaw, Reader, Writer};
use super::{KafkaError, Refused, settings};
use crate::PARTITIONS_MAX;
use model::{Settings, StreamId};
use std::collections::BTreeSet;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateStreams {
    pub streams: Vec<NewStream>,
    pub timeout_ms: i32,
    /// Check only.
    pub validate_only: bool,
}

/// A stream to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStream {
    pub name: String,
    /// Or the answer for this stream.
    pub spec: Result<StreamSpec, Refused>,
}

/// What a stream is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// `None`: as many as usual.
    pub partitions: Option<u32>,
    pub settings: Settings,
}

/// The answer for one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedStream {
    pub name: String,
    pub result: Result<Created, Refused>,
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    pub id: StreamId,
    pub partitions: u32,
    pub replication: u8,
}

impl CreateStreams {
    pub(super) fn refuse(self, error: KafkaError) -> Vec<CreatedStream> {
        let refuse = |stream: NewStream| CreatedStream {
            name: stream.name,
            result: Err(stream.spec.err().unwrap_or(error.into())),
        };
        self.streams.into_iter().map(refuse).collect()
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<CreateStreams, Flaw> {
    let mut streams = reader.array("the list of topics", 10, decode_stream)?;
    let timeout_ms = reader.i32()?;
    let validate_only = version >= 1 && reader.bool()?;
    reader.tags()?;
    let mut seen = BTreeSet::new();
    for stream in &mut streams {
        if !seen.insert(stream.name.clone()) {
            let text = "the request has this name more than once";
            stream.spec = Err(Refused::new(KafkaError::InvalidRequest, text));
        }
    }
    Ok(CreateStreams { streams, timeout_ms, validate_only })
}

fn decode_stream(reader: &mut Reader) -> Result<NewStream, Flaw> {
    let name = reader.text("a topic's name")?;
    let partitions = reader.i32()?;
    let replication = reader.i16()?;
    let assignments = reader.array("the list of assignments", 6, |reader| {
        reader.i32()?;
        reader.array("the list of brokers", 4, Reader::i32)?;
        reader.tags()
    })?;
    let settings = reader.array_opt(3, |reader| {
        let setting = (reader.text("a setting's name")?, reader.text_opt()?);
        reader.tags()?;
        Ok(setting)
    })?;
    reader.tags()?;
    let spec = model::name::check(&name)
        .map_err(|e| Refused::new(KafkaError::InvalidName, e.to_string()))
        .and_then(|()| check_shape(partitions, replication, assignments.len()))
        .and_then(|partitions| {
            let settings = check_settings(&settings.unwrap_or_default())?;
            Ok(StreamSpec { partitions, settings })
        });
    Ok(NewStream { name, spec })
}

fn check_shape(partitions: i32, replication: i16, assigned: usize) -> Result<Option<u32>, Refused> {
    if assigned > 0 {
        let text = "the ring places replicas; leave the assignments out";
        return Err(Refused::new(KafkaError::InvalidAssignment, text));
    }
    if replication != -1 && replication < 1 {
        let text = "the mesh's replication applies; ask for -1";
        return Err(Refused::new(KafkaError::InvalidReplication, text));
    }
    match partitions {
        -1 => Ok(None),
        1.. if partitions as u32 <= PARTITIONS_MAX => Ok(Some(partitions as u32)),
        _ => {
            let text = format!("a stream has 1 to {PARTITIONS_MAX} partitions");
            Err(Refused::new(KafkaError::InvalidPartitions, text))
        }
    }
}

fn check_settings(given: &[(String, Option<String>)]) -> Result<Settings, Refused> {
    let mut settings = Settings::default();
    for (name, value) in given {
        settings::set(&mut settings, name, value.as_deref())?;
    }
    Ok(settings)
}

pub(super) fn encode(writer: &mut Writer, version: i16, streams: &[CreatedStream]) {
    if version >= 2 {
        writer.i32(0);
    }
    writer.count(streams.len());
    for stream in streams {
        encode_stream(writer, version, stream);
    }
    writer.tags();
}

fn encode_stream(writer: &mut Writer, version: i16, stream: &CreatedStream) {
    let refused = stream.result.as_ref().err();
    let created = stream.result.as_ref().ok();
    writer.text(&stream.name);
    if version >= 7 {
        writer.uuid(created.map_or(0, |c| c.id.0));
    }
    writer.error(refused.map(|r| r.error));
    if version >= 1 {
        writer.text_opt(refused.and_then(Refused::text));
    }
    if version >= 5 {
        writer.i32(created.map_or(-1, |c| c.partitions as i32));
        writer.i16(created.map_or(-1, |c| i16::from(c.replication)));
        // An empty list, never null: the Java client does not survive null.
        writer.count(0);
    }
    writer.tags();
}
