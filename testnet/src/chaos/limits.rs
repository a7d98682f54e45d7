//! Limits that a peer meets while it runs: descriptors and memory.

use anyhow::Context;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::fs;
use std::path::{Path, PathBuf};

/// Descriptors that a peer has left when they run out.
const SPARE: u64 = 2;
/// What a peer may still take before the system ends it.
const SPARE_BYTES: u64 = 2 << 20;

/// Leaves a process almost no descriptors; what it had before is the answer.
pub fn take_descriptors(pid: Pid) -> anyhow::Result<Rlimit> {
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let open = fs::read_dir(&folder).with_context(|| format!("read {folder}"))?;
    // The limit is on the highest number, and numbers are reused from the lowest.
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
    let most = numbers.max().unwrap_or_default() + 1 + SPARE;
    let before = rustix::process::getrlimit(Resource::Nofile);
    let maximum = before.maximum;
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(most), maximum })
        .context("lower the limit of descriptors")
}

pub fn give_descriptors(pid: Pid, before: Rlimit) -> anyhow::Result<()> {
    prlimit(Some(pid), Resource::Nofile, before).context("raise the limit of descriptors")?;
    Ok(())
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
