//! No spans: every question is answered with nothing, which the compiler leaves away.

use door::trace::Parent;

/// Nothing.
pub struct Span;

impl Span {
    pub const fn is_on() -> bool {
        false
    }

    pub fn request(_: &'static str, _: impl FnOnce() -> Option<Parent>) -> Self {
        Self
    }

    pub fn part(&self, _: &'static str) -> Self {
        Self
    }

    pub fn word(&self, _: &'static str, _: &str) {}

    pub fn number(&self, _: &'static str, _: i64) {}

    pub fn fail(&self, _: &str) {}
}
