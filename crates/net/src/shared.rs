//! What the handle, the drives and the lanes' tasks all look at: who can be reached, and the queues
//! to them.
//!
//! Promises that a peer's events come out in the order in which its connections came and went.

use crate::{
    error::SendError,
    event::{Event, Queued, Reach},
    key::PeerKey,
    lane::{Group, Lane},
    limits,
    queue::Queue,
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use tokio::sync::{Semaphore, mpsc};

type Queues = RwLock<HashMap<PeerKey, Arc<Queue>>>;

pub(crate) struct Shared {
    queues: [Queues; Lane::ALL.len()],
    reach: Mutex<HashMap<PeerKey, Reach>>,
    events: mpsc::UnboundedSender<Queued>,
    /// Room for frames that were read but not taken.
    room: [Arc<Semaphore>; Lane::ALL.len()],
}

impl Shared {
    pub fn new(events: mpsc::UnboundedSender<Queued>) -> Self {
        Self {
            queues: Default::default(),
            reach: Mutex::default(),
            events,
            room: Lane::ALL.map(|lane| {
                let bytes = lane.queue_bytes_max() * 2;
                let bytes = bytes.clamp(limits::UNTAKEN_BYTES_MIN, limits::UNTAKEN_BYTES_MAX);
                Arc::new(Semaphore::new(bytes))
            }),
        }
    }

    pub fn send(&self, peer: &PeerKey, lane: Lane, bytes: Bytes) -> Result<(), SendError> {
        let queues = self.queues[lane.index()].read().unwrap_or_else(PoisonError::into_inner);
        queues.get(peer).ok_or(SendError::Down)?.push(bytes)
    }

    /// A group's first connection to this peer stands: opens its queues, then tells.
    pub fn gained(&self, peer: &PeerKey, group: Group) -> Vec<(Lane, Arc<Queue>)> {
        let opened: Vec<_> = group.lanes().map(|lane| (lane, Arc::new(Queue::new(lane)))).collect();
        for (lane, queue) in &opened {
            let queues = &self.queues[lane.index()];
            let mut queues = queues.write().unwrap_or_else(PoisonError::into_inner);
            queues.insert(peer.clone(), queue.clone());
        }
        self.reached(peer, group, true);
        opened
    }

    /// A group's last connection to this peer is lost: drops what waits for it, then tells.
    pub fn lost(&self, peer: &PeerKey, group: Group) {
        for lane in group.lanes() {
            let queues = &self.queues[lane.index()];
            queues.write().unwrap_or_else(PoisonError::into_inner).remove(peer);
        }
        self.reached(peer, group, false);
    }

    fn reached(&self, peer: &PeerKey, group: Group, stands: bool) {
        let mut all = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = all.entry(peer.clone()).or_default();
        match group {
            Group::Main => reach.main = stands,
            Group::Consensus => reach.consensus = stands,
        }
        let reach = *reach;
        if reach.none() {
            all.remove(peer);
        }
        // told under the lock: the two drives must not tell their news in another order than it
        // happened
        self.tell(match stands {
            true => Event::Up { peer: peer.clone(), reach },
            false => Event::Down { peer: peer.clone(), reach },
        });
    }

    /// Tells something small.
    pub fn tell(&self, event: Event) {
        // nobody listens any more when the peer stops
        drop(self.events.send(Queued { event, _room: None }));
    }

    /// Hands a frame over; waits until the consumer has made room. False when nobody listens.
    pub async fn hand_over(&self, peer: PeerKey, lane: Lane, bytes: Bytes) -> bool {
        let bytes_taken = bytes.len() + limits::FRAME_OVERHEAD_BYTES;
        let permits = u32::try_from(bytes_taken).expect("a frame is at most 16 MiB");
        let room = self.room[lane.index()].clone().acquire_many_owned(permits).await;
        let _room = Some(room.expect("this semaphore is never closed"));
        let event = Event::Frame { peer, lane, bytes };
        self.events.send(Queued { event, _room }).is_ok()
    }
}
