//! Fetch (1): batches from an offset on. Streams are named, or, from version 13 on, asked for by id.
//! Each fetch is full: the reply's session id is 0, so
//! clients never send a difference to an earlier one.

use super::wire::{Flaw, Reader, Writer};
use super::{Ask, KafkaError, Reply};
use bytes::Bytes;
use model::StreamId;
use model::transaction::Aborted;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The first version that knows streams by id only.
const IDS_VERSION_MIN: i16 = 13;

/// The question. Answer when `min_bytes` are there or `max_wait_ms` have passed. The first batch
/// comes whole even if it is larger than a limit, or the client would stand still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    pub max_wait_ms: u32,
    pub min_bytes: u32,
    pub max_bytes: u32,
    /// Only events below the last stable offset (`read_committed`).
    pub committed: bool,
    pub parts: Vec<FetchPart>,
}

/// A stream, as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    Name(Arc<str>),
    Id(StreamId),
}

/// What is asked of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchPart {
    pub stream: Which,
    pub partition: i32,
    pub offset: i64,
    pub max_bytes: u32,
    /// The leader epoch the client believes in.
    pub epoch: Option<i32>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FetchReply {
    /// Refuses the whole request.
    pub error: Option<KafkaError>,
    pub parts: Vec<FetchedPart>,
}

/// The answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedPart {
    pub stream: Which,
    pub partition: i32,
    pub result: Result<Fetched, KafkaError>,
}

/// Batches as they are stored, in order, and the partition's marks.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fetched {
    /// The offset after the last committed event.
    pub high: i64,
    /// No transaction below it is open.
    pub stable: i64,
    /// The first offset that is kept.
    pub start: i64,
    /// The transactions that were given up among the batches, for who reads only committed events.
    pub aborted: Vec<Aborted>,
    pub batches: Vec<Bytes>,
}

impl Fetch {
    pub(super) fn refuse(self, error: KafkaError) -> FetchReply {
        let parts = self.parts.into_iter().map(|part| part.refuse(error));
        FetchReply { error: None, parts: parts.collect() }
    }
}

impl FetchPart {
    pub fn refuse(self, error: KafkaError) -> FetchedPart {
        FetchedPart { stream: self.stream, partition: self.partition, result: Err(error) }
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Ask, Flaw> {
    let _replica = reader.i32()?;
    let max_wait_ms = not_negative(reader.i32()?);
    let min_bytes = not_negative(reader.i32()?);
    let max_bytes = not_negative(reader.i32()?);
    let committed = reader.i8()? == 1;
    let session_epoch = if version >= 7 {
        let _session = reader.i32()?;
        reader.i32()?
    } else {
        -1
    };
    let mut parts = Vec::new();
    let topics = reader.count(3)?.ok_or(Flaw::Null("the list of topics"))?;
    for _ in 0..topics {
        let stream = decode_which(reader, version)?;
        let count = reader.count(16)?.ok_or(Flaw::Null("a topic's list of partitions"))?;
        for _ in 0..count {
            parts.push(decode_part(reader, version, &stream)?);
        }
        reader.tags()?;
    }
    if version >= 7 {
        // Partitions to leave out of a session that we do not keep.
        reader.array("the list of forgotten topics", 3, |reader| {
            decode_which(reader, version)?;
            reader.array("a topic's list of partitions", 4, Reader::i32)?;
            reader.tags()
        })?;
    }
    if version >= 11 {
        let _rack = reader.text_opt()?;
    }
    reader.tags()?;
    if session_epoch > 0 {
        let error = Some(KafkaError::UnknownFetchSession);
        return Ok(Ask::Answered(Reply::Fetch(FetchReply { error, parts: Vec::new() })));
    }
    Ok(Ask::Fetch(Fetch { max_wait_ms, min_bytes, max_bytes, committed, parts }))
}

fn decode_which(reader: &mut Reader, version: i16) -> Result<Which, Flaw> {
    Ok(match version {
        ..IDS_VERSION_MIN => Which::Name(reader.name("a topic's name")?),
        _ => Which::Id(StreamId(reader.uuid()?)),
    })
}

fn decode_part(reader: &mut Reader, version: i16, stream: &Which) -> Result<FetchPart, Flaw> {
    let partition = reader.i32()?;
    let epoch = if version >= 9 { reader.i32()? } else { -1 };
    let offset = reader.i64()?;
    if version >= 12 {
        let _last_fetched_epoch = reader.i32()?;
    }
    if version >= 5 {
        let _start = reader.i64()?;
    }
    let max_bytes = not_negative(reader.i32()?);
    reader.tags()?;
    let epoch = Some(epoch).filter(|epoch| *epoch >= 0);
    Ok(FetchPart { stream: stream.clone(), partition, offset, max_bytes, epoch })
}

fn not_negative(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

pub(super) fn size_hint(part: &FetchedPart) -> usize {
    let bytes = part.result.as_ref().map_or(0, |r| r.batches.iter().map(Bytes::len).sum());
    let name = if let Which::Name(name) = &part.stream { name.len() } else { 16 };
    64 + name + bytes
}

pub(super) fn encode(writer: &mut Writer, version: i16, reply: &FetchReply) {
    writer.i32(0);
    if version >= 7 {
        writer.error(reply.error);
        writer.i32(0);
    }
    let runs = || reply.parts.chunk_by(|a, b| a.stream == b.stream);
    writer.count(runs().count());
    for run in runs() {
        match &run[0].stream {
            Which::Name(name) => writer.text(name),
            Which::Id(id) => writer.uuid(id.0),
        }
        writer.count(run.len());
        for part in run {
            encode_part(writer, version, part);
        }
        writer.tags();
    }
    writer.tags();
}

fn encode_part(writer: &mut Writer, version: i16, part: &FetchedPart) {
    let none = Fetched { high: -1, stable: -1, start: -1, ..Fetched::default() };
    let fetched = part.result.as_ref().unwrap_or(&none);
    writer.i32(part.partition);
    writer.error(part.result.as_ref().err().copied());
    writer.i64(fetched.high);
    writer.i64(fetched.stable);
    if version >= 5 {
        writer.i64(fetched.start);
    }
    match fetched.aborted.is_empty() {
        true => writer.null_array(),
        false => {
            writer.count(fetched.aborted.len());
            for aborted in &fetched.aborted {
                writer.i64(aborted.producer);
                writer.i64(aborted.first);
                writer.tags();
            }
        }
    }
    if version >= 11 {
        // The replica to read from: the leader.
        writer.i32(-1);
    }
    writer.blob(&fetched.batches);
    writer.tags();
}
