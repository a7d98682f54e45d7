//! The aggregates, each said once for running values and for windows: how a value is carried to the task, and how
//! it is folded there.

use super::flow::Project;
use crate::carry::{Failure, pack};
use crate::core::{AddItem, Counting, Distinct, Folding, Kept, MergeValues};
use crate::key::ToKey;
use serde::{Serialize, de::DeserializeOwned};
use sketches_ddsketch::DDSketch;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One aggregate of values of type `T`.
pub struct Aggregate<T, K> {
    pub(super) name: String,
    pub(super) format: &'static str,
    pub(super) project: Project<T>,
    pub(super) kept: Arc<K>,
}

/// What can be summed. A sum that overflows fails its event.
pub trait Number: Copy + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    fn plus(self, other: Self) -> Option<Self>;
}

macro_rules! checked_number {
    ($($t:ty),*) => {$(
        impl Number for $t {
            fn plus(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }
        }
    )*};
}
checked_number!(i32, i64, u32, u64, usize);

impl Number for f64 {
    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other).filter(|sum| sum.is_finite())
    }
}

/// What user code may be kept as, or carried as.
pub trait Carried: Serialize + DeserializeOwned + Send + 'static {}
impl<V: Serialize + DeserializeOwned + Send + 'static> Carried for V {}

impl<T: 'static, V: Carried, S: Carried, R: Serialize + 'static> Aggregate<T, Folding<V, S, R>> {
    fn new(
        name: impl Into<String>,
        project: Project<T>,
        init: impl Fn() -> S + Send + Sync + 'static,
        add: AddItem<V, S>,
        finish: impl Fn(&S) -> R + Send + Sync + 'static,
    ) -> Self {
        let (init, finish) = (Arc::new(init), Arc::new(finish));
        let kept = Arc::new(Folding { init, add, merge: None, finish });
        Self { name: name.into(), format: "json", project, kept }
    }

    fn merging(self, merge: MergeValues<S>) -> Self {
        let Folding { init, add, finish, .. } = &*self.kept;
        let (init, add, finish) = (Arc::clone(init), Arc::clone(add), Arc::clone(finish));
        let kept = Arc::new(Folding { init, add, merge: Some(merge), finish });
        Self { kept, ..self }
    }
}

pub(super) fn count<T: 'static>() -> Aggregate<T, Counting> {
    let project: Project<T> = Arc::new(|_, _| Ok(()));
    Aggregate { name: "count".into(), format: "u64", project, kept: Arc::new(Counting) }
}

pub(super) fn sum<T: 'static, N: Number>(
    number: impl Fn(&T) -> N + Send + Sync + 'static,
) -> Aggregate<T, Folding<N, N, N>> {
    fn add<N: Number>(sum: &mut N, number: N) -> Result<(), Failure> {
        *sum = sum.plus(number).ok_or(Failure::new("the sum overflows"))?;
        Ok(())
    }
    let each: AddItem<N, N> = Arc::new(|sum, number| add(sum, *number));
    Aggregate::new("sum", projecting(number), N::default, each, |sum| *sum).merging(Arc::new(add))
}

pub(super) fn mean<T: 'static>(
    number: impl Fn(&T) -> f64 + Send + Sync + 'static,
) -> Aggregate<T, impl Kept> {
    type Mean = (f64, u64);
    fn add(mean: &mut Mean, other: Mean) -> Result<(), Failure> {
        mean.0 = mean.0.plus(other.0).ok_or(Failure::new("the sum overflows"))?;
        mean.1 += other.1;
        Ok(())
    }
    let each: AddItem<f64, Mean> = Arc::new(|mean, number| add(mean, (*number, 1)));
    let finish = |mean: &Mean| mean.0 / mean.1 as f64;
    Aggregate::new("mean", projecting_finite(number), Mean::default, each, finish)
        .merging(Arc::new(add))
}

/// The value that `Ordering` `wins` over all others; of equals the first one.
pub(super) fn extreme<T: 'static, V: Carried + PartialOrd + Clone>(
    name: &str,
    wins: Ordering,
    value: impl Fn(&T) -> V + Send + Sync + 'static,
) -> Aggregate<T, impl Kept> {
    let take = move |best: &mut Option<V>, other: V| {
        match best.as_ref().map(|best| other.partial_cmp(best)) {
            Some(None) => return Err(Failure::new("values that have no order")),
            Some(Some(order)) if order != wins => {}
            Some(Some(_)) | None => *best = Some(other),
        }
        Ok(())
    };
    let each: AddItem<V, Option<V>> = Arc::new(move |best, value| take(best, value.clone()));
    Aggregate::new(name, projecting(value), || None, each, |best: &Option<V>| best.clone())
        .merging(Arc::new(move |best, other| other.map_or(Ok(()), |other| take(best, other))))
}

