//! The data folder of a peer: whose it is, who uses it, which version wrote it.
//!
//! `lock` (held as long as the process lives, holds its pid), `head`, `key`, `incarnation`, `journal/`, `segments/`,
//! `tables/`, and notes for other processes. Every small file is replaced in one step: after a power cut it is the
//! old one or the new one. Never opens what is in the three folders.

mod head;

#[cfg(test)]
mod tests;

pub use head::Head;

use crate::Error;
use model::MeshId;
use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
const HEAD: &str = "head";
const KEY: &str = "key";
const INCARNATION: &str = "incarnation";
const CATALOGUE: &str = "catalogue";
/// What may lie in a folder that has no head yet, because a start was interrupted or others made ready for it.
const OURS: &[&str] = &[
    LOCK,
    KEY,
    INCARNATION,
    CATALOGUE,
    "aside",
    "journal",
    "segments",
    "tables",
    "tables-new",
    "tables-old",
    "ports.json",
    "shoal.toml",
    "lost+found",
];

/// A data folder that this process holds the lock of, until it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    head: Option<Head>,
    _lock: fs::File,
}

impl Folder {
    /// Takes the folder; `create` makes it if there is none (otherwise [`Error::Empty`]).
    ///
    /// Fails if another process has it, a newer version wrote it, something else lies in it, or it cannot be
    /// written.
    pub fn open(path: &Path, create: bool) -> Result<Self, Error> {
        let unwritable = |source| Error::unwritable(path, source);
        if !create && !path.join(HEAD).exists() {
            return Err(Error::Empty { path: path.into() });
        }
        fs::create_dir_all(path).map_err(unwritable)?;
        if !path.join(HEAD).exists() {
            check_ours(path)?;
        }
        let lock = lock(path)?;
        let head = read(&path.join(HEAD))?.map(|text| Head::parse(&text)).transpose()?;
        Ok(Self { path: path.into(), head, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `None` until the folder belongs to a mesh.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Writes the head in one step: after a power cut it is the old one or the new one.
    pub fn write_head(&mut self, head: &Head) -> Result<(), Error> {
        if head.name.contains(['\n', '\r']) {
            return Err(Error::Misuse("a peer's name has one line".into()));
        }
        self.replace(HEAD, head.print().as_bytes())?;
        self.head = Some(head.clone());
        Ok(())
    }

    /// Fails with [`Error::OtherMesh`] if the folder belongs to another mesh, or to another recovery of it.
    pub fn check_mesh(&self, mesh: MeshId, recovery: u32) -> Result<(), Error> {
        match &self.head {
            Some(head) if (head.mesh, head.recovery) != (mesh, recovery) => Err(Error::OtherMesh {
                found: format!("{} (recovery {})", head.mesh, head.recovery),
                wanted: format!("{mesh} (recovery {recovery})"),
            }),
            _ => Ok(()),
        }
    }

    /// The peer's key; `fresh` becomes it if there is none yet.
    pub fn key_or_init(&self, fresh: [u8; 32]) -> Result<[u8; 32], Error> {
        if let Some(text) = read(&self.path.join(KEY))? {
            return head::from_hex(text.trim_end())
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(|| Error::Rot("the file `key` is not a key".into()));
        }
        self.replace(KEY, format!("{}\n", head::to_hex(&fresh)).as_bytes())?;
        Ok(fresh)
    }

    /// The number of this start of the process, once it is counted; the first is 1.
    pub fn next_incarnation(&self) -> Result<u64, Error> {
        let rot = |_| Error::Rot("the file `incarnation` is not a number".into());
        let last: u64 = match read(&self.path.join(INCARNATION))? {
            Some(text) => text.trim_end().parse().map_err(rot)?,
            None => 0,
        };
        Ok(last + 1)
    }

    /// Counts this start of the process, on disk. Nobody may be told a start that is not counted.
    pub fn bump_incarnation(&self) -> Result<u64, Error> {
        let next = self.next_incarnation()?;
        self.replace(INCARNATION, format!("{next}\n").as_bytes())?;
        Ok(next)
    }

    /// What such a file of the last start says, if it is there.
    pub fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path.join(name)).ok()
    }

    /// Writes a small file for other processes of this machine (`ports.json`), in one step.
    pub fn write_note(&self, name: &str, text: &str) -> Result<(), Error> {
        self.replace(name, text.as_bytes())
    }

    /// Keeps a copy of the catalogue, in one step: what a start needs to find the others before its own log speaks.
    pub fn write_catalogue(&self, bytes: &[u8]) -> Result<(), Error> {
        self.replace(CATALOGUE, bytes)
    }

    /// The copy of the catalogue that was kept last, if any; it may be old.
    pub fn read_catalogue(&self) -> Result<Option<Vec<u8>>, Error> {
        match fs::read(self.path.join(CATALOGUE)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read the copy of the catalogue", e)),
        }
    }

    pub fn remove_note(&self, name: &str) -> Result<(), Error> {
        match fs::remove_file(self.path.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {name}"), e))
            }
            _ => Ok(()),
        }
    }

    /// Free and total bytes of the file system the folder is on.
    pub fn space(&self) -> Result<(u64, u64), Error> {
        let space = rustix::fs::statvfs(&self.path)
            .map_err(|e| Error::io("ask for free space", e.into()))?;
        Ok((space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize))
    }

    /// Replaces a file in one step, readable by its owner only.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let to = self.path.join(name);
        let new = self.path.join(format!("{name}.new"));
        let replaced = (|| {
            let mut file = private(&new)?;
            file.set_len(0)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &to)?;
            fs::File::open(&self.path)?.sync_all()
        })();
        replaced.map_err(|source| Error::unwritable(to, source))
    }
}

/// A small file as text; bytes that are not text fail where the text is understood.
fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("read {}", path.display()), e)),
    }
}

/// Opens or makes a file that only its owner can read.
fn private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn check_ours(path: &Path) -> Result<(), Error> {
    let names = fs::read_dir(path).map_err(|e| Error::io("list the data folder", e))?;
    for name in names {
        let name = name.map_err(|e| Error::io("list the data folder", e))?.file_name();
        let name = name.to_string_lossy();
        let known = OURS.contains(&&*name) || name.ends_with(".new") || name.ends_with(".log");
        if !known {
            return Err(Error::Foreign { path: path.into(), found: name.into_owned() });
        }
    }
    Ok(())
}

/// Takes the folder's lock and leaves the pid in it; the lock goes with the process, however it ends.
fn lock(folder: &Path) -> Result<fs::File, Error> {
    let path = folder.join(LOCK);
    let mut file = private(&path).map_err(|source| Error::unwritable(&path, source))?;
    if let Err(e) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if e != rustix::io::Errno::WOULDBLOCK {
            return Err(Error::io("lock the data folder", e.into()));
        }
        let mut pid = String::new();
        // The holder may be just about to write it: 0 is "unknown".
        let _ = file.read_to_string(&mut pid);
        let pid = pid.trim_end().parse().unwrap_or(0);
        return Err(Error::InUse { path: folder.into(), pid });
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    written.map_err(|source| Error::unwritable(path, source))?;
    Ok(file)
}
