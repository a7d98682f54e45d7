//! A stage's code, as tasks and exchanges run it.

use crate::Error;
use crate::carry::Failure;
use crate::chain::Run;
use crate::core::{Combine, Core};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// Streams that it emits to besides.
    pub sides: Vec<String>,
    /// The one of these that gets what comes too late; dead letters if there is none.
    pub late: Option<String>,
    pub(crate) core: MakeCore,
    /// Makes partial aggregates before items travel; none: they travel as they are.
    pub(crate) combine: Option<Arc<dyn Combine>>,
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
    /// Whether this code can read rows that version `running` kept. User code runs here.
    pub fn check<'a>(
        &self,
        running: u32,
        rows: impl IntoIterator<Item = (&'a Bytes, &'a Bytes)>,
    ) -> Result<(), Error> {
        let failed = |row: &[u8], failure: &Failure| Error::Incompatible {
            stage: format!("{}.{}", self.pipeline, self.name),
            held: self.version,
            running,
            row: String::from_utf8_lossy(row.get(1..).unwrap_or_default()).into_owned(),
            cause: failure.cause(),
        };
        let mut last: &[u8] = &[];
        let check = || {
            let core = (self.core)();
            for (key, value) in rows {
                last = key;
                core.check(key, value).map_err(|failure| failed(key, &failure))?;
            }
            Ok(())
        };
        match catch_unwind(AssertUnwindSafe(check)) {
            Ok(checked) => checked,
            Err(payload) => Err(failed(last, &Failure::of_panic(payload.as_ref()))),
        }
    }

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
