//! What a testnet keeps in its folder: the list of peers, the command they run, settings and logs.

use super::{Peer, Plan};
use model::Problem;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const LIST: &str = "testnet.json";
const COMMAND: &str = "command.json";
/// Of a log only so much is looked at for its last lines.
const TAIL_BYTES: u64 = 64 * 1024;

/// The command that every peer of a testnet runs, now and after each kill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Command {
    pub(super) binary: PathBuf,
    pub(super) arguments: Vec<String>,
}

impl Command {
    pub(super) fn of(plan: &Plan) -> Result<Self, Problem> {
        let binary = match &plan.binary {
            Some(binary) => fs::canonicalize(binary),
            None => std::env::current_exe(),
        };
        let binary = binary.map_err(|error| {
            let asked = plan.binary.as_deref().unwrap_or(Path::new("this process's binary"));
            failed("find", asked, &error)
        })?;
        Ok(Self { binary, arguments: plan.arguments.clone() })
    }
}

/// A testnet's folder, as an absolute path: the peers' settings are found by it.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    /// The folder, made if need be. One that holds other things than a testnet is refused.
    pub(super) fn create(folder: &Path) -> Result<Self, Problem> {
        fs::create_dir_all(folder).map_err(|error| failed("make", folder, &error))?;
        let files = Self::at(folder)?;
        let foreign = fs::read_dir(&files.folder)
            .map_err(|error| failed("read", folder, &error))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find(|name| !is_ours(name));
        match foreign {
            Some(name) if !files.is_testnet() => Err(Problem::new(
                "SH0001",
                format!("{} is no testnet's folder", folder.display()),
                format!("it holds {name}"),
                "--dir with a new or empty folder",
            )),
            _ => Ok(files),
        }
    }

    pub(super) fn open(folder: &Path) -> Result<Self, Problem> {
        let none = || {
            Problem::new(
                "SH0305",
                format!("there is no testnet in {}", folder.display()),
                format!("{} is not there", folder.join(LIST).display()),
                "shoal testnet up -n 3, or --dir with its folder",
            )
        };
        let files = Self::at(folder).map_err(|_| none())?;
        if files.is_testnet() { Ok(files) } else { Err(none()) }
    }

    fn at(folder: &Path) -> Result<Self, Problem> {
        let folder = fs::canonicalize(folder).map_err(|error| failed("find", folder, &error))?;
        Ok(Self { folder })
    }

    pub(super) fn is_testnet(&self) -> bool {
        self.folder.join(LIST).exists()
    }
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
    pub(super) fn of_peer(&self, peer: usize) -> PathBuf {
        self.folder.join(format!("p{peer}"))
    }
    pub(super) fn settings(&self, peer: usize) -> PathBuf {
        self.of_peer(peer).join("shoal.toml")
    }
    pub(super) fn log(&self, peer: usize) -> PathBuf {
        self.of_peer(peer).join("log")
    }

    pub(super) fn peers(&self) -> Result<Vec<Peer>, Problem> {
        self.read(LIST)
    }
    pub(super) fn command(&self) -> Result<Command, Problem> {
        self.read(COMMAND)
    }
    pub(super) fn write_peers(&self, peers: &[Peer]) -> Result<(), Problem> {
        self.write(LIST, &peers)
    }
    pub(super) fn write_command(&self, command: &Command) -> Result<(), Problem> {
        self.write(COMMAND, command)
    }

    /// A peer's settings, beginning with a data folder of nothing.
    pub(super) fn write_settings(
        &self,
        number: usize,
        peer: &Peer,
        others: &[&str],
        token: &str,
    ) -> Result<(), Problem> {
        let folder = self.of_peer(number);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| failed("remove", &folder, &error))?;
        }
        fs::create_dir_all(&folder).map_err(|error| failed("make", &folder, &error))?;
        let port = |address: &str| -> i64 {
            address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)
        };
        let data = folder.join("data").display().to_string();
        let mut settings = toml::Table::new();
        let mut section = |name: &str, keys: Vec<(&str, toml::Value)>| {
            let keys: toml::Table = keys.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            settings.insert(name.to_owned(), keys.into());
        };
        section("peer", vec![("name", peer.name.clone().into()), ("data", data.into())]);
        let join: Vec<toml::Value> = others.iter().map(|address| (*address).into()).collect();
        section(
            "mesh",
            vec![
                ("port", port(&peer.mesh).into()),
                ("token", token.into()),
                ("join", toml::Value::Array(join)),
            ],
        );
        section("kafka", vec![("port", port(&peer.kafka).into())]);
        section("http", vec![("port", port(&peer.http).into())]);
        let path = self.settings(number);
        write_private(&path, &settings.to_string()).map_err(|error| failed("write", &path, &error))
    }

    /// The mesh's token, as a peer's settings have it.
    pub(super) fn token(&self, peer: usize) -> Result<String, Problem> {
        let path = self.settings(peer);
        let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
        let settings: toml::Table = text.parse().unwrap_or_default();
        let token = settings.get("mesh").and_then(|mesh| mesh.get("token")?.as_str());
        token.map(str::to_owned).ok_or_else(|| {
            let error = io::Error::new(io::ErrorKind::InvalidData, "it has no [mesh] token");
            failed("read", &path, &error)
        })
    }

    pub(super) fn log_tail(&self, peer: usize, lines: usize) -> String {
        let text = tail(&self.log(peer)).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Takes the list away: the folder is no testnet's any more, and `up` begins anew.
    pub(super) fn forget(&self) -> Result<(), Problem> {
        let path = self.folder.join(LIST);
        fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))
    }

    /// Removes what the testnet made, and the folder if nothing else is in it.
    pub(super) fn purge(&self) -> Result<(), Problem> {
        let remove = |path: &Path| match path.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        };
        let entries = fs::read_dir(&self.folder);
        for entry in entries.map_err(|error| failed("read", &self.folder, &error))?.flatten() {
            if entry.file_name().to_str().is_some_and(is_ours) {
                remove(&entry.path()).map_err(|error| failed("remove", &entry.path(), &error))?;
            }
        }
        // What stays is not ours.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Problem> {
        let path = self.folder.join(name);
        let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
        serde_json::from_str(&text).map_err(|error| failed("read", &path, &error.into()))
    }

    /// Writes beside and renames, so that a reader sees the old or the new list.
    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Problem> {
        let path = self.folder.join(name);
        let beside = self.folder.join(format!("{name}.new"));
        let text = serde_json::to_string_pretty(value).expect("plain values are always JSON");
        fs::write(&beside, format!("{text}\n"))
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|error| failed("write", &path, &error))
    }
}

/// Whether a testnet makes files or folders of this name.
fn is_ours(name: &str) -> bool {
    let peer = name.strip_prefix('p').is_some_and(|number| number.parse::<u16>().is_ok());
    peer || [LIST, COMMAND].contains(&name.strip_suffix(".new").unwrap_or(name))
}

/// The mesh's token stands in it: only its owner may read it.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = fs::OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Problem {
    Problem::new(
        "SH0206",
        format!("cannot {what} {}", path.display()),
        error.to_string(),
        "--dir with a folder that you may write",
    )
}
