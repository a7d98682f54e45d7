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

fn rows_in(tables: &Tables) -> usize {
    tables.with(|opened| Ok(opened.rows.iter().count())).unwrap()
}

#[test]
fn tables_that_are_opened_anew_keep_what_was_synced_and_overtake_whoever_was_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let shard = ShardId(3);
    tables.save(shard, at(1), b"one", &[put(&row(0, "a", "1"))]).unwrap();
    tables.sync().unwrap();
    let (_, frozen) = tables.freeze(shard).unwrap().unwrap();
    assert_eq!(frozen.read(None, 1).unwrap().len(), 1);
    let coming = tables.begin(shard).unwrap();
    assert!(tables.put(shard, coming, &[row(0, "b", "2")]).unwrap());
    tables.reopen().unwrap();
    assert!(matches!(frozen.read(None, 1), Err(Error::Missing(_))), "nothing holds the old files");
    // Its first rows were not synced, so no fold may be made of the rest.
    assert!(!tables.put(shard, coming, &[row(0, "c", "3")]).unwrap());
    assert!(!tables.finish(shard, coming, at(9), b"").unwrap());
    assert_eq!(tables.load(shard).unwrap().unwrap().rows, [row(0, "a", "1")]);
    tables.save(shard, at(2), b"two", &[put(&row(0, "a", "2"))]).unwrap();
    assert_eq!(tables.load(shard).unwrap().unwrap().rows, [row(0, "a", "2")]);
}

#[test]
fn a_write_without_room_is_told_as_such_until_the_tables_are_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let fails = |error: fjall::Error| tables.with::<()>(|_| Err(error.into())).unwrap_err();
    assert!(matches!(fails(fjall::Error::Poisoned), Error::Fenced(_)), "a sync failed, perhaps");
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert!(matches!(fails(fjall::Error::Io(full)), Error::NoRoom { .. }));
    assert!(matches!(fails(fjall::Error::Poisoned), Error::NoRoom { .. }));
    tables.reopen().unwrap();
    assert!(matches!(fails(fjall::Error::Poisoned), Error::Fenced(_)));
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
    assert_eq!(rows_in(&tables), 1, "no row is left behind");
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
    assert_eq!(rows_in(&tables), 0);
}

#[test]
fn rows_that_an_interrupted_removal_left_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let shard = ShardId(7);
    tables.save(shard, at(1), b"", &[put(&row(0, "old", "x"))]).unwrap();
    tables.with(|opened| Ok(opened.shards.remove(shard.0.to_be_bytes())?)).unwrap();
    tables.save(shard, at(2), b"", &[put(&row(0, "new", "y"))]).unwrap();
    assert_eq!(tables.load(shard).unwrap().unwrap().rows, [row(0, "new", "y")]);
}

#[test]
fn the_state_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let (key, newer) = (ShardId(1).0.to_be_bytes(), vec![VERSION + 1; 80]);
    tables.with(|opened| Ok(opened.shards.insert(key, newer)?)).unwrap();
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
    tables.with(|opened| Ok(opened.rows.insert([0, 1, 0, 0, 0, 0, 7], "short")?)).unwrap();
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
    let names = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["aside", "tables"], "what was damaged is set aside");
}

/// All rows of a frozen fold, and how many pieces they came in.
fn thawed(frozen: &super::Frozen, bytes_max: usize) -> (Vec<super::Row>, usize) {
    let (mut rows, mut pieces): (Vec<super::Row>, usize) = (Vec::new(), 0);
    loop {
        let after = rows.last().map(|(task, key, _)| (*task, &key[..]));
        let piece = frozen.read(after, bytes_max).unwrap();
        if piece.is_empty() {
            return (rows, pieces);
        }
        let bytes: usize = piece.iter().map(|(_, key, value)| key.len() + value.len()).sum();
        assert!(bytes < 2 * bytes_max, "a piece of {bytes} bytes");
        rows.extend(piece);
        pieces += 1;
    }
}

