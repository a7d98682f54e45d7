//! Kafka clients that others wrote, each a process of Python.

use super::Seat;
use anyhow::{Context, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What they need. Two that have nothing in common: one in Python, the other around librdkafka.
pub const PACKAGES: [&str; 2] = ["kafka-python==3.0.12", "confluent-kafka==2.16.1"];
/// A script waits 60 s for what is under way; then it has only to write its history.
const END: Duration = Duration::from_secs(80);

/// A client's process.
pub(super) struct Script {
    child: Child,
    name: String,
    log: PathBuf,
}

/// A client that was asked to end.
pub(super) struct Told(Script);

impl Script {
    pub(super) fn start(
        python: &Path,
        (file, role): (&str, &str),
        seat: &Seat,
        rate: u32,
    ) -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(file);
        let bootstrap: Vec<String> = seat.doors.iter().map(ToString::to_string).collect();
        let name = format!("{}-{role}", file.trim_end_matches("_client.py"));
        let log = seat.folder.join(format!("{name}.log"));
        let history = seat.folder.join(format!("{name}.jsonl"));
        let (client, rate) = (seat.client.to_string(), rate.to_string());
        let seed = seat.dice.clone().below(1 << 31).to_string();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(python)
            .arg(script)
            .args([role, &bootstrap.join(","), super::EVENTS])
            .arg(history)
            .args([client, rate, seed])
            .stdin(Stdio::piped())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .context("start a Kafka client")?;
        Ok(Self { child, name, log })
    }

    /// An error if it has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "{} ended by itself:\n{}", self.name, self.words());
        Ok(())
    }

    fn words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// Its input ends, and so does it.
    pub(super) fn tell(mut self) -> Told {
        drop(self.child.stdin.take());
        Told(self)
    }
}

impl Told {
    pub(super) fn wait(self) -> anyhow::Result<()> {
        let mut script = self.0;
        let end = Instant::now() + END;
        loop {
            match script.child.try_wait()? {
                Some(status) => {
                    ensure!(status.success(), "{} failed:\n{}", script.name, script.words());
                    return Ok(());
                }
                None => ensure!(Instant::now() < end, "{} does not end", script.name),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It has ended, or this run has failed and needs it no more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
