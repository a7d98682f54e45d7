//! What a simulated disk holds: files and names as processes see them, and as a power cut would leave them.

use super::dice::Dice;
use super::{Faults, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The unit that a disk writes or does not write; only a torn one is half of each.
const SECTOR: usize = 512;

#[derive(Default)]
pub struct State {
    pub files: BTreeMap<u64, Inode>,
    pub folders: BTreeSet<String>,
    names: BTreeMap<String, u64>,
    kept: BTreeMap<String, u64>,
    pending: Vec<NameChange>,
    inodes: u64,
    pub changes: u64,
    pub written: u64,
    pub power: u64,
    pub off: bool,
    pub cut_at: Option<(u64, u64)>,
    pub faults: Faults,
    /// Ranges that cannot be read: inode, from, to.
    pub broken: Vec<(u64, u64, u64)>,
    pub watch: Option<Watch>,
}

/// One file: its bytes as they are read, as they surely survive, and the changes between the two.
#[derive(Clone, Default)]
pub struct Inode {
    pub now: Vec<u8>,
    pub kept: Vec<u8>,
    pub pending: Vec<Change>,
    pub open: u32,
    /// Where the last write began, and how many bytes it had.
    pub last_write: Option<(u64, usize)>,
}

#[derive(Clone)]
pub enum Change {
    Write { at: u64, bytes: Vec<u8> },
    Len(u64),
}

#[derive(Clone)]
pub enum NameChange {
    Put { name: String, inode: u64 },
    Move { from: String, to: String, inode: u64 },
    Gone { name: String },
}

impl Inode {
    pub fn apply(&mut self, change: Change) {
        if let Change::Write { at, bytes } = &change {
            self.last_write = Some((*at, bytes.len()));
        }
        change.onto(&mut self.now);
        self.pending.push(change);
    }

    /// All changes have reached the disk.
    pub fn keep(&mut self) {
        for change in self.pending.drain(..) {
            change.onto(&mut self.kept);
        }
    }

    fn cut(&mut self, dice: &mut Dice) {
        let mode = dice.below(5);
        for change in std::mem::take(&mut self.pending) {
            match (mode, change) {
                (0, _) => {}
                (1, change) => change.onto(&mut self.kept),
                (2, change) => {
                    if dice.coin() {
                        change.onto(&mut self.kept);
                    }
                }
                (_, Change::Write { at, bytes }) => {
                    tear(&mut self.kept, at, &bytes, mode == 4, dice)
                }
                (_, change) => {
                    if dice.coin() {
                        change.onto(&mut self.kept);
                    }
                }
            }
        }
        self.now = self.kept.clone();
        self.open = 0;
    }
}

impl Change {
    fn onto(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => put(file, *at, bytes),
            Self::Len(len) => file.resize(*len as usize, 0),
        }
    }
}

/// Lets each sector of a write survive or not; if `torn`, one of them by its first bytes only.
fn tear(file: &mut Vec<u8>, at: u64, bytes: &[u8], torn: bool, dice: &mut Dice) {
    let mut from = 0;
    let mut may_tear = torn;
    while from < bytes.len() {
        let in_sector = (at as usize + from) % SECTOR;
        let to = (from + SECTOR - in_sector).min(bytes.len());
        if dice.coin() {
            put(file, at + from as u64, &bytes[from..to]);
        } else if may_tear {
            may_tear = false;
            let part = from + dice.below((to - from) as u64) as usize;
            put(file, at + from as u64, &bytes[from..part]);
        }
        from = to;
    }
}

fn put(file: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = at as usize + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at as usize..end].copy_from_slice(bytes);
}

impl NameChange {
    fn onto(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Put { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Move { from, to, inode } => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            Self::Gone { name } => {
                names.remove(name);
            }
        }
    }

