//! What the system says about a process and its threads (Linux): whether they run, stand, are traced, or have ended.

use rustix::process::Pid;
use std::fs;
use std::path::{Path, PathBuf};

/// One thread, or a process by its first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The letter of its state: `R` runs, `D` waits for a disk, `T` is stopped, and so on.
    state: char,
    pub is_traced: bool,
}

impl Standing {
    /// Of a process; nothing if there is none of this number any more.
    pub fn of(pid: Pid) -> Option<Self> {
        Self::at(&folder(pid))
    }

    /// Of each thread of a process; none if there is no such process any more.
    pub fn of_threads(pid: Pid) -> Vec<Self> {
        let threads = fs::read_dir(folder(pid).join("task")).into_iter().flatten().flatten();
        // One that ended while the list was read is no thread any more.
        threads.filter_map(|thread| Self::at(&thread.path())).collect()
    }

    /// Neither runs nor waits for anything, a disk least of all.
    pub fn is_still(self) -> bool {
        matches!(self.state, 'T' | 't') || self.has_ended()
    }

    /// It has ended, whether anybody waited for it or not.
    pub fn has_ended(self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    fn at(folder: &Path) -> Option<Self> {
        Self::read(&fs::read_to_string(folder.join("status")).ok()?)
    }

    fn read(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.map(str::trim)
        };
        let state = field("State")?.chars().next()?;
        Some(Self { state, is_traced: field("TracerPid")? != "0" })
    }
}

fn folder(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read_by_its_fields() {
        let of = |state: &str, tracer: u32| {
            let status =
                format!("Name:\tState: T\nState:\t{state}\nPid:\t7\nTracerPid:\t{tracer}\n");
            Standing::read(&status).expect("it is whole")
        };
        assert!(of("T (stopped)", 0).is_still() && of("t (tracing stop)", 812).is_traced);
        assert!(of("Z (zombie)", 0).has_ended() && of("X (dead)", 0).is_still());
        for moves in ["S (sleeping)", "D (disk sleep)", "R (running)"] {
            assert!(!of(moves, 0).is_still() && !of(moves, 0).has_ended(), "{moves}");
        }
        assert_eq!(Standing::read("State:\tR\n"), None);
        let own = Standing::of(rustix::process::getpid()).expect("this process lives");
        assert!(!own.has_ended());
    }
}
