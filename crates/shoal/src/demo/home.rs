//! Where the demo's peers live: a temporary folder and a process each, gone when it ends.

use crate::show;
use crate::testnet::{Plan, Testnet};
use anyhow::{Context, bail};
use comfy_table::{Table, presets};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use tokio::signal::unix::{SignalKind, signal};

const PEERS: usize = 3;

/// The running peers.
pub(super) struct Home {
    testnet: Testnet,
    keep: bool,
}

/// Ends when the user, or the system, asks the demo to stop.
pub(super) async fn interrupted() {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let waits = signals.map(|kind| {
        Box::pin(async move {
            match signal(kind) {
                Ok(mut signal) => signal.recv().await,
                // Without a handler the signal does what it always does: it ends the process.
                Err(_) => std::future::pending().await,
            }
        })
    });
    let [interrupt, terminate, hangup] = waits;
    tokio::select! { _ = interrupt => {}, _ = terminate => {}, _ = hangup => {} }
}

impl Home {
    /// Starts the peers with the pipelines of a story; if the user stops the demo meanwhile, takes them down
    /// again, and there are none.
    pub(super) async fn up(
        (keep, pipelines): (bool, &str),
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> anyhow::Result<Option<Self>> {
        let dir = tempfile::Builder::new().prefix("shoal-demo-").tempdir()?.keep();
        show::print(&format!("Starting {PEERS} peers in {} …", dir.display()));
        let mut plan = Plan::new(dir, PEERS);
        plan.arguments = vec![format!("--demo-pipelines={pipelines}")];
        let mut up = tokio::task::spawn_blocking(move || Testnet::up(&plan));
        let (up, stopped) = tokio::select! {
            up = &mut up => (up, false),
            () = stop => (up.await, true),
        };
        // A testnet that did not come up has ended its peers itself; what they said stays for reading.
        let home = Self { testnet: up.context("the start has panicked")??, keep };
        if stopped {
            show::print(&format!(
                "Stopped before the peers were ready. This ends them{}.",
                home.fate()
            ));
            home.down().await?;
            return Ok(None);
        }
        Ok(Some(home))
    }

    /// Stops the peers and removes their folder, unless it is to be kept.
    pub(super) async fn down(mut self) -> anyhow::Result<()> {
        let down = tokio::task::spawn_blocking(move || self.testnet.down(!self.keep));
        Ok(down.await.context("the end has panicked")??)
    }

    /// Ends a peer without a word.
    pub(super) fn kill(&mut self, peer: usize) -> anyhow::Result<()> {
        Ok(self.testnet.kill(peer)?)
    }

    /// Starts a peer that was killed, without waiting for it.
    pub(super) fn launch(&mut self, peer: usize) -> anyhow::Result<()> {
        Ok(self.testnet.launch(peer)?)
    }

    pub(super) fn kafka(&self) -> Vec<String> {
        self.testnet.peers().iter().map(|peer| peer.kafka.clone()).collect()
    }
    pub(super) fn http(&self) -> Vec<String> {
        self.testnet.peers().iter().map(|peer| peer.http.clone()).collect()
    }

    /// What becomes of the folder, behind "stops everything".
    pub(super) fn fate(&self) -> String {
        match self.keep {
            true => format!(" and keeps {}", self.testnet.folder().display()),
            false => format!(" and removes {}", self.testnet.folder().display()),
        }
    }

    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["PEER", "PID", "KAFKA", "HTTP", "MESH"]);
        for peer in self.testnet.peers() {
            let pid = peer.pid.to_string();
            table.add_row([&peer.name, &pid, &peer.kafka, &peer.http, &peer.mesh]);
        }
        table.to_string()
    }

    /// Three commands to try; `view` is one of the story's.
    pub(super) fn commands(&self, view: &str) -> anyhow::Result<String> {
        let [first, second, last, ..] = self.testnet.peers() else {
            bail!("three peers are wanted")
        };
        let binary = std::env::current_exe()?;
        let (binary, dir) = (quoted(&binary), quoted(self.testnet.folder()));
        Ok(format!(
            "Try meanwhile:\n  \
             curl -s 'http://{}/v1/views/{view}/rows?consistency=any'\n  \
             python3 -c \"from kafka import KafkaProducer as P; p = P(bootstrap_servers='{}'); \
             p.send('my_topic', value=b'Hello, world!'); p.flush()\"\n  \
             {binary} testnet kill {} --dir {dir}    # nothing should stop",
            last.http, first.kafka, second.name
        ))
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_and_quotes_survives_the_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-b_1.x")), "/tmp/a-b_1.x");
        assert_eq!(quoted(Path::new("/tmp/it's here")), r"'/tmp/it'\''s here'");
    }
}
