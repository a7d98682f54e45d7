//! The stateless part of a pipeline: what is done to each event by itself, wherever it is read.
//!
//! Closures see values by reference, must give the same for the same event, and may panic: that event alone then
//! becomes a dead letter.

use super::Pipeline;
use super::keyed::Keyed;
use super::stage::{Stage, Table};
use crate::Event;
use crate::carry::{Failure, show};
use crate::chain::{Chain, Pass, Run};
use crate::core::Forward;
use crate::exchange::Sink;
use crate::key::ToKey;
use crate::stage::SourceCode;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// How much later an earlier event may come, where [`Flow::event_time`] says nothing.
const OUT_OF_ORDER: Duration = Duration::from_secs(60);
/// After this long without an event a partition does not hold the watermark back.
const IDLE_AFTER: Duration = Duration::from_secs(10);

/// Values of type `T` on their way from their sources. A clone goes another way: both get all values.
#[must_use = "a flow does nothing until it ends in a view, a stream or a stage"]
pub struct Flow<T> {
    pub(super) pipeline: Pipeline,
    pub(super) branches: Vec<Branch<T>>,
}

/// The way from one source.
pub(super) struct Branch<T> {
    stream: String,
    partitions: u32,
    chain: Chain<T>,
    shape: String,
    /// None: the event's own timestamp counts.
    out_of_order: Option<Duration>,
    idle_after: Duration,
}

impl<T> Clone for Flow<T> {
    fn clone(&self) -> Self {
        Self { pipeline: self.pipeline.clone(), branches: self.branches.clone() }
    }
}

impl<T> Clone for Branch<T> {
    fn clone(&self) -> Self {
        Self {
            stream: self.stream.clone(),
            partitions: self.partitions,
            chain: Arc::clone(&self.chain),
            shape: self.shape.clone(),
            out_of_order: self.out_of_order,
            idle_after: self.idle_after,
        }
    }
}

impl<T> Branch<T> {
    fn then<U>(self, name: &str, chain: Chain<U>) -> Branch<U> {
        Branch {
            stream: self.stream,
            partitions: self.partitions,
            chain,
            shape: format!("{} {name}", self.shape),
            out_of_order: self.out_of_order,
            idle_after: self.idle_after,
        }
    }
}

impl Flow<Event> {
    pub(super) fn of_source(pipeline: Pipeline, stream: &str, partitions: u32) -> Self {
        let branch = Branch {
            stream: stream.to_owned(),
            partitions,
            chain: Arc::new(|event: &Event, _: &Pass, out| out(event, event.time_ms)),
            shape: format!("read {stream}"),
            out_of_order: None,
            idle_after: IDLE_AFTER,
        };
        Self { pipeline, branches: vec![branch] }
    }

    /// Reads each event's value as JSON. One that does not parse becomes a dead letter with the cause.
    pub fn json<U: DeserializeOwned + 'static>(self) -> Flow<U> {
        self.fallible("json", |event: &Event| serde_json::from_slice::<U>(event.value()))
    }

    /// Writes the events as they are, by their own keys, into a stream that the stage makes.
    pub fn to(self, stream: &str) -> Stage {
        let key = Arc::new(|event: &Event, out: &mut Vec<u8>| {
            out.extend_from_slice(event.key.as_deref().unwrap_or_default());
        });
        let keyless = |event: &Event| event.key.is_none();
        let project = Arc::new(|event: &Event, out: &mut Vec<u8>| {
            out.extend_from_slice(&show(event)?);
            Ok(())
        });
        let (pipeline, sources, shape) = self.into_sources(key, Some(Arc::new(keyless)), project);
        let core = Arc::new(|| Box::new(Forward { keyless: true }) as _);
        Table::new(pipeline, sources, shape, "forward", "json", core).to(stream)
    }
}

