//! The ring: which peers hold a shard, as a pure function of who sits on it.
//!
//! Each peer puts virtual points on a circle of hashes, as many as its weight says; a shard belongs to the first peers
//! clockwise of its own hash (consistent hashing: Karger et al., STOC 1997), in distinct zones as long as there are
//! any, and nobody takes more than a bounded multiple of its share (consistent hashing with bounded loads: Mirrokni,
//! Thorup, Zadimoghaddam, SODA 2018, arXiv 1608.01350). Who must give way when a peer is full is settled by deferred
//! acceptance (Gale and Shapley 1962), so the result depends on no order and few shards move when a peer comes or goes.
//!
//! Promises:
//! - `R1` a shard has min(replication, seats with weight) replicas, on distinct peers; shard 0 has 5 when 5 can;
//! - `R2` they lie in as many zones as there are, up to their number;
//! - `R3` no peer holds more than ⌈1.25 × its share⌉ replicas or owns more than ⌈1.3 × its share⌉ shards;
//! - `R4` a seat of weight 0 holds nothing;
//! - `R5` the same seats, in any order, give the same ring on every machine.
//!
//! Never opens a file or socket, asks a clock or dice; never knows who is alive: it is the target, not the truth.

#![cfg_attr(not(test), no_std)]
extern crate alloc;

mod able;
mod circle;
mod owners;
mod place;
mod plan;
mod settle;
mod share;

pub use able::able;
pub use plan::{Handoff, Lead, Plan, plan};
pub use share::Share;

use alloc::string::String;
use alloc::vec::Vec;
use model::{PeerId, ShardId};

/// Copies of the catalogue's shard when the roster has that many peers: it should outlive two failures.
pub const CATALOGUE_REPLICATION: usize = 5;
/// A weight above this counts as this: 32 ordinary peers. It bounds the number of points.
pub const WEIGHT_MAX: u32 = 3_200;

/// A peer's place on the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    pub peer: PeerId,
    /// What fails together (a room, a rack); peers that say nothing share the empty zone.
    pub zone: String,
    /// Capacity relative to others; 100 is ordinary, 0 holds nothing.
    pub weight: u32,
}

/// The target of every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    targets: Vec<Vec<PeerId>>,
    shares: Vec<(PeerId, Share)>,
}

/// Where a request for a shard goes from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// This peer leads the shard.
    Here,
    /// That peer is believed to; a wrong belief is answered with the right one.
    There(PeerId),
    /// No leader is known and this peer would be the one to ask.
    Nobody,
}

impl Ring {
    /// Places `shards` shards on `seats`, `replication` copies each. A peer named twice counts once, as first named.
    pub fn new(seats: &[Seat], shards: u16, replication: u8) -> Self {
        assert!(shards > 0, "a mesh has at least one shard");
        assert!(replication > 0, "a shard has at least one copy");
        let mut seats: Vec<&Seat> = seats.iter().filter(|seat| seat.weight > 0).collect();
        seats.sort_by_key(|seat| seat.peer);
        seats.dedup_by_key(|seat| seat.peer);
        if seats.is_empty() {
            return Self { targets: alloc::vec![Vec::new(); shards.into()], shares: Vec::new() };
        }
        let circle = circle::Circle::new(&seats);
        let copies = copies(seats.len(), shards, replication);
        let shares = share::shares(&circle, &copies);
        let mut placed = place::place(&circle, &copies, &shares);
        owners::choose(&circle, &shares, &mut placed);
        let peer = |seat: &usize| circle.peer(*seat);
        Self {
            targets: placed.iter().map(|set| set.iter().map(peer).collect()).collect(),
            shares: shares.into_iter().enumerate().map(|(i, s)| (circle.peer(i), s)).collect(),
        }
    }

    /// The peers that should hold a shard, its owner first, the others clockwise. Empty when no seat has weight.
    pub fn target(&self, shard: ShardId) -> &[PeerId] {
        self.targets.get(usize::from(shard.0)).map_or(&[], Vec::as_slice)
    }

    /// The peer that should lead a shard.
    pub fn owner(&self, shard: ShardId) -> Option<PeerId> {
        self.target(shard).first().copied()
    }

