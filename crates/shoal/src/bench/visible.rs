//! When an event could first be seen: matches acknowledged batches of one partition with positions that a peer
//! showed.
//!
//! Promises never to flatter: a batch counts as seen when its last event is covered, and a position counts from the
//! moment its answer had arrived. An answer may come before the acknowledgement of what it covers.

use super::histogram::Histogram;
use std::collections::VecDeque;

/// The latency from intended sending to being visible.
#[derive(Debug, Default)]
pub struct Visible {
    /// Positions beyond what is acknowledged, each with the time it was first shown.
    shown: VecDeque<(i64, u64)>,
    /// Acknowledged batches that no position covers yet: offset after the last event, tags.
    waiting: VecDeque<(i64, Vec<u64>)>,
    position: i64,
    /// Whether the watched peer leads these rows: then its answers do not count.
    led: bool,
    seen: Histogram,
    /// Events intended before this are warm-up.
    from_us: u64,
}

impl Visible {
    pub fn new(from_us: u64) -> Self {
        Self { from_us, ..Self::default() }
    }

    /// A batch up to (excluding) `next` is acknowledged; `tags` are the intended times of its events.
    pub fn on_ack(&mut self, next: i64, tags: Vec<u64>) {
        // Acknowledgements of a partition come in order, so what does not cover this one covers no later one.
        while self.shown.front().is_some_and(|(position, _)| *position < next) {
            self.shown.pop_front();
        }
        match self.shown.front() {
            Some((_, at_us)) => self.count(&tags, *at_us),
            None => self.waiting.push_back((next, tags)),
        }
    }

    /// The watched peer shows `position` (the offset after the last event counted) at `at_us`.
    pub fn on_position(&mut self, position: i64, at_us: u64) {
        if position <= self.position {
            return;
        }
        self.position = position;
        self.shown.push_back((position, at_us));
        let covered = self.waiting.iter().take_while(|(next, _)| *next <= position).count();
        let batches: Vec<_> = self.waiting.drain(..covered).collect();
        for (_, tags) in batches {
            self.count(&tags, at_us);
        }
    }

    /// Says whether the watched peer leads the rows.
    pub fn on_led(&mut self, led: bool) {
        self.led = led;
    }

    /// Whether an acknowledged event has not been seen yet.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
    pub fn into_seen(self) -> Histogram {
        self.seen
    }

    fn count(&mut self, tags: &[u64], at_us: u64) {
        if self.led {
            return;
        }
        for tag in tags.iter().filter(|tag| **tag >= self.from_us) {
            self.seen.add(at_us.saturating_sub(*tag));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_from_when_it_was_first_shown_even_before_the_acknowledgement() {
        let mut visible = Visible::new(0);
        visible.on_position(4, 5_000);
        visible.on_position(9, 7_000);
        visible.on_ack(4, vec![1_000]);
        visible.on_ack(6, vec![1_000]);
        visible.on_ack(12, vec![1_000]);
        assert!(visible.is_waiting());
        visible.on_position(11, 8_000);
        assert!(visible.is_waiting(), "the last event of the batch is not covered");
        visible.on_position(12, 21_000);
        assert!(!visible.is_waiting());
        let seen = visible.into_seen();
        assert_eq!((seen.count(), seen.max_ms()), (3, 20.0));
        assert!((4.0..4.1).contains(&seen.quantile_ms(0.3)));
        assert!((6.0..6.1).contains(&seen.quantile_ms(0.6)));
    }

    #[test]
    fn what_the_watched_peer_leads_and_the_warm_up_are_left_out() {
        let mut visible = Visible::new(500);
        visible.on_led(true);
        visible.on_ack(2, vec![400, 600]);
        visible.on_position(2, 1_000);
        assert!(!visible.is_waiting());
        visible.on_led(false);
        visible.on_ack(4, vec![400, 600]);
        visible.on_position(4, 1_000);
        assert_eq!(visible.into_seen().count(), 1);
    }
}
