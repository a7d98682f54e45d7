//! How many different things were seen, by HyperLogLog: 4,096 registers, a standard error of 1.6 %.
//!
//! Few things are kept as they are (register and rank each), so that a small sketch is a small row and is nearly
//! exact; more become the registers. Estimated as in O. Ertl, "New cardinality estimation algorithms for
//! HyperLogLog sketches" (2017), algorithm 6, which needs no tables of biases.

use serde::{Deserialize, Serialize};

/// Bits of a hash that choose its register.
const PRECISION: u32 = 12;
const REGISTERS: usize = 1 << PRECISION;
/// The rest of the bits; a rank is at most one more.
const RANK_BITS: u32 = 64 - PRECISION;
/// So many registers are kept one by one; more as an array.
const SPARSE_MAX: usize = 512;

/// A sketch of a set of hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Distinct {
    /// (register, rank) in the order of registers.
    Few(Vec<(u16, u8)>),
    Many(#[serde(with = "serde_bytes")] Vec<u8>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Distinct {
    pub(crate) fn add(&mut self, hash: u64) {
        let register = (hash >> RANK_BITS) as u16;
        let rank = ((hash << PRECISION).leading_zeros().min(RANK_BITS) + 1) as u8;
        self.raise(register, rank);
    }

    /// Takes in another sketch: what both have seen. False if the other's bytes make no sense.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        match other {
            Self::Few(few) => {
                if few.iter().any(|(register, _)| usize::from(*register) >= REGISTERS) {
                    return false;
                }
                few.iter().for_each(|(register, rank)| self.raise(*register, *rank));
            }
            Self::Many(ranks) => {
                if ranks.len() != REGISTERS {
                    return false;
                }
                let ranks = ranks.iter().enumerate().filter(|(_, rank)| **rank > 0);
                ranks.for_each(|(register, rank)| self.raise(register as u16, *rank));
            }
        }
        true
    }

    fn raise(&mut self, register: u16, rank: u8) {
        match self {
            Self::Few(few) => match few.binary_search_by_key(&register, |(of, _)| *of) {
                Ok(at) => few[at].1 = few[at].1.max(rank),
                Err(_) if few.len() >= SPARSE_MAX => {
                    let mut ranks = vec![0; REGISTERS];
                    for (register, rank) in few.iter().chain([&(register, rank)]) {
                        ranks[usize::from(*register) % REGISTERS] = *rank;
                    }
                    *self = Self::Many(ranks);
                }
                Err(at) => few.insert(at, (register, rank)),
            },
            Self::Many(ranks) => {
                if let Some(old) = ranks.get_mut(usize::from(register)) {
                    *old = (*old).max(rank);
                }
            }
        }
    }

    pub(crate) fn estimate(&self) -> u64 {
        let mut counts = [0u32; RANK_BITS as usize + 2];
        let mut count = |rank: u8| counts[usize::from(rank).min(RANK_BITS as usize + 1)] += 1;
        match self {
            Self::Few(few) => {
                few.iter().for_each(|(_, rank)| count(*rank));
                counts[0] = REGISTERS.saturating_sub(few.len()) as u32;
            }
            Self::Many(ranks) => ranks.iter().for_each(|rank| count(*rank)),
        }
        let m = REGISTERS as f64;
        let of = |rank: usize| f64::from(counts[rank]) / m;
        let mut z = m * tau(1.0 - of(RANK_BITS as usize + 1));
        for rank in (1..=RANK_BITS as usize).rev() {
            z = 0.5 * (z + f64::from(counts[rank]));
        }
        z += m * sigma(of(0));
        (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::hash::hash64;

    fn of(range: std::ops::Range<u64>) -> Distinct {
        let mut sketch = Distinct::default();
        range.for_each(|n| sketch.add(hash64(&n.to_le_bytes())));
        sketch
    }

    #[test]
    fn estimates_lie_within_four_standard_errors_at_every_size() {
        assert_eq!(Distinct::default().estimate(), 0);
        for count in [1, 10, 100, 500, 520, 1_000, 5_000, 10_000, 20_000, 100_000, 1_000_000] {
            let estimate = of(0..count).estimate();
            let error = (estimate as f64 - count as f64).abs() / count as f64;
            assert!(error < 4.0 * 0.01625, "{count} things are estimated as {estimate}");
        }
    }

    #[test]
    fn what_is_merged_is_what_one_sketch_would_have_seen() {
        for (left, right) in [(0..100, 50..300), (0..400, 300..10_000), (0..20_000, 5..50)] {
            let whole = of(left.start.min(right.start)..left.end.max(right.end));
            let (mut one, other) = (of(left), of(right));
            assert!(one.merge(&other));
            assert_eq!(one.estimate(), whole.estimate());
            assert!(one.merge(&other), "again changes nothing");
            assert_eq!(one.estimate(), whole.estimate());
        }
        assert!(!of(0..3).merge(&Distinct::Many(vec![1])), "nonsense is refused");
    }
}
