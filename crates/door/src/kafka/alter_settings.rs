//! IncrementalAlterConfigs (44): some settings of a stream are changed, the others stay.

use super::settings::{Alteration, How};
use super::wire::{Flaw, Reader, Writer};
use super::{KafkaError, Refused, Resource};

/// The question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterSettings {
    pub resources: Vec<(Resource, Vec<Alteration>)>,
    /// Check only.
    pub validate_only: bool,
}

/// The answer about one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    pub resource: Resource,
    pub result: Result<(), Refused>,
}

impl AlterSettings {
    pub(super) fn refuse(self, error: KafkaError) -> Vec<Altered> {
        let refuse = |(resource, _)| Altered { resource, result: Err(error.into()) };
        self.resources.into_iter().map(refuse).collect()
    }
}

pub(super) fn decode(reader: &mut Reader) -> Result<AlterSettings, Flaw> {
    let resources = reader.array("the list of resources", 4, |reader| {
        let resource = Resource::decode(reader)?;
        let alterations = reader.array("the list of settings", 4, |reader| {
            let name = reader.text("a setting's name")?;
            let operation = reader.i8()?;
            let value = reader.text_opt()?;
            reader.tags()?;
            let how = match operation {
                0 => How::Set(value),
                1 => How::Clear,
                _ => How::List,
            };
            Ok(Alteration { name, how })
        })?;
        reader.tags()?;
        Ok((resource, alterations))
    })?;
    let validate_only = reader.bool()?;
    reader.tags()?;
    Ok(AlterSettings { resources, validate_only })
}

pub(super) fn encode(writer: &mut Writer, all: &[Altered]) {
    writer.i32(0);
    writer.count(all.len());
    for it in all {
        let refused = it.result.as_ref().err();
        writer.error(refused.map(|refused| refused.error));
        writer.text_opt(refused.and_then(Refused::text));
        it.resource.encode(writer);
        writer.tags();
    }
    writer.tags();
}
