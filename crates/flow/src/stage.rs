//! A stage's code, as tasks and exchanges run it.

use crate::chain::Run;
use crate::core::Core;
use std::sync::Arc;

/// One stage of a pipeline: its shape, and the user's closures.
#[derive(Clone)]
pub struct StageCode {
    pub pipeline: String,
    pub name: String,
    pub version: u32,
    pub buckets: u32,
    /// Each stream once; [`crate::Exchange::new`] wants the index.
    pub sources: Vec<SourceCode>,
    /// Name and format (`u64` or `json`) of the view.
    pub view: Option<(String, String)>,
    pub output: Option<String>,
    pub(crate) core: MakeCore,
}

/// Makes what folds a task's items; again after each failure.
pub(crate) type MakeCore = Arc<dyn Fn() -> Box<dyn Core> + Send + Sync>;

/// One stream that a stage reads.
#[derive(Clone)]
pub struct SourceCode {
    pub stream: String,
    /// How many partitions it gets if it must be made.
    pub partitions: u32,
    /// How much later an earlier event may still come.
    pub(crate) out_of_order_ms: i64,
    /// A partition without events for so long does not hold the watermark back.
    pub(crate) idle_after_ms: u64,
    pub(crate) run: Run,
}

impl StageCode {
    /// The stream of its dead letters.
    pub fn dead(&self) -> String {
        format!("{}.{}.dead", self.pipeline, self.name)
    }
}

impl std::fmt::Debug for StageCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sources: Vec<&str> = self.sources.iter().map(|s| s.stream.as_str()).collect();
        write!(f, "{}.{} v{} from {sources:?}", self.pipeline, self.name, self.version)
    }
}
