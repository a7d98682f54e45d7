//! A clock that beats as often as it says. The runtime's own timer rounds up to its next millisecond and sleeps
//! whole ones, which makes one millisecond of linger up to two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Beats until it is dropped. A beat that nobody waited for is kept, further ones are not.
#[derive(Debug)]
pub struct Ticker {
    beat: Arc<Notify>,
    stop: Arc<AtomicBool>,
}

impl Ticker {
    pub fn start(period: Duration) -> std::io::Result<Self> {
        let ticker = Self { beat: Arc::default(), stop: Arc::default() };
        let (beat, stop) = (ticker.beat.clone(), ticker.stop.clone());
        std::thread::Builder::new().name("tick".to_owned()).spawn(move || {
            let mut next = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                beat.notify_one();
                next = (next + period).max(Instant::now());
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        })?;
        Ok(ticker)
    }

    pub async fn tick(&self) {
        self.beat.notified().await;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_beats_and_keeps_at_most_one_missed_beat() {
        let ticker = Ticker::start(Duration::from_millis(10)).expect("a thread");
        for _ in 0..3 {
            ticker.tick().await;
        }
        std::thread::sleep(Duration::from_millis(200));
        let started = Instant::now();
        for _ in 0..12 {
            ticker.tick().await;
        }
        assert!(started.elapsed() > Duration::from_millis(50), "missed beats came at once");
    }
}
