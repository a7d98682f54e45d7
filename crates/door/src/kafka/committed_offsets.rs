//! OffsetFetch (9): how far groups have come.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};
use model::group::{Caller, Committed};
use std::sync::Arc;

/// From this version on many groups are asked for at once.
const MANY_MIN: i16 = 8;
/// From this version on a consumer says with which epoch it asks.
const EPOCHS_MIN: i16 = 9;

/// Streams' names and partitions.
pub type Parts = Vec<(Arc<str>, i32)>;

/// The question; one group before version 8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffsets {
    pub groups: Vec<WantedOffsets>,
    /// Offsets that an open transaction may change are not told.
    pub stable: bool,
}

/// What is asked of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedOffsets {
    pub group: String,
    /// The consumer that asks, if it says who it is.
    pub caller: Option<Caller>,
    /// `None`: all partitions that have one.
    pub parts: Option<Parts>,
}

/// The answer for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffsets {
    pub group: String,
    /// Then every part says it as well: version 1 has no other place for it.
    pub error: Option<KafkaError>,
    pub parts: Vec<OffsetOf>,
}

/// One partition's offset; `None` where nothing is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetOf {
    pub stream: Arc<str>,
    pub partition: i32,
    pub result: Result<Option<Committed>, KafkaError>,
}

impl CommittedOffsets {
    pub(super) fn refuse(self, error: KafkaError) -> Vec<GroupOffsets> {
        self.groups.into_iter().map(|it| it.refuse(error)).collect()
    }
}

impl WantedOffsets {
    pub fn refuse(self, error: KafkaError) -> GroupOffsets {
        let refuse = |(stream, partition)| OffsetOf { stream, partition, result: Err(error) };
        let parts = self.parts.unwrap_or_default().into_iter().map(refuse).collect();
        GroupOffsets { group: self.group, error: Some(error), parts }
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<CommittedOffsets, Flaw> {
    let groups = if version < MANY_MIN {
        let group = reader.text("a group's name")?;
        vec![WantedOffsets { group, caller: None, parts: parts(reader)? }]
    } else {
        reader.array("the list of groups", 3, |reader| {
            let group = reader.text("a group's name")?;
            let caller = if version >= EPOCHS_MIN { caller(reader)? } else { None };
            let parts = parts(reader)?;
            reader.tags()?;
            Ok(WantedOffsets { group, caller, parts })
        })?
    };
    let stable = version >= 7 && reader.bool()?;
    reader.tags()?;
    Ok(CommittedOffsets { groups, stable })
}

/// Who belongs to no group says so with nothing and a number below 0.
fn caller(reader: &mut Reader) -> Result<Option<Caller>, Flaw> {
    let (consumer, generation) = (reader.text_opt()?.unwrap_or_default(), reader.i32()?);
    let is_one = !consumer.is_empty() || generation >= 0;
    Ok(is_one.then_some(Caller { generation, consumer, instance: None }))
}

/// Partitions are bare numbers here, without tags of their own.
fn parts(reader: &mut Reader) -> Result<Option<Parts>, Flaw> {
    reader.parts(4, |reader, stream| Ok((stream.clone(), reader.i32()?)))
}

pub(super) fn encode(writer: &mut Writer, version: i16, groups: &[GroupOffsets]) {
    if version >= 3 {
        writer.i32(0);
    }
    if version >= MANY_MIN {
        writer.count(groups.len());
        for group in groups {
            writer.text(&group.group);
            encode_parts(writer, version, group);
            writer.error(group.error);
            writer.tags();
        }
    } else if let Some(group) = groups.first() {
        encode_parts(writer, version, group);
        if version >= 2 {
            writer.error(group.error);
        }
    }
    writer.tags();
}

fn encode_parts(writer: &mut Writer, version: i16, group: &GroupOffsets) {
    let parts = if group.error.is_some() && version >= 2 { &[][..] } else { &group.parts };
    let none = Committed { offset: -1, epoch: -1, metadata: String::new() };
    writer.parts(
        parts,
        |part| &part.stream,
        |writer, part| {
            let committed = part.result.as_ref().ok().and_then(Option::as_ref).unwrap_or(&none);
            writer.i32(part.partition);
            writer.i64(committed.offset);
            if version >= 5 {
                writer.i32(committed.epoch);
            }
            writer.text_opt(Some(&committed.metadata));
            writer.error(part.result.as_ref().err().copied());
        },
    );
}
