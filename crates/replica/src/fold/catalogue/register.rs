//! How pipelines are registered, and when a later version becomes the running one.

use super::refused;
use super::streams::insert;
use crate::limits::{BUCKETS_MAX, PARTITIONS_MAX, STAGES_MAX};
use model::catalogue::{
    Catalogue, Changed, Pipeline, Registration, Stage, StageSpec, Stream, View,
};
use model::{Settings, StageId, StreamId, hash, name};
use std::collections::{BTreeMap, BTreeSet};

/// Registers a pipeline: the first version runs at once, a later one when all that hold the running one hold it.
pub fn register(catalogue: &mut Catalogue, index: u64, registration: Registration) -> Changed {
    if let Some(running) = catalogue.pipelines.get(&registration.pipeline) {
        let (version, shape) = (running.version, running.fingerprint);
        if registration.version < version {
            return Changed::Done { index: catalogue.index };
        }
        if registration.version == version && registration.fingerprint == shape {
            return Changed::Done { index: catalogue.index };
        }
        if registration.version == version {
            let because = format!(
                "{} version {version} is registered with another shape; give it a new version",
                registration.pipeline
            );
            return refused("SH0302", because);
        }
    }
    if let Err((code, because)) = check(catalogue, &registration) {
        return refused(code, because);
    }
    let next = (registration.version, registration.fingerprint);
    if let Some(running) = catalogue.pipelines.get(&registration.pipeline)
        && !all_hold(catalogue, running, next)
    {
        let newer = running.next.is_none_or(|(version, _)| version < next.0);
        if newer && let Some(running) = catalogue.pipelines.get_mut(&registration.pipeline) {
            running.next = Some(next);
            catalogue.index = index;
        }
        return Changed::Done { index: catalogue.index };
    }
    install(catalogue, registration);
    catalogue.index = index;
    Changed::Done { index }
}

/// Stops a pipeline's tasks, or has them begin again, also those that run or are parked.
pub fn pause(catalogue: &mut Catalogue, index: u64, name: &str, paused: bool) -> Changed {
    let Some(pipeline) = catalogue.pipelines.get_mut(name) else {
        return refused("SH0304", format!("there is no pipeline {name}"));
    };
    if paused && pipeline.paused {
        return Changed::Done { index: catalogue.index };
    }
    pipeline.paused = paused;
    pipeline.round = pipeline.round.saturating_add(u32::from(!paused));
    catalogue.index = index;
    Changed::Done { index }
}

/// Switches to waiting versions of the same shape that everybody concerned holds by now. A version of another
/// shape is installed by the next registration, which carries that shape.
pub fn activate(catalogue: &mut Catalogue, index: u64) {
    let ready = |pipeline: &&Pipeline| match pipeline.next {
        Some(next) => next.1 == pipeline.fingerprint && all_hold(catalogue, pipeline, next),
        None => false,
    };
    let ready: Vec<String> =
        catalogue.pipelines.values().filter(ready).map(|p| p.name.clone()).collect();
    for name in ready {
        if let Some(pipeline) = catalogue.pipelines.get_mut(&name)
            && let Some((version, _)) = pipeline.next.take()
        {
            pipeline.version = version;
            catalogue.index = index;
        }
    }
}

fn all_hold(catalogue: &Catalogue, running: &Pipeline, next: (u32, u64)) -> bool {
    catalogue.roster.values().all(|peer| {
        let holds = |version: u32, shape: u64| {
            peer.holds.iter().any(|(n, v, s)| *n == running.name && (*v, *s) == (version, shape))
        };
        // A binary holds one version of a pipeline: who runs an older one has not been upgraded.
        let older = peer.holds.iter().any(|(n, v, _)| *n == running.name && *v < next.0);
        !older || holds(next.0, next.1)
    })
}

type Why = (&'static str, String);

fn check(catalogue: &Catalogue, it: &Registration) -> Result<(), Why> {
    named(&it.pipeline)?;
    if it.stages.len() > STAGES_MAX {
        return Err(("SH0001", format!("a pipeline has at most {STAGES_MAX} stages")));
    }
    let mut names = Names { catalogue, taken: BTreeSet::new(), views: BTreeSet::new() };
    for (place, (spec, id)) in it.stages.iter().zip(ids(catalogue, it)).enumerate() {
        if it.stages[..place].iter().any(|other| other.name == spec.name) {
            return Err(("SH0302", format!("two stages are called {}", spec.name)));
        }
        names.check(it, spec, known(catalogue, it, spec), id)?;
    }
    Ok(())
}

/// The stage of this name, if the pipeline runs already.
fn known<'a>(catalogue: &'a Catalogue, it: &Registration, spec: &StageSpec) -> Option<&'a Stage> {
    let running = catalogue.pipelines.get(&it.pipeline)?;
    running.stages.iter().find(|stage| stage.name == spec.name)
}

/// The ids of its stages. What is new has its shards where its first source has them: what a task reads and what it
/// commits are led by the same peer, and share entries.
fn ids(catalogue: &Catalogue, it: &Registration) -> Vec<StageId> {
    // Streams that its stages are going to write.
    let mut written: BTreeMap<&str, StageId> = BTreeMap::new();
    let mut ids = Vec::with_capacity(it.stages.len());
    for spec in &it.stages {
        let id = known(catalogue, it, spec).map_or_else(
            || {
                let Some((source, drawn, _)) = spec.sources.first() else { return spec.id };
                let there = catalogue.stream(source).map(|stream| stream.placement);
                let there = there.or_else(|| written.get(source.as_str()).map(|stage| stage.0));
                StageId(hash::beside(there.unwrap_or(drawn.0), spec.id.0))
            },
            |stage| stage.id,
        );
        let streams = spec.output.iter().chain(&spec.sides);
        written.extend(streams.map(|(name, _)| (name.as_str(), id)));
        ids.push(id);
    }
    ids
}

