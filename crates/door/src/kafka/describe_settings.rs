//! DescribeConfigs (32): how streams and peers are set.

use super::settings::Shown;
use super::wire::{Flaw, Reader, Writer};
use super::{KafkaError, Refused, Resource};

/// Where a value comes from: somebody set it, it stands in a peer's own settings, it is usual.
const SET: i8 = 1;
const OF_PEER: i8 = 4;
const USUAL: i8 = 5;

/// What is asked about one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSettings {
    pub resource: Resource,
    /// `None`: all settings.
    pub names: Option<Vec<String>>,
}

/// The answer about one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsOf {
    pub resource: Resource,
    pub result: Result<Vec<Shown>, Refused>,
}

impl WantedSettings {
    pub(super) fn refuse(self, error: KafkaError) -> SettingsOf {
        SettingsOf { resource: self.resource, result: Err(error.into()) }
    }

    /// The answer with those that were asked for.
    pub fn answer(self, result: Result<Vec<Shown>, Refused>) -> SettingsOf {
        let wanted = |shown: &Shown| match &self.names {
            None => true,
            Some(names) => names.iter().any(|name| name == shown.name),
        };
        let result = result.map(|all| all.into_iter().filter(wanted).collect());
        SettingsOf { resource: self.resource, result }
    }
}

pub(super) fn decode(reader: &mut Reader, version: i16) -> Result<Vec<WantedSettings>, Flaw> {
    let wanted = reader.array("the list of resources", 4, |reader| {
        let resource = Resource::decode(reader)?;
        let names = reader.array_opt(1, |reader| reader.text("a setting's name"))?;
        reader.tags()?;
        Ok(WantedSettings { resource, names })
    })?;
    let _synonyms = reader.bool()?;
    if version >= 3 {
        let _documentation = reader.bool()?;
    }
    reader.tags()?;
    Ok(wanted)
}

pub(super) fn encode(writer: &mut Writer, version: i16, all: &[SettingsOf]) {
    writer.i32(0);
    writer.count(all.len());
    for it in all {
        let refused = it.result.as_ref().err();
        writer.error(refused.map(|refused| refused.error));
        writer.text_opt(refused.and_then(Refused::text));
        it.resource.encode(writer);
        let settings = it.result.as_deref().unwrap_or_default();
        writer.count(settings.len());
        for setting in settings {
            encode_setting(writer, version, setting, matches!(it.resource, Resource::Peer(_)));
        }
        writer.tags();
    }
    writer.tags();
}

fn encode_setting(writer: &mut Writer, version: i16, setting: &Shown, of_peer: bool) {
    writer.text(setting.name);
    writer.text_opt(Some(&setting.value));
    writer.bool(setting.fixed);
    writer.i8(match setting.usual {
        true if of_peer => OF_PEER,
        true => USUAL,
        false => SET,
    });
    // Nothing here is a secret, and no setting has another name.
    writer.bool(false);
    writer.count(0);
    if version >= 3 {
        writer.i8(setting.kind);
        writer.text_opt(Some(setting.text));
    }
    writer.tags();
}
