//! Who hears whom, and how late.

use crate::sim::dice::Dice;
use std::collections::BTreeMap;

/// The links between hosts.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// One-way cuts: what the first sends the second is lost. Several may lie over each other.
    cuts: BTreeMap<(usize, usize), u32>,
    pub loss_per_mille: u64,
    pub double_per_mille: u64,
    /// The longest extra delay, which reorders, µs.
    pub jitter_us: u64,
}

impl Network {
    pub fn cut(&mut self, from: usize, to: usize) {
        *self.cuts.entry((from, to)).or_default() += 1;
    }

    pub fn join(&mut self, from: usize, to: usize) {
        if let Some(cuts) = self.cuts.get_mut(&(from, to)) {
            *cuts -= 1;
            if *cuts == 0 {
                self.cuts.remove(&(from, to));
            }
        }
    }

    pub fn heal(&mut self) {
        *self = Self::default();
    }

    pub fn hears(&self, from: usize, to: usize) -> bool {
        !self.cuts.contains_key(&(from, to))
    }

    /// The delays after which copies of a message arrive, µs; none if it is lost.
    pub fn deliver(&self, from: usize, to: usize, dice: &mut Dice) -> [Option<u64>; 2] {
        if !self.hears(from, to) || dice.chance(self.loss_per_mille) {
            return [None, None];
        }
        let second = dice.chance(self.double_per_mille).then(|| self.delay(dice));
        [Some(self.delay(dice)), second]
    }

    /// As [`Network::deliver`], on a lane that is a stream: nothing comes twice.
    pub fn deliver_once(&self, from: usize, to: usize, dice: &mut Dice) -> Option<u64> {
        self.deliver(from, to, dice)[0]
    }

    fn delay(&self, dice: &mut Dice) -> u64 {
        let base = dice.range(100, 400);
        if self.jitter_us > 0 && dice.chance(300) {
            base + dice.range(0, self.jitter_us)
        } else {
            base
        }
    }
}