    /// Where a request for `shard` goes from `here`: to its leader if one is known, else to its owner.
    pub fn route(&self, shard: ShardId, here: PeerId, leader: Option<PeerId>) -> Route {
        match leader {
            Some(leader) if leader == here => Route::Here,
            Some(leader) => Route::There(leader),
            None => match self.owner(shard) {
                Some(owner) if owner != here => Route::There(owner),
                _ => Route::Nobody,
            },
        }
    }

    /// Every shard with its target.
    pub fn targets(&self) -> impl Iterator<Item = (ShardId, &[PeerId])> {
        self.targets.iter().enumerate().map(|(i, set)| (ShardId(i as u16), set.as_slice()))
    }

    pub fn shards(&self) -> u16 {
        self.targets.len() as u16
    }

    /// What a peer should carry and the most it may.
    pub fn share(&self, peer: PeerId) -> Share {
        let found = self.shares.binary_search_by_key(&peer, |(peer, _)| *peer);
        found.map_or(Share::default(), |at| self.shares[at].1)
    }

    /// How many replicas a peer holds and how many of their shards it owns.
    pub fn load(&self, peer: PeerId) -> (usize, usize) {
        let holds = self.targets.iter().filter(|set| set.contains(&peer)).count();
        let owns = self.targets.iter().filter(|set| set.first() == Some(&peer)).count();
        (holds, owns)
    }
}

/// How many copies each shard gets from this many seats.
fn copies(seats: usize, shards: u16, replication: u8) -> Vec<usize> {
    let wanted = usize::from(replication);
    let ordinary = wanted.min(seats);
    let mut copies = alloc::vec![ordinary; shards.into()];
    // A mesh that keeps fewer than three copies has said that it does not care for the catalogue's either.
    if wanted >= 3 && seats >= CATALOGUE_REPLICATION {
        copies[0] = ordinary.max(CATALOGUE_REPLICATION);
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(peers: i32) -> Vec<Seat> {
        let seat = |i| Seat { peer: PeerId(i), zone: String::new(), weight: 100 };
        (1..=peers).map(seat).collect()
    }

    #[test]
    fn three_peers_hold_everything_and_share_the_lead() {
        let ring = Ring::new(&even(3), 64, 3);
        let mut owns: Vec<usize> = (1..=3).map(|p| ring.load(PeerId(p)).1).collect();
        owns.sort_unstable();
        assert_eq!(owns, [21, 21, 22]);
        assert!(ring.targets().all(|(_, set)| set.len() == 3));
    }

    #[test]
    fn fewer_seats_hold_fewer_copies_and_the_catalogue_has_five() {
        assert_eq!(Ring::new(&[], 4, 3).target(ShardId(0)), []);
        assert_eq!(Ring::new(&even(1), 4, 3).target(ShardId(3)), [PeerId(1)]);
        assert_eq!(Ring::new(&even(2), 4, 3).target(ShardId(0)).len(), 2);
        assert_eq!(Ring::new(&even(4), 4, 3).target(ShardId(0)).len(), 3);
        assert_eq!(Ring::new(&even(5), 4, 3).target(ShardId(0)).len(), 5);
        assert_eq!(Ring::new(&even(5), 4, 3).target(ShardId(9)), []);
    }

    #[test]
    fn a_seat_without_weight_holds_nothing() {
        let mut seats = even(4);
        seats[1].weight = 0;
        let ring = Ring::new(&seats, 64, 3);
        assert_eq!(ring.load(PeerId(2)), (0, 0));
        assert_eq!(ring.share(PeerId(2)), Share::default());
    }

    #[test]
    fn a_request_goes_to_the_leader_else_to_the_owner() {
        let ring = Ring::new(&even(3), 8, 3);
        let owner = ring.owner(ShardId(1)).expect("three seats");
        let other = PeerId(owner.0 % 3 + 1);
        assert_eq!(ring.route(ShardId(1), other, Some(other)), Route::Here);
        assert_eq!(ring.route(ShardId(1), other, Some(owner)), Route::There(owner));
        assert_eq!(ring.route(ShardId(1), other, None), Route::There(owner));
        assert_eq!(ring.route(ShardId(1), owner, None), Route::Nobody);
    }
}
