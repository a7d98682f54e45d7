//! Tests of the data folder.
#![allow(clippy::unwrap_used)]

use super::{Folder, Head};
use model::{MeshId, PeerId};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn head() -> Head {
    Head {
        mesh: MeshId(77),
        recovery: 0,
        peer: PeerId(3),
        name: "p3 = the third".into(),
        secret: vec![1, 2, 255],
        shards: 64,
        replication: 3,
    }
}

#[test]
fn a_head_is_read_back_and_belongs_to_one_mesh() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let mut folder = Folder::open(&path, true).unwrap();
    assert!(folder.head().is_none());
    folder.write_head(&head()).unwrap();
    drop(folder);
    let folder = Folder::open(&path, false).unwrap();
    assert_eq!(folder.head(), Some(&head()));
    assert!(folder.check_mesh(MeshId(77), 0).is_ok());
    let other = folder.check_mesh(MeshId(78), 0).unwrap_err();
    assert_eq!(other.code(), "SH0203");
    assert!(folder.check_mesh(MeshId(77), 1).is_err(), "another recovery is another mesh");
}

#[test]
fn a_folder_in_use_names_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = Folder::open(dir.path(), true).unwrap();
    let refused = Folder::open(dir.path(), true).unwrap_err();
    assert_eq!(refused.code(), "SH0202");
    assert_eq!(refused.to_string(), format!("data folder in use by pid {}", std::process::id()));
    drop(first);
    Folder::open(dir.path(), true).unwrap();
}

#[test]
fn an_empty_folder_is_not_begun_by_accident() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Folder::open(dir.path(), false).unwrap_err().code(), "SH0205");
    assert_eq!(Folder::open(&dir.path().join("x"), false).unwrap_err().code(), "SH0205");
    assert!(!dir.path().join("x").exists());
}

#[test]
fn a_folder_of_a_newer_version_says_which() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("head"), "shoal-data 2\nwritten-by 0.9.0\nunknown\n").unwrap();
    let newer = Folder::open(dir.path(), true).unwrap_err();
    assert_eq!(newer.code(), "SH0204");
    let this = env!("CARGO_PKG_VERSION");
    assert_eq!(newer.to_string(), format!("the data folder was written by 0.9.0, this is {this}"));
}

#[test]
fn a_folder_with_foreign_files_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "mine").unwrap();
    assert_eq!(Folder::open(dir.path(), true).unwrap_err().code(), "SH0203");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_cannot_be_written_says_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let refused = Folder::open(&dir.path().join("file/data"), true).unwrap_err();
    assert_eq!(refused.code(), "SH0206");
}

#[test]
fn any_changed_byte_of_the_head_is_found() {
    let good = head().print();
    for at in 0..good.len() {
        let mut bad = good.clone().into_bytes();
        bad[at] ^= 1;
        if let Ok(text) = String::from_utf8(bad) {
            assert!(Head::parse(&text).is_err() || text.trim_end() == good.trim_end(), "{at}");
        }
    }
}

#[test]
fn the_key_is_drawn_once_and_private_and_starts_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path(), true).unwrap();
    assert_eq!(folder.key_or_init([7; 32]).unwrap(), [7; 32]);
    assert_eq!(folder.key_or_init([8; 32]).unwrap(), [7; 32]);
    let mode = fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(dir.path().join("key"), "short").unwrap();
    assert_eq!(folder.key_or_init([8; 32]).unwrap_err().code(), "SH0207");
    assert_eq!(folder.next_incarnation().unwrap(), 1, "looking counts nothing");
    assert_eq!(folder.bump_incarnation().unwrap(), 1);
    drop(folder);
    assert_eq!(Folder::open(dir.path(), true).unwrap().bump_incarnation().unwrap(), 2);
}

#[test]
fn notes_for_others_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path(), true).unwrap();
    let (free, total) = folder.space().unwrap();
    assert!(free > 0 && free <= total);
    folder.write_note("ports.json", "{}").unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("ports.json")).unwrap(), "{}");
    folder.remove_note("ports.json").unwrap();
    folder.remove_note("ports.json").unwrap();
    assert!(!dir.path().join("ports.json").exists());
}
