//! Deferred acceptance: shards ask seats in their order, a full seat keeps the nearest.
//!
//! Promises a result that depends on no order of asking (Gale and Shapley 1962; the choice "nearest of each zone" is
//! substitutable, so it holds for several seats a shard). A shard that everybody turned away comes out short; `mend`
//! then looks for the shortest chain of moves that makes room.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

/// What a seat holds: nearest first.
pub(crate) type Held = BTreeSet<(u64, usize)>;

/// Lets `shards` ask for seats until nobody is turned away any more. `choose` names, with distances, what a shard
/// wants of the seats that did not turn it away; `limits` is how many a seat takes.
pub(crate) fn settle(
    shards: usize,
    limits: &[usize],
    mut choose: impl FnMut(usize, &[usize]) -> Vec<(usize, u64)>,
) -> Vec<Held> {
    let mut held: Vec<Held> = alloc::vec![Held::new(); limits.len()];
    let mut refused: Vec<Vec<usize>> = alloc::vec![Vec::new(); shards];
    let mut asking: VecDeque<usize> = (0..shards).collect();
    // A seat turns a shard away once at most, so this ends.
    while let Some(shard) = asking.pop_front() {
        for (seat, distance) in choose(shard, &refused[shard]) {
            held[seat].insert((distance, shard));
            if held[seat].len() > limits[seat] {
                let (_, loser) = held[seat].pop_last().expect("a shard was just added");
                refused[loser].push(seat);
                asking.push_back(loser);
            }
        }
    }
    held
}

/// Sets of seats, one a shard, within limits.
pub(crate) struct Placed<'a> {
    pub sets: &'a mut Vec<Vec<usize>>,
    pub loads: Vec<usize>,
    pub limits: &'a [usize],
}

impl<'a> Placed<'a> {
    pub(crate) fn new(sets: &'a mut Vec<Vec<usize>>, limits: &'a [usize]) -> Self {
        let mut loads = alloc::vec![0; limits.len()];
        sets.iter().flatten().for_each(|seat| loads[*seat] += 1);
        Self { sets, loads, limits }
    }

    /// Gives `shard` one more seat by the shortest chain of moves, each allowed by `fits(shard, its set, seat it
    /// gives up, seat it takes)`. False when there is none.
    pub(crate) fn mend(
        &mut self,
        shard: usize,
        fits: impl Fn(usize, &[usize], Option<usize>, usize) -> bool,
    ) -> bool {
        // How each seat was reached: (shard that would take it, seat it would give up).
        let mut reached: Vec<Option<(usize, Option<usize>)>> = alloc::vec![None; self.limits.len()];
        let mut queue = VecDeque::new();
        for (seat, how) in reached.iter_mut().enumerate() {
            if fits(shard, &self.sets[shard], None, seat) {
                *how = Some((shard, None));
                queue.push_back(seat);
            }
        }
        while let Some(full) = queue.pop_front() {
            if self.loads[full] < self.limits[full] {
                return self.shift(full, &reached);
            }
            for (other, set) in self.sets.iter().enumerate() {
                if !set.contains(&full) || on_path(&reached, full, other) {
                    continue;
                }
                for (seat, how) in reached.iter_mut().enumerate() {
                    if how.is_none() && fits(other, set, Some(full), seat) {
                        *how = Some((other, Some(full)));
                        queue.push_back(seat);
                    }
                }
            }
        }
        false
    }

    fn shift(&mut self, end: usize, reached: &[Option<(usize, Option<usize>)>]) -> bool {
        self.loads[end] += 1;
        let mut taken = end;
        while let Some((shard, given)) = reached[taken] {
            let Some(given) = given else {
                self.sets[shard].push(taken);
                break;
            };
            for seat in self.sets[shard].iter_mut().filter(|seat| **seat == given) {
                *seat = taken;
            }
            taken = given;
        }
        true
    }
}

/// Whether `shard` already moves on the way to `seat`; a second move of it was checked against its old set.
fn on_path(reached: &[Option<(usize, Option<usize>)>], seat: usize, shard: usize) -> bool {
    let mut at = Some(seat);
    while let Some((mover, given)) = at.and_then(|seat| reached[seat]) {
        if mover == shard {
            return true;
        }
        at = given;
    }
    false
}
