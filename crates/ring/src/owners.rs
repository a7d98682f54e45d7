//! The owner of each shard: one of its seats, the nearest if it has room.
//!
//! Leading costs more than following, so a small mesh divides the lead as evenly as whole numbers allow: 64 shards on
//! three peers are 21, 21 and 22. In a large one an even division would pass a newcomer's change on from peer to peer
//! (at 200 peers, twenty times its share), so limits grow with the mesh to 1.2 × the share. Where the seats of the
//! shards leave no such division, limits grow on, to ⌈1.3 × the share⌉.

use crate::circle::{Circle, Seen};
use crate::settle::{Placed, settle};
use crate::share::Share;
use alloc::vec::Vec;

/// Up to so many seats the lead is divided evenly.
const EVEN_SEATS: usize = 5;

/// Moves the owner to the front of each set.
pub(crate) fn choose(circle: &Circle, shares: &[Share], sets: &mut [Vec<usize>]) {
    let percent = 100 + (shares.len().saturating_sub(EVEN_SEATS) * 2).min(20) as u64;
    let mut limits: Vec<usize> = shares.iter().map(|share| share.owned_within(percent)).collect();
    let mut owners: Vec<Vec<usize>> = nearest(circle, &limits, sets);
    for shard in 0..sets.len() {
        while owners[shard].is_empty() {
            let fits = |shard: usize, _: &[usize], given: Option<usize>, taken: usize| {
                given != Some(taken) && sets[shard].contains(&taken)
            };
            if Placed::new(&mut owners, &limits).mend(shard, fits) {
                continue;
            }
            let grown = limits.iter_mut().zip(shares).filter(|(l, s)| **l < s.owned_max());
            if grown.map(|(limit, _)| *limit += 1).count() == 0 {
                // Not even the bound is enough (a peer of great weight that holds too little): the nearest leads.
                owners[shard].push(sets[shard][0]);
            }
        }
    }
    for (set, owner) in sets.iter_mut().zip(&owners) {
        let at = set.iter().position(|seat| *seat == owner[0]).expect("an owner is of the set");
        set[..=at].rotate_right(1);
    }
}

fn nearest(circle: &Circle, limits: &[usize], sets: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut seen = Seen::new(circle.seats());
    let held = settle(sets.len(), limits, |shard, refused| {
        let mut chosen = Vec::with_capacity(1);
        let candidates = sets[shard].iter().filter(|seat| !refused.contains(seat)).count();
        circle.walk(shard, &mut seen, |seat, distance| {
            let takes = sets[shard].contains(&seat) && !refused.contains(&seat);
            if candidates > 0 && takes {
                chosen.push((seat, distance));
            }
            candidates > 0 && !takes
        });
        chosen
    });
    let mut owners = alloc::vec![Vec::new(); sets.len()];
    for (seat, held) in held.iter().enumerate() {
        held.iter().for_each(|(_, shard)| owners[*shard].push(seat));
    }
    owners
}
