//! Tests of the tables.
#![allow(clippy::unwrap_used)]

use super::{Applied, Tables, VERSION};
use crate::Error;
use bytes::Bytes;
use model::{HardState, ReplicaId, ShardId, StageId, TaskId};
use std::fs;
use std::path::Path;

fn at(index: u64) -> Applied {
    let hard = HardState { term: 3, vote: 2, commit: index };
    Applied { replica: ReplicaId(4), index, term: 3, hard }
}

fn task(bucket: u32) -> TaskId {
    TaskId { stage: StageId(9), bucket }
}

fn row(bucket: u32, key: &str, value: &str) -> (TaskId, Bytes, Bytes) {
    (task(bucket), Bytes::from(key.to_string()), Bytes::from(value.to_string()))
}

fn put(row: &(TaskId, Bytes, Bytes)) -> (TaskId, Bytes, Option<Bytes>) {
    (row.0, row.1.clone(), Some(row.2.clone()))
}

#[test]
fn a_fold_and_its_rows_are_saved_as_one_and_loaded_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let rows = [row(0, "a", "1"), row(0, "b", "2"), row(1, "a", "3")];
    let (s1, s2) = (ShardId(1), ShardId(2));
    assert_eq!(tables.load(s1).unwrap(), None);
    let changed: Vec<_> = rows.iter().rev().map(put).collect();
    tables.save(s1, at(10), b"small", &changed).unwrap();
    tables.save(s2, at(5), b"", &[put(&rows[0])]).unwrap();
    let removed = (task(0), Bytes::from_static(b"b"), None);
    tables.save(s1, at(11), b"smaller", &[put(&row(0, "a", "9")), removed]).unwrap();
    tables.sync().unwrap();
    drop(tables);
    let tables = Tables::open(dir.path()).unwrap();
    let saved = tables.load(s1).unwrap().unwrap();
    assert_eq!((saved.applied, &saved.small[..]), (at(11), &b"smaller"[..]));
    assert_eq!(saved.rows, [row(0, "a", "9"), row(1, "a", "3")]);
    assert_eq!(tables.shards().unwrap(), [(s1, at(11)), (s2, at(5))]);
    tables.remove(s1).unwrap();
    assert_eq!(tables.load(s1).unwrap(), None);
    assert_eq!(tables.load(s2).unwrap().unwrap().rows.len(), 1);
    assert_eq!(tables.rows.iter().count(), 1, "no row is left behind");
}

#[test]
fn a_save_that_was_overtaken_changes_nothing_and_a_new_replica_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let shard = ShardId(7);
    let of = |replica: u64, index| Applied { replica: ReplicaId(replica), ..at(index) };
    assert!(tables.replace(shard, of(4, 90), b"", &[row(0, "a", "snapshot")]).unwrap());
    assert!(!tables.save(shard, of(4, 70), b"", &[put(&row(0, "a", "late"))]).unwrap());
    assert!(tables.save(shard, of(6, 20), b"", &[put(&row(0, "b", "new"))]).unwrap());
    assert!(!tables.replace(shard, of(4, 99), b"", &[row(0, "a", "late")]).unwrap());
    let saved = tables.load(shard).unwrap().unwrap();
    assert_eq!((saved.applied, saved.rows), (of(6, 20), vec![row(0, "b", "new")]));
}

#[test]
fn a_fold_that_replaces_another_leaves_none_of_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let shard = ShardId(7);
    tables.save(shard, at(1), b"", &[put(&row(0, "old", "x"))]).unwrap();
    let many: Vec<_> = (0..3000).map(|i| row(2, &format!("{i:05}"), &"v".repeat(1000))).collect();
    tables.replace(shard, at(90), b"new", &many).unwrap();
    let saved = tables.load(shard).unwrap().unwrap();
    assert_eq!((saved.applied, saved.rows), (at(90), many));
    tables.save(shard, at(91), b"", &[put(&row(2, "00000", "z"))]).unwrap();
    assert_eq!(tables.load(shard).unwrap().unwrap().rows[0], row(2, "00000", "z"));
    tables.replace(shard, at(95), b"", &[]).unwrap();
    assert_eq!(tables.rows.iter().count(), 0);
}

#[test]
fn rows_that_an_interrupted_removal_left_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let shard = ShardId(7);
    tables.save(shard, at(1), b"", &[put(&row(0, "old", "x"))]).unwrap();
    tables.shards.remove(shard.0.to_be_bytes()).unwrap();
    tables.save(shard, at(2), b"", &[put(&row(0, "new", "y"))]).unwrap();
    assert_eq!(tables.load(shard).unwrap().unwrap().rows, [row(0, "new", "y")]);
}

#[test]
fn the_state_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    tables.shards.insert(ShardId(1).0.to_be_bytes(), vec![VERSION + 1; 80]).unwrap();
    tables.sync().unwrap();
    drop(tables);
    assert!(matches!(Tables::open(dir.path()), Err(Error::Newer { .. })));
}

