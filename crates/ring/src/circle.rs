//! The circle of hashes: seats' virtual points, and the walk clockwise from a shard.
//!
//! Promises that a point depends on its peer's id alone, so that no other seat's coming or going moves it.

use crate::{Seat, WEIGHT_MAX};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use model::PeerId;
use model::hash::hash64;

/// Points of an ordinary peer (weight 100). More even out the arcs, at a cost when a ring is made.
const POINTS: u32 = 128;

/// Seats are named by their place in the order of peer ids from here on.
pub(crate) struct Circle {
    /// (place on the circle, seat), in order.
    points: Vec<(u64, usize)>,
    peers: Vec<PeerId>,
    weights: Vec<u64>,
    /// A small number for each seat's zone.
    zones: Vec<usize>,
    zone_count: usize,
}

impl Circle {
    /// Takes seats in order of peer ids, all with weight.
    pub(crate) fn new(seats: &[&Seat]) -> Self {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for seat in seats {
            let next = names.len();
            names.entry(&seat.zone).or_insert(next);
        }
        let weights: Vec<u64> = seats.iter().map(|s| s.weight.min(WEIGHT_MAX).into()).collect();
        let mut points = Vec::new();
        for (at, seat) in seats.iter().enumerate() {
            let count = (seat.weight.min(WEIGHT_MAX) * POINTS).div_ceil(100);
            points.extend((0..count).map(|i| (point(seat.peer, i), at)));
        }
        points.sort_unstable();
        Self {
            points,
            peers: seats.iter().map(|seat| seat.peer).collect(),
            weights,
            zones: seats.iter().map(|seat| names[seat.zone.as_str()]).collect(),
            zone_count: names.len(),
        }
    }

    pub(crate) fn seats(&self) -> usize {
        self.peers.len()
    }
    pub(crate) fn peer(&self, seat: usize) -> PeerId {
        self.peers[seat]
    }
    pub(crate) fn weight(&self, seat: usize) -> u64 {
        self.weights[seat]
    }
    pub(crate) fn zone(&self, seat: usize) -> usize {
        self.zones[seat]
    }
    pub(crate) fn zones(&self) -> usize {
        self.zone_count
    }

    /// The seats clockwise of a shard with their distances, each once, until `visit` says stop.
    pub(crate) fn walk(
        &self,
        shard: usize,
        seen: &mut Seen,
        mut visit: impl FnMut(usize, u64) -> bool,
    ) {
        let home = home(shard);
        let start = self.points.partition_point(|(place, _)| *place < home);
        let (before, after) = self.points.split_at(start);
        seen.forget();
        let mut left = self.seats();
        for (place, seat) in after.iter().chain(before) {
            if !seen.first_time(*seat) {
                continue;
            }
            left -= 1;
            if !visit(*seat, place.wrapping_sub(home)) || left == 0 {
                return;
            }
        }
    }
}

/// The seats that a walk has passed; kept between walks to save its making.
pub(crate) struct Seen {
    stamps: Vec<u32>,
    stamp: u32,
}

impl Seen {
    pub(crate) fn new(seats: usize) -> Self {
        Self { stamps: alloc::vec![0; seats], stamp: 0 }
    }
    fn forget(&mut self) {
        self.stamp += 1;
    }
    fn first_time(&mut self, seat: usize) -> bool {
        core::mem::replace(&mut self.stamps[seat], self.stamp) != self.stamp
    }
}

fn point(peer: PeerId, index: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&peer.0.to_le_bytes());
    bytes[4..].copy_from_slice(&index.to_le_bytes());
    hash64(&bytes)
}

/// A shard's own place on the circle. Nine bytes, where a point has eight: they never coincide by construction.
fn home(shard: usize) -> u64 {
    let mut bytes = *b"shard\0\0\0\0";
    bytes[5..].copy_from_slice(&(shard as u32).to_le_bytes());
    hash64(&bytes)
}
