//! The peers of a run: release binaries, each in its namespace and on its disk, started, ended, paused, and started
//! again when they end by themselves, as a machine's supervisor would.

use super::disk::Disk;
use super::ground::{self, Ground};
use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Peers of a run.
pub const COUNT: usize = 3;
pub const KAFKA: u16 = 9092;
pub const HTTP: u16 = 8080;
const MESH: u16 = 7946;
/// A disk is small, so that filling it is quick, and large enough for what a run writes.
const DISK_MEGABYTES: u32 = 2048;
/// How long a peer that ended by itself stays down.
const REST: Duration = Duration::from_secs(1);
/// How long a peer may take to answer at the very first start.
const FIRST: Duration = Duration::from_secs(60);

/// One peer, counted from 1.
pub struct Peer {
    pub number: usize,
    pub disk: Disk,
    folder: PathBuf,
    namespace: PathBuf,
    child: Option<Child>,
    paused: bool,
    /// Whether it should run at the moment.
    wanted: bool,
    down_since: Option<Instant>,
    /// How often it ended although nobody had ended it, with its last words.
    pub ends: Vec<String>,
    /// Those of `ends` for which nothing that had been done to it is a reason.
    pub causeless: Vec<String>,
    born: Instant,
    /// When something that may end a process was last done to it.
    excused_at: Option<Instant>,
    /// Bits of its files have flipped: whenever it comes upon them it may end.
    rotten: bool,
    clock: Option<PathBuf>,
    /// Of the stream of events, as its binary declares it.
    partitions: u32,
}

/// All peers of a run.
pub struct Peers {
    pub all: Vec<Peer>,
    binary: PathBuf,
    agent: ureq::Agent,
}

