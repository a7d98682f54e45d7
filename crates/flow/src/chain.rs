//! The stateless chain of a stage: closures that push one event's results forward, without a queue between them.

use crate::carry::Failure;
use crate::event::Event;
use crate::exchange::Sink;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Takes a result and its event time.
pub(crate) type Emit<'a, T> = dyn FnMut(&T, i64) + 'a;
/// From an event to any number of results.
pub(crate) type Chain<T> = Arc<dyn Fn(&Event, &Pass, &mut Emit<'_, T>) + Send + Sync>;
/// A whole chain, down to keyed items in the exchange.
pub(crate) type Run = Arc<RunEvent>;
pub(crate) type RunEvent = dyn Fn(&Event, &Pass, &mut Sink) + Send + Sync;

/// What one event's way through a chain leaves behind besides its results.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The greatest event time that was said.
    time_ms: Cell<i64>,
    /// Why the event as a whole failed; its results are then dropped.
    fault: RefCell<Option<Failure>>,
}

impl Pass {
    pub(crate) fn new() -> Self {
        Self { time_ms: Cell::new(i64::MIN), fault: RefCell::new(None) }
    }

    pub(crate) fn saw(&self, time_ms: i64) {
        self.time_ms.set(self.time_ms.get().max(time_ms));
    }

    pub(crate) fn fail(&self, failure: Failure) {
        self.fault.borrow_mut().get_or_insert(failure);
    }

    pub(crate) fn outcome(self) -> (i64, Option<Failure>) {
        (self.time_ms.get(), self.fault.into_inner())
    }
}
