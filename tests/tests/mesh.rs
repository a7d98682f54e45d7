//! A whole mesh under every fault the simulator knows.
//!
//! `SHOAL_SEEDS=n` runs n seeds, `SHOAL_SEED=s` runs one and shows its trace, both run n seeds from s on.

use tests::mesh::{self, Fault, Outcome, Tracing};
use tests::seeds::{self, Asked};

const SEEDS: u64 = 20;
/// Seeds after which each kind of fault must have been there.
const ENOUGH: u64 = 100;

#[test]
fn a_mesh_loses_nothing_it_acknowledged_counts_nothing_twice_and_heals() {
    let range = match seeds::asked(SEEDS) {
        Asked::One(seed) => {
            let outcome = mesh::run(seed, Tracing::Shown).unwrap_or_else(|why| panic!("{why}"));
            println!("{outcome:?}");
            return;
        }
        Asked::Many(range) => range,
    };
    let began = std::time::Instant::now();
    let (first, count) = (range.start, range.end - range.start);
    let outcomes = seeds::run(range, |seed| mesh::run(seed, Tracing::Off));
    let outcomes = outcomes.unwrap_or_else(|why| panic!("{why}"));
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    println!(
        "{count} mesh seeds from {first} in {:?}: {:.1} simulated hours, {} steps, {} faults, {} crashes, \
         {} power cuts of all, {} events acknowledged, {} commits, {} snapshots, {} terms, {} doubts, {} peers left, \
         healed within {} ms",
        began.elapsed(),
        sum(|o| o.simulated_ms) as f64 / 3.6e6,
        sum(|o| o.steps),
        sum(|o| o.faults),
        sum(|o| o.crashes),
        sum(|o| o.power_cuts),
        sum(|o| o.acknowledged),
        sum(|o| o.commits),
        sum(|o| o.snapshots),
        sum(|o| o.terms),
        sum(|o| o.doubts),
        sum(|o| o.left),
        outcomes.iter().map(|o| o.healed_ms).max().unwrap_or(0),
    );
    assert!(sum(|o| o.acknowledged) > count * 100, "hardly anything was written");
    assert!(sum(|o| o.commits) > count * 50, "hardly anything was computed");
    if count >= ENOUGH {
        all_happened(&outcomes);
    }
}

/// Over so many seeds everything that may go wrong has gone wrong, or the simulator does not do what it says.
fn all_happened(outcomes: &[Outcome]) {
    for (number, kind) in Fault::ALL.into_iter().enumerate() {
        let times = outcomes.iter().map(|o| o.kinds[number]).sum::<u64>();
        println!("{kind:?} {times} times");
        assert!(times > 0, "{kind:?} never did anything");
    }
    assert!(outcomes.iter().any(|o| o.power_cuts > 0), "the power of all never went");
    assert!(outcomes.iter().any(|o| o.snapshots > 0), "no snapshot was installed");
    assert!(outcomes.iter().any(|o| o.doubts > 0), "no replica was ever in doubt");
}

/// Seeds that once turned red, each for a defect that is mended: see `tests/README.md`.
const ONCE_RED: [u64; 27] = [
    3, 23, 27, 51, 53, 54, 60, 68, 98, 122, 130, 1057, 1222, 2106, 2115, 2125, 2363, 6077, 51857,
    300089, 400697, 710108, 710330, 711251, 720086, 724607, 725359,
];

#[test]
fn seeds_that_once_failed_hold() {
    for seed in ONCE_RED {
        mesh::run(seed, Tracing::Off).unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 5_000..5_020 {
        let first = mesh::run(seed, Tracing::Hashed).unwrap_or_else(|why| panic!("{why}"));
        let again = mesh::run(seed, Tracing::Hashed).unwrap_or_else(|why| panic!("{why}"));
        let shown = mesh::again(seed);
        assert_eq!(first, again, "seed {seed} has two traces; compare two runs of {shown}");
    }
}
