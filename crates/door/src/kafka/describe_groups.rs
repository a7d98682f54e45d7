//! DescribeGroups (15): who is in a group, and what each consumer was assigned.

use super::KafkaError;
use super::metadata::OPERATIONS_UNKNOWN;
use super::wire::{Flaw, Reader, Writer};
use model::group::Described;

/// The answer for one group, in the order of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    pub group: String,
    pub result: Result<Described, KafkaError>,
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Vec<String>, Flaw> {
    let groups = reader.array("the list of groups", 1, |reader| reader.text("a group's name"))?;
    if version >= 3 {
        let _operations = reader.bool()?;
    }
    reader.tags()?;
    Ok(groups)
}

pub(super) fn encode(writer: &mut Writer, version: i16, groups: &[DescribedGroup]) {
    if version >= 1 {
        writer.i32(0);
    }
    let none = Described::default();
    writer.count(groups.len());
    for group in groups {
        let described = group.result.as_ref().unwrap_or(&none);
        writer.error(group.result.as_ref().err().copied());
        writer.text(&group.group);
        writer.text(&described.state);
        writer.text(&described.kind);
        writer.text(&described.protocol);
        writer.count(described.consumers.len());
        for (id, consumer) in &described.consumers {
            writer.text(id);
            if version >= 4 {
                writer.text_opt(consumer.instance.as_deref());
            }
            writer.text(&consumer.client);
            writer.text(&consumer.host);
            writer.blob(std::slice::from_ref(&consumer.subscription));
            writer.blob(std::slice::from_ref(&consumer.assignment));
            writer.tags();
        }
        if version >= 3 {
            writer.i32(OPERATIONS_UNKNOWN);
        }
        writer.tags();
    }
    writer.tags();
}
