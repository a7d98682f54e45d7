//! How closely turns follow each other.
//!
//! A turn costs a frame to each neighbour and a sync, whatever it carries. While several shards have work at once the next
//! turn begins [`limits::TURN_GAP`] after the last one at the earliest, and carries what came meanwhile. Where few have,
//! nothing waits: a turn would gather nothing.

use crate::limits;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct Pace {
    /// When the last turn began, if it found many shards with work.
    crowded: Option<Instant>,
}

impl Pace {
    /// How long the next turn waits.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let since = |crowded: Instant| now.saturating_duration_since(crowded);
        self.crowded.map_or(Duration::ZERO, |at| limits::TURN_GAP.saturating_sub(since(at)))
    }

    /// A turn begins, with work for so many shards.
    pub(super) fn turned(&mut self, now: Instant, shards: usize) {
        self.crowded = (shards >= limits::TURN_CROWD).then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_waits_only_behind_a_crowded_one() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait(start), Duration::ZERO);
        pace.turned(start, limits::TURN_CROWD - 1);
        assert_eq!(pace.wait(start), Duration::ZERO);
        pace.turned(start, limits::TURN_CROWD);
        assert_eq!(pace.wait(start), limits::TURN_GAP);
        let later = start + limits::TURN_GAP / 4;
        assert_eq!(pace.wait(later), limits::TURN_GAP - limits::TURN_GAP / 4);
        assert_eq!(pace.wait(start + 2 * limits::TURN_GAP), Duration::ZERO);
        pace.turned(later, 1);
        assert_eq!(pace.wait(later), Duration::ZERO);
    }
}
