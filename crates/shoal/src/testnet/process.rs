//! A peer's process: started apart from this one, recognised by its settings file, signalled.
//!
//! A pid alone proves nothing: it may have been given to somebody else since. A process is a peer of this testnet if
//! its command line names that peer's settings file.

use super::files::{Files, failed};
use model::Problem;
use rustix::process::{Pid, Signal};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to get its command line, which the system gives it.
const NAMED: Duration = Duration::from_secs(1);

/// Whether a peer's process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// Stopped by a signal until it is resumed.
    Paused,
    Down,
}

impl State {
    pub fn text(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Down => "down",
        }
    }
}

/// A process that this one started.
pub(super) struct Started(Child);

impl Started {
    pub(super) fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("pids are positive i32")
    }

    /// Whether it has ended; asking also lets a dead child go, which else stays a zombie.
    pub(super) fn has_ended(&mut self) -> bool {
        // It fails only if somebody else has waited for it, and then it has ended.
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits for its end, a moment at most: one that was not killed may live on.
    pub(super) fn reap(mut self) {
        let end = Instant::now() + Duration::from_secs(5);
        while !self.has_ended() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Starts a peer with its settings; what it says goes to its log.
pub(super) fn spawn(
    binary: &Path,
    arguments: &[String],
    files: &Files,
    peer: usize,
) -> Result<Started, Problem> {
    let path = files.log(peer);
    let log = fs::OpenOptions::new().create(true).append(true).open(&path);
    let log = log.map_err(|error| failed("open", &path, &error))?;
    let second = log.try_clone().map_err(|error| failed("open", &path, &error))?;
    let mut command = Command::new(binary);
    command.arg("start").arg("--config").arg(files.settings(peer)).arg("--detach");
    command.args(arguments).current_dir(files.of_peer(peer));
    command.stdin(Stdio::null()).stdout(log).stderr(second);
    // What is set for a peer of the user's must not reach into a testnet.
    let foreign = |name: &str| name.starts_with("SHOAL_") && name.contains("__");
    for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
        command.env_remove(name);
    }
    let child = command.spawn().map_err(|error| failed("run", binary, &error))?;
    let started = Started(child);
    named(started.pid());
    Ok(started)
}

/// Waits until a process that was just started can be recognised. Linux lets a starter go on before the command line of
/// what it started can be read: for a moment it is empty.
fn named(pid: i32) {
    let end = Instant::now() + NAMED;
    let is_nameless = |(letter, line): (char, Vec<u8>)| line.is_empty() && !"ZX".contains(letter);
    while looked_up(pid).is_some_and(is_nameless) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The state of the peer with this settings file, whose process had this pid.
pub(super) fn state(pid: i32, settings: &Path) -> State {
    if pid <= 0 {
        return State::Down;
    }
    match looked_up(pid) {
        Some((_, line)) if !names(&line, settings) => State::Down,
        Some(('T' | 't', _)) => State::Paused,
        Some(('Z' | 'X', _)) | None => State::Down,
        Some(_) => State::Running,
    }
}

/// The state letter and command line of a process; none if there is no such process.
fn looked_up(pid: i32) -> Option<(char, Vec<u8>)> {
    if Path::new("/proc/self/stat").exists() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let letter = stat.rsplit(')').next()?.trim_start().chars().next()?;
        return Some((letter, fs::read(format!("/proc/{pid}/cmdline")).ok()?));
    }
    // Systems without /proc have ps.
    let pid = pid.to_string();
    let output = Command::new("ps").args(["-ww", "-o", "state=,command=", "-p", &pid]).output();
    let text = output.ok().filter(|output| output.status.success())?.stdout;
    Some((char::from(*text.first()?), text))
}

fn names(line: &[u8], settings: &Path) -> bool {
    let path = settings.as_os_str().as_encoded_bytes();
    let ends = |after: Option<&u8>| matches!(after, None | Some(0 | b' ' | b'\n'));
    let mut windows = line.windows(path.len()).enumerate();
    windows.any(|(at, part)| part == path && ends(line.get(at + path.len())))
}

/// Asks for a graceful end; one that is paused could not hear it.
pub(super) fn terminate(pid: i32) {
    signal(pid, Signal::TERM);
    signal(pid, Signal::CONT);
}

pub(super) fn kill(pid: i32) {
    signal(pid, Signal::KILL);
}

pub(super) fn pause(pid: i32) {
    signal(pid, Signal::STOP);
}

pub(super) fn resume(pid: i32) {
    signal(pid, Signal::CONT);
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // A process that has just ended needs no signal any more.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_whole_settings_path() {
        let path = Path::new("/t/p1/shoal.toml");
        assert!(names(b"/bin/shoal\0start\0--config\0/t/p1/shoal.toml\0--detach\0", path));
        assert!(names(b"S shoal start --config /t/p1/shoal.toml --detach\n", path));
        assert!(!names(b"shoal\0start\0--config\0/t/p1/shoal.toml.old\0", path));
        assert!(!names(b"shoal\0start\0--config\0/t/p11/shoal.toml\0", path));
    }

    #[test]
    fn a_pid_that_belongs_to_somebody_else_is_not_our_peer() {
        let path = std::env::temp_dir().join("nobody/p1/shoal.toml");
        let this = i32::try_from(std::process::id()).expect("a pid");
        assert_eq!(state(this, &path), State::Down);
        assert_eq!(state(0, &path), State::Down);
        assert_eq!(state(i32::MAX, &path), State::Down);
    }

    #[test]
    fn a_paused_process_is_told_from_a_running_and_an_ended_one() {
        let path = std::env::temp_dir().join("known/p1/shoal.toml");
        // The path is an argument that `sh` ignores.
        let mut child = Command::new("sh").args(["-c", "sleep 60; :", "sh"]).arg(&path).spawn();
        let child = child.as_mut().expect("sh runs");
        let pid = i32::try_from(child.id()).expect("a pid");
        let within = |wanted| {
            (0..400).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(5));
                state(pid, &path) == wanted
            })
        };
        assert!(within(State::Running));
        pause(pid);
        assert!(within(State::Paused));
        resume(pid);
        assert!(within(State::Running));
        kill(pid);
        assert!(within(State::Down), "a zombie is down");
        child.wait().expect("our child");
    }
}
