//! A testnet for one test: started, used and ended under a lock, so that tests do not starve each other.

use crate::ask::Asker;
use crate::{binaries, secrets};
use rustix::process::Pid;
use serde_json::Value;
use shoal::testnet::{Plan, Testnet};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits for this test's turn: until it is dropped no other starts peers.
pub fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `check` gives something; panics with what it said last.
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    mut check: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match check() {
            Ok(found) => return found,
            Err(why) if start.elapsed() > limit => panic!("{what} not within {limit:?}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Peers of one test.
pub struct Scene {
    pub net: Testnet,
    folder: TempDir,
    asker: Asker,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// What a scene is made of.
pub struct Setting {
    pub peers: usize,
    pub binary: std::path::PathBuf,
    pub arguments: Vec<String>,
}

impl Setting {
    /// Peers that hold a keyed count of stream `bench` in view `bench_counts`: a partition and a bucket in each shard,
    /// so that a load reaches every one of them.
    pub fn counting(peers: usize) -> Self {
        let arguments = vec!["--demo-pipelines".into(), "bench:64".into()];
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
        let turn = turn();
        let mut scene = Self::beside(setting);
        scene._turn = Some(turn);
        scene
    }

    /// A second scene of a test that has its turn already.
    pub fn beside(setting: Setting) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut plan = Plan::new(folder.path(), setting.peers);
        plan.binary = Some(setting.binary);
        plan.arguments = setting.arguments;
        let net = Testnet::up(&plan).unwrap_or_else(|problem| {
            for peer in 1..=setting.peers {
                let log = folder.path().join(format!("p{peer}/log"));
                eprintln!("--- p{peer}\n{}", std::fs::read_to_string(log).unwrap_or_default());
            }
            panic!("{problem}")
        });
        Self { net, folder, asker: Asker::new(Duration::from_secs(30)), _turn: None }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn kafka(&self) -> Vec<String> {
        self.net.peers().iter().map(|peer| peer.kafka.clone()).collect()
    }

    pub fn http(&self, peer: usize) -> &str {
        &self.net.peers()[peer - 1].http
    }

    pub fn pid(&self, peer: usize) -> u32 {
        self.net.peers()[peer - 1].pid.unsigned_abs()
    }

    /// The process of a peer that runs.
    pub fn process(&self, peer: usize) -> Pid {
        Pid::from_raw(self.net.peers()[peer - 1].pid).expect("who was started has a number")
    }

    /// All that a peer has said.
    pub fn said(&self, peer: usize) -> String {
        let log = self.folder().join(format!("p{peer}/log"));
        String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
    }

    /// Holds all that the peers said, and whatever else lies in their folder, against the mesh's token.
    fn keeps_its_secret(&self) {
        let settings = self.folder().join("p1/shoal.toml");
        let token = std::fs::read_to_string(settings).expect("p1 has settings");
        let secrets = secrets::of(&token);
        assert_eq!(secrets.len(), 1, "the settings hold one token");
        let holders = secrets::holders(self.folder(), &secrets);
        assert!(holders.is_empty(), "the mesh's secret is in {holders:?}");
    }

    /// Asks a peer; status and JSON body.
    pub fn get(&self, peer: usize, path: &str) -> anyhow::Result<(u16, Value)> {
        self.asker.get(self.http(peer), path)
    }

    /// What lies at a path of a peer, as text.
    pub fn text(&self, peer: usize, path: &str) -> String {
        let asked = self.asker.text(self.http(peer), path);
        asked.unwrap_or_else(|error| panic!("p{peer} {path}: {error}"))
    }

    pub fn post(&self, peer: usize, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        self.asker.post(self.http(peer), path, body)
    }

    /// Waits until `check` gives something; panics with what it said last.
    pub fn eventually<T>(
        &self,
        what: &str,
        limit: Duration,
        check: impl FnMut() -> Result<T, String>,
    ) -> T {
        eventually(what, limit, check)
    }

    /// All rows of a view at a peer, as numbers by key.
    pub fn counts(
        &self,
        peer: usize,
        view: &str,
        consistency: &str,
    ) -> anyhow::Result<BTreeMap<String, u64>> {
        self.asker.counts(self.http(peer), view, consistency)
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
                eprintln!("--- the last words of p{peer}\n{}", self.net.log_tail(peer, 25));
            }
            if std::env::var_os("SHOAL_KEEP").is_some() {
                self.folder.disable_cleanup(true);
                eprintln!("--- everything is in {}", self.folder.path().display());
            }
        }
        for peer in 1..=self.net.peers().len() {
            // One that is dead already is what we want.
            let _ = self.net.kill(peer);
        }
        if !std::thread::panicking() {
            self.keeps_its_secret();
        }
    }
}
