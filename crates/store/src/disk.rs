//! The disk as the rest of this room sees it: named files in folders, and what it takes to make them last.
//!
//! Promises nothing about unsynced bytes: a write may be lost, torn or reordered until [`File::sync`] has
//! succeeded, and a new, renamed or removed name until [`Disk::sync_dir`] has. Paths are relative, with `/`.

mod real;

#[cfg(test)]
mod tests;

pub use real::RealDisk;

use std::io;
use std::sync::Arc;

/// Folders and names.
pub trait Disk: Send + Sync + 'static {
    /// Opens a file that exists, for reading and writing.
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Makes an empty file, or empties the one that exists.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Gives a file another name in the same folder, in place of the file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes a folder and those above it, and makes them last. Succeeds if it exists.
    fn make_dir(&self, path: &str) -> io::Result<()>;
    /// Removes a folder with all that is in it, for good. Succeeds if there is none.
    fn remove_dir(&self, path: &str) -> io::Result<()>;
    /// Moves a folder with all that is in it to another place, where nothing is yet and whose folder exists, and makes
    /// that last.
    fn move_dir(&self, from: &str, to: &str) -> io::Result<()>;
    /// The names in a folder, sorted; empty if there is no such folder.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Makes the names in a folder last.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
}

/// One open file; the handle stays good when the name goes.
pub trait File: Send + Sync {
    /// Reads until `bytes` is full or the file ends; returns how many were read.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of `bytes`.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts the file, or extends it with zeros.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Takes room for `len` bytes and makes the file that long.
    fn preallocate(&self, len: u64) -> io::Result<()>;
    /// Makes bytes and length last.
    fn sync(&self) -> io::Result<()>;
}
