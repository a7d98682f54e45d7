//! Limits that a peer meets while it runs: descriptors and memory.

use anyhow::Context;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Descriptors that a peer has left when they run out.
const SPARE: u64 = 2;
/// Connections that come in then: more than it has left, and than close meanwhile.
const GUESTS: usize = 16;
/// How long each may take, and until the limit is met.
const COMES_IN: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);
/// What a peer may still take before the system ends it.
const SPARE_BYTES: u64 = 2 << 20;

/// A process with almost no descriptors left, and connections that ask for more than those.
pub struct Crowd {
    pid: Pid,
    before: Rlimit,
    /// Held open until the limit is gone.
    _guests: Vec<TcpStream>,
}

impl Crowd {
    /// Lowers the limit, then comes in so often that it is met. Whether it was is the other answer.
    pub fn before(pid: Pid, door: SocketAddr) -> anyhow::Result<(Self, bool)> {
        // The limit is on numbers, and the next one is always the lowest that is free: those above it may stay.
        let most = lowest_free(pid)? + SPARE;
        let before = rustix::process::getrlimit(Resource::Nofile);
        let maximum = before.maximum;
        prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(most), maximum })
            .context("lower the limit of descriptors")?;
        // The system takes a connection for a process that cannot: one that is refused only shows that it has ended.
        let guests = (0..GUESTS).map_while(|_| TcpStream::connect_timeout(&door, COMES_IN).ok());
        let crowd = Self { pid, before, _guests: guests.collect() };
        let end = Instant::now() + COMES_IN;
        loop {
            match lowest_free(pid) {
                Ok(free) if free >= most => return Ok((crowd, true)),
                Ok(_) if Instant::now() < end => std::thread::sleep(PAUSE),
                _ => return Ok((crowd, false)),
            }
        }
    }

    pub fn disperse(self) -> anyhow::Result<()> {
        prlimit(Some(self.pid), Resource::Nofile, self.before)
            .context("raise the limit of descriptors")?;
        Ok(())
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }
}

/// The number that the next descriptor would have.
fn lowest_free(pid: Pid) -> anyhow::Result<u64> {
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let open = fs::read_dir(&folder).with_context(|| format!("read {folder}"))?;
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let taken: BTreeSet<u64> = numbers.collect();
    Ok((0..).find(|number| !taken.contains(number)).unwrap_or_default())
}

/// Where this machine limits memory: the folder of the groups, the file of the limit, and the file of what is used.
pub fn group() -> Option<(PathBuf, &'static str)> {
    let first = Path::new("/sys/fs/cgroup/memory");
    if first.join("memory.limit_in_bytes").exists() {
        return Some((first.to_owned(), "memory.limit_in_bytes"));
    }
    let second = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(second.join("cgroup.subtree_control")).unwrap_or_default();
    controllers
        .split(' ')
        .any(|name| name.trim() == "memory")
        .then(|| (second.to_owned(), "memory.max"))
}

/// A group in which a peer has too little memory.
pub struct Cage(PathBuf);

impl Cage {
    pub fn around(pid: Pid) -> anyhow::Result<Self> {
        let (folder, limit) = group().context("this machine has no control group for memory")?;
        let cage = Self(folder.join(format!("chaos-{}", pid.as_raw_nonzero())));
        fs::create_dir_all(&cage.0)?;
        // What it has already is charged elsewhere: only what it takes from now on counts here.
        fs::write(cage.0.join(limit), SPARE_BYTES.to_string())?;
        fs::write(cage.0.join("cgroup.procs"), pid.as_raw_nonzero().to_string())?;
        Ok(cage)
    }

    /// Whether whoever is in it ever asked for more than it may take. Both kinds of groups count that.
    pub fn was_felt(&self) -> bool {
        let read = |file: &str| fs::read_to_string(self.0.join(file)).unwrap_or_default();
        let of_the_second = read("memory.events");
        let times = of_the_second.lines().find_map(|line| line.strip_prefix("max "));
        let of_the_first = read("memory.failcnt");
        let times = times.unwrap_or(&of_the_first).trim();
        times.parse::<u64>().is_ok_and(|times| times > 0)
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // A survivor goes back to the common group; an empty group is a folder that can be removed.
        let survivors = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        if let Some(parent) = self.0.parent() {
            for pid in survivors.lines() {
                let _ = fs::write(parent.join("cgroup.procs"), pid);
            }
        }
        let _ = fs::remove_dir(&self.0);
    }
}
