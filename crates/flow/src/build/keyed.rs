//! What is kept per key: running and windowed aggregates, or a user's processor.

use super::flow::{Flow, Project, PutKey, ms};
use super::stage::Table;
use crate::Stage;
use crate::carry::{Failure, pack, show};
use crate::context::Processor;
use crate::core::{Core, Counting, Folding, Forward, Kept, Processing, Running, Windowing};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use std::time::Duration;

/// Values with a key.
#[must_use = "keyed values do nothing until something is kept of them"]
pub struct Keyed<T> {
    flow: Flow<T>,
    key: PutKey<T>,
}

/// Values with a key and a window.
#[must_use = "a window does nothing until something is kept of it"]
#[derive(Debug)]
pub struct Windowed<T> {
    keyed: Keyed<T>,
    size: Duration,
    late: Duration,
}

/// Windows of one size, side by side, beginning at multiples of the size since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    size: Duration,
}

impl Tumbling {
    pub fn of(size: Duration) -> Self {
        Self { size }
    }
}

/// What can be summed. A sum that overflows fails its event.
pub trait Number: Copy + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    fn plus(self, other: Self) -> Option<Self>;
}

impl Number for i64 {
    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }
}
impl Number for u64 {
    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }
}
impl Number for f64 {
    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other).filter(|sum| sum.is_finite())
    }
}

