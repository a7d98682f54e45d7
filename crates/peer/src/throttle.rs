//! How many bytes of snapshots a peer takes a second, so that clients do not notice that shards move.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Books bytes that came, whoever fetched them: each asks for more when its own are due (the virtual scheduling of a leaky
/// bucket, ITU-T I.371, without a burst).
pub struct Throttle {
    /// Bytes a second.
    rate: u64,
    /// When all that was booked is due.
    due: Mutex<Instant>,
}

impl Throttle {
    pub fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), due: Mutex::new(Instant::now()) }
    }

    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// How long to wait before more is asked for.
    pub fn book(&self, now: Instant, bytes: u64) -> Duration {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        // Nothing is saved up while nothing comes.
        *due = (*due).max(now) + takes;
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_fetch_share_one_rate_and_nobody_saves_up() {
        let throttle = Throttle::new(1000);
        let start = Instant::now() + Duration::from_secs(60);
        let ms = Duration::from_millis;
        assert_eq!(throttle.book(start, 500), ms(500), "what is long past is not saved up");
        assert_eq!(throttle.book(start, 250), ms(750), "another fetcher waits behind it");
        assert_eq!(throttle.book(start + ms(700), 100), ms(150));
        assert_eq!(throttle.book(start + ms(5_000), 100), ms(100));
    }
}
