//! The seats of each shard: nearest clockwise, distinct zones first, nobody above its bound.
//!
//! Two rounds: first one seat in each of as many zones as the shard has copies; then, where zones are fewer than
//! copies, the rest wherever there is room. A mesh of one zone knows no zones: each seat counts as its own.

use crate::circle::{Circle, Seen};
use crate::settle::{Placed, settle};
use crate::share::Share;
use alloc::vec::Vec;

/// The seats of each shard, nearest first.
pub(crate) fn place(circle: &Circle, copies: &[usize], shares: &[Share]) -> Vec<Vec<usize>> {
    let limits: Vec<usize> = shares.iter().map(|share| share.replicas_max()).collect();
    let zones = Zones::of(circle);
    let first: Vec<usize> = copies.iter().map(|copies| zones.count.min(*copies)).collect();
    let mut sets = spread(circle, &zones, &first, &limits);
    complete(&zones, &first, &limits, &mut sets);
    if first != copies {
        fill(circle, copies, &limits, &mut sets);
        complete(&zones, copies, &limits, &mut sets);
    }
    sort_clockwise(circle, &mut sets);
    sets
}

/// Gives what a round left short its copies, by moving others.
fn complete(zones: &Zones, copies: &[usize], limits: &[usize], sets: &mut Vec<Vec<usize>>) {
    let mut placed = Placed::new(sets, limits);
    for (shard, wanted) in copies.iter().enumerate() {
        while placed.sets[shard].len() < *wanted {
            if placed.mend(shard, |_, set, given, taken| zones.keeps(set, given, taken)) {
                continue;
            }
            // Not even moving others makes room: a copy too many on one peer is better than one too few.
            let free = (0..limits.len()).filter(|seat| !placed.sets[shard].contains(seat));
            let excess = |seat: &usize| placed.loads[*seat] as i64 - limits[*seat] as i64;
            let least = free.min_by_key(excess).expect("a shard has no more copies than seats");
            placed.sets[shard].push(least);
            placed.loads[least] += 1;
        }
    }
}

/// Round one: the nearest seat of each of the nearest zones.
fn spread(circle: &Circle, zones: &Zones, copies: &[usize], limits: &[usize]) -> Vec<Vec<usize>> {
    let mut seen = Seen::new(circle.seats());
    let mut used = Vec::new();
    let held = settle(copies.len(), limits, |shard, refused| {
        let wanted = copies[shard];
        let mut chosen = Vec::with_capacity(wanted);
        used.clear();
        circle.walk(shard, &mut seen, |seat, distance| {
            if !refused.contains(&seat) && !used.contains(&zones.of[seat]) {
                used.push(zones.of[seat]);
                chosen.push((seat, distance));
            }
            chosen.len() < wanted
        });
        chosen
    });
    let mut sets = alloc::vec![Vec::new(); copies.len()];
    for (seat, held) in held.iter().enumerate() {
        held.iter().for_each(|(_, shard)| sets[*shard].push(seat));
    }
    sets
}

/// Round two: the copies that zones were too few for.
fn fill(circle: &Circle, copies: &[usize], limits: &[usize], sets: &mut [Vec<usize>]) {
    let mut left = limits.to_vec();
    sets.iter().flatten().for_each(|seat| left[*seat] -= 1);
    let mut seen = Seen::new(circle.seats());
    let held = settle(copies.len(), &left, |shard, refused| {
        let wanted = copies[shard] - sets[shard].len();
        let mut chosen = Vec::with_capacity(wanted);
        circle.walk(shard, &mut seen, |seat, distance| {
            if chosen.len() < wanted && !refused.contains(&seat) && !sets[shard].contains(&seat) {
                chosen.push((seat, distance));
            }
            chosen.len() < wanted
        });
        chosen
    });
    for (seat, held) in held.iter().enumerate() {
        held.iter().for_each(|(_, shard)| sets[*shard].push(seat));
    }
}

fn sort_clockwise(circle: &Circle, sets: &mut [Vec<usize>]) {
    let mut seen = Seen::new(circle.seats());
    for (shard, set) in sets.iter_mut().enumerate() {
        let mut order = Vec::with_capacity(set.len());
        circle.walk(shard, &mut seen, |seat, _| {
            if set.contains(&seat) {
                order.push(seat);
            }
            order.len() < set.len()
        });
        *set = order;
    }
}

/// The zone of each seat, as far as zones matter.
struct Zones {
    of: Vec<usize>,
    count: usize,
}

impl Zones {
    fn of(circle: &Circle) -> Self {
        let seats = 0..circle.seats();
        if circle.zones() == 1 {
            return Self { of: seats.collect(), count: circle.seats() };
        }
        Self { of: seats.map(|seat| circle.zone(seat)).collect(), count: circle.zones() }
    }

    /// Whether `set` may give up one seat for another: never one that it has, and never for fewer zones than it can
    /// lie in.
    fn keeps(&self, set: &[usize], given: Option<usize>, taken: usize) -> bool {
        if set.contains(&taken) {
            return false;
        }
        let stay = || set.iter().filter(|seat| Some(**seat) != given).chain([&taken]);
        let first = |(i, seat): (usize, &usize)| {
            !stay().take(i).any(|earlier| self.of[*earlier] == self.of[*seat])
        };
        let distinct = stay().enumerate().filter(|(i, seat)| first((*i, seat))).count();
        distinct >= stay().count().min(self.count)
    }
}
