//! One contract for the real disk and the simulated one.
#![allow(clippy::unwrap_used)]

use super::{Disk, RealDisk};
use crate::sim::SimDisk;

fn contract(disk: &dyn Disk) {
    assert!(disk.open("a/x").is_err());
    assert!(disk.create("a/x").is_err(), "its folder must exist");
    disk.make_dir("a/b").unwrap();
    disk.make_dir("a/b").unwrap();
    assert_eq!(disk.list("nothing").unwrap(), Vec::<String>::new());
    let file = disk.create("a/x").unwrap();
    assert!(file.is_empty().unwrap());
    file.write_at(b"hello", 3).unwrap();
    let mut bytes = [9; 10];
    assert_eq!(file.read_at(&mut bytes, 1).unwrap(), 7);
    assert_eq!(&bytes[..7], b"\0\0hello");
    assert_eq!(file.read_at(&mut bytes, 100).unwrap(), 0);
    file.preallocate(4_000).unwrap();
    assert_eq!(file.len().unwrap(), 4_000);
    file.preallocate(100).unwrap();
    assert_eq!(file.len().unwrap(), 4_000, "it never shrinks a file");
    file.truncate(4).unwrap();
    file.sync().unwrap();
    assert_eq!(file.len().unwrap(), 4);
    disk.sync_dir("a").unwrap();
    let second = disk.open("a/x").unwrap();
    second.write_at(b"J", 3).unwrap();
    assert_eq!((file.read_at(&mut bytes, 3).unwrap(), bytes[0]), (1, b'J'));
    disk.create("a/y").unwrap();
    disk.rename("a/x", "a/y").unwrap();
    assert_eq!(disk.list("a").unwrap(), ["b", "y"]);
    assert_eq!(disk.open("a/y").unwrap().len().unwrap(), 4);
    disk.remove("a/y").unwrap();
    assert!(disk.remove("a/y").is_err());
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 4, "a handle outlives the name");
    drop(disk.create("a/b/z").unwrap());
    assert_eq!(disk.list("a/b").unwrap(), ["z"]);
    assert!(disk.create("a/b/z").unwrap().is_empty().unwrap());
    disk.make_dir("c").unwrap();
    disk.move_dir("a/b", "c/d").unwrap();
    assert!(disk.move_dir("a/b", "c/e").is_err(), "it is there no more");
    assert_eq!(disk.list("c/d").unwrap(), ["z"]);
    assert!(disk.open("c/d/z").is_ok() && disk.open("a/b/z").is_err());
    disk.make_dir("a/b").unwrap();
    disk.remove_dir("a/b").unwrap();
    disk.remove_dir("a/b").unwrap();
    assert_eq!(disk.list("a").unwrap(), Vec::<String>::new());
}

#[test]
fn a_real_folder_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&RealDisk::new(dir.path()));
}

#[test]
fn a_simulated_disk_keeps_the_contract() {
    contract(&SimDisk::new());
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_only_that_for_sure() {
    let (mut lost, mut kept, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let disk = SimDisk::new();
        disk.make_dir("a").unwrap();
        let file = disk.create("a/x").unwrap();
        file.write_at(&[1; 2048], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir("a").unwrap();
        file.write_at(&[2; 1500], 100).unwrap();
        disk.create("a/new").unwrap();
        disk.cut(seed);
        assert!(file.len().is_err(), "handles die with the power");
        let file = disk.open("a/x").unwrap();
        let mut bytes = [0; 2048];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 2048);
        assert!(bytes[..100].iter().chain(&bytes[1600..]).all(|byte| *byte == 1));
        match bytes[100..1600].iter().filter(|byte| **byte == 2).count() {
            0 => lost += 1,
            1500 => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(lost > 20 && kept > 20 && torn > 20, "{lost} {kept} {torn}");
}

#[test]
fn names_that_were_not_synced_may_or_may_not_survive() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..100 {
        let disk = SimDisk::new();
        disk.make_dir("a").unwrap();
        disk.create("a/x").unwrap();
        disk.sync_dir("a").unwrap();
        disk.rename("a/x", "a/y").unwrap();
        disk.cut(seed);
        match &disk.list("a").unwrap()[..] {
            [name] if name == "x" => old += 1,
            [name] if name == "y" => new += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(old > 20 && new > 20);
}
