//! How a pipeline goes, with all that is its own.
//!
//! What its tasks have committed goes by entries of their shards. Promises that nothing goes that another pipeline
//! reads, and that no peer would register it again at its next start.

use super::refused;
use model::catalogue::{Catalogue, Changed};
use model::{StageId, StreamId};
use std::collections::BTreeSet;

/// Forgets a pipeline that nobody holds the code of, its views, and the streams that its stages write.
pub fn pipeline(catalogue: &mut Catalogue, index: u64, name: &str, stages: &[StageId]) -> Changed {
    let Some(there) = catalogue.pipelines.get(name) else {
        return refused("SH0304", format!("there is no pipeline {name}"));
    };
    if !there.stages.iter().map(|stage| &stage.id).eq(stages) {
        return refused("SH0304", format!("{name} was registered with other stages since"));
    }
    let holders = holders(catalogue, name);
    if !holders.is_empty() {
        let because = format!(
            "{} would register it again: it is in the code of {}",
            if holders.len() == 1 { "a peer" } else { "peers" },
            holders.join(", ")
        );
        return refused("SH0313", because);
    }
    let written = written(catalogue, name);
    if let Some(because) = reader(catalogue, name, &written) {
        return refused("SH0309", because);
    }
    for stream in written {
        if let Some(stream) = catalogue.streams.remove(&stream) {
            catalogue.stream_names.remove(&stream.name);
        }
    }
    catalogue.views.retain(|_, view| view.pipeline != name);
    catalogue.pipelines.remove(name);
    catalogue.index = index;
    Changed::Done { index }
}

/// The peers whose binary has its code, in whatever version. Those that are dead count: they may come back with it.
fn holders<'a>(catalogue: &'a Catalogue, name: &str) -> Vec<&'a str> {
    let holds = catalogue.roster.values().filter(|it| it.holds.iter().any(|(n, _, _)| n == name));
    holds.map(|peer| peer.name.as_str()).collect()
}

/// The streams that its stages write, also those of stages that only an earlier version had and that left a view.
fn written(catalogue: &Catalogue, name: &str) -> BTreeSet<StreamId> {
    let running = catalogue.pipelines.get(name).into_iter().flat_map(|it| &it.stages);
    let views = catalogue.views.values().filter(|view| view.pipeline == name);
    let stages: BTreeSet<StageId> =
        running.map(|stage| stage.id).chain(views.map(|view| view.stage)).collect();
    let by_it = catalogue
        .streams
        .values()
        .filter(|stream| stream.written_by.is_some_and(|stage| stages.contains(&stage)));
    by_it.map(|stream| stream.id).collect()
}

/// Who else reads one of these streams.
fn reader(catalogue: &Catalogue, name: &str, streams: &BTreeSet<StreamId>) -> Option<String> {
    let others = catalogue.pipelines.values().filter(|other| other.name != name);
    others.flat_map(|other| other.stages.iter().map(move |stage| (other, stage))).find_map(
        |(other, stage)| {
            let read = stage.sources.iter().find(|source| streams.contains(source))?;
            let stream = &catalogue.streams.get(read)?.name;
            Some(format!("pipeline {} reads {stream}, which {name} writes", other.name))
        },
    )
}
