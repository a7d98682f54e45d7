//! A small ext4 file system for each peer, whose power can be cut (Linux, root).
//!
//! The file system's own shutdown call makes every write after it fail and throws away what was not synced; the
//! next mount replays its journal, as after a loss of power.

use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Images that are unmounted and removed with this.
pub struct Images {
    mounts: Vec<(PathBuf, PathBuf)>,
}

/// Whether this process is root on Linux; else what is missing.
pub fn root() -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("it needs Linux".into());
    }
    let id = Command::new("id").arg("-u").output().map_err(|error| error.to_string())?;
    if id.stdout == b"0\n" { Ok(()) } else { Err("it needs root".into()) }
}

/// Whether this process may do such things; else why not.
pub fn possible() -> Result<(), String> {
    root()?;
    let tools = ["mkfs.ext4", "mount", "python3"];
    let missing = |tool: &str| {
        Command::new("which").arg(tool).output().is_ok_and(|output| !output.status.success())
    };
    match tools.into_iter().find(|tool| missing(tool)) {
        Some(tool) => Err(format!("it needs {tool}")),
        None => Ok(()),
    }
}

/// Files of this name take the room that is left.
const FILLER: &str = "filler";
/// A disk with less than this is full.
const FULL_BYTES: u64 = 64 << 10;

/// Takes all the room of the file system that a folder is on.
pub fn fill(folder: &Path) -> anyhow::Result<()> {
    // Large pieces first, then what is left; that the last one of each size fails is what is wanted.
    for kilobytes in [65_536, 4_096, 64, 4] {
        for number in 0..1_000 {
            let file = folder.join(format!("{FILLER}.{kilobytes}-{number}"));
            if run(Command::new("fallocate").arg("-l").arg(format!("{kilobytes}K")).arg(file))
                .is_err()
            {
                break;
            }
        }
    }
    let found = rustix::fs::statvfs(folder)?;
    match found.f_bavail * found.f_frsize {
        0..=FULL_BYTES => Ok(()),
        free => bail!("{free} bytes are left on {}", folder.display()),
    }
}

/// Gives it back for good: a cut of the power would bring back what is only removed.
pub fn relieve(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|stem| stem == FILLER) {
            std::fs::remove_file(path)?;
        }
    }
    rustix::fs::syncfs(std::fs::File::open(folder)?)?;
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

impl Images {
    /// One image a folder, mounted there with what the folder holds; nobody may be using it.
    pub fn make(images: &Path, folders: &[PathBuf], megabytes: u32) -> anyhow::Result<Self> {
        let mut made = Self { mounts: Vec::new() };
        let held = images.join("held");
        std::fs::create_dir_all(&held)?;
        for (number, folder) in folders.iter().enumerate() {
            let image = images.join(format!("{number}.img"));
            run(Command::new("truncate").arg("-s").arg(format!("{megabytes}M")).arg(&image))?;
            run(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
            run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&held))?;
            let copied = run(Command::new("cp").arg("-aT").arg(folder).arg(&held));
            run(Command::new("umount").arg(&held))?;
            copied?;
            made.mounts.push((image, folder.clone()));
        }
        made.mount()?;
        Ok(made)
    }

    /// Gives power again.
    pub fn mount(&self) -> anyhow::Result<()> {
        for (image, folder) in &self.mounts {
            // A long commit interval keeps unsynced metadata off the disk, so that a missing sync shows.
            run(Command::new("mount").args(["-o", "loop,commit=300"]).arg(image).arg(folder))?;
        }
        Ok(())
    }

    /// Cuts the power of all at once; nothing more reaches the images.
    pub fn cut(&self) -> anyhow::Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/shutdown.py");
        run(Command::new("python3").arg(script).args(self.mounts.iter().map(|(_, folder)| folder)))
    }

    /// Lets go of the dead file systems; whoever used them must have ended.
    pub fn unmount(&self) -> anyhow::Result<()> {
        for (_, folder) in &self.mounts {
            run(Command::new("umount").arg(folder))?;
        }
        Ok(())
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        for (_, folder) in &self.mounts {
            // It may be unmounted already.
            let _ = Command::new("umount").arg("-l").arg(folder).output();
        }
    }
}
