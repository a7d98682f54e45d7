//! What the catalogue is told of a binary's pipelines.

use super::{Draft, Pipelines, StageDraft, written_buckets};
use model::catalogue::{Registration, StageSpec};
use model::{StageId, StreamId};

impl Pipelines {
    /// A registration a pipeline, writers before their readers, so that a stream is made by the stage that writes
    /// it. `draw` gives a random id each time; apply keeps those of what exists already.
    pub fn registrations(&self, draw: &mut dyn FnMut() -> u128) -> Vec<Registration> {
        let pipelines = self.registry.lock();
        let drafts = in_order(pipelines.iter().collect(), |draft, stream| {
            draft.stages.iter().any(|stage| stage.writes().any(|to| to == stream))
        });
        let registration = |draft: &Draft| Registration {
            pipeline: draft.name.clone(),
            version: draft.version,
            fingerprint: draft.fingerprint(),
            stages: in_order(draft.stages.iter().collect(), |stage: &StageDraft, stream| {
                stage.writes().any(|to| to == stream)
            })
            .into_iter()
            .map(|stage| spec(&pipelines, stage, draw))
            .collect(),
        };
        drafts.into_iter().map(registration).collect()
    }
}

fn spec(pipelines: &[Draft], stage: &StageDraft, draw: &mut dyn FnMut() -> u128) -> StageSpec {
    let mut sources = Vec::new();
    for source in &stage.sources {
        let partitions = written_buckets(pipelines, &source.stream).unwrap_or(source.partitions);
        sources.push((source.stream.clone(), StreamId(draw()), partitions));
    }
    StageSpec {
        id: StageId(draw()),
        name: stage.name.clone(),
        buckets: stage.buckets,
        sources,
        view: stage.view.clone().map(|name| (name, stage.format.clone())),
        output: stage.output.clone().map(|name| (name, StreamId(draw()))),
        sides: stage.sides.iter().map(|name| (name.clone(), StreamId(draw()))).collect(),
        dead: StreamId(draw()),
    }
}

/// What has sources.
trait Reads {
    fn reads(&self) -> Vec<&str>;
}

impl Reads for StageDraft {
    fn reads(&self) -> Vec<&str> {
        self.sources.iter().map(|source| source.stream.as_str()).collect()
    }
}

impl Reads for Draft {
    fn reads(&self) -> Vec<&str> {
        self.stages.iter().flat_map(StageDraft::reads).collect()
    }
}

/// Those first whose sources nobody that is left writes; two pipelines may feed each other by different stages,
/// then the first described comes first.
fn in_order<R: Reads>(mut left: Vec<&R>, writes: impl Fn(&R, &str) -> bool) -> Vec<&R> {
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |(at, of): (usize, &&R)| {
            let mut others = left.iter().enumerate().filter(|(other, _)| *other != at);
            others.any(|(_, other)| of.reads().iter().any(|stream| writes(other, stream)))
        };
        let free = left.iter().enumerate().position(|entry| !waits(entry)).unwrap_or(0);
        ordered.push(left.remove(free));
    }
    ordered
}
