//! What a peer weighs: its memory, and the files of its folder. Never a guess: none where the system does not tell.

use std::path::Path;

/// Bytes of memory that a process has in use; none on systems without `/proc`.
pub fn memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Bytes of all files below a folder; one that is removed meanwhile weighs nothing.
pub fn files(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let weight = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => files(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(weight).sum()
}
