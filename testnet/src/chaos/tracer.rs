//! What `strace` does to each sync of a peer. Promises that it is known whether it ever had the peer in its hands, and
//! whether any sync was struck.

use crate::standing::Standing;
use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// How long it may take to get hold of a process.
const TAKES: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

/// What `strace` writes behind a call that it struck.
const STRUCK: [&str; 2] = ["(DELAYED)", "(INJECTED)"];

/// A process that holds another one, and what it says of each sync.
pub struct Tracer {
    child: Child,
    told: NamedTempFile,
}

impl Tracer {
    /// Injects something into each sync; none if the process ended before it was held.
    pub fn take(pid: Pid, injection: &str) -> anyhow::Result<Option<Self>> {
        let told = NamedTempFile::new().context("a file for strace")?;
        let child = Command::new("strace")
            .args(["-f", "-q", "-e", "trace=fsync,fdatasync", "-o"])
            .arg(told.path())
            .arg("-e")
            .arg(format!("inject=fsync,fdatasync:{injection}"))
            .args(["-p", &pid.as_raw_nonzero().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("run strace")?;
        let mut tracer = Self { child, told };
        let began = Instant::now();
        loop {
            match Standing::of(pid).filter(|it| !it.has_ended()) {
                Some(Standing { is_traced: true, .. }) => return Ok(Some(tracer)),
                Some(_) => {}
                None => return tracer.let_go().map(|_| None),
            }
            if let Some(status) = tracer.child.try_wait()? {
                bail!("strace ended without a hold of process {pid:?}: {status}");
            }
            ensure!(began.elapsed() < TAKES, "strace does not get hold of process {pid:?}");
            std::thread::sleep(PAUSE);
        }
    }

    /// It lets its tracee go when it is asked to end; one whose tracee has ended is gone already. The answer is how many
    /// syncs it struck.
    pub fn let_go(mut self) -> anyhow::Result<usize> {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.child.wait().context("wait for strace")?;
        let told = std::fs::read_to_string(self.told.path()).context("read what strace said")?;
        Ok(told.lines().filter(|line| STRUCK.iter().any(|word| line.contains(word))).count())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It has ended, or this run has failed: its end frees the tracee.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ended_before_it_was_held_was_not_struck() {
        if !super::super::fault::has("strace") {
            println!("SKIPPED: it needs strace");
            return;
        }
        let mut short = Command::new("true").spawn().expect("true runs");
        let pid = Pid::from_child(&short);
        std::thread::sleep(Duration::from_millis(200));
        assert!(Tracer::take(pid, "delay_enter=1").expect("it is known").is_none());
        short.wait().expect("our child");
        let mut long = Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let pid = Pid::from_child(&long);
        let held = Tracer::take(pid, "delay_enter=1").expect("it is known");
        let struck = held.expect("it is held").let_go().expect("it is free again");
        assert_eq!(struck, 0, "it never syncs");
        long.kill().expect("our child");
        long.wait().expect("our child");
    }

    #[test]
    fn syncs_that_were_struck_are_counted() {
        if !super::super::fault::has("strace") {
            println!("SKIPPED: it needs strace");
            return;
        }
        let loops = "import os, sys\nf = open(sys.argv[1], 'w')\nprint('begun', file=f, flush=True)\n\
                     while True:\n    os.fsync(f.fileno())";
        let file = NamedTempFile::new().expect("a file");
        let mut python = Command::new("python3");
        let mut child = python.args(["-c", loops]).arg(file.path()).spawn().expect("python runs");
        let begun = || file.path().metadata().is_ok_and(|found| found.len() > 0);
        crate::scene::eventually("a sync", TAKES * 5, || match begun() {
            true => Ok(()),
            false => Err("none yet".to_owned()),
        });
        let held = Tracer::take(Pid::from_child(&child), "delay_enter=1").expect("it is known");
        std::thread::sleep(Duration::from_millis(300));
        let struck = held.expect("it is held").let_go().expect("it is free again");
        assert!(struck > 0);
        child.kill().expect("our child");
        child.wait().expect("our child");
    }
}
