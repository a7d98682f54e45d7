//! Frames that wait for one peer on one lane.
//!
//! Promises a bound in bytes; never waits when it is given a frame.

use crate::{error::SendError, lane::Lane, limits};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    bytes_max: usize,
    frame_bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Queue {
    pub fn new(lane: Lane) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            bytes_max: lane.queue_bytes_max(),
            frame_bytes_max: lane.frame_bytes_max(),
        }
    }

    /// Queues a frame, or says that there is no room.
    pub fn push(&self, frame: Bytes) -> Result<(), SendError> {
        if frame.len() > self.frame_bytes_max {
            let (bytes, bytes_max) = (frame.len(), self.frame_bytes_max);
            return Err(SendError::TooLarge { bytes, bytes_max });
        }
        let mut waiting = self.lock();
        let bytes = waiting.bytes + cost(&frame);
        if bytes > self.bytes_max {
            return Err(SendError::Full);
        }
        waiting.bytes = bytes;
        waiting.frames.push_back(frame);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for frames and takes as many as are written at once. Nothing is taken when the wait is
    /// given up.
    pub async fn take(&self, frames: &mut Vec<Bytes>) {
        loop {
            if self.take_now(frames) {
                return;
            }
            self.arrived.notified().await;
        }
    }

    fn take_now(&self, frames: &mut Vec<Bytes>) -> bool {
        let mut waiting = self.lock();
        let mut taken = 0;
        while let Some(frame) = waiting.frames.front() {
            if taken > 0 && taken + frame.len() > limits::COALESCE_BYTES_MAX {
                break;
            }
            taken += cost(frame);
            frames.extend(waiting.frames.pop_front());
        }
        waiting.bytes -= taken;
        taken > 0
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + limits::FRAME_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_queue_is_full_by_bytes_and_keeps_the_order() {
        let queue = Queue::new(Lane::Gossip);
        let half = Bytes::from(vec![1; Lane::Gossip.queue_bytes_max() / 2]);
        assert_eq!(queue.push(half.clone()), Ok(()));
        assert_eq!(queue.push(half.clone()), Err(SendError::Full));
        assert_eq!(queue.push(Bytes::from_static(b"small")), Ok(()));
        let too_large = Bytes::from(vec![0; Lane::Gossip.queue_bytes_max()]);
        assert!(matches!(queue.push(too_large), Err(SendError::TooLarge { .. })));
        let mut frames = Vec::new();
        queue.take(&mut frames).await;
        assert_eq!(frames, [half]);
        queue.take(&mut frames).await;
        assert_eq!(frames[1], "small");
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn empty_frames_fill_a_queue_too() {
        let queue = Queue::new(Lane::Gossip);
        let fits = Lane::Gossip.queue_bytes_max() / limits::FRAME_OVERHEAD_BYTES;
        assert!((0..fits).all(|_| queue.push(Bytes::new()).is_ok()));
        assert_eq!(queue.push(Bytes::new()), Err(SendError::Full));
    }
}
