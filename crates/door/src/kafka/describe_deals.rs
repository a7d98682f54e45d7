//! ConsumerGroupDescribe (69): who is in a group whose coordinator deals, what each holds and is to hold.

use super::KafkaError;
use super::metadata::OPERATIONS_UNKNOWN;
use super::wire::{Flaw, Reader, Writer};
use model::StreamId;
use model::deal::{Consumer, Described, Hand};
use std::collections::BTreeMap;
use std::sync::Arc;

/// From this version on it is told in which way each consumer shares: all in this one.
const KIND_MIN: i16 = 1;

/// The names of the streams that somebody holds.
pub type Names = BTreeMap<StreamId, Arc<str>>;

/// The answer for one group, in the order of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedDeal {
    pub group: String,
    pub result: Result<(Described, Names), KafkaError>,
}

pub(super) fn decode(reader: &mut Reader) -> Result<Vec<String>, Flaw> {
    let groups = reader.array("the list of groups", 1, |reader| reader.text("a group's name"))?;
    let _operations = reader.bool()?;
    reader.tags()?;
    Ok(groups)
}

pub(super) fn encode(writer: &mut Writer, version: i16, groups: &[DescribedDeal]) {
    let none = (Described::default(), Names::new());
    writer.i32(0);
    writer.count(groups.len());
    for group in groups {
        let (described, names) = group.result.as_ref().unwrap_or(&none);
        let error = group.result.as_ref().err().copied();
        let round = &described.deal.round;
        writer.error(error);
        writer.text_opt(error.and_then(why));
        writer.text(&group.group);
        writer.text(&described.state);
        writer.i32(round.epoch);
        writer.i32(round.dealt);
        writer.text(&round.assignor);
        writer.count(described.deal.consumers.len());
        for (id, consumer) in &described.deal.consumers {
            encode_consumer(writer, version, (id, consumer), names);
        }
        writer.i32(OPERATIONS_UNKNOWN);
        writer.tags();
    }
    writer.tags();
}

fn encode_consumer(
    writer: &mut Writer,
    version: i16,
    (id, consumer): (&str, &Consumer),
    names: &Names,
) {
    writer.text(id);
    writer.text_opt(consumer.instance.as_deref());
    writer.text_opt(consumer.rack.as_deref());
    writer.i32(consumer.epoch);
    writer.text(&consumer.client);
    writer.text(&consumer.host);
    writer.count(consumer.names.len());
    consumer.names.iter().for_each(|name| writer.text(name));
    writer.text_opt(consumer.pattern.as_deref());
    for hand in [&consumer.held, &consumer.target] {
        encode_hand(writer, hand, names);
    }
    if version >= KIND_MIN {
        writer.i8(1);
    }
    writer.tags();
}

fn encode_hand(writer: &mut Writer, hand: &Hand, names: &Names) {
    let parts: Vec<_> = hand.iter().collect();
    // A stream that is gone has no name any more.
    let streams = || {
        let runs = parts.chunk_by(|a, b| a.stream == b.stream);
        runs.filter_map(|run| Some((run, names.get(&run[0].stream)?)))
    };
    writer.count(streams().count());
    for (parts, name) in streams() {
        writer.uuid(parts[0].stream.0);
        writer.text(name);
        writer.count(parts.len());
        parts.iter().for_each(|it| writer.i32(it.partition as i32));
        writer.tags();
    }
    writer.tags();
}

fn why(error: KafkaError) -> Option<&'static str> {
    match error {
        KafkaError::GroupNotFound => {
            Some("there is no such group, or it uses the classic protocol")
        }
        _ => None,
    }
}
