//! The trace: a line an event, and what came of it; shown or only hashed.

use model::hash::hash64;

/// What becomes of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// They are not even put together: the quickest.
    Off,
    /// They are hashed: two runs of a seed must have the same.
    Hashed,
    /// They are hashed and printed.
    Shown,
}

/// The lines so far.
pub struct Trace {
    tracing: Tracing,
    hash: u64,
}

impl Trace {
    pub fn new(tracing: Tracing) -> Self {
        Self { tracing, hash: 0 }
    }

    pub fn is_on(&self) -> bool {
        self.tracing != Tracing::Off
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn line(&mut self, at_us: u64, line: &str) {
        if self.tracing == Tracing::Shown {
            println!("{at_us:>9} {line}");
        }
        let parts = [self.hash, at_us, hash64(line.as_bytes())];
        self.hash = hash64(&parts.map(u64::to_le_bytes).concat());
    }
}

/// Says a line of the trace, put together only if somebody wants it.
macro_rules! note {
    ($world:expr, $($arg:tt)*) => {
        if $world.trace.is_on() {
            let line = format!($($arg)*);
            let at_us = $world.now_us();
            $world.trace.line(at_us, &line);
        }
    };
}
pub(super) use note;
