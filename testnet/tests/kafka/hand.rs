//! Clients in processes of their own, which end when their input does, and the histories they keep.

use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What is under way at the end may wait for a transaction to time out.
const PATIENCE: Duration = Duration::from_secs(150);

/// Starts scripts of one kind, and keeps what they tell.
pub struct Hand {
    python: PathBuf,
    script: &'static str,
    folder: TempDir,
}

impl Hand {
    /// Nothing, with a word to the log, where Python's packages cannot be had.
    pub fn new(script: &'static str, packages: &[&str]) -> Option<Self> {
        match testnet::clients::python(packages) {
            Ok(python) => {
                let folder = tempfile::tempdir().expect("a folder");
                Some(Self { python, script, folder })
            }
            Err(why) => {
                println!("SKIPPED: {why}");
                None
            }
        }
    }

    /// Starts one with a history of this name, which goes between the other words.
    pub fn start(&self, before: &[&str], history: &str, after: &[&str]) -> Client {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        let mut command = Command::new(&self.python);
        command.arg(scripts.join(self.script)).args(before).arg(self.path(history)).args(after);
        Client(command.stdin(Stdio::piped()).spawn().expect("python starts"))
    }

    fn path(&self, history: &str) -> PathBuf {
        self.folder.path().join(history)
    }

    /// What a client told, line by line.
    pub fn told<T: DeserializeOwned>(&self, history: &str) -> Vec<T> {
        let text = std::fs::read_to_string(self.path(history)).expect("a history was kept");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of the script")).collect()
    }
}

/// One of them; it does not outlive its test, whatever becomes of that.
pub struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        // One that has ended is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tells a client to come to its end, and waits for that.
pub fn end(mut client: Client, what: &str) {
    drop(client.0.stdin.take());
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = client.0.try_wait().expect("it is ours") {
            assert!(status.success(), "{what}: {status}");
            return;
        }
        assert!(Instant::now() < until, "{what} does not end");
        std::thread::sleep(Duration::from_millis(100));
    }
}