impl<T: 'static> Keyed<T> {
    pub(super) fn new(flow: Flow<T>, key: PutKey<T>) -> Self {
        Self { flow, key }
    }

    /// Counts values a key. The view's format is `u64`.
    pub fn count(self) -> Table {
        let kept = Arc::new(Counting);
        self.running("count", "u64", Arc::new(|_, _| Ok(())), kept)
    }

    /// Sums a number a key. The view's rows are JSON numbers.
    pub fn sum<N: Number>(self, number: impl Fn(&T) -> N + Send + Sync + 'static) -> Table {
        self.running("sum", "json", projecting(number), summing::<N>())
    }

    /// The mean of a number a key, as a JSON number.
    pub fn mean(self, number: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Table {
        self.running("mean", "json", projecting_finite(number), averaging())
    }

    /// Folds values a key into `S`; rows show what `finish` makes of it, as JSON.
    pub fn aggregate<S, R>(
        self,
        init: impl Fn() -> S + Send + Sync + 'static,
        fold: impl Fn(&mut S, &T) + Send + Sync + 'static,
        finish: impl Fn(&S) -> R + Send + Sync + 'static,
    ) -> Table
    where
        T: Serialize + DeserializeOwned,
        S: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
    {
        self.running("aggregate", "json", Arc::new(pack), folding(init, fold, finish))
    }

    /// Keeps something a key and window of event time. Rows are `key@start`.
    pub fn window(self, windows: Tumbling) -> Windowed<T> {
        Windowed { keyed: self, size: windows.size, late: Duration::ZERO }
    }

    /// Runs a processor on the values, an instance a bucket. It may write rows of a `.view`, and emit `.to` a stream.
    pub fn process<P: Processor<T>>(self, make: impl Fn() -> P + Send + Sync + 'static) -> Table
    where
        T: Serialize + DeserializeOwned,
    {
        let core = move || Box::new(Processing::<P, T>::new(make())) as Box<dyn Core>;
        self.ending("process", "json", Arc::new(pack), Arc::new(core))
    }

    /// Writes the values under their keys into a stream that the stage makes: text as it is, the rest as JSON.
    pub fn to(self, stream: &str) -> Stage
    where
        T: Serialize,
    {
        let project: Project<T> = Arc::new(|value, out| {
            out.extend_from_slice(&show(value)?);
            Ok(())
        });
        let core = Arc::new(|| Box::new(Forward { keyless: false }) as _);
        self.ending("forward", "json", project, core).to(stream)
    }

    fn running<K: Kept>(
        self,
        name: &str,
        format: &str,
        project: Project<T>,
        kept: Arc<K>,
    ) -> Table {
        let core = move || Box::new(Running::new(Arc::clone(&kept))) as Box<dyn Core>;
        self.ending(name, format, project, Arc::new(core))
    }

    fn ending(
        self,
        name: &str,
        format: &str,
        project: Project<T>,
        core: crate::stage::MakeCore,
    ) -> Table {
        let (pipeline, sources, shape) = self.flow.into_sources(self.key, None, project);
        Table::new(pipeline, sources, shape, name, format, core)
    }
}

impl<T: 'static> Windowed<T> {
    /// Values that are late by no more than this still change their window; later ones become dead letters with
    /// the cause `late`. The default is zero: what comes after the watermark is late.
    pub fn allow_late(mut self, late: Duration) -> Self {
        self.late = late;
        self
    }

    /// Counts values a key and window. The view's format is `u64`.
    pub fn count(self) -> Table {
        self.keep("count", "u64", Arc::new(|_, _| Ok(())), Arc::new(Counting))
    }

    /// Sums a number a key and window. The view's rows are JSON numbers.
    pub fn sum<N: Number>(self, number: impl Fn(&T) -> N + Send + Sync + 'static) -> Table {
        self.keep("sum", "json", projecting(number), summing::<N>())
    }

    /// The mean of a number a key and window, as a JSON number.
    pub fn mean(self, number: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Table {
        self.keep("mean", "json", projecting_finite(number), averaging())
    }

    /// Folds values a key and window into `S`; rows show what `finish` makes of it, as JSON.
    pub fn aggregate<S, R>(
        self,
        init: impl Fn() -> S + Send + Sync + 'static,
        fold: impl Fn(&mut S, &T) + Send + Sync + 'static,
        finish: impl Fn(&S) -> R + Send + Sync + 'static,
    ) -> Table
    where
        T: Serialize + DeserializeOwned,
        S: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
    {
        self.keep("aggregate", "json", Arc::new(pack), folding(init, fold, finish))
    }

    fn keep<K: Kept>(self, name: &str, format: &str, project: Project<T>, kept: Arc<K>) -> Table {
        let (size_ms, late_ms) = (ms(self.size), ms(self.late));
        let name = format!("{name} in windows of {size_ms} ms, {late_ms} ms late");
        // A size of zero is refused by `Pipelines::check`; until then it must not divide by zero.
        let core = move || {
            Box::new(Windowing::new(Arc::clone(&kept), size_ms.max(1), late_ms)) as Box<dyn Core>
        };
        let table = self.keyed.ending(&name, format, project, Arc::new(core));
        if size_ms == 0 { table.refused("a window has at least one millisecond") } else { table }
    }
}

fn projecting<T, N: Number>(number: impl Fn(&T) -> N + Send + Sync + 'static) -> Project<T> {
    Arc::new(move |value, out| pack(&number(value), out))
}

fn projecting_finite<T>(number: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Project<T> {
    Arc::new(move |value, out| {
        let number = number(value);
        if number.is_finite() { pack(&number, out) } else { Err(Failure::new("not a number")) }
    })
}

fn summing<N: Number>() -> Arc<Folding<N, N, N>> {
    Arc::new(Folding {
        init: Arc::new(N::default),
        add: Arc::new(|sum: &mut N, number: &N| {
            *sum = sum.plus(*number).ok_or(Failure::new("the sum overflows"))?;
            Ok(())
        }),
        finish: Arc::new(|sum: &N| *sum),
    })
}

fn averaging() -> Arc<Folding<f64, (f64, u64), f64>> {
    Arc::new(Folding {
        init: Arc::new(|| (0.0, 0)),
        add: Arc::new(|(sum, count): &mut (f64, u64), number: &f64| {
            *sum = sum.plus(*number).ok_or(Failure::new("the sum overflows"))?;
            *count += 1;
            Ok(())
        }),
        finish: Arc::new(|(sum, count): &(f64, u64)| sum / *count as f64),
    })
}

fn folding<T, S, R>(
    init: impl Fn() -> S + Send + Sync + 'static,
    fold: impl Fn(&mut S, &T) + Send + Sync + 'static,
    finish: impl Fn(&S) -> R + Send + Sync + 'static,
) -> Arc<Folding<T, S, R>> {
    Arc::new(Folding {
        init: Arc::new(init),
        add: Arc::new(move |state: &mut S, value: &T| {
            fold(state, value);
            Ok(())
        }),
        finish: Arc::new(finish),
    })
}

impl<T> std::fmt::Debug for Keyed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyed({:?})", self.flow)
    }
}
