//! Two keyed streams as one: joins within a time, and values enriched from a table.

use super::flow::{Project, ms};
use super::keyed::Keyed;
use super::stage::Table;
use crate::carry::pack;
use crate::core::{Bounds, Core, Enriching, Joining, LEFT, Pairing, RIGHT, inner, outer};
use crate::stage::MakeCore;
use serde::{Serialize, de::DeserializeOwned};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// How far apart two values may have happened that meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    bounds: Bounds,
    late_ms: i64,
}

impl Within {
    /// No further apart than this, whichever was first.
    pub fn of(apart: Duration) -> Self {
        Self::between(apart, apart)
    }

    /// The right value no more than `before` earlier than the left one, and no more than `after` later.
    pub fn between(before: Duration, after: Duration) -> Self {
        let bounds = Bounds::Interval { before_ms: ms(before), after_ms: ms(after) };
        Self { bounds, late_ms: 0 }
    }

    /// In the same window of this size, beginning at multiples of it since 1970 UTC.
    pub fn window(size: Duration) -> Self {
        Self { bounds: Bounds::Window { size_ms: ms(size) }, late_ms: 0 }
    }

    /// Values that are late by no more than this still meet others; later ones become dead letters with the
    /// cause `late`. The default is zero.
    #[must_use]
    pub fn allow_late(self, late: Duration) -> Self {
        Self { late_ms: ms(late), ..self }
    }
}

/// Two streams by key. A result has the key of both; its time is the later of theirs.
#[must_use = "a join does nothing until its results are written .to a stream"]
pub struct Join<L, R> {
    left: Keyed<L>,
    right: Keyed<R>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Within(Within),
    Lookup,
    AsOf,
}

impl<L: 'static> Keyed<L> {
    /// Pairs values of one key that happened near each other.
    pub fn join<R: 'static>(self, right: Keyed<R>, within: Within) -> Join<L, R> {
        Join { left: self, right, kind: Kind::Within(within) }
    }

    /// Looks up what a table says of the key now. The table is a stream that says a key's last value, as a
    /// running aggregate's `.to` is, or any other where the last value of a key counts.
    pub fn lookup<R: 'static>(self, table: Keyed<R>) -> Join<L, R> {
        Join { left: self, right: table, kind: Kind::Lookup }
    }

    /// Looks up what a table said of the key at the value's own time: a temporal join. A value waits until the
    /// watermark has passed its time; what is later than that is a dead letter with the cause `late`.
    pub fn as_of<R: 'static>(self, table: Keyed<R>) -> Join<L, R> {
        Join { left: self, right: table, kind: Kind::AsOf }
    }
}

impl<L, R> Join<L, R>
where
    L: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    /// A result for each pair.
    pub fn inner<U: Serialize + 'static>(
        self,
        make: impl Fn(&L, &R) -> U + Send + Sync + 'static,
    ) -> Table {
        self.ending(false, inner(make))
    }

    /// A result for each pair, and one for each left value that meets nobody, at the time when that is certain.
    pub fn left<U: Serialize + 'static>(
        self,
        make: impl Fn(&L, Option<&R>) -> U + Send + Sync + 'static,
    ) -> Table {
        self.ending(true, outer(make))
    }

    fn ending(self, is_outer: bool, pairing: Pairing<L, R>) -> Table {
        let Self { left, right, kind } = self;
        let name = format!("{} {kind:?}", if is_outer { "left join" } else { "inner join" });
        let core: MakeCore = match kind {
            Kind::Within(Within { bounds, late_ms }) => Arc::new(move || {
                let pairing = Arc::clone(&pairing);
                Box::new(Joining { bounds, late_ms, is_outer, pairing }) as Box<dyn Core>
            }),
            Kind::Lookup | Kind::AsOf => {
                let is_temporal = matches!(kind, Kind::AsOf);
                Arc::new(move || {
                    let pairing = Arc::clone(&pairing);
                    let takes = PhantomData;
                    Box::new(Enriching { is_temporal, is_outer, pairing, takes }) as Box<dyn Core>
                })
            }
        };
        let table = left.ending_with(right, (sided(LEFT), sided(RIGHT)), &name, core);
        match kind {
            Kind::Within(Within { bounds: Bounds::Window { size_ms: 0 }, .. }) => {
                table.refused("a window has at least one millisecond")
            }
            _ => table,
        }
    }
}

fn sided<T: Serialize>(side: u8) -> Project<T> {
    Arc::new(move |value, out| {
        out.push(side);
        pack(value, out)
    })
}

impl<L, R> std::fmt::Debug for Join<L, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Join({:?}, {:?}, {:?})", self.kind, self.left, self.right)
    }
}
