//! Transactions: the four APIs by which a producer says what belongs together, and how it ends.

mod add_offsets;
mod add_partitions;
mod end;
mod pend_offsets;

pub use add_offsets::AddOffsets;
pub use add_partitions::{AddPartitions, AddedPart};
pub use end::EndTransaction;
pub use pend_offsets::PendOffsets;

use super::wire::{Flaw, Reader, Writer};
use super::{CommittedPart, Head, KafkaError, versions};

/// What a transactional producer asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transact {
    AddPartitions(AddPartitions),
    AddOffsets(AddOffsets),
    PendOffsets(PendOffsets),
    End(EndTransaction),
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transacted {
    Added(Vec<AddedPart>),
    Offsets(Vec<CommittedPart>),
    Done(Result<(), KafkaError>),
}

impl Transact {
    pub fn refuse(self, error: KafkaError) -> Transacted {
        match self {
            Self::AddPartitions(ask) => Transacted::Added(ask.refuse(error)),
            Self::PendOffsets(ask) => Transacted::Offsets(ask.refuse(error)),
            Self::AddOffsets(_) | Self::End(_) => Transacted::Done(Err(error)),
        }
    }
}

pub(super) fn decode(reader: &mut Reader, head: &Head) -> Result<Transact, Flaw> {
    Ok(match head.api {
        versions::ADD_PARTITIONS => Transact::AddPartitions(add_partitions::decode(reader)?),
        versions::ADD_OFFSETS => Transact::AddOffsets(add_offsets::decode(reader)?),
        versions::PEND_OFFSETS => {
            Transact::PendOffsets(pend_offsets::decode(reader, head.version)?)
        }
        versions::END_TRANSACTION => Transact::End(end::decode(reader)?),
        other => unreachable!("API {other} is offered but has no decoder"),
    })
}

pub(super) fn encode(writer: &mut Writer, version: i16, reply: &Transacted) {
    match reply {
        Transacted::Added(parts) => add_partitions::encode(writer, version, parts),
        Transacted::Offsets(parts) => pend_offsets::encode(writer, parts),
        Transacted::Done(result) => end::encode(writer, version, *result),
    }
}
