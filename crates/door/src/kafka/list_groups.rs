//! ListGroups (16): the groups that this peer coordinates; clients ask every peer.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};
use serde::{Deserialize, Serialize};

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedGroup {
    pub group: String,
    /// What its clients are for, in their own word.
    pub kind: String,
    pub state: String,
}

/// The question: the states that are wanted, in Kafka's words; all if there is none.
pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Vec<String>, Flaw> {
    let states = match version {
        4.. => reader.array("the list of states", 1, |reader| reader.text("a state"))?,
        _ => Vec::new(),
    };
    reader.tags()?;
    Ok(states)
}

pub(super) fn encode(
    writer: &mut Writer,
    version: i16,
    reply: &Result<Vec<ListedGroup>, KafkaError>,
) {
    if version >= 1 {
        writer.i32(0);
    }
    writer.error(reply.as_ref().err().copied());
    let groups = reply.as_deref().unwrap_or_default();
    writer.count(groups.len());
    for group in groups {
        writer.text(&group.group);
        writer.text(&group.kind);
        if version >= 4 {
            writer.text(&group.state);
        }
        writer.tags();
    }
    writer.tags();
}
