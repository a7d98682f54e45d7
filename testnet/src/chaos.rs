//! A run under faults: real release binaries, each in a network namespace and on a disk of its own, a load of several
//! unrelated clients, a nemesis that follows a seed, and checkers that know only what clients saw (Linux, root).
//!
//! First faults, and safety; then none, and the mesh must heal within a bound. Promises that the machine is left as it
//! was found, but for the folder of a run that failed.

pub mod clock;
pub mod dice;
pub mod disk;
pub mod fault;
mod finale;
pub mod ground;
mod heal;
pub mod http;
pub mod kills;
mod limits;
pub mod load;
mod nemesis;
pub mod peers;
pub mod report;
pub mod wire;

use crate::check::Witness;
use crate::history::History;
use anyhow::Context;
use dice::Dice;
use fault::Kind;
use ground::Ground;
use load::Load;
use nemesis::Nemesis;
use peers::Peers;
use report::{Figures, Report};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// After the last fault the mesh must be whole within this.
const HEAL: Duration = Duration::from_secs(30);
/// So much load follows a healed mesh, so that it also has to serve.
const SERVE: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub length: Duration,
    /// The seed draws them if nobody says which.
    pub kinds: Option<Vec<Kind>>,
    /// Where peers, logs and histories lie; it must not be there yet.
    pub folder: PathBuf,
}

/// Why runs are impossible here, if they are.
pub fn lacks() -> Option<String> {
    if let Err(why) = crate::power::possible() {
        return Some(why);
    }
    let tools = ["ip", "nsenter", "setpriv", "umount", "kcat"];
    if let Some(tool) = tools.into_iter().find(|tool| !fault::has(tool)) {
        return Some(format!("it needs {tool}"));
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("it needs /dev/net/tun".to_owned());
    }
    crate::clients::python(&load::PACKAGES).err()
}

/// Runs it. An error means that the run itself could not be done; what the peers did wrong is in the report.
pub fn run(plan: &Plan, interrupted: &AtomicBool) -> anyhow::Result<Report> {
    let kinds = plan.kinds.clone().unwrap_or_else(|| fault::kinds(plan.seed));
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    println!("seed {}: {}", plan.seed, names.join(", "));
    let histories = plan.folder.join("histories");
    std::fs::create_dir_all(&histories).with_context(|| format!("make {}", histories.display()))?;
    // Built before this process leaves for a place without a network.
    let binary = crate::binaries::with_chaos();
    let ground = Ground::lay(peers::COUNT, plan.seed)?;
    ground.enter()?;
    let shards = [8, 16, 64][Dice::new(plan.seed ^ 0x7368).below(3) as usize];
    let mut peers = Peers::found(&plan.folder, &ground, binary, shards)?;
    let clocks = clocks(&kinds, &mut peers)?;
    heal::wait(&mut peers, HEAL).context("before the first fault")?;
    println!("{} peers, {shards} shards", peers::COUNT);
    let load = RefCell::new(Load::start(peers::COUNT, plan.seed, &histories)?);
    let mut nemesis = Nemesis::new(&ground, &mut peers, clocks);
    nemesis.follow(fault::plan(plan.seed, &kinds, plan.length), plan.length, || {
        anyhow::ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
        load.borrow_mut().check()
    })?;
    let faults = nemesis.tally.iter().map(|(kind, times)| ((*kind).to_owned(), *times)).collect();
    drop(nemesis);
    let mut figures = Figures { seed: plan.seed, faults, ..Figures::default() };
    figures.minutes = plan.length.as_secs_f64() / 60.0;
    let mut broken = Vec::new();
    match heal::wait(&mut peers, HEAL) {
        Ok(took) => figures.healed_seconds = took.as_secs_f64(),
        Err(why) => broken.push(("the mesh heals".to_owned(), Witness::new(format!("{why:#}")))),
    }
    std::thread::sleep(SERVE);
    timed("the clients ended", || load.into_inner().end().context("the load"))?;
    if broken.is_empty() {
        timed("all was read once more", || {
            finale::read(&peers, &histories).context("the last reading")
        })?;
    }
    for peer in &peers.all {
        figures.ended_by_itself += peer.ends.len() as u32;
    }
    if let Some(line) = peers.panics()?.first() {
        broken.push(("nobody panics".to_owned(), Witness::new(line)));
    }
    drop(peers);
    let history = History::read(&histories)?;
    figures.gather(&history);
    let mut report = timed("all was checked", || Ok(Report::of(figures, &history)))?;
    report.broken.splice(0..0, broken);
    Ok(report)
}

/// Says how long something took.
fn timed<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    let done = work()?;
    println!("{what} in {:.1} s", began.elapsed().as_secs_f64());
    Ok(done)
}

/// A clock of its own for each peer, if clocks are to jump: each is started again with it.
fn clocks(kinds: &[Kind], peers: &mut Peers) -> anyhow::Result<Vec<PathBuf>> {
    if !kinds.contains(&Kind::Clock) {
        return Ok(Vec::new());
    }
    let mut clocks = Vec::new();
    for number in 1..=peers.all.len() {
        let peer = &mut peers.all[number - 1];
        let file = peer.folder().join("clock");
        clock::set(&file, 0)?;
        peer.set_clock(file.clone());
        peer.kill()?;
        peers.start(number)?;
        clocks.push(file);
    }
    Ok(clocks)
}
