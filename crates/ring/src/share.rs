//! The share of each seat: what it would carry if load could be divided like water.
//!
//! In a mesh of even zones that is total × weight / all weights. A zone can hold at most one copy of a shard while
//! there are zones enough, and must hold one while there are not; a peer can hold at most one. What does not fit runs
//! over to the others by weight.

use crate::circle::Circle;
use alloc::vec::Vec;

/// Shares are counted in millionths: fractions that every machine computes alike.
const MICRO: u64 = 1_000_000;

/// What a peer should carry and the most it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Millionths of a replica.
    pub replicas_micro: u64,
    /// Millionths of an owned shard.
    pub owned_micro: u64,
}

impl Share {
    /// ⌈1.25 × the share⌉ of replicas.
    pub fn replicas_max(self) -> usize {
        bound(self.replicas_micro, 125)
    }
    /// ⌈1.3 × the share⌉ of owned shards.
    pub fn owned_max(self) -> usize {
        bound(self.owned_micro, 130)
    }
    /// ⌊`percent` of the share⌋ of owned shards.
    pub(crate) fn owned_within(self, percent: u64) -> usize {
        (self.owned_micro * percent / 100 / MICRO) as usize
    }
}

fn bound(micro: u64, percent: u64) -> usize {
    (micro * percent).div_ceil(100 * MICRO) as usize
}

/// The share of each seat.
pub(crate) fn shares(circle: &Circle, copies: &[usize]) -> Vec<Share> {
    let seats = circle.seats();
    let shards = copies.len() as u64 * MICRO;
    let mut zones = alloc::vec![Part::default(); circle.zones()];
    for seat in 0..seats {
        let zone = &mut zones[circle.zone(seat)];
        zone.weight += circle.weight(seat);
        zone.most += shards;
    }
    let spread = zones.len();
    for zone in &mut zones {
        let seats = zone.most / shards;
        let most = |copies: usize| seats.min((copies.max(spread) - spread + 1) as u64);
        if spread > 1 {
            zone.most = copies.iter().map(|c| most(*c)).sum::<u64>() * MICRO;
            zone.least = copies.iter().filter(|c| **c >= spread).count() as u64 * MICRO;
        }
    }
    let total = copies.iter().sum::<usize>() as u64 * MICRO;
    let zone_shares = pour(total, &zones);
    let weights: u64 = zones.iter().map(|zone| zone.weight).sum();
    let mut shares = alloc::vec![Share::default(); seats];
    for (zone, share) in zone_shares.into_iter().enumerate() {
        let members: Vec<usize> = (0..seats).filter(|seat| circle.zone(*seat) == zone).collect();
        let part = |seat: &usize| Part { weight: circle.weight(*seat), least: 0, most: shards };
        let parts: Vec<Part> = members.iter().map(part).collect();
        for (seat, replicas_micro) in members.into_iter().zip(pour(share, &parts)) {
            let owned_micro = shards * circle.weight(seat) / weights;
            shares[seat] = Share { replicas_micro, owned_micro };
        }
    }
    shares
}

/// One of several that share an amount by weight, within its limits.
#[derive(Clone, Copy, Default)]
struct Part {
    weight: u64,
    least: u64,
    most: u64,
}

/// Divides `total` by weight; who would be outside its limits gets its limit, and the rest is divided again.
fn pour(total: u64, parts: &[Part]) -> Vec<u64> {
    let mut fixed: Vec<Option<u64>> = alloc::vec![None; parts.len()];
    // Each round fixes a part at least, so there are as many rounds as parts at most.
    for _ in 0..=parts.len() {
        let taken: u64 = fixed.iter().flatten().sum();
        let free = parts.iter().zip(&fixed).filter(|(_, fixed)| fixed.is_none());
        let weight: u64 = free.map(|(part, _)| part.weight).sum();
        if weight == 0 {
            break;
        }
        let left = total.saturating_sub(taken);
        let by_weight =
            |p: &Part| (u128::from(left) * u128::from(p.weight) / u128::from(weight)) as u64;
        let (mut over, mut under) = (0, 0);
        for (part, _) in parts.iter().zip(&fixed).filter(|(_, fixed)| fixed.is_none()) {
            let level = by_weight(part);
            over += level.saturating_sub(part.most);
            under += part.least.saturating_sub(level);
        }
        // The larger side is settled first: the other may be inside its limits afterwards.
        for (part, fixed) in parts.iter().zip(&mut fixed).filter(|(_, fixed)| fixed.is_none()) {
            let level = by_weight(part);
            *fixed = match () {
                () if over == 0 && under == 0 => Some(level),
                () if over >= under && level > part.most => Some(part.most),
                () if over < under && level < part.least => Some(part.least),
                () => None,
            };
        }
    }
    fixed.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_a_limit_runs_over_to_the_others_by_weight() {
        let part = |weight, least, most| Part { weight, least, most };
        assert_eq!(pour(90, &[part(1, 0, 90), part(2, 0, 90)]), [30, 60]);
        assert_eq!(pour(90, &[part(8, 0, 30), part(1, 0, 90), part(2, 0, 90)]), [30, 20, 40]);
        assert_eq!(pour(90, &[part(1, 30, 90), part(8, 0, 90)]), [30, 60]);
        assert_eq!(pour(90, &[part(1, 30, 30), part(1, 30, 30), part(9, 30, 30)]), [30, 30, 30]);
    }
}
