//! Room on the disk: measured often, asked before anything grows, and told to neighbours.
//!
//! A peer is full when little more is left than what consensus, configuration and the last checkpoint need. A shard
//! with a full voter takes no events and no tasks' commits: they are refused in plain words, and everything goes on
//! by itself when there is room again. What had been taken before waits for room. Never ends the peer.

use crate::limits;
use model::PeerId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use store::Folder;

/// What is known of the room here and at neighbours.
pub struct Space {
    folder: Arc<Folder>,
    full: AtomicBool,
    free: AtomicU64,
    /// When neighbours last said that they are full.
    told: Mutex<BTreeMap<PeerId, Instant>>,
}

impl Space {
    pub fn new(folder: Arc<Folder>) -> Self {
        let told = Mutex::new(BTreeMap::new());
        let space = Self { folder, full: AtomicBool::new(false), free: AtomicU64::new(0), told };
        space.measure();
        space
    }

    /// Looks how much is left.
    pub fn measure(&self) {
        let (free, total) = match self.folder.space() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "it cannot be told how much room is left");
                return;
            }
        };
        let was = self.is_full();
        let full = is_full(was, free, total);
        self.free.store(free, Ordering::Relaxed);
        self.full.store(full, Ordering::Relaxed);
        match (was, full) {
            (false, true) => tracing::error!(free, "the disk is full: events are refused (SH0502)"),
            (true, false) => tracing::info!(free, "there is room on the disk again"),
            _ => {}
        }
    }

    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Bytes that were left at the last look.
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// A neighbour says that it is full.
    pub fn hear(&self, peer: PeerId) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(peer, Instant::now());
    }

    /// Neighbours that are full, as far as they told lately.
    pub fn full_peers(&self) -> Vec<PeerId> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| at.elapsed() < limits::FULL_HEARD);
        told.keys().copied().collect()
    }

    /// Whether this peer or one of these is full.
    pub fn is_any_full(&self, peers: &[PeerId]) -> bool {
        self.is_full() || self.full_peers().iter().any(|full| peers.contains(full))
    }
}

/// Full below the reserve; not full again before there is a quarter more, so that it does not change all the time.
fn is_full(was: bool, free: u64, total: u64) -> bool {
    let part = total / limits::RESERVE_PART;
    let reserve = part.clamp(limits::RESERVE_BYTES.0, limits::RESERVE_BYTES.1);
    free < if was { reserve + reserve / 4 } else { reserve }
}

#[cfg(test)]
mod tests {
    use super::is_full;

    #[test]
    fn a_disk_is_full_below_its_reserve_and_until_there_is_clearly_more() {
        let (mib, gib) = (1 << 20, 1 << 30);
        assert!(!is_full(false, 110 * mib, 2 * gib));
        assert!(is_full(false, 100 * mib, 2 * gib));
        assert!(is_full(true, 110 * mib, 2 * gib));
        assert!(!is_full(true, 130 * mib, 2 * gib));
    }

    #[test]
    fn a_large_disk_needs_no_large_reserve_and_a_small_one_has_one() {
        let gib = 1 << 30;
        assert!(!is_full(false, 2 * gib, 4000 * gib));
        assert!(is_full(false, gib / 2, 4000 * gib));
        assert!(is_full(false, 60 << 20, gib / 2));
    }
}
