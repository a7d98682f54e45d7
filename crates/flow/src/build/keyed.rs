//! What is kept per key: running and windowed aggregates, or a user's processor.

use super::aggregates::Aggregate;
use super::flow::{Flow, Project, PutKey, add_source, ms};
use super::offer::Keep;
use super::stage::Table;
use super::windowed::{Windowed, Windows};
use crate::Stage;
use crate::carry::{pack, show};
use crate::context::Processor;
use crate::core::{Combining, Core, Deduping, Forward, Kept, Processing, Running};
use crate::stage::MakeCore;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use std::time::Duration;

/// Values with a key.
#[must_use = "keyed values do nothing until something is kept of them"]
pub struct Keyed<T> {
    flow: Flow<T>,
    key: PutKey<T>,
}

impl<T: 'static> Keyed<T> {
    pub(super) fn new(flow: Flow<T>, key: PutKey<T>) -> Self {
        Self { flow, key }
    }

    /// Keeps something a key and window of event time: [`super::Tumbling`], [`super::Hopping`],
    /// [`super::Session`] or [`super::Global`]. Rows are `key@start`, or `key` for the global one.
    pub fn window(self, windows: impl Into<Windows>) -> Windowed<T> {
        Windowed::new(self, windows.into())
    }

    /// Runs a processor on the values, an instance a bucket. It may write rows of a `.view`, and emit `.to` a stream.
    pub fn process<P: Processor<T>>(self, make: impl Fn() -> P + Send + Sync + 'static) -> Table
    where
        T: Serialize + DeserializeOwned,
    {
        let core = move || Box::new(Processing::<P, T>::new(make())) as Box<dyn Core>;
        self.ending("process", "json", Arc::new(pack), Arc::new(core))
    }

    /// Passes each key on once: what comes again within a time of one that was passed on is dropped. Give it a
    /// stream by `.to`.
    pub fn dedup(self, within: Duration) -> Table
    where
        T: Serialize,
    {
        let within_ms = ms(within);
        let core = Arc::new(move || Box::new(Deduping { within_ms }) as _);
        self.ending(&format!("dedup within {within_ms} ms"), "json", showing(), core).streaming()
    }

    /// Writes the values under their keys into a stream that the stage makes: text as it is, the rest as JSON.
    pub fn to(self, stream: &str) -> Stage
    where
        T: Serialize,
    {
        let core = Arc::new(|| Box::new(Forward { keyless: false }) as _);
        self.ending("forward", "json", showing(), core).to(stream)
    }

    pub(super) fn ending(
        self,
        name: &str,
        format: &str,
        project: Project<T>,
        core: MakeCore,
    ) -> Table {
        let (pipeline, sources, shape) = self.flow.into_sources(self.key, None, project);
        Table::new(pipeline, sources, shape, name, format, core)
    }

    /// A stage with two kinds of sources, whose results only a stream can hold.
    pub(super) fn ending_with<R: 'static>(
        self,
        right: Keyed<R>,
        (project, project_right): (Project<T>, Project<R>),
        name: &str,
        core: MakeCore,
    ) -> Table {
        let is_one = self.flow.pipeline.is(&right.flow.pipeline);
        let (pipeline, mut sources, shape) = self.flow.into_sources(self.key, None, project);
        let (_, others, other) = right.flow.into_sources(right.key, None, project_right);
        others.into_iter().for_each(|source| add_source(&mut sources, source));
        let shape = format!("{shape} with {other}");
        let table = Table::new(pipeline, sources, shape, name, "json", core).streaming();
        if is_one { table } else { table.refused("flows of different pipelines cannot be joined") }
    }
}

impl<T: 'static> Keep<T> for Keyed<T> {
    fn keep<K: Kept>(self, aggregate: Aggregate<T, K>) -> Table {
        let Aggregate { name, format, project, kept } = aggregate;
        let combining = kept.merges().then(|| Combining::running(Arc::clone(&kept)));
        let core = move || Box::new(Running::new(Arc::clone(&kept))) as Box<dyn Core>;
        let table = self.ending(&name, format, project, Arc::new(core));
        match combining {
            Some(combining) => table.combining(combining),
            None => table,
        }
    }
}

/// Carries a value as others see it.
fn showing<T: Serialize + 'static>() -> Project<T> {
    Arc::new(|value, out| {
        out.extend_from_slice(&show(value)?);
        Ok(())
    })
}

impl<T> std::fmt::Debug for Keyed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyed({:?})", self.flow)
    }
}
