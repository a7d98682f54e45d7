//! Produce (0): batches to append. Their bytes stay as the client sent them.
//!
//! Every batch has been checked: lengths, checksum, format, counts, events unless they are
//! compressed, no control batch; of a transaction only with its id.

use super::wire::{Flaw, Reader, Writer};
use super::{Ask, KafkaError, Refused, Reply, events};
use crate::{BATCH_BYTES_LIMIT, TIME_MS};
use bytes::Bytes;
use model::Batch;
use model::batch::{self, Codec};
use std::sync::Arc;

/// The oldest version whose batches have today's format.
const VERSION_MIN: i16 = 3;
/// Bytes of a batch after decompression; more is a bomb.
const PLAIN_BYTES_MAX: usize = 64 << 20;
/// What all compressed batches of a request may come to: opening them takes the time of whoever serves the connection.
const PLAIN_REQUEST_BYTES: usize = 256 << 20;
/// Older clients cannot read zstd, so they may not write it either.
const ZSTD_VERSION_MIN: i16 = 7;
/// Batches of one partition in one request; clients send one.
const BATCHES_MAX: usize = 1_024;

/// The question.
#[derive(Clone, Debug)]
pub struct Produce {
    /// -1, 0 or 1. With 0 no reply is sent.
    pub acks: i16,
    pub timeout_ms: i32,
    pub transactional: Option<String>,
    pub parts: Vec<ProducePart>,
}

/// What is to be appended to one partition.
#[derive(Clone, Debug)]
pub struct ProducePart {
    pub stream: Arc<str>,
    pub partition: i32,
    /// At least one; or the answer for this part.
    pub batches: Result<Vec<Batch>, Refused>,
}

/// The answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducedPart {
    pub stream: Arc<str>,
    pub partition: i32,
    /// The partition's first offset, or -1. A producer that was forgotten goes on only if it is told this.
    pub start_offset: i64,
    /// The offset of its first event.
    pub result: Result<i64, Refused>,
}

impl Produce {
    pub(super) fn refuse(self, error: KafkaError) -> Vec<ProducedPart> {
        self.parts.into_iter().map(|part| part.refuse(error.into())).collect()
    }
}

impl ProducePart {
    /// The refusal of the batches themselves if there is one, else this.
    fn refuse(self, refused: Refused) -> ProducedPart {
        let result = Err(self.batches.err().unwrap_or(refused));
        ProducedPart { stream: self.stream, partition: self.partition, start_offset: -1, result }
    }
}

