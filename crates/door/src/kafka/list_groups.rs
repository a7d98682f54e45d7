//! ListGroups (16): the groups that this peer coordinates; clients ask every peer.

use super::KafkaError;
use super::wire::{Flaw, Reader, Writer};
use serde::{Deserialize, Serialize};

/// From this version on states are asked for and told …
const STATES_MIN: i16 = 4;
/// … and from this on the ways in which groups share.
const TYPES_MIN: i16 = 5;

/// The question: the states and ways that are wanted, in Kafka's words; all if there is none.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListGroups {
    pub states: Vec<String>,
    pub types: Vec<String>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedGroup {
    pub group: String,
    /// What its clients are for, in their own word.
    pub kind: String,
    pub state: String,
    /// Its coordinator deals out.
    pub dealt: bool,
}

impl ListGroups {
    pub fn wants(&self, group: &ListedGroup) -> bool {
        let is_among = |word: &str, all: &[String]| {
            all.is_empty() || all.iter().any(|it| it.eq_ignore_ascii_case(word))
        };
        is_among(&group.state, &self.states) && is_among(group.way(), &self.types)
    }
}

impl ListedGroup {
    fn way(&self) -> &'static str {
        if self.dealt { "Consumer" } else { "Classic" }
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<ListGroups, Flaw> {
    let mut ask = ListGroups::default();
    if version >= STATES_MIN {
        ask.states = reader.array("the list of states", 1, |reader| reader.text("a state"))?;
    }
    if version >= TYPES_MIN {
        ask.types = reader.array("the list of types", 1, |reader| reader.text("a type"))?;
    }
    reader.tags()?;
    Ok(ask)
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
        if version >= STATES_MIN {
            writer.text(&group.state);
        }
        if version >= TYPES_MIN {
            writer.text(group.way());
        }
        writer.tags();
    }
    writer.tags();
}
