//! Holds processes still while the power of their disks is cut.
//!
//! A file system that is shut down may answer a sync that is under way with success though nothing of it reached the disk
//! (ext4 in Linux 6.18: 9 of 150 cuts under a program that only wrote and synced; none when it was held still). Power that
//! fails leaves nobody to hear that answer, and a disk that dies gives none: so nothing may be under way.

use crate::standing::Standing;
use anyhow::ensure;
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// How long what is under way may take.
const TAKES: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// Processes of which no thread runs, nor waits for the disk. They go on when this is dropped.
#[derive(Debug)]
pub struct Still(Vec<Pid>);

impl Still {
    /// Stops processes, and waits until each of their threads stands; one that has ended does.
    pub fn hold(pids: impl IntoIterator<Item = Pid>) -> anyhow::Result<Self> {
        let still = Self(pids.into_iter().collect());
        let began = Instant::now();
        for pid in &still.0 {
            // It may have ended by itself.
            let _ = kill_process(*pid, Signal::STOP);
        }
        for pid in &still.0 {
            while !stands(*pid) {
                ensure!(began.elapsed() < TAKES, "process {pid:?} does not come to a stand");
                std::thread::sleep(PAUSE);
            }
        }
        Ok(still)
    }

    /// They have been ended meanwhile: their numbers may be others' by now.
    pub fn ended(mut self) {
        self.0.clear();
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        for pid in &self.0 {
            // It may have ended by itself.
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

fn stands(pid: Pid) -> bool {
    Standing::of_threads(pid).into_iter().all(Standing::is_still)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_stands_while_it_is_held_and_goes_on_after() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh");
        let pid = Pid::from_child(&child);
        assert!(!stands(pid));
        let still = Still::hold([pid]).expect("it is held");
        assert!(stands(pid));
        drop(still);
        let end = Instant::now() + TAKES;
        while stands(pid) {
            assert!(Instant::now() < end, "it goes on");
        }
        child.kill().expect("it ends");
        child.wait().expect("it has ended");
        Still::hold([pid]).expect("who has ended stands").ended();
    }
}