/// How many different keys: hashes travel, a sketch is kept.
pub(super) fn distinct<T: 'static, K: ToKey>(
    key: impl Fn(&T) -> K + Send + Sync + 'static,
) -> Aggregate<T, impl Kept> {
    let hash = move |value: &T| {
        let mut bytes = Vec::new();
        key(value).put_key(&mut bytes);
        model::hash::hash64(&bytes)
    };
    let each: AddItem<u64, Distinct> = Arc::new(|sketch, hash| {
        sketch.add(*hash);
        Ok(())
    });
    Aggregate::new("distinct", projecting(hash), Distinct::default, each, Distinct::estimate)
        .merging(Arc::new(|sketch, other| match sketch.merge(&other) {
            true => Ok(()),
            false => Err(Failure::new("a sketch of distinct things is malformed")),
        }))
}

/// The `k` values of the greatest scores, greatest first; of equal scores the lesser values first.
pub(super) fn top<T: 'static, N: Carried + PartialOrd + Clone, V: Carried + Ord + Clone>(
    k: usize,
    score: impl Fn(&T) -> N + Send + Sync + 'static,
    value: impl Fn(&T) -> V + Send + Sync + 'static,
) -> Aggregate<T, impl Kept> {
    let take = move |top: &mut Vec<(N, V)>, other: (N, V)| {
        if other.0.partial_cmp(&other.0).is_none() {
            return Err(Failure::new("a score that has no order"));
        }
        let stands = |of: &(N, V)| of.0 > other.0 || (of.0 == other.0 && of.1 <= other.1);
        let at = top.partition_point(stands);
        top.insert(at, other);
        top.truncate(k);
        Ok(())
    };
    let pair = move |of: &T| (score(of), value(of));
    let each: AddItem<(N, V), Vec<(N, V)>> = Arc::new(move |top, pair| take(top, pair.clone()));
    let finish = |top: &Vec<(N, V)>| top.iter().map(|(_, value)| value.clone()).collect::<Vec<V>>();
    Aggregate::new(format!("top {k}"), projecting(pair), Vec::new, each, finish)
        .merging(Arc::new(move |top, other| other.into_iter().try_for_each(|pair| take(top, pair))))
}

/// Quantiles by DDSketch, within 1 % of the value.
pub(super) fn quantiles<T: 'static>(
    quantiles: &[f64],
    number: impl Fn(&T) -> f64 + Send + Sync + 'static,
) -> Aggregate<T, impl Kept> {
    let each: AddItem<f64, DDSketch> = Arc::new(|sketch, number| {
        sketch.add(*number);
        Ok(())
    });
    let name = format!("quantiles {quantiles:?}");
    let asked = quantiles.to_vec();
    let finish = move |sketch: &DDSketch| {
        let value = |q: &f64| sketch.quantile(*q).ok().flatten();
        asked.iter().map(|q| (q.to_string(), value(q))).collect::<BTreeMap<_, _>>()
    };
    Aggregate::new(name, projecting_finite(number), DDSketch::default, each, finish).merging(
        Arc::new(|sketch, other| {
            sketch.merge(&other)?;
            Ok(())
        }),
    )
}

pub(super) fn folding<T, S, R>(
    init: impl Fn() -> S + Send + Sync + 'static,
    fold: impl Fn(&mut S, &T) + Send + Sync + 'static,
    finish: impl Fn(&S) -> R + Send + Sync + 'static,
) -> Aggregate<T, Folding<T, S, R>>
where
    T: Serialize + DeserializeOwned + 'static,
    S: Carried,
    R: Serialize + 'static,
{
    let add: AddItem<T, S> = Arc::new(move |state, value| {
        fold(state, value);
        Ok(())
    });
    let (init, finish) = (Arc::new(init), Arc::new(finish));
    let kept = Arc::new(Folding { init, add, merge: None, finish });
    Aggregate { name: "aggregate".into(), format: "json", project: Arc::new(pack), kept }
}

pub(super) fn folding_merging<T, S, R>(
    init: impl Fn() -> S + Send + Sync + 'static,
    fold: impl Fn(&mut S, &T) + Send + Sync + 'static,
    merge: impl Fn(&mut S, S) + Send + Sync + 'static,
    finish: impl Fn(&S) -> R + Send + Sync + 'static,
) -> Aggregate<T, Folding<T, S, R>>
where
    T: Carried,
    S: Carried,
    R: Serialize + 'static,
{
    folding(init, fold, finish).merging(Arc::new(move |state, other| {
        merge(state, other);
        Ok(())
    }))
}

fn projecting<T, V: Serialize>(value: impl Fn(&T) -> V + Send + Sync + 'static) -> Project<T> {
    Arc::new(move |of, out| pack(&value(of), out))
}

fn projecting_finite<T>(number: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Project<T> {
    Arc::new(move |value, out| {
        let number = number(value);
        if number.is_finite() { pack(&number, out) } else { Err(Failure::new("not a number")) }
    })
}
