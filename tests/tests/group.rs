//! A shard's group under every fault the simulator knows.
//!
//! `SHOAL_SEEDS=n` runs n seeds, `SHOAL_SEED=s` runs one and shows its trace, both run n seeds from s on.

use tests::seeds::{self, Asked};
use tests::sim::{self, Fault};

const SEEDS: u64 = 1_000;
/// Seeds after which each kind of fault must have been there.
const ENOUGH: u64 = 100;

#[test]
fn a_group_loses_nothing_it_acknowledged_and_heals() {
    let range = match seeds::asked(SEEDS) {
        Asked::One(seed) => {
            let outcome = sim::run(seed, true).unwrap_or_else(|why| panic!("{why}"));
            println!("{outcome:?}");
            return;
        }
        Asked::Many(range) => range,
    };
    let began = std::time::Instant::now();
    let (first, count) = (range.start, range.end - range.start);
    let outcomes = seeds::run(range, |seed| sim::run(seed, false));
    let outcomes = outcomes.unwrap_or_else(|why| panic!("{why}"));
    let sum = |of: fn(&sim::Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    println!(
        "{count} seeds from {first} in {:?}: {} events, {} appends acknowledged, {} crashes, {} snapshots, {} terms",
        began.elapsed(),
        sum(|o| o.events),
        sum(|o| o.acknowledged),
        sum(|o| o.crashes),
        sum(|o| o.snapshots),
        sum(|o| o.terms),
    );
    assert!(sum(|o| o.acknowledged) > count * 10, "hardly anything was written");
    if count >= ENOUGH {
        for (number, kind) in Fault::ALL.into_iter().enumerate() {
            let times = outcomes.iter().map(|o| o.kinds[number]).sum::<u64>();
            println!("{kind:?} {times} times");
            assert!(times > 0, "{kind:?} never did anything");
        }
        assert!(sum(|o| o.snapshots) > 0, "no snapshot was installed");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 5_000..5_020 {
        let first = sim::run(seed, false).unwrap_or_else(|why| panic!("{why}"));
        let again = sim::run(seed, false).unwrap_or_else(|why| panic!("{why}"));
        let shown = sim::again(seed);
        assert_eq!(first, again, "seed {seed} has two traces; compare two runs of {shown}");
    }
}
