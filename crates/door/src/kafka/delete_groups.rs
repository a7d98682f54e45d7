//! DeleteGroups (42): groups without consumers are forgotten, with their offsets.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};

/// The answer for one group, in the order of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedGroup {
    pub group: String,
    pub result: Result<(), KafkaError>,
}

pub(super) fn decode(reader: &mut Reader) -> Result<Vec<String>, Flaw> {
    let groups = reader.array("the list of groups", 1, |reader| reader.text("a group's name"))?;
    reader.tags()?;
    Ok(groups)
}

pub(super) fn encode(writer: &mut Writer, groups: &[DeletedGroup]) {
    writer.i32(0);
    writer.count(groups.len());
    for group in groups {
        writer.text(&group.group);
        writer.error(group.result.err());
        writer.tags();
    }
    writer.tags();
}
