//! The end of a builder: where a stage's results go.

use super::{BUCKETS, Pipeline, StageDraft};
use crate::core::Combine;
use crate::stage::{MakeCore, SourceCode};
use std::sync::Arc;

/// Results by key, not entered as a stage yet.
#[must_use = "a table does nothing until it has a .view, a .to or a .stage"]
pub struct Table {
    pipeline: Pipeline,
    draft: StageDraft,
}

/// A stage that is entered.
#[derive(Clone, Debug)]
pub struct Stage {
    pipeline: Pipeline,
    at: usize,
}

impl Table {
    pub(super) fn new(
        pipeline: Pipeline,
        sources: Vec<SourceCode>,
        shape: String,
        name: &str,
        format: &str,
        core: MakeCore,
    ) -> Self {
        let draft = StageDraft {
            name: String::new(),
            buckets: BUCKETS,
            sources,
            shape: format!("{shape} {name}"),
            format: format.to_owned(),
            view: None,
            output: None,
            sides: Vec::new(),
            late: None,
            core,
            combine: None,
            streams_only: false,
            fault: None,
        };
        Self { pipeline, draft }
    }

    pub(super) fn refused(mut self, because: &str) -> Self {
        self.draft.fault = Some(because.to_owned());
        self
    }

    /// Its items may be aggregated before they travel.
    pub(super) fn combining(mut self, combine: impl Combine + 'static) -> Self {
        self.draft.combine = Some(Arc::new(combine));
        self
    }

    /// Its results have no rows.
    pub(super) fn streaming(mut self) -> Self {
        self.draft.streams_only = true;
        self
    }

    /// Into how many buckets the keys are divided, each with a task: 16 if nothing is said, fixed once it runs.
    pub fn buckets(mut self, buckets: u32) -> Self {
        self.draft.buckets = buckets;
        self
    }

    /// Sends each event of a key to its task, and no partial aggregates.
    ///
    /// If nothing is said, aggregates whose values merge (all but [`super::Keyed::aggregate`], and all in sessions)
    /// are computed in two phases, known as local-global aggregation or map-side combine: where a range of a source
    /// partition is read, the values of a key and window become one, and that is sent. Results are the same, except
    /// that sums and means of `f64` may be rounded otherwise, and that a sum which would pass the bounds of its type
    /// within a range and come back does not fail.
    pub fn one_phase(mut self) -> Self {
        self.draft.combine = None;
        self
    }

    /// Keeps the rows as a view that any peer answers. The stage gets its name.
    pub fn view(self, name: &str) -> Stage {
        self.stage(name).view(name)
    }

    /// Emits changes into a stream that the stage makes. The stage gets its name.
    ///
    /// A running aggregate emits each key it changed, once a commit; a windowed one each window when it closes.
    pub fn to(self, stream: &str) -> Stage {
        self.stage(stream).to(stream)
    }

    /// A side output: a stream that the stage makes and a processor writes by `ctx.emit_to`.
    pub fn side(mut self, stream: &str) -> Self {
        self.draft.sides.push(stream.to_owned());
        self
    }

    /// What comes too late goes into this stream, which the stage makes, and not to its dead letters. Headers say
    /// from where it came.
    pub fn late_to(mut self, stream: &str) -> Self {
        self.draft.late = Some(stream.to_owned());
        self.side(stream)
    }

    /// Enters the stage under a name of its own: its dead letters are in `<pipeline>.<name>.dead`.
    pub fn stage(mut self, name: &str) -> Stage {
        self.draft.name = name.to_owned();
        let at = self.pipeline.enter(self.draft);
        Stage { pipeline: self.pipeline, at }
    }
}

impl Stage {
    /// Keeps its rows as a view.
    pub fn view(self, name: &str) -> Self {
        self.pipeline.change(self.at, |draft| draft.view = Some(name.to_owned()));
        self
    }

    /// Emits into a stream that the stage makes.
    pub fn to(self, stream: &str) -> Self {
        self.pipeline.change(self.at, |draft| draft.output = Some(stream.to_owned()));
        self
    }

    /// As [`Table::buckets`], for stages that are entered at once.
    pub fn buckets(self, buckets: u32) -> Self {
        self.pipeline.change(self.at, |draft| draft.buckets = buckets);
        self
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({})", self.draft.shape)
    }
}
