//! Plants one bug after the other and tells which simulator found it, with which seed, and how fast.
//!
//! `cargo run -p tests --features mutants --bin mutants` takes all of them, names take those alone, and `--random 3`
//! takes three by the seed in `SHOAL_SEED`. A bug that nothing finds is a failure: the exit code is 1. So is one whose seed
//! is red without it, too: each seed that tells of a bug is run once more without one.
//!
//! `--control` runs all the seeds without a bug, and fails if one of them is red.

use model::planted::{ALL, Mutant};
use std::process::{Command, ExitCode};
use std::time::Instant;
use tests::mesh::Tracing;
use tests::{mesh, seeds, sim};

/// How many seeds a mutant may live through.
const GROUP_SEEDS: u64 = 2_000;
const MESH_SEEDS: u64 = 300;

/// What a hunt prints first when it has found its mutant.
const FOUND: &str = "found by ";

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "--hunt") {
        return Ok(hunt());
    }
    if words.first().is_some_and(|word| word == "--control") {
        return control();
    }
    if let [flag, by, seed] = &words[..]
        && flag == "--green"
    {
        let seed = seed.parse()?;
        return Ok(ExitCode::from(u8::from(one(by, seed).is_err())));
    }
    let mut survivors = 0;
    println!("{:<24} {:<9} {:>6} {:>6}  what told", "mutant", "found by", "seed", "s");
    for name in chosen(&words)? {
        let began = Instant::now();
        let own = std::env::current_exe()?;
        let hunt = Command::new(own).arg("--hunt").env("SHOAL_MUTANT", name).output()?;
        let told = String::from_utf8_lossy(&hunt.stdout);
        let found = told.lines().find_map(|line| line.strip_prefix(FOUND));
        let took = began.elapsed().as_secs();
        match found.and_then(|line| line.split_once(' ')) {
            Some((by, why)) => {
                let (seed, why) = seed_of(why);
                println!("{name:<24} {by:<9} {seed:>6} {took:>6}  {why}");
                if !is_green(by, seed)? {
                    survivors += 1;
                    println!("{name:<24} seed {seed} of the {by} is red without it, too");
                }
            }
            None => {
                survivors += 1;
                println!("{name:<24} NOTHING   {:>6} {took:>6}  {}", "-", hunt.status);
            }
        }
    }
    Ok(ExitCode::from(u8::from(survivors > 0)))
}

/// Hunts the mutant that the environment plants in this process.
fn hunt() -> ExitCode {
    match red() {
        Some((by, why)) => {
            println!("{FOUND}{by} {}", why.lines().next().unwrap_or_default());
            ExitCode::SUCCESS
        }
        None => ExitCode::from(1),
    }
}

/// Whether a seed is green in a process without a mutant.
fn is_green(by: &str, seed: &str) -> anyhow::Result<bool> {
    let mut own = Command::new(std::env::current_exe()?);
    let ran = own.args(["--green", by, seed]).env_remove("SHOAL_MUTANT").output()?;
    Ok(ran.status.success())
}

/// One seed of one simulator.
fn one(by: &str, seed: u64) -> Result<(), String> {
    match by {
        "group" => sim::run(seed, false).map(drop),
        "mesh" => mesh::run(seed, Tracing::Off).map(drop),
        other => Err(format!("no simulator is called {other}")),
    }
}

/// Runs what a hunt runs, with nothing to be found.
fn control() -> anyhow::Result<ExitCode> {
    anyhow::ensure!(std::env::var_os("SHOAL_MUTANT").is_none(), "a control has no mutant");
    let found = red();
    match &found {
        Some((by, why)) => println!("no mutant, and the {by} is red: {why}"),
        None => println!(
            "no mutant, {GROUP_SEEDS} seeds of the group and {MESH_SEEDS} of the mesh are green"
        ),
    }
    Ok(ExitCode::from(u8::from(found.is_some())))
}

/// The first simulator that turns red, and why.
fn red() -> Option<(&'static str, String)> {
    std::panic::set_hook(Box::new(|what| eprintln!("{what}")));
    let group = seeds::run(0..GROUP_SEEDS, |seed| one("group", seed)).err();
    let mesh = || seeds::run(0..MESH_SEEDS, |seed| one("mesh", seed)).err();
    group.map(|why| ("group", why)).or_else(|| Some(("mesh", mesh()?)))
}

/// Splits `seed 7 at 12 ms: why` into the seed and the rest.
fn seed_of(why: &str) -> (&str, &str) {
    let rest = why.strip_prefix("seed ").unwrap_or(why);
    rest.split_once(' ').unwrap_or(("?", rest))
}

/// The mutants that are asked for.
fn chosen(words: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let all: Vec<&'static str> = ALL.iter().map(|(name, ..)| *name).collect();
    let known: std::collections::BTreeSet<Mutant> = ALL.iter().map(|(_, it, _)| *it).collect();
    anyhow::ensure!(known.len() == all.len(), "two names for one mutant");
    match words {
        [] => Ok(all),
        [flag, count] if flag == "--random" => {
            let seed: u64 = std::env::var("SHOAL_SEED").map_or(Ok(0), |seed| seed.parse())?;
            let mut by_luck: Vec<(u64, &str)> = all
                .into_iter()
                .map(|name| (model::hash::hash64(format!("{seed} {name}").as_bytes()), name))
                .collect();
            by_luck.sort_unstable();
            Ok(by_luck.into_iter().take(count.parse()?).map(|(_, name)| name).collect())
        }
        names => names
            .iter()
            .map(|name| {
                let found = all.iter().find(|known| *known == name);
                found.copied().ok_or_else(|| anyhow::anyhow!("no mutant is called {name}: {all:?}"))
            })
            .collect(),
    }
}