impl Peers {
    /// Starts them for the first time: the founder, then one after the other.
    pub fn found(
        folder: &Path,
        ground: &Ground,
        binary: PathBuf,
        (shards, partitions): (u16, u32),
    ) -> anyhow::Result<Self> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(3)))
            .build()
            .new_agent();
        let token = token(&binary)?;
        let mut peers = Self { all: Vec::new(), binary, agent };
        for number in 1..=COUNT {
            let own = folder.join(format!("p{number}"));
            fs::create_dir_all(&own)?;
            let disk = Disk::make(&own, DISK_MEGABYTES)?;
            fs::write(own.join("shoal.toml"), settings(number, &disk, &token))?;
            let namespace = ground.of_peer(number);
            let mut peer = Peer {
                number,
                disk,
                folder: own,
                namespace,
                child: None,
                paused: false,
                wanted: true,
                down_since: None,
                ends: Vec::new(),
                causeless: Vec::new(),
                born: Instant::now(),
                excused_at: None,
                rotten: false,
                clock: None,
                partitions,
            };
            let shards = format!("--shards={shards}");
            let first = ["--new", "--join=", shards.as_str()];
            peer.spawn(&peers.binary, if number == 1 { &first } else { &[] })?;
            peers.all.push(peer);
            peers.until_a_member(number)?;
        }
        Ok(peers)
    }

    fn until_a_member(&mut self, number: usize) -> anyhow::Result<()> {
        let end = Instant::now() + FIRST;
        while self.get(number, "/v1/members").is_err() {
            let peer = &mut self.all[number - 1];
            ensure!(!peer.has_ended(), "p{number} ended while it started:\n{}", peer.tail(12));
            ensure!(Instant::now() < end, "p{number} does not answer:\n{}", peer.tail(12));
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Asks a peer; an error if it does not answer with 200.
    pub fn get(&self, peer: usize, path: &str) -> anyhow::Result<serde_json::Value> {
        let url = format!("http://{}:{HTTP}{path}", ground::address(peer));
        let mut response = self.agent.get(&url).call()?;
        let body: serde_json::Value = response.body_mut().read_json()?;
        ensure!(response.status().as_u16() == 200, "p{peer} {path}: {body}");
        Ok(body)
    }

    /// By how many seconds a peer's own clock is ahead of this one, by the time of its picture of the mesh: it makes one
    /// again and again once somebody has looked.
    pub fn seconds_ahead(&self, peer: usize) -> anyhow::Result<i64> {
        let body = self.get(peer, "/v1/overview")?;
        let told = body["at_ms"].as_i64().context("a picture has a time")?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() as i64;
        Ok((told - now) / 1000)
    }

    pub fn start(&mut self, peer: usize) -> anyhow::Result<()> {
        self.all[peer - 1].spawn(&self.binary, &[])
    }

    /// Starts again what ended by itself, after a rest.
    pub fn tend(&mut self) -> anyhow::Result<()> {
        for at in 0..self.all.len() {
            let peer = &mut self.all[at];
            if !peer.wanted {
                continue;
            }
            match peer.down_since {
                Some(since) if since.elapsed() > REST => peer.spawn(&self.binary, &[])?,
                Some(_) => {}
                None => peer.note_its_end(),
            }
        }
        Ok(())
    }

    /// Each peer's log, for words that must not be in it.
    pub fn panics(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for peer in &self.all {
            let text = fs::read(peer.folder.join("log"))?;
            let text = String::from_utf8_lossy(&text);
            let lines = text.lines().filter(|line| line.contains("panicked at"));
            found.extend(lines.map(|line| format!("p{}: {line}", peer.number)));
        }
        Ok(found)
    }
}

impl Peer {
    fn spawn(&mut self, binary: &Path, arguments: &[&str]) -> anyhow::Result<()> {
        let path = self.folder.join("log");
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("open {}", path.display()))?;
        let mut command = Command::new("setpriv");
        // It must not outlive this run, whatever ends the run.
        command.args(["--pdeathsig", "KILL", "nsenter"]);
        command.arg(format!("--net={}", self.namespace.display())).arg("--");
        if let Some(clock) = &self.clock {
            command.arg("env").args(super::clock::environment(clock)?);
        }
        command.arg(binary).arg("start").arg("--config").arg(self.folder.join("shoal.toml"));
        command.args(arguments).current_dir(&self.folder);
        command.env(crate::binaries::PARTITIONS, self.partitions.to_string());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("start a peer")?);
        (self.wanted, self.down_since, self.paused) = (true, None, false);
        self.born = Instant::now();
        Ok(())
    }

    /// The process, if it runs.
    pub fn pid(&self) -> Option<Pid> {
        self.child.as_ref().map(Pid::from_child)
    }

    pub fn runs(&self) -> bool {
        self.child.is_some() && !self.paused
    }

    fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Its last words, if it ended although nobody had ended it.
    fn note_its_end(&mut self) {
        if self.has_ended() {
            let words = self.tail(6);
            if !self.rotten && self.excused_at.is_none_or(|at| at < self.born) {
                self.causeless.push(words.clone());
            }
            self.ends.push(words);
            self.child = None;
            self.down_since = Some(Instant::now());
        }
    }

    /// At this moment something is done to it for which it may end.
    pub fn excuse(&mut self) {
        self.excused_at = Some(Instant::now());
    }

    /// From now on it may end at any time.
    pub fn rots(&mut self) {
        self.rotten = true;
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // One that has just ended needs no signal any more: it is still ours to wait for.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Ends it at once and waits until it is gone; it stays down until it is started.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL);
        self.wanted = false;
        self.down_since = None;
        if let Some(mut child) = self.child.take() {
            child.wait().context("wait for a peer")?;
        }
        Ok(())
    }

    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.paused = true;
    }

    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = false;
    }

    /// From its next start on its wall clock is what this file says.
    pub fn set_clock(&mut self, file: PathBuf) {
        self.clock = Some(file);
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last lines that it said.
    pub fn tail(&self, lines: usize) -> String {
        let text = fs::read(self.folder.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("p{} may still run: {error:#}", self.number);
        }
    }
}

fn token(binary: &Path) -> anyhow::Result<String> {
    let output = Command::new(binary).args(["gen", "token"]).output().context("gen token")?;
    match String::from_utf8(output.stdout).map(|text| text.trim().to_owned()) {
        Ok(token) if !token.is_empty() => Ok(token),
        _ => bail!("gen token said nothing: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn settings(number: usize, disk: &Disk, token: &str) -> String {
    let own = ground::address(number);
    let others = (1..=COUNT).filter(|other| *other != number);
    let others: Vec<String> =
        others.map(|other| format!("\"{}:{MESH}\"", ground::address(other))).collect();
    format!(
        "[peer]\nname = \"p{number}\"\ndata = \"{}\"\nbind = \"{own}\"\nadvertise = \"{own}\"\n\
         [mesh]\nport = {MESH}\ntoken = \"{token}\"\njoin = [{}]\n\
         [kafka]\nport = {KAFKA}\n[http]\nport = {HTTP}\n",
        disk.folder().display(),
        others.join(", ")
    )
}
