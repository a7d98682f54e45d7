//! A testnet for one test: started, used and ended under a lock, so that tests do not starve each other.

use crate::binaries;
use serde_json::Value;
use shoal::testnet::{Plan, Testnet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Peers of one test.
pub struct Scene {
    pub net: Testnet,
    folder: TempDir,
    agent: ureq::Agent,
    _turn: MutexGuard<'static, ()>,
}

/// What a scene is made of.
pub struct Setting {
    pub peers: usize,
    pub binary: std::path::PathBuf,
    pub arguments: Vec<String>,
}

impl Setting {
    /// Peers that hold a keyed count of stream `bench` in view `bench_counts`.
    pub fn counting(peers: usize) -> Self {
        let arguments = vec!["--demo-pipelines".into(), "bench".into()];
        Self { peers, binary: binaries::shoal(), arguments }
    }

    pub fn plain(peers: usize) -> Self {
        Self { peers, binary: binaries::shoal(), arguments: Vec::new() }
    }

    /// Peers of a user's binary that counts the words of stream `lines` in view `word_counts`.
    pub fn words(peers: usize) -> Self {
        Self { peers, binary: binaries::with_words(), arguments: Vec::new() }
    }
}

impl Scene {
    pub fn up(setting: Setting) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = TempDir::new().expect("a temporary folder");
        let mut plan = Plan::new(folder.path(), setting.peers);
        plan.binary = Some(setting.binary);
        plan.arguments = setting.arguments;
        let net = Testnet::up(&plan).unwrap_or_else(|problem| panic!("{problem}"));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .new_agent();
        Self { net, folder, agent, _turn: turn }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn kafka(&self) -> Vec<String> {
        self.net.peers().iter().map(|peer| peer.kafka.clone()).collect()
    }

    /// Asks a peer; status and JSON body.
    pub fn get(&self, peer: usize, path: &str) -> anyhow::Result<(u16, Value)> {
        let url = format!("http://{}{path}", self.net.peers()[peer - 1].http);
        let mut response = self.agent.get(&url).call()?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_json()?))
    }

    pub fn post(&self, peer: usize, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let url = format!("http://{}{path}", self.net.peers()[peer - 1].http);
        let mut response = self.agent.post(&url).send_json(body)?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_json()?))
    }

    /// Waits until `check` gives something; panics with what it said last.
    pub fn eventually<T>(
        &self,
        what: &str,
        limit: Duration,
        mut check: impl FnMut() -> Result<T, String>,
    ) -> T {
        let start = Instant::now();
        loop {
            match check() {
                Ok(found) => return found,
                Err(why) if start.elapsed() > limit => {
                    for peer in 1..=self.net.peers().len() {
                        eprintln!("--- p{peer}\n{}", self.net.log_tail(peer, 25));
                    }
                    panic!("{what} not within {limit:?}: {why}");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// All rows of a view at a peer, as numbers by key.
    pub fn counts(
        &self,
        peer: usize,
        view: &str,
        consistency: &str,
    ) -> anyhow::Result<std::collections::BTreeMap<String, u64>> {
        let mut counts = std::collections::BTreeMap::new();
        let mut from = String::new();
        loop {
            let path =
                format!("/v1/views/{view}/rows?limit=5000&consistency={consistency}&from={from}");
            let (status, body) = self.get(peer, &path)?;
            anyhow::ensure!(status == 200, "{body}");
            let rows = body["rows"].as_array().cloned().unwrap_or_default();
            for row in &rows {
                let key = row["key"].as_str().unwrap_or_default().to_owned();
                counts.insert(key, row["value"].as_u64().unwrap_or_default());
            }
            match rows.last().and_then(|row| row["key"].as_str()) {
                // The next page begins right behind the last key: a space sorts below what keys are made of.
                Some(last) if body["more"] == true => from = format!("{last}%20"),
                _ => return Ok(counts),
            }
        }
    }

    /// The peer that leads the partition of a stream with the most events.
    pub fn busiest_leader(&self, asked: usize, stream: &str) -> anyhow::Result<usize> {
        let (_, body) = self.get(asked, &format!("/v1/streams/{stream}"))?;
        let parts = body["parts"].as_array().cloned().unwrap_or_default();
        let busiest = parts.iter().max_by_key(|part| part["next"].as_i64());
        let leader = busiest.and_then(|part| part["leader"].as_u64());
        Ok(leader.ok_or_else(|| anyhow::anyhow!("no leader: {body}"))? as usize)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for peer in 1..=self.net.peers().len() {
                eprintln!("--- the last words of p{peer}\n{}", self.net.log_tail(peer, 15));
            }
        }
        for peer in 1..=self.net.peers().len() {
            // One that is dead already is what we want.
            let _ = self.net.kill(peer);
        }
    }
}