    fn folder(&self) -> &str {
        match self {
            Self::Put { name, .. } | Self::Gone { name } | Self::Move { to: name, .. } => {
                folder(name)
            }
        }
    }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl State {
    pub fn fork(&self) -> Self {
        let mut files = self.files.clone();
        files.values_mut().for_each(|file| file.open = 0);
        Self {
            files,
            folders: self.folders.clone(),
            names: self.names.clone(),
            kept: self.kept.clone(),
            pending: self.pending.clone(),
            inodes: self.inodes,
            broken: self.broken.clone(),
            ..Self::default()
        }
    }

    pub fn cut(&mut self, seed: u64) {
        let mut dice = Dice::new(seed);
        for change in std::mem::take(&mut self.pending) {
            if dice.coin() {
                change.onto(&mut self.kept);
            }
        }
        self.names = self.kept.clone();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|inode, _| named.contains(inode));
        self.files.values_mut().for_each(|file| file.cut(&mut dice));
        self.power += 1;
    }

    pub fn named(&self, path: &str) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    pub fn folder_of(&self, path: &str) -> io::Result<()> {
        let folder = folder(path);
        if folder.is_empty() || self.folders.contains(folder) {
            return Ok(());
        }
        Err(io::Error::from(io::ErrorKind::NotFound))
    }

    pub fn next_inode(&mut self) -> u64 {
        self.inodes += 1;
        self.inodes
    }

    pub fn rename(&mut self, change: NameChange) {
        change.onto(&mut self.names);
        self.pending.push(change);
    }

    pub fn sync_folder(&mut self, path: &str) {
        let (synced, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|change| change.folder() == path);
        self.pending = rest;
        synced.iter().for_each(|change| change.onto(&mut self.kept));
        self.purge();
    }

    /// Removed at once and for good: who removes a folder does not want it back.
    pub fn remove_folder(&mut self, path: &str) {
        let below = format!("{path}/");
        let inside = |name: &str| name == path || name.starts_with(&below);
        self.names.retain(|name, _| !inside(name));
        self.kept.retain(|name, _| !inside(name));
        self.folders.retain(|name| !inside(name));
        self.pending.retain(|change| {
            let folder = change.folder();
            !(folder == path || folder.starts_with(&below))
        });
        self.purge();
    }

    /// Moved at once and for good, with what was synced and what was not.
    pub fn move_folder(&mut self, from: &str, to: &str) -> io::Result<()> {
        if !self.folders.contains(from) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let below = format!("{from}/");
        let moved = |name: &str| match name.strip_prefix(&below) {
            Some(rest) => format!("{to}/{rest}"),
            None if name == from => to.to_owned(),
            None => name.to_owned(),
        };
        for names in [&mut self.names, &mut self.kept] {
            *names = names.iter().map(|(name, inode)| (moved(name), *inode)).collect();
        }
        self.folders = self.folders.iter().map(|name| moved(name)).collect();
        for change in &mut self.pending {
            match change {
                NameChange::Put { name, .. } | NameChange::Gone { name } => *name = moved(name),
                NameChange::Move { from, to, .. } => {
                    (*from, *to) = (moved(from), moved(to));
                }
            }
        }
        Ok(())
    }

    pub fn list(&self, path: &str) -> Vec<String> {
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut names = BTreeSet::new();
        for name in self.names.keys().chain(self.folders.iter()) {
            if let Some(rest) = name.strip_prefix(&below) {
                let first = rest.split('/').next().expect("a split has a first part");
                if !first.is_empty() {
                    names.insert(first.to_string());
                }
            }
        }
        names.into_iter().collect()
    }

    /// A handle was dropped.
    pub fn close(&mut self, inode: u64) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.open = file.open.saturating_sub(1);
            if file.open == 0 {
                self.purge();
            }
        }
    }

    /// Forgets files that have neither a name nor a handle.
    fn purge(&mut self) {
        let mut named: BTreeSet<u64> = self.names.values().copied().collect();
        named.extend(self.kept.values());
        for change in &self.pending {
            if let NameChange::Put { inode, .. } | NameChange::Move { inode, .. } = change {
                named.insert(*inode);
            }
        }
        self.files.retain(|inode, file| file.open > 0 || named.contains(inode));
    }
}
