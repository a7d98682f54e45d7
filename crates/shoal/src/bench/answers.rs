//! What a peer says over HTTP about views, streams and tasks: the few questions that `bench` and `demo` ask.
//!
//! Blocking; call it from a plain thread. An answer's numbers are taken as they come, nothing is guessed.

use anyhow::{Context, bail};
use door::http::{
    Consistency, Member, Members, PipelineDetail, Stream, TaskRow, ViewRow, ViewRows,
};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Rows asked for at once.
const PAGE: usize = 5000;
/// Rows of one view that are read at most; more is not a view of ours.
const ROWS_MAX: usize = 10_000_000;

/// One peer's HTTP door.
#[derive(Clone, Debug)]
pub struct Door {
    agent: ureq::Agent,
    address: String,
}

impl Door {
    pub fn new(address: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER)).build();
        Self { agent: config.into(), address: address.to_owned() }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let url = format!("http://{}{path}", self.address);
        let mut answer = self.agent.get(&url).call().with_context(|| format!("GET {url}"))?;
        answer.body_mut().read_json().with_context(|| format!("read the answer to GET {url}"))
    }

    pub fn members(&self) -> anyhow::Result<Vec<Member>> {
        Ok(self.get::<Members>("/v1/members")?.members)
    }

    /// The offset after the last event of each partition.
    pub fn next_offsets(&self, stream: &str) -> anyhow::Result<Vec<i64>> {
        let stream: Stream = self.get(&format!("/v1/streams/{stream}"))?;
        let parts = stream.parts.context("the answer has no partitions")?;
        if let Some(part) = parts.iter().find(|part| part.next < 0) {
            bail!("nobody leads partition {}", part.partition);
        }
        Ok(parts.iter().map(|part| part.next).collect())
    }

    /// The tasks of the stage that keeps `view`.
    pub fn tasks(&self, pipeline: &str, view: &str) -> anyhow::Result<Vec<TaskRow>> {
        let pipeline: PipelineDetail = self.get(&format!("/v1/pipelines/{pipeline}"))?;
        let mut stages = pipeline.stages.into_iter();
        let stage = stages.find(|stage| stage.view.as_deref() == Some(view));
        Ok(stage.with_context(|| format!("no stage keeps the view `{view}`"))?.tasks)
    }

    /// Every row of `view`, in the order of its keys.
    pub fn rows(&self, view: &str, consistency: Consistency) -> anyhow::Result<Vec<ViewRow>> {
        let mut rows: Vec<ViewRow> = Vec::new();
        let mut from = String::new();
        while rows.len() < ROWS_MAX {
            let how = consistency.as_str();
            let query = format!("limit={PAGE}&consistency={how}&from={}", escaped(&from));
            let page: ViewRows = self.get(&format!("/v1/views/{view}/rows?{query}"))?;
            let empty = page.rows.is_empty();
            rows.extend(page.rows);
            let Some(last) = rows.last().filter(|_| page.more && !empty) else { break };
            // The smallest key after the last one.
            from = format!("{}\0", last.key.plain());
        }
        Ok(rows)
    }
}

/// Text as it may stand in a query: all but letters, digits and `-._~` as `%XX`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_query() {
        assert_eq!(escaped("UA 2013-01-01T10\0é"), "UA%202013-01-01T10%00%C3%A9");
    }
}
