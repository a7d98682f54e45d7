//! How closely new entries follow each other.
//!
//! An entry costs its shard's replicas a frame and a sync each, whatever it carries, and a read barrier a frame. While several
//! shards have something to begin at once, the next time is [`limits::TURN_GAP`] after the last one at the earliest, and
//! takes what came meanwhile. Where few have, nothing waits: nothing would gather. What is under way never waits: word
//! of the disk, of neighbours and of commits goes on in the next turn.

use crate::limits;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct Pace {
    /// When many shards last began something together.
    crowded: Option<Instant>,
}

impl Pace {
    /// How long what has gathered waits.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let since = |crowded: Instant| now.saturating_duration_since(crowded);
        self.crowded.map_or(Duration::ZERO, |at| limits::TURN_GAP.saturating_sub(since(at)))
    }

    /// What has gathered in so many shards begins now.
    pub(super) fn turned(&mut self, now: Instant, shards: usize) {
        self.crowded = (shards >= limits::TURN_CROWD).then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_gathered_waits_only_behind_a_crowd() {
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