impl<T: 'static> Flow<T> {
    /// Keeps what the closure accepts.
    pub fn filter(self, keep: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        let keep = Arc::new(keep);
        self.each("filter", |prev| {
            let keep = Arc::clone(&keep);
            Arc::new(move |event, pass, out| {
                prev(event, pass, &mut |value, time_ms| {
                    if keep(value) {
                        out(value, time_ms);
                    }
                });
            })
        })
    }

    /// Makes another value of each.
    pub fn map<U: 'static>(self, make: impl Fn(&T) -> U + Send + Sync + 'static) -> Flow<U> {
        let make = Arc::new(make);
        self.each("map", |prev| {
            let make = Arc::clone(&make);
            Arc::new(move |event, pass, out| {
                prev(event, pass, &mut |value, time_ms| out(&make(value), time_ms));
            })
        })
    }

    /// Makes another value of each; an error makes the event a dead letter with that cause.
    pub fn try_map<U: 'static, E: std::error::Error>(
        self,
        make: impl Fn(&T) -> Result<U, E> + Send + Sync + 'static,
    ) -> Flow<U> {
        self.fallible("try_map", make)
    }

    /// Makes any number of values of each.
    pub fn flat_map<U: 'static, I: IntoIterator<Item = U>>(
        self,
        make: impl Fn(&T) -> I + Send + Sync + 'static,
    ) -> Flow<U> {
        let make = Arc::new(make);
        self.each("flat_map", |prev| {
            let make = Arc::clone(&make);
            Arc::new(move |event, pass, out| {
                prev(event, pass, &mut |value, time_ms| {
                    for made in make(value) {
                        out(&made, time_ms);
                    }
                });
            })
        })
    }

    /// Says when each value happened, in ms since 1970, instead of the event's timestamp, and how much later an
    /// earlier one may still come. Without it the timestamp counts, 60 s out of order.
    pub fn event_time(
        self,
        time_ms: impl Fn(&T) -> i64 + Send + Sync + 'static,
        out_of_order: Duration,
    ) -> Self {
        let time_of = Arc::new(time_ms);
        let mut flow = self.each("event_time", |prev| {
            let time_of = Arc::clone(&time_of);
            Arc::new(move |event: &Event, pass: &Pass, out: &mut crate::chain::Emit<'_, T>| {
                prev(event, pass, &mut |value, _| {
                    let time_ms = time_of(value);
                    pass.saw(time_ms);
                    out(value, time_ms);
                });
            })
        });
        for branch in &mut flow.branches {
            branch.out_of_order = Some(out_of_order);
        }
        flow
    }

    /// After how long without an event a partition does not hold the watermark back; 10 s if nothing is said.
    pub fn idle_after(mut self, idle_after: Duration) -> Self {
        for branch in &mut self.branches {
            branch.idle_after = idle_after;
        }
        self
    }

    /// Two flows: of the values that the closure accepts, and of the others.
    pub fn split(self, left: impl Fn(&T) -> bool + Send + Sync + 'static) -> (Self, Self) {
        let is_left = Arc::new(left);
        let is_right = Arc::clone(&is_left);
        (
            self.clone().filter(move |value| is_left(value)),
            self.filter(move |value| !is_right(value)),
        )
    }

    /// Both flows' values as one flow. They must belong to the same pipeline.
    pub fn merge(mut self, other: Self) -> Self {
        assert!(self.pipeline.is(&other.pipeline), "flows of different pipelines cannot be merged");
        self.branches.extend(other.branches);
        self
    }

    /// Gives each value a key: from here on, all values of a key are in one place, in order per source partition.
    pub fn key_by<K: ToKey>(self, key: impl Fn(&T) -> K + Send + Sync + 'static) -> Keyed<T> {
        Keyed::new(self, Arc::new(move |value, out| key(value).put_key(out)))
    }

    fn fallible<U: 'static, E: std::error::Error>(
        self,
        name: &str,
        make: impl Fn(&T) -> Result<U, E> + Send + Sync + 'static,
    ) -> Flow<U> {
        let make = Arc::new(make);
        self.each(name, |prev| {
            let make = Arc::clone(&make);
            Arc::new(move |event, pass, out| {
                prev(event, pass, &mut |value, time_ms| match make(value) {
                    Ok(made) => out(&made, time_ms),
                    Err(error) => pass.fail(Failure::from(error)),
                });
            })
        })
    }

    fn each<U>(self, name: &str, wrap: impl Fn(Chain<T>) -> Chain<U>) -> Flow<U> {
        let wrap = |branch: Branch<T>| {
            let chain = wrap(Arc::clone(&branch.chain));
            branch.then(name, chain)
        };
        Flow { pipeline: self.pipeline, branches: self.branches.into_iter().map(wrap).collect() }
    }

    /// Ends the chains: each stream once, with a closure that puts its items into the exchange.
    pub(super) fn into_sources(
        self,
        key: PutKey<T>,
        keyless: Option<Keyless<T>>,
        project: Project<T>,
    ) -> (Pipeline, Vec<SourceCode>, String) {
        let mut sources: Vec<SourceCode> = Vec::new();
        let mut shape = String::new();
        for branch in self.branches {
            shape += &format!("{}/{};", branch.shape, branch.partitions);
            let run = run_of(&branch, &key, keyless.as_ref(), &project);
            let out_of_order_ms = ms(branch.out_of_order.unwrap_or(OUT_OF_ORDER));
            let idle_after_ms = ms(branch.idle_after).unsigned_abs();
            let source = SourceCode {
                stream: branch.stream,
                partitions: branch.partitions,
                out_of_order_ms,
                idle_after_ms,
                run,
            };
            add_source(&mut sources, source);
        }
        (self.pipeline, sources, shape)
    }
}