#[test]
fn rows_beyond_any_message_travel_in_pieces_of_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    let (here, there) = (Tables::open(&here).unwrap(), Tables::open(&there).unwrap());
    let shard = ShardId(3);
    // 72 MiB: more than the codec takes at once.
    let row = |bucket: u32, number: usize, fill: u8| {
        (task(bucket), Bytes::from(format!("{number:05}")), Bytes::from(vec![fill; 32 << 10]))
    };
    let all: Vec<_> = (0..2304).map(|number| row(number as u32 / 1152, number, 1)).collect();
    for part in all.chunks(256) {
        let changed: Vec<_> = part.iter().map(put).collect();
        assert!(here.save(shard, at(10), b"small", &changed).unwrap());
    }
    here.save(ShardId(4), at(9), b"", &[put(&all[0])]).unwrap();
    let (applied, frozen) = here.freeze(shard).unwrap().unwrap();
    assert_eq!(applied, at(10));
    // What is saved later, in place or as another fold, is not seen.
    here.save(shard, at(11), b"later", &[put(&row(0, 7, 9)), put(&row(2, 0, 9))]).unwrap();
    assert!(here.replace(shard, at(20), b"other", &[row(0, 1, 7)]).unwrap());
    let (rows, pieces) = thawed(&frozen, 256 << 10);
    assert_eq!((rows.len(), pieces > 250), (2304, true), "{pieces} pieces");
    assert!(rows == all, "the rows of the moment");

    let generation = there.begin(shard).unwrap();
    for part in rows.chunks(100) {
        assert!(there.put(shard, generation, part).unwrap());
    }
    assert_eq!(there.load(shard).unwrap(), None, "nothing is there before the end");
    assert!(there.finish(shard, generation, at(10), b"small").unwrap());
    there.sync().unwrap();
    drop(there);
    let there = Tables::open(&dir.path().join("there")).unwrap();
    let saved = there.load(shard).unwrap().unwrap();
    assert_eq!((saved.applied, &saved.small[..]), (at(10), &b"small"[..]));
    assert!(saved.rows == all);
}

#[test]
fn a_fetch_that_was_overtaken_brings_nothing_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let shard = ShardId(7);
    let of = |replica: u64, index| Applied { replica: ReplicaId(replica), ..at(index) };
    tables.save(shard, of(4, 5), b"old", &[put(&row(0, "a", "old"))]).unwrap();
    let first = tables.begin(shard).unwrap();
    assert!(tables.put(shard, first, &[row(0, "b", "first")]).unwrap());
    // The present fold is saved meanwhile, and is not touched.
    tables.save(shard, of(4, 6), b"old", &[put(&row(0, "c", "old"))]).unwrap();
    let second = tables.begin(shard).unwrap();
    assert!(!tables.put(shard, first, &[row(0, "d", "first")]).unwrap());
    assert!(!tables.finish(shard, first, of(4, 50), b"first").unwrap());
    assert!(tables.put(shard, second, &[row(0, "e", "second")]).unwrap());
    // The replica before is retired while its successor's rows come.
    tables.retire(shard, ReplicaId(4)).unwrap();
    assert_eq!(tables.load(shard).unwrap(), None);
    assert!(tables.finish(shard, second, of(5, 50), b"second").unwrap());
    assert_eq!(tables.load(shard).unwrap().unwrap().rows, [row(0, "e", "second")]);
    assert_eq!(rows_in(&tables), 1, "no row is left behind");
    tables.retire(shard, ReplicaId(4)).unwrap();
    assert!(tables.load(shard).unwrap().is_some(), "a later replica's stays");
    // A new replica that saves by itself overtakes a fetch too.
    let third = tables.begin(shard).unwrap();
    assert!(tables.put(shard, third, &[row(0, "f", "third")]).unwrap());
    tables.save(shard, of(6, 1), b"new", &[]).unwrap();
    assert!(!tables.finish(shard, third, of(5, 60), b"third").unwrap());
    assert_eq!(rows_in(&tables), 0, "no row is left behind");
}
