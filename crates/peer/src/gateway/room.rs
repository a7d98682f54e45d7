//! Room for answers: what is made for clients and not yet taken by them is bounded for all of them together.
//!
//! Promises that nothing is held while room is waited for, so that clients who take no answers stop only the making of
//! more. They lose their place after [`limits::ANSWER_STALL`], and their room with it.

use crate::limits;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room of one answer, given back when this is dropped.
pub struct Room {
    pool: Arc<Semaphore>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Room {
    pub fn of(pool: Arc<Semaphore>) -> Self {
        Self { pool, held: Mutex::new(None) }
    }

    /// Takes room for so many bytes if there is some now.
    pub fn try_take(&self, bytes: usize) -> bool {
        self.keep(self.pool.clone().try_acquire_many_owned(kib(bytes)).ok())
    }

    /// Waits for room; none once the peer stops.
    pub async fn take(&self, bytes: usize) -> bool {
        self.keep(self.pool.clone().acquire_many_owned(kib(bytes)).await.ok())
    }

    fn keep(&self, permit: Option<OwnedSemaphorePermit>) -> bool {
        let is_taken = permit.is_some();
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = permit;
        is_taken
    }
}

/// No answer waits for more than half of all room: what is larger is bounded by other limits.
fn kib(bytes: usize) -> u32 {
    (bytes / 1024 + 1).min(limits::ANSWER_BYTES / 2048) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_waited_for_and_comes_back_with_the_answer() {
        let pool = Arc::new(Semaphore::new(100));
        let (first, second) = (Room::of(pool.clone()), Room::of(pool.clone()));
        assert!(first.try_take(90 << 10) && !second.try_take(20 << 10));
        let waiting = tokio::spawn(async move {
            assert!(second.take(20 << 10).await);
            second
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        let second = waiting.await.expect("no panic");
        assert_eq!(pool.available_permits(), 100 - 21);
        drop(second);
        assert_eq!(pool.available_permits(), 100);
    }
}
