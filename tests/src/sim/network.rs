//! Who hears whom, and how late.

use super::dice::Dice;
use std::collections::BTreeSet;

/// The links between peers.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// One-way cuts: messages from the first to the second are lost.
    cuts: BTreeSet<(i32, i32)>,
    pub loss_per_mille: u64,
    pub double_per_mille: u64,
    /// The longest extra delay, which reorders, µs.
    pub jitter_us: u64,
}

impl Network {
    pub fn cut(&mut self, from: i32, to: i32) {
        self.cuts.insert((from, to));
    }

    pub fn heal(&mut self) {
        *self = Self::default();
    }

    pub fn join(&mut self, from: i32, to: i32) {
        self.cuts.remove(&(from, to));
    }

    pub fn hears(&self, from: i32, to: i32) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// The delays after which copies of a message arrive, µs; none if it is lost.
    pub fn deliver(&self, from: i32, to: i32, dice: &mut Dice) -> [Option<u64>; 2] {
        if !self.hears(from, to) || dice.chance(self.loss_per_mille) {
            return [None, None];
        }
        let second = dice.chance(self.double_per_mille).then(|| self.delay(dice));
        [Some(self.delay(dice)), second]
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
