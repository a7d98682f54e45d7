//! What can be kept of keyed values, with a window or without: the same words for both.

use super::aggregates::{self, Aggregate};
use super::keyed::Keyed;
use super::stage::Table;
use super::windowed::Windowed;
use super::{Carried, Number};
use crate::core::Kept;
use crate::key::ToKey;
use serde::{Serialize, de::DeserializeOwned};
use std::cmp::Ordering;

macro_rules! aggregates_of {
    ($of:ident) => {
        impl<T: 'static> $of<T> {
            /// Counts values. The view's format is `u64`.
            pub fn count(self) -> Table {
                self.keep(aggregates::count())
            }

            /// Sums a number. Rows are JSON numbers.
            pub fn sum<N: Number>(self, number: impl Fn(&T) -> N + Send + Sync + 'static) -> Table {
                self.keep(aggregates::sum(number))
            }

            /// The mean of a number, as a JSON number.
            pub fn mean(self, number: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Table {
                self.keep(aggregates::mean(number))
            }

            /// The least of something, as JSON; of equals the first one that came.
            pub fn min<V: Carried + PartialOrd + Clone>(
                self,
                value: impl Fn(&T) -> V + Send + Sync + 'static,
            ) -> Table {
                self.keep(aggregates::extreme("min", Ordering::Less, value))
            }

            /// The greatest of something, as JSON; of equals the first one that came.
            pub fn max<V: Carried + PartialOrd + Clone>(
                self,
                value: impl Fn(&T) -> V + Send + Sync + 'static,
            ) -> Table {
                self.keep(aggregates::extreme("max", Ordering::Greater, value))
            }

            /// About how many different keys: HyperLogLog with a standard error of 1.6 %, as a JSON number.
            pub fn distinct<K: ToKey>(
                self,
                key: impl Fn(&T) -> K + Send + Sync + 'static,
            ) -> Table {
                self.keep(aggregates::distinct(key))
            }

            /// The values of the `k` greatest scores, greatest first, as a JSON list; of equal scores the lesser
            /// value comes first.
            pub fn top<N, V>(
                self,
                k: usize,
                score: impl Fn(&T) -> N + Send + Sync + 'static,
                value: impl Fn(&T) -> V + Send + Sync + 'static,
            ) -> Table
            where
                N: Carried + PartialOrd + Clone,
                V: Carried + Ord + Clone,
            {
                self.keep(aggregates::top(k, score, value))
            }

            /// Quantiles of a number (0.5 is the median), each within 1 % of the true one's value: DDSketch. Rows
            /// are JSON, as `{"0.5": 12.0, "0.99": 80.1}`.
            pub fn quantiles(
                self,
                quantiles: &[f64],
                number: impl Fn(&T) -> f64 + Send + Sync + 'static,
            ) -> Table {
                let valid = quantiles.iter().all(|q| (0.0..=1.0).contains(q));
                let table = self.keep(aggregates::quantiles(quantiles, number));
                if valid { table } else { table.refused("a quantile lies between 0 and 1") }
            }

            /// Folds values into `S`; rows show what `finish` makes of it, as JSON.
            pub fn aggregate<S, R>(
                self,
                init: impl Fn() -> S + Send + Sync + 'static,
                fold: impl Fn(&mut S, &T) + Send + Sync + 'static,
                finish: impl Fn(&S) -> R + Send + Sync + 'static,
            ) -> Table
            where
                T: Serialize + DeserializeOwned,
                S: Carried,
                R: Serialize + 'static,
            {
                self.keep(aggregates::folding(init, fold, finish))
            }

            /// As [`Self::aggregate`], with what two `S` become that were folded apart: for windows that merge.
            pub fn aggregate_merging<S, R>(
                self,
                init: impl Fn() -> S + Send + Sync + 'static,
                fold: impl Fn(&mut S, &T) + Send + Sync + 'static,
                merge: impl Fn(&mut S, S) + Send + Sync + 'static,
                finish: impl Fn(&S) -> R + Send + Sync + 'static,
            ) -> Table
            where
                T: Carried,
                S: Carried,
                R: Serialize + 'static,
            {
                self.keep(aggregates::folding_merging(init, fold, merge, finish))
            }
        }
    };
}
aggregates_of!(Keyed);
aggregates_of!(Windowed);

/// Where an aggregate ends: in running values or in windows.
pub(super) trait Keep<T> {
    fn keep<K: Kept>(self, aggregate: Aggregate<T, K>) -> Table;
}
