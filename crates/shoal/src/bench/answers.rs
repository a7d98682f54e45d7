//! What a peer says over HTTP about views, streams and tasks: the few questions that `bench` and `demo` ask.
//!
//! Blocking; call it from a plain thread. An answer's numbers are taken as they come, nothing is guessed.

use crate::ask::{Asker, encoded};
use anyhow::{Context, bail};
use door::http::{
    Consistency, Member, Members, PipelineDetail, Row, Shown, Stream, TaskRow, ViewRow, ViewRows,
};
use model::Problem;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Rows asked for at once.
const PAGE: &str = "5000";
/// Rows of one view that are read at most; more is not a view of ours.
const ROWS_MAX: usize = 10_000_000;

/// One peer's HTTP door.
pub(crate) struct Door {
    asker: Asker,
    address: String,
}

impl Door {
    pub(crate) fn new(address: &str) -> Self {
        Self { asker: Asker::with_wait(address, ANSWER), address: address.to_owned() }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<T> {
        let answer = self.asker.get(path, query)?;
        serde_json::from_value(answer).with_context(|| format!("{}{path} answers", self.address))
    }

    pub(crate) fn members(&self) -> anyhow::Result<Vec<Member>> {
        Ok(self.get::<Members>("/v1/members", &[])?.members)
    }

    /// The offset after the last event of each partition.
    pub(crate) fn next_offsets(&self, stream: &str) -> anyhow::Result<Vec<i64>> {
        let stream: Stream = self.get(&format!("/v1/streams/{stream}"), &[])?;
        let parts = stream.parts.context("the answer has no partitions")?;
        if let Some(part) = parts.iter().find(|part| part.next < 0) {
            bail!("nobody leads partition {}", part.partition);
        }
        Ok(parts.iter().map(|part| part.next).collect())
    }

    /// The tasks of the stage that keeps `view`.
    pub(crate) fn tasks(&self, pipeline: &str, view: &str) -> anyhow::Result<Vec<TaskRow>> {
        let pipeline: PipelineDetail = self.get(&format!("/v1/pipelines/{pipeline}"), &[])?;
        let mut stages = pipeline.stages.into_iter();
        let stage = stages.find(|stage| stage.view.as_deref() == Some(view));
        Ok(stage.with_context(|| format!("no stage keeps the view `{view}`"))?.tasks)
    }

    /// Every row of `view`, in the order of its keys.
    pub(crate) fn rows(
        &self,
        view: &str,
        consistency: Consistency,
    ) -> anyhow::Result<Vec<ViewRow>> {
        let mut rows: Vec<ViewRow> = Vec::new();
        let mut from = String::new();
        while rows.len() < ROWS_MAX {
            let how = consistency.as_str();
            let query = [("limit", PAGE), ("consistency", how), ("from", from.as_str())];
            let page: ViewRows = self.get(&format!("/v1/views/{view}/rows"), &query)?;
            let empty = page.rows.is_empty();
            rows.extend(page.rows);
            let Some(last) = rows.last().filter(|_| page.more && !empty) else { break };
            // The smallest key after the last one.
            from = format!("{}\0", last.key.plain());
        }
        Ok(rows)
    }

    /// One row of `view` as this peer's copy has it; none if there is no such row.
    pub(crate) fn row(&self, view: &str, key: &str) -> anyhow::Result<Option<Shown>> {
        let path = format!("/v1/views/{view}/rows/{}", encoded(key));
        match self.get::<Row>(&path, &[("consistency", "any")]) {
            Ok(row) => Ok(Some(row.value)),
            Err(error) => match error.downcast_ref::<Problem>() {
                Some(problem) if problem.code == "SH0307" => Ok(None),
                _ => Err(error),
            },
        }
    }
}
