//! Describes pipelines in a user's `main`: sources, stateless steps, a key, what is kept, where it goes.
//!
//! Nothing runs here: a builder collects closures, and its last word (`view`, `to`, `stage`) enters a stage into
//! [`Pipelines`]. Mistakes are collected too, and told by [`Pipelines::check`] before anything starts.

mod aggregates;
mod check;
mod flow;
mod join;
mod keyed;
mod offer;
mod register;
mod stage;
mod windowed;

pub use aggregates::{Carried, Number};
pub use flow::Flow;
pub use join::{Join, Within};
pub use keyed::Keyed;
pub use stage::{Stage, Table};
pub use windowed::{Global, Hopping, Session, Tumbling, Windowed, Windows};

use crate::Event;
use crate::core::Combine;
use crate::stage::{MakeCore, SourceCode, StageCode};
use model::hash::hash64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Partitions that a source stream gets if nothing else is said.
const PARTITIONS: u32 = 16;
/// Buckets that a stage gets if nothing else is said.
const BUCKETS: u32 = 16;

/// All pipelines of a binary. Cloning shares them.
#[derive(Clone, Default)]
pub struct Pipelines {
    registry: Arc<Registry>,
}

#[derive(Default)]
pub(crate) struct Registry {
    pipelines: Mutex<Vec<Draft>>,
}

/// A pipeline as it is described so far.
pub(crate) struct Draft {
    name: String,
    version: u32,
    stages: Vec<StageDraft>,
}

/// A stage as it is described so far.
pub(crate) struct StageDraft {
    name: String,
    buckets: u32,
    sources: Vec<SourceCode>,
    /// What its chains and its core are, in words: the fingerprint's part of it.
    shape: String,
    format: String,
    view: Option<String>,
    output: Option<String>,
    sides: Vec<String>,
    late: Option<String>,
    core: MakeCore,
    combine: Option<Arc<dyn Combine>>,
    /// Whether its results have nowhere to go but into a stream.
    streams_only: bool,
    /// Why it is impossible.
    fault: Option<String>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Vec<Draft>> {
        // A panic while describing ends the program; what is there is still well-formed.
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a pipeline's builder enters its stages.
#[derive(Clone)]
pub struct Pipeline {
    registry: Arc<Registry>,
    at: usize,
}

impl Pipelines {
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a pipeline, or goes on with the one of this name.
    pub fn pipeline(&mut self, name: &str) -> Pipeline {
        let mut pipelines = self.registry.lock();
        let found = pipelines.iter().position(|draft| draft.name == name);
        let at = found.unwrap_or(pipelines.len());
        if found.is_none() {
            pipelines.push(Draft { name: name.into(), version: 1, stages: Vec::new() });
        }
        Pipeline { registry: Arc::clone(&self.registry), at }
    }

    pub fn is_empty(&self) -> bool {
        self.registry.lock().is_empty()
    }

    /// The code of a stage.
    pub fn stage(&self, pipeline: &str, stage: &str) -> Option<Arc<StageCode>> {
        let pipelines = self.registry.lock();
        let draft = pipelines.iter().find(|draft| draft.name == pipeline)?;
        let stage = draft.stages.iter().find(|draft| draft.name == stage)?;
        let mut sources = stage.sources.clone();
        for source in &mut sources {
            if let Some(buckets) = written_buckets(&pipelines, &source.stream) {
                source.partitions = buckets;
            }
        }
        Some(Arc::new(StageCode {
            pipeline: draft.name.clone(),
            name: stage.name.clone(),
            version: draft.version,
            buckets: stage.buckets,
            sources,
            view: stage.view.clone().map(|name| (name, stage.format.clone())),
            output: stage.output.clone(),
            sides: stage.sides.clone(),
            late: stage.late.clone(),
            core: Arc::clone(&stage.core),
            combine: stage.combine.clone(),
        }))
    }

    /// Each pipeline as (name, version, fingerprint): what the peer says that it holds.
    pub fn holds(&self) -> Vec<(String, u32, u64)> {
        let pipelines = self.registry.lock();
        pipelines.iter().map(|d| (d.name.clone(), d.version, d.fingerprint())).collect()
    }
}

/// Partitions of a stream that a stage writes: its buckets.
fn written_buckets(pipelines: &[Draft], stream: &str) -> Option<u32> {
    let mut stages = pipelines.iter().flat_map(|draft| &draft.stages);
    stages.find(|stage| stage.writes().any(|to| to == stream)).map(|stage| stage.buckets)
}

impl StageDraft {
    /// The streams that it makes and writes, dead letters excepted.
    fn writes(&self) -> impl Iterator<Item = &str> {
        self.output.iter().chain(&self.sides).map(String::as_str)
    }
}

impl Draft {
    /// Stable over processes and builds as long as names, sources, operators and buckets stay.
    fn fingerprint(&self) -> u64 {
        let mut shape = format!("{}\n", self.name);
        for stage in &self.stages {
            shape += &format!(
                "{}|{}|{}|{:?}|{:?}|{}\n",
                stage.name, stage.shape, stage.buckets, stage.view, stage.output, stage.format
            );
            if !stage.sides.is_empty() {
                shape += &format!("{:?}|{:?}\n", stage.sides, stage.late);
            }
        }
        hash64(shape.as_bytes())
    }
}

impl Pipeline {
    /// The version of its code, from 1 on: raise it with each change. The default is 1.
    pub fn version(self, version: u32) -> Self {
        self.registry.lock()[self.at].version = version;
        self
    }

    /// Reads a stream; one that does not exist is made with 16 partitions.
    pub fn read(&self, stream: &str) -> Flow<Event> {
        self.read_with(stream, PARTITIONS)
    }

    /// Reads a stream; one that does not exist is made with so many partitions.
    pub fn read_with(&self, stream: &str, partitions: u32) -> Flow<Event> {
        Flow::of_source(self.clone(), stream, partitions)
    }

    /// Whether both enter their stages into the same pipeline.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.registry, &other.registry) && self.at == other.at
    }

    fn enter(&self, stage: StageDraft) -> usize {
        let stages = &mut self.registry.lock()[self.at].stages;
        stages.push(stage);
        stages.len() - 1
    }

    fn change(&self, stage: usize, change: impl FnOnce(&mut StageDraft)) {
        change(&mut self.registry.lock()[self.at].stages[stage]);
    }
}

impl std::fmt::Debug for Pipelines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.holds()).finish()
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pipeline({})", self.registry.lock()[self.at].name)
    }
}
