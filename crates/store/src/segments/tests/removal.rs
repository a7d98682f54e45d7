//! A partition that goes while it is synced.

use super::story::{P, SMALL, batches};
use crate::disk::{Disk, File, RealDisk};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

type Hook = Box<dyn FnOnce() + Send>;

/// A disk on which something happens right before the names of a folder are made to last.
struct Interrupted {
    disk: RealDisk,
    hook: Mutex<Option<Hook>>,
}

impl Disk for Interrupted {
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.disk.open(path)
    }
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.disk.create(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn make_dir(&self, path: &str) -> io::Result<()> {
        self.disk.make_dir(path)
    }
    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.disk.remove_dir(path)
    }
    fn move_dir(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.move_dir(from, to)
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }
    fn sync_dir(&self, path: &str) -> io::Result<()> {
        if let Some(hook) = self.hook.lock().unwrap().take() {
            hook();
        }
        self.disk.sync_dir(path)
    }
}

#[test]
fn a_partition_that_is_removed_while_it_is_synced_is_no_failure_of_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let real = RealDisk::new(folder.path());
    let disk = Arc::new(Interrupted { disk: real, hook: Mutex::default() });
    let segments = Arc::new(crate::Segments::open(disk.clone(), SMALL).unwrap());
    segments.append_many(P, &batches(1, 0, 10)).unwrap();
    let removed = Arc::new(OnceLock::new());
    let (done, there) = (removed.clone(), segments.clone());
    *disk.hook.lock().unwrap() = Some(Box::new(move || {
        there.remove(P).unwrap();
        done.set(()).unwrap();
    }));
    segments.sync(&segments.dirty()).unwrap();
    assert!(removed.get().is_some(), "it went in the middle");
    segments.append_many(P, &batches(1, 0, 10)).unwrap();
    segments.sync(&segments.dirty()).unwrap();
}

#[test]
fn a_copy_goes_on_where_the_last_one_ended_unless_a_hole_would_be_left() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::new(folder.path()));
    let segments = crate::Segments::open(disk, SMALL).unwrap();
    assert_eq!(segments.resume(P, 0).unwrap(), 0, "nothing is here");
    segments.append_many(P, &batches(1, 0, 10)).unwrap();
    let end = segments.next_offset(P).unwrap();
    assert_eq!(segments.resume(P, 0).unwrap(), end);
    assert_eq!(segments.resume(P, end).unwrap(), end, "it joins");
    assert_eq!(segments.resume(P, end + 1).unwrap(), end + 1, "what is here ends before it");
    assert!(segments.files(P).unwrap().is_empty());
    // Of a copy that was broken off, only the end is here.
    segments.append_many(P, &batches(1, 4, 10)).unwrap();
    let first = segments.start_offset(P).unwrap();
    assert!(first > 0);
    assert_eq!(segments.resume(P, first).unwrap(), segments.next_offset(P).unwrap());
    assert_eq!(segments.resume(P, 0).unwrap(), 0, "what is here begins behind it");
    assert!(segments.files(P).unwrap().is_empty());
}
