//! What `strace` does to each sync of a peer. Promises that it is known whether it ever had the peer in its hands.

use crate::standing::Standing;
use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to get hold of a process.
const TAKES: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

/// A process that holds another one.
pub struct Tracer(Child);

impl Tracer {
    /// Injects something into each sync; none if the process ended before it was held.
    pub fn take(pid: Pid, injection: &str) -> anyhow::Result<Option<Self>> {
        let child = Command::new("strace")
            .args(["-f", "-q", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e"])
            .arg(format!("inject=fsync,fdatasync:{injection}"))
            .args(["-p", &pid.as_raw_nonzero().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("run strace")?;
        let mut tracer = Self(child);
        let began = Instant::now();
        loop {
            match Standing::of(pid).filter(|it| !it.has_ended()) {
                Some(Standing { is_traced: true, .. }) => return Ok(Some(tracer)),
                Some(_) => {}
                None => return tracer.let_go().map(|()| None),
            }
            if let Some(status) = tracer.0.try_wait()? {
                bail!("strace ended without a hold of process {pid:?}: {status}");
            }
            ensure!(began.elapsed() < TAKES, "strace does not get hold of process {pid:?}");
            std::thread::sleep(PAUSE);
        }
    }

    /// It lets its tracee go when it is asked to end; one whose tracee has ended is gone already.
    pub fn let_go(mut self) -> anyhow::Result<()> {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        self.0.wait().context("wait for strace")?;
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It has ended, or this run has failed: its end frees the tracee.
        let _ = self.0.kill();
        let _ = self.0.wait();
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
        held.expect("it is held").let_go().expect("it is free again");
        long.kill().expect("our child");
        long.wait().expect("our child");
    }
}
