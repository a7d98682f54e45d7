//! Shard time: the leader's wall clock as long as a quorum of voters agree with it, else only what passes.

use super::Replica;
use crate::input::Now;
use crate::limits::{SKEW_MS, SKEW_TICKS};
use std::collections::BTreeSet;

/// A leader's idea of shard time.
#[derive(Default)]
pub struct Clock {
    /// The last shard time given, ms, and the monotonic moment of it.
    last_ms: u64,
    last_us: Option<u64>,
    skewed: bool,
    /// Ticks in which a quorum of others contradicted this clock.
    contradicted: u64,
}

impl Clock {
    pub fn crown(&mut self, time_ms: u64) {
        *self = Self { last_ms: time_ms, ..Self::default() };
    }

    pub fn is_skewed(&self) -> bool {
        self.skewed
    }

    /// The time of an entry that is proposed now; never below the last.
    fn give(&mut self, now: Now) -> u64 {
        let passed_ms = self.last_us.map_or(0, |last| now.mono_us.saturating_sub(last) / 1000);
        let crept = self.last_ms + passed_ms;
        let time_ms = if self.skewed { crept } else { now.wall_ms.max(self.last_ms) };
        if time_ms > self.last_ms || self.last_us.is_none() {
            self.last_us = Some(now.mono_us);
        }
        self.last_ms = time_ms;
        time_ms
    }
}

impl Replica {
    /// Shard time for an entry that is proposed now.
    pub(super) fn shard_time(&mut self, now: Now) -> u64 {
        self.clock.give(now)
    }

    /// A leader compares its clock with the voters', and hands over when a quorum contradicts it.
    pub(super) fn tick_clock(&mut self, now: Now) {
        if !self.is_elected() {
            return;
        }
        let voters: BTreeSet<_> = self.fold.configuration().voters();
        let quorum = voters.len() / 2 + 1;
        let ahead = voters.iter().filter(|id| **id != self.id);
        let ahead: Vec<i64> = ahead.filter_map(|id| self.contacts.ahead_ms(*id, now)).collect();
        let agree = ahead.iter().filter(|ahead| ahead.unsigned_abs() <= SKEW_MS as u64).count();
        let against = ahead.len() - agree;
        let alone = usize::from(voters.contains(&self.id));
        self.clock.skewed = against > 0 && agree + alone < quorum;
        if self.clock.skewed && against >= quorum {
            self.clock.contradicted += 1;
            if self.clock.contradicted.is_multiple_of(SKEW_TICKS) {
                self.hand_over(now);
            }
        } else {
            self.clock.contradicted = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_time_follows_the_wall_clock_and_creeps_when_it_is_contradicted() {
        let mut clock = Clock::default();
        clock.crown(1_000);
        let at = |mono_ms: u64, wall_ms| Now { mono_us: mono_ms * 1000, wall_ms };
        assert_eq!(clock.give(at(0, 5_000)), 5_000);
        assert_eq!(clock.give(at(10, 4_000)), 5_000, "never falls");
        clock.skewed = true;
        assert_eq!(clock.give(at(30, 900_000)), 5_030);
        assert_eq!(clock.give(at(31, 900_000)), 5_031);
        clock.skewed = false;
        assert_eq!(clock.give(at(40, 6_000)), 6_000);
    }
}
