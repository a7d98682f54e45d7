//! How streams are made, grow, are set and go.

use super::refused;
use crate::limits::{LAYOUTS_MAX, PARTITIONS_MAX, STREAMS_MAX};
use model::catalogue::{Catalogue, Changed, Stream};
use model::settings::Settings;
use model::{StreamId, name};

/// A stream to make; its id is drawn by the proposer.
pub struct New {
    pub id: StreamId,
    pub name: String,
    pub partitions: u32,
    pub settings: Settings,
}

pub fn create(catalogue: &mut Catalogue, index: u64, new: New, most: u32) -> Changed {
    let New { id, name, partitions, settings } = new;
    if let Err(why) = name::check(&name) {
        return refused("SH0002", why.to_string());
    }
    if partitions == 0 || partitions > PARTITIONS_MAX {
        return refused("SH0001", format!("a stream has 1 to {PARTITIONS_MAX} partitions"));
    }
    if let Some(there) = catalogue.stream(&name) {
        let same = settings == Settings::default() || settings == there.settings;
        if there.partitions == partitions && there.written_by.is_none() && same {
            // The same wish once more has its first answer.
            return Changed::Stream { id: there.id, created: there.id == id };
        }
        return refused("SH0302", format!("{name} has {} partitions", there.partitions));
    }
    if catalogue.streams.contains_key(&id) {
        return refused("SH0302", "the stream id is taken");
    }
    if catalogue.streams.len() >= STREAMS_MAX {
        return refused("SH0503", format!("a mesh has at most {STREAMS_MAX} streams"));
    }
    if let Some(many) = too_many(catalogue, partitions, most) {
        return many;
    }
    let (layouts, placement, written_by) = (Vec::new(), id.0, None);
    insert(catalogue, Stream { id, name, partitions, layouts, placement, written_by, settings });
    catalogue.index = index;
    Changed::Stream { id, created: true }
}

/// Every peer knows all partitions, and tells clients of them: a mesh has a bound of them.
fn too_many(catalogue: &Catalogue, more: u32, most: u32) -> Option<Changed> {
    let there: u64 = catalogue.streams.values().map(|it| u64::from(it.partitions)).sum();
    let because =
        format!("its streams have {there} partitions, with {more} more it has above {most}");
    (there + u64::from(more) > u64::from(most)).then(|| refused("SH0311", because))
}

pub fn insert(catalogue: &mut Catalogue, stream: Stream) {
    catalogue.stream_names.insert(stream.name.clone(), stream.id);
    catalogue.streams.insert(stream.id, stream);
}

/// Sets a stream that is as the proposer saw it.
pub fn configure(
    catalogue: &mut Catalogue,
    index: u64,
    id: StreamId,
    (from, to): (Settings, Settings),
) -> Changed {
    let Some(stream) = catalogue.streams.get_mut(&id) else { return missing() };
    if stream.settings == to {
        return Changed::Done { index: catalogue.index };
    }
    if stream.settings != from {
        return refused("SH0504", "the settings have changed meanwhile");
    }
    stream.settings = to;
    catalogue.index = index;
    Changed::Done { index }
}

/// Adds partitions to a stream that only clients write and read.
pub fn grow(
    catalogue: &mut Catalogue,
    index: u64,
    id: StreamId,
    (partitions, most): (u32, u32),
) -> Changed {
    if partitions > PARTITIONS_MAX {
        return refused("SH0001", format!("a stream has 1 to {PARTITIONS_MAX} partitions"));
    }
    if let Some(user) = user(catalogue, id) {
        return refused("SH0309", user);
    }
    let more = catalogue.streams.get(&id).map_or(0, |it| partitions.saturating_sub(it.partitions));
    if let Some(many) = too_many(catalogue, more, most).filter(|_| more > 0) {
        return many;
    }
    let Some(stream) = catalogue.streams.get_mut(&id) else { return missing() };
    if partitions < stream.partitions {
        let because = format!("{} has {} partitions already", stream.name, stream.partitions);
        return refused("SH0302", because);
    }
    if stream.partitions != partitions {
        if stream.layouts.len() >= LAYOUTS_MAX {
            stream.layouts.remove(0);
        }
        stream.layouts.push(stream.partitions);
        stream.partitions = partitions;
        catalogue.index = index;
    }
    Changed::Done { index: catalogue.index }
}

/// Forgets a stream; its id is never used again. What its partitions hold goes by entries of their shards.
pub fn delete(catalogue: &mut Catalogue, index: u64, id: StreamId) -> Changed {
    if let Some(user) = user(catalogue, id) {
        return refused("SH0309", user);
    }
    let Some(stream) = catalogue.streams.remove(&id) else { return missing() };
    catalogue.stream_names.remove(&stream.name);
    catalogue.index = index;
    Changed::Done { index }
}

fn missing() -> Changed {
    refused("SH0301", "no stream has this id")
}

/// The pipeline that reads or writes a stream.
fn user(catalogue: &Catalogue, id: StreamId) -> Option<String> {
    let written = catalogue.streams.get(&id)?.written_by;
    let uses = |pipeline: &&model::catalogue::Pipeline| {
        let mut stages = pipeline.stages.iter();
        stages.any(|stage| stage.sources.contains(&id) || written == Some(stage.id))
    };
    let pipeline = catalogue.pipelines.values().find(uses)?;
    Some(format!("pipeline {} uses it", pipeline.name))
}