/// One stream read twice is one source: its position is one.
pub(super) fn add_source(sources: &mut Vec<SourceCode>, more: SourceCode) {
    let Some(source) = sources.iter_mut().find(|source| source.stream == more.stream) else {
        return sources.push(more);
    };
    let (first, then) = (Arc::clone(&source.run), more.run);
    source.run = Arc::new(move |event, pass, sink| {
        first(event, pass, sink);
        then(event, pass, sink);
    });
    source.out_of_order_ms = source.out_of_order_ms.max(more.out_of_order_ms);
    source.idle_after_ms = source.idle_after_ms.max(more.idle_after_ms);
}

/// Writes a value's key.
pub(super) type PutKey<T> = Arc<dyn Fn(&T, &mut Vec<u8>) + Send + Sync>;
/// Whether a value has no key: then its place decides the bucket.
pub(super) type Keyless<T> = Arc<dyn Fn(&T) -> bool + Send + Sync>;
/// Writes what the task needs of a value.
pub(super) type Project<T> = Arc<dyn Fn(&T, &mut Vec<u8>) -> Result<(), Failure> + Send + Sync>;

fn run_of<T: 'static>(
    branch: &Branch<T>,
    key: &PutKey<T>,
    keyless: Option<&Keyless<T>>,
    project: &Project<T>,
) -> Run {
    let chain = Arc::clone(&branch.chain);
    let by_timestamp = branch.out_of_order.is_none();
    let (key, keyless, project) = (Arc::clone(key), keyless.cloned(), Arc::clone(project));
    Arc::new(move |event: &Event, pass: &Pass, sink: &mut Sink| {
        if by_timestamp {
            pass.saw(event.time_ms);
        }
        chain(event, pass, &mut |value, time_ms| {
            sink.key.clear();
            key(value, &mut sink.key);
            sink.value.clear();
            let keyless = keyless.as_ref().is_some_and(|keyless| keyless(value));
            let put = project(value, &mut sink.value).and_then(|()| sink.put(time_ms, keyless));
            if let Err(failure) = put {
                pass.fail(failure);
            }
        });
    })
}

pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl<T> std::fmt::Debug for Flow<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.branches.iter().map(|branch| &branch.shape)).finish()
    }
}

impl std::fmt::Debug for SourceCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceCode({})", self.stream)
    }
}
