//! Command lines of `shoal` as a person types them: in a folder of their own, with what they said and how they ended.

use crate::{binaries, secrets};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A command line, not started yet.
#[derive(Clone, Debug)]
pub struct Line {
    before: Vec<String>,
    binary: PathBuf,
    words: Vec<String>,
}

/// A process that runs in a folder of its own and is ended with this.
pub struct Hand {
    child: Child,
    folder: PathBuf,
    line: Line,
    /// What was said before by others in the same folder.
    said_before: usize,
    _kept: Option<TempDir>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub said: String,
}

impl Line {
    /// `shoal` and these words.
    pub fn shoal(words: &[&str]) -> Self {
        Self {
            before: Vec::new(),
            binary: binaries::shoal(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    /// `shoal start` with any free ports, and these words.
    pub fn start(words: &[&str]) -> Self {
        Self::shoal(&["start", "--kafka-port=0", "--http-port=0", "--mesh-port=0"]).and(words)
    }

    /// Exactly what a peer printed: `shoal …`.
    pub fn printed(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.first(), Some(&"shoal"), "{line}");
        Self::shoal(&words[1..])
    }

    pub fn and(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    pub fn of(mut self, binary: PathBuf) -> Self {
        self.binary = binary;
        self
    }

    /// Run by another command, which gets this one as its last words.
    pub fn by(mut self, words: &[&str]) -> Self {
        self.before = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Begins in a new folder.
    pub fn begin(self) -> Hand {
        let folder = TempDir::new().expect("a temporary folder");
        let mut hand = self.begin_in(folder.path());
        hand._kept = Some(folder);
        hand
    }

    /// Begins in a folder that may have been used before; what it says is added to `said` there.
    pub fn begin_in(self, folder: &Path) -> Hand {
        let path = folder.join("said");
        let said_before = std::fs::read(&path).map_or(0, |said| said.len());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let log = log.expect("a file for what is said");
        let second = log.try_clone().expect("a second handle");
        let mut words = self.before.iter().map(Into::into).collect::<Vec<std::ffi::OsString>>();
        words.push(self.binary.clone().into());
        words.extend(self.words.iter().map(Into::into));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(folder);
        command.stdin(Stdio::null()).stdout(log).stderr(second);
        let foreign = |name: &str| name.starts_with("SHOAL_");
        for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
            command.env_remove(name);
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", words[0]));
        Hand { child, folder: folder.to_owned(), line: self, said_before, _kept: None }
    }

    /// Runs to its end, which must come soon.
    pub fn run(self) -> Ended {
        self.begin().ends(Duration::from_secs(60))
    }
}

impl Hand {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder it was started in; `shoal-data` lies there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it said until now.
    pub fn said(&self) -> String {
        let said = std::fs::read(self.folder.join("said")).unwrap_or_default();
        String::from_utf8_lossy(&said[self.said_before..]).into_owned()
    }

    /// Waits for a line that holds these words and gives it.
    pub fn says(&mut self, words: &str) -> String {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            // Asked before reading: what an ended process said is all there.
            let ended = self.has_ended();
            if let Some(line) = self.said().lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            let late = Instant::now() > end;
            assert!(!ended && !late, "{:?} never said {words:?}:\n{}", self.line, self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_some()
    }

    /// Waits for its own end.
    pub fn ends(mut self, limit: Duration) -> Ended {
        let end = Instant::now() + limit;
        while !self.has_ended() {
            let late = Instant::now() > end;
            assert!(!late, "{:?} did not end within {limit:?}:\n{}", self.line, self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = self.child.wait().expect("our child");
        Ended { code: status.code(), said: self.said() }
    }

    /// Ends it at once (`kill -9`).
    pub fn kill(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Where a peer listens for `kafka`, `http` or `mesh`, as it tells others.
    pub fn address(&self, of: &str) -> String {
        let path = self.folder.join("shoal-data/ports.json");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?} {error}"));
        let ports: serde_json::Value = serde_json::from_str(&text).expect("ports.json is JSON");
        ports[of].as_str().unwrap_or_else(|| panic!("{ports} has no {of}")).to_owned()
    }

    /// The command that it printed for others to join with.
    pub fn join_line(&mut self) -> String {
        let line = self.says("join with: ");
        line.split("join with: ").nth(1).expect("just found").to_owned()
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {:?} said\n{}", self.line, self.said());
        }
        self.kill();
        if !std::thread::panicking() {
            let said = self.said();
            let given_away = secrets::given_away(&said, &[]);
            assert!(given_away.is_empty(), "{:?} gave a token away: {given_away:?}", self.line);
        }
    }
}

impl Ended {
    /// Holds an error against its form, its exit code and its own code.
    pub fn fails(&self, exit: i32, code: &str, words: &[&str]) {
        let Self { code: left, said } = self;
        let at = said.find(&format!("error[{code}]: "));
        let error = &said[at.unwrap_or_else(|| panic!("no {code}, but {left:?}:\n{said}"))..];
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(*left, Some(exit), "{said}");
        assert!(lines.get(1).is_some_and(|line| line.starts_with("  because: ")), "{said}");
        assert!(lines.get(2).is_some_and(|line| line.starts_with("  try: ")), "{said}");
        for word in words {
            assert!(error.contains(word), "{word:?} is not in\n{error}");
        }
    }
}