/// A decoded request, and whether the client waits for a reply.
pub(super) struct Decoded {
    pub acks: i16,
    pub ask: Ask,
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Decoded, Flaw> {
    let transactional = if version >= VERSION_MIN { reader.text_opt()? } else { None };
    let acks = reader.i16()?;
    let timeout_ms = reader.i32()?;
    let mut parts = Vec::new();
    let mut room = PLAIN_REQUEST_BYTES;
    let topics = reader.count(3)?.ok_or(Flaw::Null("the list of topics"))?;
    for _ in 0..topics {
        let stream = reader.name("a topic's name")?;
        let named = check_name(&stream);
        let count = reader.count(6)?.ok_or(Flaw::Null("a topic's list of partitions"))?;
        parts.reserve(count.min(BATCHES_MAX));
        for _ in 0..count {
            let partition = reader.i32()?;
            let bytes = reader.blob_opt()?;
            reader.tags()?;
            let batches =
                named.clone().and_then(|()| check(bytes, version, &transactional, &mut room));
            parts.push(ProducePart { stream: stream.clone(), partition, batches });
        }
        reader.tags()?;
    }
    reader.tags()?;
    let ask = Produce { acks, timeout_ms, transactional, parts };
    let ask = match acks {
        -1..=1 if version >= VERSION_MIN => Ask::Produce(ask),
        -1..=1 => Ask::Answered(Reply::Produce(ask.refuse(KafkaError::UnsupportedVersion))),
        _ => Ask::Answered(Reply::Produce(ask.refuse(KafkaError::InvalidAcks))),
    };
    Ok(Decoded { acks, ask })
}

fn check_name(name: &str) -> Result<(), Refused> {
    model::name::check(name).map_err(|e| Refused::new(KafkaError::InvalidName, e.to_string()))
}

/// The batches of one partition, each checked.
fn check(
    bytes: Option<Bytes>,
    version: i16,
    transactional: &Option<String>,
    room: &mut usize,
) -> Result<Vec<Batch>, Refused> {
    if version < VERSION_MIN {
        return Err(KafkaError::UnsupportedVersion.into());
    }
    let mut bytes = bytes.unwrap_or_default();
    if bytes.is_empty() {
        return Err(Refused::new(KafkaError::InvalidRecord, "there is no batch"));
    }
    let mut batches = Vec::with_capacity(1);
    while !bytes.is_empty() {
        let (batch, size) = Batch::first(&bytes).map_err(refused)?;
        check_batch(&batch, version, room)?;
        if batch.is_transactional() && (transactional.is_none() || batch.producer_id() < 0) {
            let text = "a batch of a transaction comes without its id";
            return Err(Refused::new(KafkaError::InvalidTransaction, text));
        }
        if batches.len() == BATCHES_MAX {
            return Err(Refused::new(KafkaError::InvalidRecord, "there are too many batches"));
        }
        batches.push(batch);
        bytes = bytes.slice(size..);
    }
    Ok(batches)
}

/// What a batch of a client must be beyond being well-formed.
fn check_batch(batch: &Batch, version: i16, room: &mut usize) -> Result<(), Refused> {
    let wrong = |error, text: &'static str| Err(Refused::new(error, text));
    // A stream may be set to take less: the gateway knows.
    if batch.size() > BATCH_BYTES_LIMIT {
        let text = format!("a batch has {} bytes, the limit is {BATCH_BYTES_LIMIT}", batch.size());
        return Err(Refused::new(KafkaError::MessageTooLarge, text));
    }
    if batch.is_control() {
        return wrong(KafkaError::InvalidRecord, "clients may not send control batches");
    }
    // Only compaction leaves holes; a client's delta would take offsets that no event has.
    if batch.last_offset_delta() != batch.count() - 1 {
        return wrong(KafkaError::InvalidRecord, "the offsets do not fit the number of events");
    }
    // Our own base offset replaces it; until then sums with it must not overflow.
    if !(0..=i64::MAX / 2).contains(&batch.base_offset()) {
        return wrong(KafkaError::InvalidRecord, "the base offset is out of range");
    }
    if batch.producer_id() >= 0 && (batch.base_sequence() < 0 || batch.producer_epoch() < 0) {
        return wrong(KafkaError::InvalidRecord, "a producer's epoch or sequence is negative");
    }
    let codec = batch.codec().map_err(refused)?;
    if codec == Codec::Zstd && version < ZSTD_VERSION_MIN {
        return wrong(KafkaError::UnsupportedCompression, "zstd needs Produce version 7");
    }
    // A batch that no reader can open would stop them all, so it is opened once before it is taken.
    let most = if codec == Codec::None { PLAIN_BYTES_MAX } else { PLAIN_BYTES_MAX.min(*room) };
    let plain = batch.plain(most);
    let spent = plain.as_ref().map_or(most, bytes::Bytes::len);
    if codec != Codec::None {
        *room = room.saturating_sub(spent);
    }
    let plain = plain.map_err(|error| match (codec, error) {
        (Codec::None, error) | (_, error @ batch::Error::Bomb(_)) => refused(error),
        (_, error) => Refused::new(KafkaError::CorruptMessage, error.to_string()),
    })?;
    let said = [batch.base_time_ms(), batch.max_time_ms()];
    if said.iter().any(|time_ms| !TIME_MS.contains(time_ms)) {
        return wrong(KafkaError::InvalidTimestamp, "a batch's time is before 1970 or after 9999");
    }
    events::check(&plain, batch.count(), batch.base_time_ms())
}

fn refused(error: batch::Error) -> Refused {
    let code = match error {
        batch::Error::Magic(_) | batch::Error::Control | batch::Error::Record(_) => {
            KafkaError::InvalidRecord
        }
        batch::Error::Compression(_) => KafkaError::UnsupportedCompression,
        batch::Error::Bomb(_) => KafkaError::MessageTooLarge,
        _ => KafkaError::CorruptMessage,
    };
    Refused::new(code, error.to_string())
}

pub(super) fn encode(writer: &mut Writer, version: i16, parts: &[ProducedPart]) {
    let runs = || parts.chunk_by(|a, b| a.stream == b.stream);
    writer.count(runs().count());
    for run in runs() {
        writer.text(&run[0].stream);
        writer.count(run.len());
        for part in run {
            encode_part(writer, version, part);
        }
        writer.tags();
    }
    if version >= 1 {
        writer.i32(0);
    }
    writer.tags();
}

fn encode_part(writer: &mut Writer, version: i16, part: &ProducedPart) {
    let refused = part.result.as_ref().err();
    writer.i32(part.partition);
    writer.error(refused.map(|r| r.error));
    writer.i64(*part.result.as_ref().unwrap_or(&-1));
    if version >= 2 {
        // The time of append: -1, since events keep the time their client gave them.
        writer.i64(-1);
    }
    if version >= 5 {
        writer.i64(part.start_offset);
    }
    if version >= 8 {
        writer.count(0);
        writer.text_opt(refused.and_then(Refused::text));
    }
    writer.tags();
}
