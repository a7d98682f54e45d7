//! The ground that a run stands on: a network namespace for each peer and one for all clients (Linux, root).
//!
//! Peers reach each other only through the wire, which a run can spoil link by link. Clients reach each peer by a
//! kernel link of its own that stays whole: a client may then speak to both sides of a split, which is the hardest
//! case. Promises that the namespaces are gone when it is dropped, and those of runs that died when it is laid.

use super::wire::Wire;
use anyhow::{Context, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What all namespaces of runs are called at first; then comes the pid of the run.
const PREFIX: &str = "chaos-";
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const NAMESPACES: &str = "/run/netns";

/// Namespaces and the links between them.
pub struct Ground {
    prefix: String,
    pub wire: Wire,
}

/// The address of a peer; they are counted from 1.
pub fn address(peer: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(peer).expect("a run has few peers"))
}

/// Runs a command; an error has what it said.
pub fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

fn ip(words: &str) -> anyhow::Result<()> {
    run("ip", &words.split(' ').collect::<Vec<_>>())
}

impl Ground {
    pub fn lay(peers: usize, seed: u64) -> anyhow::Result<Self> {
        sweep()?;
        let prefix = format!("{PREFIX}{}", std::process::id());
        let mut ground = Self { prefix, wire: Wire::new(seed) };
        ground.add("clients")?;
        for peer in 1..=peers {
            ground.add(&peer.to_string())?;
            ground.join(peer)?;
        }
        Ok(ground)
    }

    fn add(&self, name: &str) -> anyhow::Result<()> {
        ip(&format!("netns add {}-{name}", self.prefix))?;
        ip(&format!("-n {}-{name} link set lo up", self.prefix))
    }

    /// The kernel link between a peer and the clients, and the peer's end of the wire.
    fn join(&mut self, peer: usize) -> anyhow::Result<()> {
        let (here, there) = (format!("{}-{peer}", self.prefix), format!("{}-clients", self.prefix));
        let own = address(peer);
        ip(&format!("link add clients netns {here} type veth peer name peer{peer} netns {there}"))?;
        ip(&format!("-n {here} addr add {own}/32 dev lo"))?;
        ip(&format!("-n {here} link set clients up"))?;
        ip(&format!("-n {here} route add {CLIENTS}/32 dev clients src {own}"))?;
        if peer == 1 {
            ip(&format!("-n {there} addr add {CLIENTS}/32 dev lo"))?;
        }
        ip(&format!("-n {there} link set peer{peer} up"))?;
        ip(&format!("-n {there} route add {own}/32 dev peer{peer} src {CLIENTS}"))?;
        let namespace = self.path(&peer.to_string());
        self.wire.join(peer, &namespace)?;
        ip(&format!("-n {here} link set wire up mtu {}", super::wire::MTU))?;
        ip(&format!("-n {here} route add 10.77.0.0/24 dev wire src {own}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(NAMESPACES).join(format!("{}-{name}", self.prefix))
    }

    /// The namespace of a peer, as a file.
    pub fn of_peer(&self, peer: usize) -> PathBuf {
        self.path(&peer.to_string())
    }

    /// Moves this thread, and all threads and processes that it starts from now on, to where clients live.
    pub fn enter(&self) -> anyhow::Result<()> {
        enter(&self.path("clients"))
    }
}

/// Moves this thread into a namespace.
pub fn enter(namespace: &Path) -> anyhow::Result<()> {
    let file = File::open(namespace).with_context(|| format!("open {}", namespace.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("enter {}", namespace.display()))
}

/// Namespaces of runs whose process is gone: nobody else takes them away.
fn sweep() -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(NAMESPACES) else { return Ok(()) };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            ip(&format!("netns del {name}"))?;
        }
    }
    Ok(())
}

impl Drop for Ground {
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir(NAMESPACES) else { return };
        for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            if name.starts_with(&format!("{}-", self.prefix))
                && let Err(error) = ip(&format!("netns del {name}"))
            {
                eprintln!("a namespace stays: {error:#}");
            }
        }
    }
}
