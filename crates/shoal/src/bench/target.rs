//! The peers that are driven: a testnet of our own, one that runs already, or any mesh by its addresses.
//!
//! Promises that a testnet which it started is gone when it is dropped.

use super::answers::Door;
use crate::testnet::{Plan, Testnet};
use anyhow::{Context, bail};
use door::http::{Member, MemberState, TaskRow};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the pipeline may take to run everywhere.
const START: Duration = Duration::from_secs(60);

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
    own: Option<Testnet>,
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(problem) = self.own.as_mut().and_then(|testnet| testnet.down(true).err()) {
            eprintln!("{problem}");
        }
    }
}

impl Target {
    /// Starts a testnet in `dir`, or in a temporary folder, with the pipelines of the benchmark.
    pub(crate) fn up(dir: Option<&Path>, peers: usize, partitions: u32) -> anyhow::Result<Self> {
        let folder = match dir {
            Some(dir) => dir.to_owned(),
            None => tempfile::Builder::new().prefix("shoal-bench-").tempdir()?.keep(),
        };
        let mut plan = Plan::new(folder, peers);
        plan.arguments = vec![format!("--demo-pipelines=bench:{partitions}")];
        let testnet = Testnet::up(&plan)?;
        let mut target = Self::of(&testnet);
        target.own = Some(testnet);
        Ok(target)
    }

    /// Peers of the testnet in `dir`, which stays.
    pub(crate) fn testnet(dir: &Path) -> anyhow::Result<Self> {
        Ok(Self::of(&Testnet::open(dir)?))
    }

    fn of(testnet: &Testnet) -> Self {
        let peers = testnet.peers();
        Self {
            bootstrap: peers.iter().map(|peer| peer.kafka.clone()).collect(),
            doors: peers.iter().map(|peer| Door::new(&peer.http)).collect(),
            pids: peers.iter().map(|peer| peer.pid.unsigned_abs()).collect(),
            dir: Some(testnet.folder().to_owned()),
            own: None,
        }
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
            own: None,
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

    /// A bucket and a peer that does not lead it: what that peer shows of it is a copy. None if one leads all.
    pub(crate) fn watchable(&self, tasks: &[TaskRow]) -> anyhow::Result<Option<(u32, Member)>> {
        let members = self.door().members()?;
        let alive = members.into_iter().filter(|member| member.state == MemberState::Alive);
        let watched = |member: Member| {
            let mut others = tasks.iter().filter(|task| task.peer != Some(member.id));
            others.next().map(|task| (task.bucket, member))
        };
        // The last: the first one also answers who leads.
        Ok(alive.filter_map(watched).next_back())
    }
}
