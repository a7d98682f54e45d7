//! The beginning of what something is, for one line of a trace.

use std::fmt::{Debug, Error, Result, Write};

/// Bytes of a line that say what an event is; more is cut off.
const BYTES: usize = 120;

/// Takes what fits, then refuses, so that nothing more is put together.
struct Line(String);

impl Write for Line {
    fn write_str(&mut self, more: &str) -> Result {
        let room = more.floor_char_boundary(BYTES - self.0.len());
        self.0.push_str(&more[..room]);
        if room < more.len() { Err(Error) } else { Ok(()) }
    }
}

/// What it is, cut off where a line ends.
pub fn brief(what: &impl Debug) -> String {
    let mut line = Line(String::with_capacity(BYTES));
    if write!(line, "{what:?}").is_err() {
        line.0.push('…');
    }
    line.0
}

#[cfg(test)]
mod tests {
    use super::brief;

    #[test]
    fn a_long_event_is_cut_off_and_a_short_one_is_whole() {
        assert_eq!(brief(&Some(7)), "Some(7)");
        let long = brief(&"ä".repeat(200));
        assert_eq!(long.chars().count(), 1 + 59 + 1, "{long}");
        assert!(long.ends_with('…'), "{long}");
    }
}
