//! A testnet: a mesh of real processes on this machine, one a peer, in a folder of their own.
//!
//! `DIR/testnet.json` lists the peers; `DIR/pN` holds a peer's settings (`shoal.toml`), its data folder (`data`) and
//! what it said (`log`). Promises that the peers outlive the process that started them, and that a signal goes only to
//! a process that is proven to be that peer; never deletes a folder that is not a testnet's.

mod files;
mod growth;
mod ports;
mod process;
mod ready;

pub use process::State;

use crate::ask::Asker;
use crate::progress::Progress;
use files::{Command, Files};
use model::Problem;
use ports::Ports;
use process::Started;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A testnet of more peers is no test of this machine any more.
pub const PEERS_MAX: usize = 50;
/// How long `up` and `start` wait for a mesh that is ready.
const READY: Duration = Duration::from_secs(60);
/// Nobody should wonder for longer what is waited for.
const SILENCE: Duration = Duration::from_secs(3);
/// How long `down` waits for graceful ends; a peer gives itself less.
const STOP: Duration = Duration::from_secs(13);
/// How often `up` begins again with other ports when somebody takes one in the meantime.
const ATTEMPTS: usize = 3;

/// What a testnet is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub folder: PathBuf,
    pub peers: usize,
    /// The binary that the peers run; this process's own if none is named.
    pub binary: Option<PathBuf>,
    /// Further arguments of `start` for every peer, now and at each later start.
    pub arguments: Vec<String>,
    /// The mesh's number of shards, if not the usual.
    pub shards: Option<u16>,
}

impl Plan {
    pub fn new(folder: impl Into<PathBuf>, peers: usize) -> Self {
        Self { folder: folder.into(), peers, binary: None, arguments: Vec::new(), shards: None }
    }
}

/// One peer of a testnet, as `testnet.json` lists it; addresses are `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub name: String,
    /// The process that ran last.
    pub pid: i32,
    pub kafka: String,
    pub http: String,
    pub mesh: String,
    /// It has left the mesh, and is not started or waited for any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out: bool,
}

/// A mesh of processes. Peers are counted from 1, as their names are.
pub struct Testnet {
    files: Files,
    command: Command,
    peers: Vec<Peer>,
    /// Processes that this one started and must reap.
    children: BTreeMap<usize, Started>,
}

impl Testnet {
    /// Starts a testnet and returns when it is ready: every shard has its voters and a leader. One that is there
    /// already goes on with its data.
    pub fn up(plan: &Plan) -> Result<Self, Problem> {
        if !(1..=PEERS_MAX).contains(&plan.peers) {
            return Err(Problem::new(
                "SH0001",
                format!("a testnet cannot have {} peers", plan.peers),
                format!("it has 1 to {PEERS_MAX}"),
                "shoal testnet up -n 3",
            ));
        }
        let files = Files::create(&plan.folder)?;
        if files.is_testnet() {
            return Self::go_on(plan);
        }
        let mut shift = 0;
        for attempt in 1.. {
            let ports = ports::free(plan.peers, shift)?;
            shift = ports.shift + ports::STEP;
            let mut testnet = Self::found(plan, &files, &ports)?;
            match testnet.run_first(plan) {
                Ok(()) => return Ok(testnet),
                Err(problem) => {
                    testnet.stop(Duration::ZERO);
                    // Its list goes, so that the next `up` begins anew; what the peers said stays.
                    testnet.files.forget()?;
                    if problem.code != "SH0201" || attempt == ATTEMPTS {
                        return Err(problem);
                    }
                }
            }
        }
        unreachable!("the last attempt returns")
    }

    /// The testnet of a folder, running or not.
    pub fn open(folder: &Path) -> Result<Self, Problem> {
        let files = Files::open(folder)?;
        let (peers, command) = (files.peers()?, files.command()?);
        Ok(Self { files, command, peers, children: BTreeMap::new() })
    }

    fn go_on(plan: &Plan) -> Result<Self, Problem> {
        let mut testnet = Self::open(&plan.folder)?;
        if testnet.peers.len() != plan.peers {
            let folder = plan.folder.display();
            return Err(Problem::new(
                "SH0001",
                format!("{folder} has a testnet of {} peers", testnet.peers.len()),
                format!("{} were asked for", plan.peers),
                format!(
                    "shoal testnet up -n {} --dir {folder} goes on with it; another --dir makes another",
                    testnet.peers.len()
                ),
            ));
        }
        let down = |i: &usize| !testnet.peers[i - 1].out && testnet.state(*i) == State::Down;
        let down: Vec<usize> = (1..=testnet.peers.len()).filter(down).collect();
        for peer in down {
            testnet.spawn(peer, false, None)?;
        }
        testnet.ready(READY)?;
        Ok(testnet)
    }