fn named(name: &str) -> Result<(), Why> {
    name::check(name).map_err(|e| ("SH0002", format!("{name}: {e}")))
}

/// What a registration may call its own.
struct Names<'a> {
    catalogue: &'a Catalogue,
    /// Streams that stages of this registration write.
    taken: BTreeSet<String>,
    views: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn check(
        &mut self,
        it: &Registration,
        spec: &'a StageSpec,
        known: Option<&Stage>,
        id: StageId,
    ) -> Result<(), Why> {
        named(&spec.name)?;
        if spec.buckets == 0 || spec.buckets > BUCKETS_MAX {
            return Err(("SH0001", format!("{} has 1 to {BUCKETS_MAX} buckets", spec.name)));
        }
        if known.is_some_and(|stage| stage.buckets != spec.buckets) {
            return Err(("SH0302", format!("the buckets of {} are fixed", spec.name)));
        }
        if known.is_none() && self.catalogue.stage(id).is_some() {
            return Err(("SH0302", format!("the id of stage {} is taken", spec.name)));
        }
        let dead = (dead_name(it, spec), spec.dead);
        for (name, drawn) in spec.output.iter().chain(&spec.sides).chain([&dead]) {
            self.stream(name, *drawn)?;
            let there = self.catalogue.stream(name);
            if there.is_some_and(|stream| stream.written_by != Some(id)) {
                return Err(("SH0302", format!("stream {name} exists")));
            }
            if !self.taken.insert(name.clone()) {
                return Err(("SH0302", format!("two stages write {name}")));
            }
        }
        if let Some((view, _)) = &spec.view {
            named(view)?;
            let there = self.catalogue.views.get(view);
            if there.is_some_and(|view| view.stage != id) || !self.views.insert(view) {
                return Err(("SH0302", format!("view {view} exists")));
            }
        }
        for (source, drawn, partitions) in &spec.sources {
            self.stream(source, *drawn)?;
            if *partitions == 0 || *partitions > PARTITIONS_MAX {
                let because = format!("{source} has 1 to {PARTITIONS_MAX} partitions");
                return Err(("SH0001", because));
            }
        }
        Ok(())
    }

    /// A stream is there, or can be made under the id that was drawn for it.
    fn stream(&self, name: &str, drawn: StreamId) -> Result<(), Why> {
        named(name)?;
        if self.catalogue.stream(name).is_none() && self.catalogue.streams.contains_key(&drawn) {
            return Err(("SH0302", format!("the id of stream {name} is taken")));
        }
        Ok(())
    }
}

fn dead_name(it: &Registration, spec: &StageSpec) -> String {
    format!("{}.{}.dead", it.pipeline, spec.name)
}

fn install(catalogue: &mut Catalogue, it: Registration) {
    let ids = ids(catalogue, &it);
    let running = catalogue.pipelines.remove(&it.pipeline);
    // What stages write comes first: one stage's output may be another's source.
    let mut stages = Vec::with_capacity(it.stages.len());
    for (spec, id) in it.stages.iter().zip(&ids) {
        let output = spec.output.as_ref();
        let output =
            output.map(|(name, drawn)| written(catalogue, name, *drawn, *id, spec.buckets));
        let sides = spec.sides.iter();
        let sides = sides
            .map(|(name, drawn)| written(catalogue, name, *drawn, *id, spec.buckets))
            .collect();
        let dead = written(catalogue, &dead_name(&it, spec), spec.dead, *id, spec.buckets);
        if let Some((name, format)) = &spec.view {
            let view = View {
                name: name.clone(),
                pipeline: it.pipeline.clone(),
                stage: *id,
                buckets: spec.buckets,
                format: format.clone(),
            };
            catalogue.views.insert(name.clone(), view);
        }
        stages.push(Stage {
            id: *id,
            name: spec.name.clone(),
            buckets: spec.buckets,
            sources: Vec::new(),
            view: spec.view.as_ref().map(|(name, _)| name.clone()),
            output,
            sides,
            dead: Some(dead),
        });
    }
    for (stage, spec) in stages.iter_mut().zip(&it.stages) {
        let sources = spec.sources.iter();
        stage.sources =
            sources.map(|(name, drawn, count)| source(catalogue, name, *drawn, *count)).collect();
    }
    let pipeline = Pipeline {
        name: it.pipeline.clone(),
        version: it.version,
        fingerprint: it.fingerprint,
        stages,
        next: None,
        paused: running.as_ref().is_some_and(|running| running.paused),
        round: running.as_ref().map_or(0, |running| running.round),
    };
    catalogue.pipelines.insert(it.pipeline, pipeline);
}

/// The stream of this name that a stage writes, made if it is missing.
fn written(
    catalogue: &mut Catalogue,
    name: &str,
    id: StreamId,
    stage: StageId,
    partitions: u32,
) -> StreamId {
    if let Some(there) = catalogue.stream(name) {
        return there.id;
    }
    let (name, placement, settings) = (name.to_owned(), stage.0, Settings::default());
    let written_by = Some(stage);
    let layouts = Vec::new();
    insert(catalogue, Stream { id, name, partitions, layouts, placement, written_by, settings });
    id
}

/// The stream of this name that a stage reads, made if it is missing.
fn source(catalogue: &mut Catalogue, name: &str, id: StreamId, partitions: u32) -> StreamId {
    if let Some(there) = catalogue.stream(name) {
        return there.id;
    }
    let (name, placement, settings) = (name.to_owned(), id.0, Settings::default());
    let (layouts, written_by) = (Vec::new(), None);
    insert(catalogue, Stream { id, name, partitions, layouts, placement, written_by, settings });
    id
}
