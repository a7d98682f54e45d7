//! Checkers: whether what clients saw can be true of a mesh that keeps its promises.
//!
//! Each runs once over the history (one of them sorts it) and says how much it looked at, or shows the few lines that
//! cannot all be true. Only the register's needs a search, over short histories; one it cannot decide has failed.

pub mod convergence;
pub mod duplicates;
pub mod emitted;
pub mod folds;
pub mod lost;
pub mod offsets;
pub mod order;
pub mod phantoms;
pub mod registers;
pub mod sessions;
#[cfg(test)]
mod story;

use crate::history::History;
use std::fmt;

/// Lines of a history that cannot all be true, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    pub why: String,
    pub lines: Vec<String>,
}

/// How many things were looked at, or what is wrong.
pub type Found = Result<u64, Witness>;

/// A checker and what it is called.
pub struct Checker {
    pub name: &'static str,
    pub check: fn(&History) -> Found,
}

/// All of them, the plainest first.
pub const ALL: [Checker; 10] = [
    Checker { name: "no acknowledged event is lost", check: lost::check },
    Checker { name: "no event comes from nowhere", check: phantoms::check },
    Checker { name: "an offset has one event", check: offsets::check },
    Checker { name: "a key's events keep their order", check: order::check },
    Checker { name: "no event is there twice", check: duplicates::check },
    Checker { name: "a view is the fold of its stream", check: folds::check },
    Checker { name: "read, kept and emitted move together", check: emitted::check },
    Checker { name: "what was seen is never unseen", check: sessions::check },
    Checker { name: "all copies agree at the end", check: convergence::check },
    Checker { name: "registers are linearizable", check: registers::check },
];

impl Witness {
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), lines: Vec::new() }
    }

    /// Shows a line of the history.
    pub fn line(mut self, line: &impl fmt::Debug) -> Self {
        self.lines.push(format!("{line:?}"));
        self
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.why)?;
        self.lines.iter().try_for_each(|line| write!(f, "\n      {line}"))
    }
}
