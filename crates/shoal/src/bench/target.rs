//! The peers that are driven: a testnet of our own, one that runs already, or any mesh by its addresses.
//!
//! Promises that a testnet which it started is gone when it is dropped.

use super::answers::Door;
use anyhow::{Context, bail};
use door::http::{Member, MemberState, TaskRow};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the pipeline may take to run everywhere.
const START: Duration = Duration::from_secs(60);

/// A line of `testnet.json`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Process {
    pub name: String,
    pub pid: u32,
    pub kafka: String,
    pub http: String,
    pub mesh: String,
}

/// The driven mesh.
pub(crate) struct Target {
    /// Kafka doors.
    pub bootstrap: Vec<String>,
    /// HTTP doors; at least one.
    pub doors: Vec<Door>,
    /// The peers' processes when they are on this machine and known.
    pub pids: Vec<u32>,
    /// Where they keep their files, when known.
    pub dir: Option<PathBuf>,
}

impl Target {
    /// What `testnet.json` in `dir` lists; at least one.
    pub(crate) fn processes(dir: &Path) -> anyhow::Result<Vec<Process>> {
        let list = dir.join("testnet.json");
        let text = std::fs::read(&list).with_context(|| format!("read {}", list.display()))?;
        let peers: Vec<Process> = serde_json::from_slice(&text).context("read testnet.json")?;
        if peers.is_empty() {
            bail!("the testnet in {} has no peers", dir.display());
        }
        Ok(peers)
    }

    /// Peers of the testnet in `dir`.
    pub(crate) fn testnet(dir: &Path) -> anyhow::Result<Self> {
        let peers = Self::processes(dir)?;
        Ok(Self {
            bootstrap: peers.iter().map(|peer| peer.kafka.clone()).collect(),
            doors: peers.iter().map(|peer| Door::new(&peer.http)).collect(),
            pids: peers.iter().map(|peer| peer.pid).collect(),
            dir: Some(dir.canonicalize()?),
        })
    }

    /// Peers by their addresses; the HTTP doors are learned from the first one that is named.
    pub(crate) fn addresses(bootstrap: &[String], http: &[String]) -> anyhow::Result<Self> {
        let first = http.first().context("`--bootstrap` needs `--http HOST:PORT` as well")?;
        let members = Door::new(first).members()?;
        let alive = members.iter().filter(|member| member.state == MemberState::Alive);
        Ok(Self {
            bootstrap: bootstrap.to_vec(),
            doors: alive.map(|member| Door::new(&member.http)).collect(),
            pids: Vec::new(),
            dir: None,
        })
    }

    /// The first peer's door.
    pub(crate) fn door(&self) -> &Door {
        &self.doors[0]
    }

    /// Waits until every task of the stage behind `view` is run by somebody.
    pub(crate) fn wait_for(&self, pipeline: &str, view: &str) -> anyhow::Result<Vec<TaskRow>> {
        let started = Instant::now();
        loop {
            match self.door().tasks(pipeline, view) {
                Ok(tasks) if tasks.iter().all(|task| task.peer.is_some()) => return Ok(tasks),
                Err(error) if started.elapsed() > START => {
                    return Err(error.context(format!("pipeline `{pipeline}` does not run")));
                }
                Ok(_) if started.elapsed() > START => {
                    bail!("pipeline `{pipeline}` has tasks that nobody runs");
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// The peer that leads the fewest of `tasks`: what it shows is a copy.
    pub(crate) fn observer(&self, tasks: &[TaskRow]) -> anyhow::Result<Member> {
        let members = self.door().members()?;
        let alive = members.into_iter().filter(|member| member.state == MemberState::Alive);
        let led = |id: i32| tasks.iter().filter(|task| task.peer == Some(id)).count();
        alive.min_by_key(|member| led(member.id)).context("no peer is alive")
    }
}
