//! A peer's wall clock that lies: libfaketime answers for the system what a file says; the monotonic clock stays true,
//! as after a bad step of NTP.

use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};

/// Where Debian and others keep the library, below the folder of the machine's architecture.
const ROOTS: [&str; 3] = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
const NAME: &str = "faketime/libfaketimeMT.so.1";

/// The library, if this machine has it.
pub fn library() -> Option<PathBuf> {
    let below = |root: &&str| {
        let folders = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.chain([PathBuf::from(root)]).map(|folder| folder.join(NAME)).find(|p| p.exists())
    };
    ROOTS.iter().find_map(below)
}

/// What a process needs in its environment to read its clock from a file, as `NAME=value`.
pub fn environment(file: &Path) -> anyhow::Result<Vec<String>> {
    let library = library().context("libfaketime is not on this machine")?;
    Ok(vec![
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "FAKETIME_CACHE_DURATION=1".to_owned(),
        "DONT_FAKE_MONOTONIC=1".to_owned(),
    ])
}

/// The clock of a file differs by so many seconds from now on. Written beside and renamed: it is read at any moment.
pub fn set(file: &Path, seconds: i64) -> anyhow::Result<()> {
    let beside = file.with_extension("new");
    fs::write(&beside, format!("{seconds:+}\n"))?;
    fs::rename(&beside, file).with_context(|| format!("write {}", file.display()))
}
