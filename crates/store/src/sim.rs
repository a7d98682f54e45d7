//! A disk in memory that forgets, tears, reorders and lies as real ones do when their power is cut.
//!
//! Promises that one seed gives one outcome. What was synced survives a cut; each unsynced write survives wholly,
//! in part (by sectors of 512 bytes, the last of them torn) or not at all, and so does each unsynced name.

mod dice;
mod state;

#[cfg(test)]
pub(crate) use dice::Dice;

use crate::disk::{Disk, File};
use state::{Change, Inode, NameChange, State};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Switches for what goes wrong; all are off at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Syncs of files and folders succeed and do nothing.
    pub lie: bool,
    /// Syncs of files fail, and what they should have kept never reaches the disk, as Linux does it.
    pub fail_syncs: bool,
    /// Writes fail.
    pub fail_writes: bool,
    /// There is no room: what would make a file longer fails.
    pub full: bool,
    /// Syncs of files do not return until this is switched off.
    pub hold_syncs: bool,
    /// The next write succeeds and does nothing.
    pub lose_write: bool,
    /// The next write lands so many bytes further on.
    pub misdirect_write: Option<u64>,
}

/// The simulated disk; clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

/// What [`SimDisk::watch`] calls: the number of the change to come, and a copy of the disk before it.
pub type Watch = Box<dyn FnMut(u64, SimDisk) + Send>;

struct SimFile {
    disk: SimDisk,
    inode: u64,
    /// The power cycle it was opened in; a later one knows it no more.
    power: u64,
}

impl SimDisk {
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk of its own with the same content, unsynced changes included, and no faults.
    pub fn fork(&self) -> Self {
        let state = self.lock().fork();
        Self { shared: Arc::new(Shared { state: Mutex::new(state), ..Shared::default() }) }
    }

    /// Cuts the power and gives it back: open handles are dead, unsynced changes survive as `seed` has it.
    pub fn cut(&self, seed: u64) {
        self.lock().cut(seed);
    }

    /// Cuts the power at the change with this number (see [`SimDisk::changes`]), before it takes effect; every
    /// call fails until [`SimDisk::restore`].
    pub fn cut_at(&self, change: u64, seed: u64) {
        self.lock().cut_at = Some((change, seed));
    }

    /// Gives the power back after [`SimDisk::cut_at`].
    pub fn restore(&self) {
        let mut state = self.lock();
        state.off = false;
        state.cut_at = None;
    }

    /// Whether the power has gone since [`SimDisk::cut_at`].
    pub fn is_off(&self) -> bool {
        self.lock().off
    }

    /// Where the last write to a file began, and how many bytes it had.
    pub fn last_write(&self, path: &str) -> Option<(u64, usize)> {
        let state = self.lock();
        let inode = state.named(path).ok()?;
        state.files.get(&inode)?.last_write
    }

    /// How many changes (writes, truncations, syncs, new, renamed and removed names) there have been.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// How many bytes were written.
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    /// Calls `watch` before each change. It may do with the copy what it likes, but must not use this disk.
    pub fn watch(&self, watch: Watch) {
        self.lock().watch = Some(watch);
    }

    pub fn unwatch(&self) {
        self.lock().watch = None;
    }

