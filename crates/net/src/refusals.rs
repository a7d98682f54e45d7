//! Who was refused of late, so that a stranger who keeps knocking fills no trace.

use crate::limits;
use std::{collections::HashMap, time::Instant};

#[derive(Debug, Default)]
pub struct Refusals {
    told: HashMap<String, Instant>,
}

impl Refusals {
    /// Whether a refusal of this one is to be told now.
    pub fn is_due(&mut self, who: &str, now: Instant) -> bool {
        let recent = |at: &Instant| now.duration_since(*at) < limits::REFUSAL_EVERY;
        if self.told.get(who).is_some_and(recent) {
            return false;
        }
        if self.told.len() >= limits::REFUSALS_MAX {
            self.told.retain(|_, at| recent(at));
        }
        if self.told.len() >= limits::REFUSALS_MAX {
            return false;
        }
        self.told.insert(who.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_one_is_told_once_in_a_while_and_many_are_bounded() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        assert!(refusals.is_due("10.0.0.1", now));
        assert!(!refusals.is_due("10.0.0.1", now));
        assert!(refusals.is_due("10.0.0.1", now + limits::REFUSAL_EVERY));
        let told = (0..5000).filter(|n| refusals.is_due(&format!("a{n}"), now)).count();
        assert!(told < limits::REFUSALS_MAX);
        assert!(refusals.is_due("late", now + limits::REFUSAL_EVERY * 2));
    }
}