/// What a kill leaves is what the files hold while the tables are open.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn whatever_a_kill_leaves_is_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(&dir.path().join("live")).unwrap();
    let shard = ShardId(3);
    for index in 1..=300u64 {
        let rows: Vec<_> = (0..20)
            .map(|k| put(&row(0, &format!("{k}"), &index.to_string().repeat(200))))
            .collect();
        tables.save(shard, at(index), &index.to_le_bytes(), &rows).unwrap();
        if index % 60 != 0 {
            continue;
        }
        let left = dir.path().join(format!("left{index}"));
        copy(&dir.path().join("live"), &left);
        let saved = Tables::open(&left).unwrap().load(shard).unwrap().unwrap();
        let expected = saved.applied.index.to_string().repeat(200);
        assert_eq!(saved.small, saved.applied.index.to_le_bytes());
        assert!(saved.rows.iter().all(|(_, _, value)| value == &expected));
        assert!(saved.applied.index >= index, "a kill loses nothing that was written");
    }
}

#[test]
#[ignore = "a measurement of memory: cargo test -p store --lib -- --ignored --nocapture idle"]
fn memory_of_an_idle_store() {
    let rss = |when: &str| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        println!("{when}: {line}");
    };
    rss("before");
    let dir = tempfile::tempdir().unwrap();
    let disk = std::sync::Arc::new(crate::RealDisk::new(dir.path()));
    let (_journal, _) = crate::Journal::open(disk.clone(), Default::default()).unwrap();
    rss("journal");
    let segments = crate::Segments::open(disk.clone(), Default::default()).unwrap();
    let tables = Tables::open(&dir.path().join("tables")).unwrap();
    rss("segments and tables");
    for round in 0..400u64 {
        for shard in 0..64 {
            let rows: Vec<_> =
                (0..50).map(|k| put(&row(0, &format!("{round}-{k}"), &"v".repeat(100)))).collect();
            tables.save(ShardId(shard), at(round), b"", &rows).unwrap();
        }
    }
    tables.sync().unwrap();
    rss("1.3 million rows later");
    drop(tables);
    let tables = Tables::open(&dir.path().join("tables")).unwrap();
    rss("opened again");
    let saved: usize = (0..64).map(|s| tables.load(ShardId(s)).unwrap().unwrap().rows.len()).sum();
    rss(&format!("{saved} rows loaded one shard after the other"));
    drop((tables, segments));
}

fn flip_in_all_files(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            flip_in_all_files(&path);
        } else if let Ok(mut bytes) = fs::read(&path)
            && let Some(last) = bytes.iter().rposition(|byte| *byte != 0)
        {
            bytes[last / 2] ^= 4;
            fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn damaged_tables_are_made_anew_and_what_can_be_read_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let disk = crate::RealDisk::new(dir.path());
    let rows: Vec<_> = (0..2_000).map(|i| put(&row(0, &format!("key {i}"), "value"))).collect();
    let first = Tables::open_sound(dir.path(), &disk, 4).unwrap();
    assert!(first.damage.is_none() && first.saved.is_empty());
    first.tables.save(ShardId(1), at(10), b"small", &rows).unwrap();
    first.tables.save(ShardId(2), at(5), b"", &rows[..1]).unwrap();
    first.tables.sync().unwrap();
    drop(first);

    // A row that is no row, as a bit in a key would make it: its shard is lost, the other is not.
    let tables = Tables::open(&dir.path().join("tables")).unwrap();
    tables.rows.insert([0, 1, 0, 0, 0, 0, 7], "short").unwrap();
    tables.sync().unwrap();
    drop(tables);
    let second = Tables::open_sound(dir.path(), &disk, 4).unwrap();
    assert!(second.damage.is_some());
    assert_eq!(second.saved.keys().collect::<Vec<_>>(), [&ShardId(2)]);
    assert_eq!(second.tables.load(ShardId(2)).unwrap().as_ref(), second.saved.get(&ShardId(2)));
    assert_eq!(second.tables.load(ShardId(1)).unwrap(), None);
    drop(second);

    // Interrupted when the old ones were away and the new ones whole.
    fs::rename(dir.path().join("tables"), dir.path().join("tables-new")).unwrap();
    fs::create_dir(dir.path().join("tables-old")).unwrap();
    let third = Tables::open_sound(dir.path(), &disk, 4).unwrap();
    assert_eq!(third.saved.keys().collect::<Vec<_>>(), [&ShardId(2)]);
    drop(third);

    flip_in_all_files(&dir.path().join("tables"));
    let fourth = Tables::open_sound(dir.path(), &disk, 4).unwrap();
    assert!(fourth.damage.is_some(), "it is noticed");
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 1, "nothing is left behind");
}