    /// Sets the switches.
    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
        self.shared.released.notify_all();
    }

    /// The switches as they are.
    pub fn faults(&self) -> Faults {
        self.lock().faults
    }

    /// Flips one bit of a file, in memory and on the disk.
    pub fn flip(&self, path: &str, at: u64, bit: u8) {
        let mut state = self.lock();
        let inode = state.named(path).expect("a test flips bits of files that exist");
        let file = state.files.get_mut(&inode).expect("a name has a file");
        for bytes in [&mut file.now, &mut file.kept] {
            if let Some(byte) = bytes.get_mut(at as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Makes reads of `from..to` of a file fail.
    pub fn break_sectors(&self, path: &str, from: u64, to: u64) {
        let mut state = self.lock();
        let inode = state.named(path).expect("a test breaks files that exist");
        state.broken.push((inode, from, to));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a change; fails when the power is off.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if let Some(mut watch) = state.watch.take() {
            let fork = state.fork();
            let copy =
                Self { shared: Arc::new(Shared { state: Mutex::new(fork), ..Shared::default() }) };
            watch(state.changes, copy);
            state.watch = Some(watch);
        }
        if state.cut_at.is_some_and(|(at, _)| at == state.changes) {
            let (_, seed) = state.cut_at.take().expect("just seen");
            state.cut(seed);
            state.off = true;
        }
        state.changes += 1;
        if state.off { Err(power_off()) } else { Ok(state) }
    }

    fn handle(&self, state: &mut State, inode: u64) -> Arc<dyn File> {
        if let Some(file) = state.files.get_mut(&inode) {
            file.open += 1;
        }
        Arc::new(SimFile { disk: self.clone(), inode, power: state.power })
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        if state.off {
            return Err(power_off());
        }
        let inode = state.named(path)?;
        Ok(self.handle(&mut state, inode))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.change()?;
        state.folder_of(path)?;
        let inode = match state.named(path) {
            Ok(inode) => {
                state.files.get_mut(&inode).expect("a name has a file").apply(Change::Len(0));
                inode
            }
            Err(_) => {
                let inode = state.next_inode();
                state.files.insert(inode, Inode::default());
                state.rename(NameChange::Put { name: path.into(), inode });
                inode
            }
        };
        Ok(self.handle(&mut state, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let inode = state.named(from)?;
        state.rename(NameChange::Move { from: from.into(), to: to.into(), inode });
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        state.named(path)?;
        state.rename(NameChange::Gone { name: path.into() });
        Ok(())
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let mut reached = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if !reached.is_empty() {
                reached.push('/');
            }
            reached.push_str(part);
            state.folders.insert(reached.clone());
        }
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.change()?.remove_folder(path);
        Ok(())
    }

    fn move_dir(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.change()?;
        state.folder_of(to)?;
        state.move_folder(from, to)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let state = self.lock();
        if state.off { Err(power_off()) } else { Ok(state.list(path)) }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        if !state.faults.lie {
            state.sync_folder(path);
        }
        Ok(())
    }
}

impl SimFile {
    fn with<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        act: impl FnOnce(&mut Inode) -> T,
    ) -> io::Result<T> {
        if state.off || state.power != self.power {
            return Err(power_off());
        }
        state.files.get_mut(&self.inode).map(act).ok_or_else(power_off)
    }
}

impl SimFile {
    fn has_room(&self, state: &State, len: u64) -> io::Result<()> {
        let now = state.files.get(&self.inode).map_or(0, |file| file.now.len() as u64);
        match state.faults.full && len > now {
            true => Err(io::Error::from(io::ErrorKind::StorageFull)),
            false => Ok(()),
        }
    }
}

impl File for SimFile {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let end = at + bytes.len() as u64;
        if state.broken.iter().any(|(i, from, to)| *i == self.inode && at < *to && end > *from) {
            return Err(io::Error::other("a sector cannot be read"));
        }
        self.with(state, |file| {
            let from = (at as usize).min(file.now.len());
            let to = (end as usize).min(file.now.len());
            bytes[..to - from].copy_from_slice(&file.now[from..to]);
            to - from
        })
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.disk.change()?;
        if state.faults.fail_writes {
            return Err(io::Error::other("a write fails"));
        }
        if std::mem::take(&mut state.faults.lose_write) {
            return Ok(());
        }
        let at = at + state.faults.misdirect_write.take().unwrap_or(0);
        self.has_room(&state, at + bytes.len() as u64)?;
        state.written += bytes.len() as u64;
        self.with(state, |file| file.apply(Change::Write { at, bytes: bytes.to_vec() }))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(self.disk.lock(), |file| file.now.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.with(self.disk.change()?, |file| file.apply(Change::Len(len)))
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let state = self.disk.change()?;
        self.has_room(&state, len)?;
        self.with(state, |file| {
            let len = len.max(file.now.len() as u64);
            file.apply(Change::Len(len));
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.change()?;
        while state.faults.hold_syncs {
            state = self.disk.shared.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let faults = state.faults;
        self.with(state, |file| match faults {
            Faults { fail_syncs: true, .. } => {
                file.pending.clear();
                Err(io::Error::other("a sync fails"))
            }
            Faults { lie: true, .. } => Ok(()),
            _ => {
                file.keep();
                Ok(())
            }
        })?
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if state.power == self.power {
            state.close(self.inode);
        }
    }
}

fn power_off() -> io::Error {
    io::Error::other("the power is off")
}