    fn found(plan: &Plan, files: &Files, ports: &Ports) -> Result<Self, Problem> {
        let command = Command::of(plan)?;
        let peers: Vec<Peer> = (1..=plan.peers).map(|i| ports.peer(i)).collect();
        let token = crate::verb::generate::token();
        for (at, peer) in peers.iter().enumerate() {
            let others: Vec<&str> =
                peers.iter().filter(|o| o.name != peer.name).map(|o| o.mesh.as_str()).collect();
            files.write_settings(at + 1, peer, &others, &token)?;
        }
        files.write_command(&command)?;
        files.write_peers(&peers)?;
        Ok(Self { files: files.clone(), command, peers, children: BTreeMap::new() })
    }

    /// The first start: the founder, then one after the other, so that `p2` is the mesh's second peer.
    fn run_first(&mut self, plan: &Plan) -> Result<(), Problem> {
        for peer in 1..=self.peers.len() {
            let founds = peer == 1;
            self.spawn(peer, founds, plan.shards.filter(|_| founds))?;
            let joined = self.peers[peer - 1].clone();
            self.wait(&joined.name, &[peer], READY, || ready::joined(&joined))?;
        }
        self.ready(READY)
    }

    pub fn folder(&self) -> &Path {
        self.files.folder()
    }

    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The number of a peer called `2` or `p2`.
    pub fn number(&self, name: &str) -> Result<usize, Problem> {
        let number: Option<usize> = name.strip_prefix('p').unwrap_or(name).parse().ok();
        number.filter(|number| (1..=self.peers.len()).contains(number)).ok_or_else(|| {
            Problem::new(
                "SH0305",
                format!("the testnet has no peer {name}"),
                format!("its peers are p1 to p{}", self.peers.len()),
                "shoal testnet status",
            )
        })
    }

    /// Whether a peer's process runs.
    pub fn state(&self, peer: usize) -> State {
        process::state(self.peers[peer - 1].pid, &self.files.settings(peer))
    }

    /// Whether a peer says that it is ready.
    pub fn is_ready(&self, peer: usize) -> bool {
        ready::peer(&self.peers[peer - 1]).is_ok()
    }

    /// Waits until every shard has its voters and a leader, and every peer is ready.
    pub fn ready(&mut self, limit: Duration) -> Result<(), Problem> {
        let stay: Vec<usize> =
            (1..=self.peers.len()).filter(|peer| !self.peers[peer - 1].out).collect();
        let peers: Vec<Peer> = stay.iter().map(|peer| self.peers[peer - 1].clone()).collect();
        self.wait("the mesh", &stay, limit, || ready::mesh(&peers))
    }

    /// Ends a peer's process at once (`kill -9`).
    pub fn kill(&mut self, peer: usize) -> Result<(), Problem> {
        process::kill(self.running(peer)?);
        self.reap(peer);
        Ok(())
    }

    /// Starts a peer that was killed and waits until it is ready.
    pub fn start(&mut self, peer: usize) -> Result<(), Problem> {
        self.launch(peer)?;
        self.answers(peer, READY)
    }

    /// Starts a peer that was killed and does not wait.
    pub fn launch(&mut self, peer: usize) -> Result<(), Problem> {
        if self.state(peer) != State::Down {
            return Err(Problem::new(
                "SH0001",
                format!("p{peer} runs already"),
                format!("as process {}", self.peers[peer - 1].pid),
                "shoal testnet status",
            ));
        }
        self.spawn(peer, false, None)
    }

    /// Stops a peer in the middle of what it does (SIGSTOP), until it is resumed.
    pub fn pause(&self, peer: usize) -> Result<(), Problem> {
        process::pause(self.running(peer)?);
        Ok(())
    }

    pub fn resume(&self, peer: usize) -> Result<(), Problem> {
        process::resume(self.running(peer)?);
        Ok(())
    }

    /// Ends all peers, gracefully while there is time; `purge` removes the folder too, and then nobody needs grace.
    pub fn down(&mut self, purge: bool) -> Result<(), Problem> {
        self.stop(if purge { Duration::ZERO } else { STOP });
        if purge { self.files.purge() } else { Ok(()) }
    }

    /// The last lines that a peer said.
    pub fn log_tail(&self, peer: usize, lines: usize) -> String {
        self.files.log_tail(peer, lines)
    }

