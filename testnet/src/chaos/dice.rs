//! The dice of a run: one seed gives all draws, on any machine.

/// A small generator (SplitMix64).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0, below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    /// A number from `first` to `last`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    pub fn percent(&mut self, percent: f64) -> bool {
        percent > 0.0 && (self.draw() >> 11) as f64 / (1u64 << 53) as f64 * 100.0 < percent
    }

    /// Puts things in an order of its own.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            things.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_draws_and_another_one_others() {
        let draws = |seed| (0..5).scan(Dice::new(seed), |d, _| Some(d.draw())).collect::<Vec<_>>();
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }

    #[test]
    fn percents_and_bounds_are_kept() {
        let mut dice = Dice::new(1);
        let hits = (0..10_000).filter(|_| dice.percent(30.0)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| (3..=5).contains(&dice.between(3, 5))));
        assert!(!dice.percent(0.0));
    }
}
