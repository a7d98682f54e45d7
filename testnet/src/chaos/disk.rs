//! A peer's own disk: a small ext4 file system in an image, whose power can be cut, which can be filled, frozen, and
//! spoiled bit by bit.

use super::dice::Dice;
use super::ground::run;
use anyhow::Context;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a dead process may hold on to its disk.
const LET_GO: Duration = Duration::from_secs(10);

/// An image and where it is mounted.
#[derive(Clone, Debug)]
pub struct Disk {
    image: PathBuf,
    place: PathBuf,
}

impl Disk {
    pub fn make(folder: &Path, megabytes: u32) -> anyhow::Result<Self> {
        let disk = Self { image: folder.join("disk.img"), place: folder.join("disk") };
        std::fs::create_dir_all(&disk.place)?;
        run("truncate", &["-s", &format!("{megabytes}M"), text(&disk.image)?])?;
        run("mkfs.ext4", &["-q", text(&disk.image)?])?;
        disk.mount()?;
        Ok(disk)
    }

    /// The data folder in it.
    pub fn folder(&self) -> PathBuf {
        self.place.join("shoal")
    }

    /// A long commit interval keeps unsynced metadata off the disk, so that a missing sync shows.
    pub fn mount(&self) -> anyhow::Result<()> {
        run("mount", &["-o", "loop,commit=300", text(&self.image)?, text(&self.place)?])
    }

    /// Lets go of it; whoever used it must have ended.
    pub fn unmount(&self) -> anyhow::Result<()> {
        let end = Instant::now() + LET_GO;
        loop {
            match run("umount", &[text(&self.place)?]) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Takes all the room.
    pub fn fill(&self) -> anyhow::Result<()> {
        crate::power::fill(&self.place)
    }

    pub fn relieve(&self) -> anyhow::Result<()> {
        crate::power::relieve(&self.place)
    }

    /// Every write waits from now on.
    pub fn freeze(&self) -> anyhow::Result<()> {
        run("fsfreeze", &["-f", text(&self.place)?])
    }

    pub fn thaw(&self) -> anyhow::Result<()> {
        run("fsfreeze", &["-u", text(&self.place)?])
    }

    /// Flips a bit in some file whose path holds `part`, and says where. The last third of what a
    /// journal's file holds is spared:
    /// rot in a journal's very last frame cannot be told from a write that was torn.
    pub fn rot(&self, part: &str, dice: &mut Dice) -> anyhow::Result<Option<String>> {
        let mut files = Vec::new();
        list(&self.folder(), &mut files)?;
        files.retain(|(path, size)| path.to_string_lossy().contains(part) && *size > 64);
        files.sort();
        if files.is_empty() {
            return Ok(None);
        }
        let (path, _) = &files[dice.below(files.len() as u64) as usize];
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let written = written(&std::fs::read(path)?);
        let at = dice.below(if part == "journal" { written * 2 / 3 } else { written });
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        byte[0] ^= 1 << dice.below(8);
        file.write_all_at(&byte, at)?;
        file.sync_all()?;
        let name = path.strip_prefix(&self.place).unwrap_or(path).display();
        Ok(Some(format!("a bit of byte {at} of {written} in {name}")))
    }
}

/// Up to where a file holds anything: room that was only reserved cannot rot.
fn written(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// Cuts the power of disks, one right after the other: nothing more reaches them.
pub fn cut(disks: &[&Disk]) -> anyhow::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/shutdown.py");
    let mut words = vec![text(&script)?];
    for disk in disks {
        words.push(text(&disk.place)?);
    }
    run("python3", &words)
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It may be unmounted already; lazily, because this also runs when something has gone wrong.
        let _ = run("umount", &["-l", self.place.to_str().unwrap_or_default()]);
    }
}

fn list(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => list(&path, files)?,
            Ok(found) => files.push((path, found.len())),
            // It was removed in the meantime.
            Err(_) => {}
        }
    }
    Ok(())
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is not text")
}