    fn running(&self, peer: usize) -> Result<i32, Problem> {
        match self.state(peer) {
            State::Down => Err(Problem::new(
                "SH0305",
                format!("p{peer} does not run"),
                format!("process {} is gone or is another's", self.peers[peer - 1].pid),
                format!("shoal testnet start {peer}"),
            )),
            _ => Ok(self.peers[peer - 1].pid),
        }
    }

    fn spawn(&mut self, peer: usize, found: bool, shards: Option<u16>) -> Result<(), Problem> {
        let mut more = Vec::new();
        if found {
            // Its settings name the others, for the day its folder is lost; today it founds alone.
            more.extend(["--new".to_owned(), "--join=".to_owned()]);
            more.extend(shards.map(|shards| format!("--shards={shards}")));
        }
        self.spawn_with(peer, &more)
    }

    fn spawn_with(&mut self, peer: usize, more: &[String]) -> Result<(), Problem> {
        let arguments = [&self.command.arguments, more].concat();
        let started = process::spawn(&self.command.binary, &arguments, &self.files, peer)?;
        self.peers[peer - 1].pid = started.pid();
        self.children.insert(peer, started);
        self.files.write_peers(&self.peers)
    }

    fn answers(&mut self, peer: usize, limit: Duration) -> Result<(), Problem> {
        let wanted = self.peers[peer - 1].clone();
        self.wait(&wanted.name, &[peer], limit, || ready::peer(&wanted))
    }

    /// Asks until there is no objection; ends early when one of `peers` has ended.
    fn wait(
        &mut self,
        whom: &str,
        peers: &[usize],
        limit: Duration,
        ask: impl Fn() -> Result<(), String>,
    ) -> Result<(), Problem> {
        let end = Instant::now() + limit;
        let mut progress = Progress::endless(SILENCE);
        loop {
            let Err(objection) = ask() else {
                return Ok(());
            };
            progress.at(0, &format!("waiting for {whom}: {objection}"));
            for peer in peers {
                self.check_runs(*peer)?;
            }
            if Instant::now() >= end {
                return Err(Problem::new(
                    "SH0505",
                    format!("{whom} was not ready within {} s", limit.as_secs()),
                    objection,
                    format!("look at {}/p*/log", self.folder().display()),
                ));
            }
            std::thread::sleep(ready::PAUSE);
        }
    }

    /// A peer that ended says why in its log; its own code is ours.
    fn check_runs(&mut self, peer: usize) -> Result<(), Problem> {
        // Of a child the system tells for certain; its command line is not there yet right after its start.
        let ended = match self.children.get_mut(&peer) {
            Some(child) => child.has_ended(),
            None => self.state(peer) == State::Down,
        };
        if !ended {
            return Ok(());
        }
        self.reap(peer);
        let tail = self.log_tail(peer, 12);
        // The last one: the log goes back to earlier starts.
        let code = tail.rsplit_once("error[").and_then(|(_, rest)| rest.split(']').next());
        let known = |code: &&str| model::problem::CODES.iter().any(|(known, _, _)| known == code);
        Err(Problem::new(
            code.filter(known).unwrap_or("SH0901"),
            format!("p{peer} ended while starting"),
            format!("its last lines are\n    {}", tail.replace('\n', "\n    ")),
            format!("look at {}", self.files.log(peer).display()),
        ))
    }

    /// Ends every process: asks, waits, kills.
    fn stop(&mut self, patience: Duration) {
        let all: Vec<usize> = (1..=self.peers.len()).collect();
        let alive = |t: &Self| -> Vec<i32> {
            let runs = all.iter().filter(|peer| t.state(**peer) != State::Down);
            runs.map(|peer| t.peers[*peer - 1].pid).collect()
        };
        if !patience.is_zero() {
            alive(self).into_iter().for_each(process::terminate);
            let end = Instant::now() + patience;
            let mut progress = Progress::of(all.len() as u64, SILENCE);
            loop {
                let left = alive(self).len();
                if left == 0 || Instant::now() >= end {
                    break;
                }
                let words = format!("{left} peers hand over what they lead, then end");
                progress.at((all.len() - left) as u64, &words);
                std::thread::sleep(ready::PAUSE);
            }
        }
        alive(self).into_iter().for_each(process::kill);
        all.iter().for_each(|peer| self.reap(*peer));
    }

    /// Waits for the end of a process that was killed, so that its ports and its folder are free.
    fn reap(&mut self, peer: usize) {
        if let Some(started) = self.children.remove(&peer) {
            started.reap();
        }
        let end = Instant::now() + Duration::from_secs(5);
        while self.state(peer) != State::Down && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Peer {
    fn ask(&self, wait: Duration) -> Asker {
        Asker::with_wait(&self.http, wait)
    }
}

#[cfg(test)]
mod tests;
