//! Clocks that differ: a peer whose wall clock is wrong leads nothing, and should be told to a person.

use model::PeerId;
use std::collections::BTreeMap;

/// More than this is no delay of an answer; consensus puts up with as much.
const ODD_MS: i64 = 10_000;

/// One sentence for each peer whose clock is far from the middle one of all, by what each says it is now.
pub fn odd(clocks: &BTreeMap<PeerId, u64>, called: impl Fn(PeerId) -> String) -> Vec<String> {
    let mut all: Vec<i64> = clocks.values().map(|ms| *ms as i64).collect();
    all.sort_unstable();
    let Some(middle) = all.get(all.len().saturating_sub(1) / 2).copied() else { return Vec::new() };
    let far = |(peer, ms): (&PeerId, &u64)| {
        let off = (*ms as i64).saturating_sub(middle);
        let side = if off > 0 { "ahead" } else { "behind" };
        let (name, span) = (called(*peer), span(off.abs()));
        (off.abs() > ODD_MS).then(|| format!("the clock of {name} is {span} {side}"))
    };
    clocks.iter().filter_map(far).collect()
}

fn span(ms: i64) -> String {
    let whole = |unit: i64| (ms + unit / 2) / unit;
    match ms / 1_000 {
        s if s < 120 => format!("{} s", whole(1_000)),
        s if s < 7_200 => format!("{} min", whole(60_000)),
        s if s < 172_800 => format!("{} h", whole(3_600_000)),
        _ => format!("{} days", whole(86_400_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(clocks: &[i64]) -> Vec<String> {
        let peers = (1..).map(PeerId);
        let clocks = peers.zip(clocks.iter().map(|s| (1_800_000_000 + s) as u64 * 1_000));
        odd(&clocks.collect(), |peer| peer.to_string())
    }

    #[test]
    fn the_clock_that_is_far_from_the_others_is_told() {
        assert_eq!(told(&[0, 3, -4]), Vec::<String>::new());
        assert_eq!(told(&[0, 1, 31_536_000]), ["the clock of p3 is 365 days ahead"]);
        assert_eq!(told(&[-90, 0, 1]), ["the clock of p1 is 90 s behind"]);
        assert_eq!(told(&[0, 600]), ["the clock of p2 is 10 min ahead"]);
        assert_eq!(told(&[5]), Vec::<String>::new());
        assert_eq!(told(&[]), Vec::<String>::new());
    }
}
