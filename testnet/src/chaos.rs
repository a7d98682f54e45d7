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
mod hold;
pub mod http;
pub mod kills;
mod limits;
pub mod load;
mod nemesis;
pub mod peers;
pub mod report;
mod tracer;
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
use report::{Broken, Figures, HEALS, Report, SERVED};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// After the last fault the mesh must be whole within this.
const HEAL: Duration = Duration::from_secs(30);
/// So much load follows a healed mesh, so that it also has to serve: each partition, and within `HEAL` again.
const SERVE: Duration = Duration::from_secs(5);

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

impl Plan {
    /// The words that run the same again.
    pub fn command(&self) -> String {
        let minutes = self.length.as_secs_f64() / 60.0;
        let command = format!("chaos --seed {} --minutes {minutes}", self.seed);
        let Some(kinds) = &self.kinds else { return command };
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        format!("{command} --faults {}", names.join(","))
    }
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

/// Runs it. An error means that the run could not be set up or was interrupted; whatever the peers did wrong, and who
/// waited for them in vain, is in the report.
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
    let mut peers = Peers::found(&plan.folder, &ground, binary, (shards, load::PARTITIONS))?;
    let clocks = clocks(&kinds, &mut peers)?;
    heal::wait(&mut peers, HEAL).context("before the first fault")?;
    println!("{} peers, {shards} shards", peers::COUNT);
    let mut load = Load::start(peers::COUNT, plan.seed, &histories)?;
    let mut broken = Broken::default();
    let mut nemesis = Nemesis::new(&ground, &mut peers, clocks);
    let followed = nemesis.follow(fault::plan(plan.seed, &kinds, plan.length), plan.length, || {
        gave_up(&mut broken, load.gave_up());
        go_on(interrupted)
    });
    go_on(interrupted)?;
    // What clients saw until then is worth being checked.
    broken.unless_done("all faults are done and taken back", followed);
    let faults = nemesis.tally.iter().map(|(kind, times)| ((*kind).to_owned(), *times)).collect();
    for why in std::mem::take(&mut nemesis.unhealed) {
        broken.note(HEALS, Witness::new(why));
    }
    let at_all = std::mem::take(&mut nemesis.at_all);
    drop(nemesis);
    let command = plan.command();
    let mut figures = Figures { command, seed: plan.seed, faults, ..Figures::default() };
    figures.minutes = plan.length.as_secs_f64() / 60.0;
    let whole = broken.unless_done(HEALS, heal::wait(&mut peers, HEAL));
    figures.healed_seconds = whole.unwrap_or_default().as_secs_f64();
    let whole_at = whole.map(|_| crate::history::now());
    std::thread::sleep(SERVE);
    gave_up(&mut broken, timed("the clients ended", || load.end()));
    go_on(interrupted)?;
    timed("all was read once more", || finale::read(&peers, &histories, &mut broken));
    go_on(interrupted)?;
    for peer in &peers.all {
        figures.ended_by_itself += peer.ends.len() as u32;
        if let Some(words) = peer.causeless.first() {
            let why = format!("p{} ended by itself, and nothing had been done to it", peer.number);
            broken.note("no peer ends without a reason", Witness::new(why).line(words));
        }
    }
    if let Some(line) = peers.panics()?.first() {
        broken.note("nobody panics", Witness::new(line));
    }
    drop(peers);
    figures.wire = ground.wire.traffic().to_string();
    let history = broken.unless_done(SERVED, History::read(&histories)).unwrap_or_default();
    figures.gather(&history);
    figures.count_at_work(&at_all, &history);
    if plan.kinds.is_none()
        && let Err(why) = fault::enough(plan.length, &figures.faults)
    {
        broken.note("the faults of a run", Witness::new(why));
    }
    for why in load::unserved(&history) {
        broken.note(SERVED, why);
    }
    if let Some(at) = whole_at
        && let Err(witness) = heal::serves(&history, load::PARTITIONS, at, HEAL)
    {
        broken.note("a healed mesh serves every partition", witness);
    }
    Ok(timed("all was checked", || Report::of(figures, broken, &history)))
}

fn go_on(interrupted: &AtomicBool) -> anyhow::Result<()> {
    anyhow::ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
    Ok(())
}

/// Clients that gave up waited in vain, which is no reason to stop: what the others saw is worth being checked.
fn gave_up(broken: &mut Broken, whys: Vec<anyhow::Error>) {
    for why in whys {
        println!("           gave up: {why:#}");
        broken.note(SERVED, Witness::new(format!("{why:#}")));
    }
}

/// Says how long something took.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    println!("{what} in {:.1} s", began.elapsed().as_secs_f64());
    done
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
