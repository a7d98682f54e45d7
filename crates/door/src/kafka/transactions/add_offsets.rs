//! AddOffsetsToTxn (25): a group whose offsets a transaction is going to commit.

use crate::kafka::wire::{Flaw, Reader};

/// The question; it is answered as the end of a transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddOffsets {
    pub id: String,
    pub producer: i64,
    pub epoch: i16,
    pub group: String,
}

pub(super) fn decode(reader: &mut Reader) -> Result<AddOffsets, Flaw> {
    let id = reader.text("a transactional id")?;
    let (producer, epoch) = (reader.i64()?, reader.i16()?);
    let group = reader.text("a group's name")?;
    reader.tags()?;
    Ok(AddOffsets { id, producer, epoch, group })
}
