//! Finds what a pipeline's description gets wrong, before anything starts.

use super::{Draft, Pipelines, StageDraft};
use crate::Error;
use model::name;
use std::collections::BTreeSet;

/// The most buckets of a stage, and partitions of a source it makes.
const PARTITIONS_MAX: u32 = 4_096;

impl Pipelines {
    /// The first mistake in what was described. To be asked before anything else is.
    pub fn check(&self) -> Result<(), Error> {
        let pipelines = self.registry.lock();
        let mut views = BTreeSet::new();
        let mut outputs = BTreeSet::new();
        for draft in pipelines.iter() {
            let refused = |because| Error::Definition { pipeline: draft.name.clone(), because };
            draft.check().map_err(refused)?;
            for stage in &draft.stages {
                stage.check(draft).map_err(refused)?;
                if let Some(view) = stage.view.as_ref().filter(|view| !views.insert(*view)) {
                    return Err(refused(format!("view {view:?} is written by two stages")));
                }
                if let Some(to) = stage.writes().find(|to| !outputs.insert(to.to_string())) {
                    return Err(refused(format!("stream {to:?} is written by two stages")));
                }
            }
        }
        for draft in pipelines.iter() {
            if let Some(stage) = draft.stages.iter().find(|stage| is_in_cycle(&pipelines, stage)) {
                let because = format!("stage {:?} reads what it causes: a cycle", stage.name);
                return Err(Error::Definition { pipeline: draft.name.clone(), because });
            }
        }
        Ok(())
    }
}

impl Draft {
    fn check(&self) -> Result<(), String> {
        name::check(&self.name).map_err(|error| error.to_string())?;
        if self.version == 0 {
            return Err("versions count from 1".into());
        }
        if self.stages.is_empty() {
            return Err("it has no stage: end it with .view, .to or .stage".into());
        }
        let mut names = BTreeSet::new();
        match self.stages.iter().find(|stage| !names.insert(&stage.name)) {
            Some(stage) => Err(format!("two stages are called {:?}", stage.name)),
            None => Ok(()),
        }
    }
}

impl StageDraft {
    fn check(&self, of: &Draft) -> Result<(), String> {
        let at = |what: &str| format!("stage {:?}: {what}", self.name);
        if let Some(fault) = &self.fault {
            return Err(at(fault));
        }
        if self.streams_only && (self.view.is_some() || self.output.is_none()) {
            return Err(at("its results are events, not rows: write them .to a stream"));
        }
        let dead = format!("{}.{}.dead", of.name, self.name);
        let sources = self.sources.iter().map(|source| &source.stream);
        let names = [&self.name, &dead].into_iter().chain(&self.view).chain(&self.output);
        let names = names.chain(&self.sides);
        for named in names.chain(sources) {
            name::check(named).map_err(|error| at(&format!("{named:?}: {error}")))?;
        }
        if !(1..=PARTITIONS_MAX).contains(&self.buckets) {
            return Err(at(&format!("it has 1 to {PARTITIONS_MAX} buckets, not {}", self.buckets)));
        }
        for source in &self.sources {
            if !(1..=PARTITIONS_MAX).contains(&source.partitions) {
                let (stream, partitions) = (&source.stream, source.partitions);
                return Err(at(&format!(
                    "source {stream:?} has 1 to {PARTITIONS_MAX} partitions, not {partitions}"
                )));
            }
        }
        Ok(())
    }
}

/// Whether a stage's output comes back to one of its sources.
fn is_in_cycle(pipelines: &[Draft], stage: &StageDraft) -> bool {
    let stages = || pipelines.iter().flat_map(|draft| &draft.stages);
    let mut caused: BTreeSet<&str> = stage.writes().collect();
    loop {
        let before = caused.len();
        for other in stages() {
            if other.sources.iter().any(|source| caused.contains(source.stream.as_str())) {
                caused.extend(other.writes());
            }
        }
        if caused.len() == before {
            return stage.sources.iter().any(|source| caused.contains(source.stream.as_str()));
        }
    }
}
