//! Power cuts, rot, failing syncs.

use super::story::{P, batches, end, open, read_all};
use crate::Error;
use crate::disk::Disk;
use crate::sim::{Dice, SimDisk};

const FOLDER: &str = "segments/00000000000000000000000000000abc/3";

fn files(disk: &SimDisk) -> Vec<(String, u64)> {
    let names = disk.list(FOLDER).unwrap().into_iter().map(|name| format!("{FOLDER}/{name}"));
    names.map(|path| (path.clone(), disk.open(&path).unwrap().len().unwrap())).collect()
}

#[test]
fn what_was_synced_survives_a_power_cut_at_any_change() {
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let disk = SimDisk::new();
        let all = batches(seed, 0, 80);
        let at = dice.below(180);
        disk.cut_at(disk.changes() + 4 + at, seed);
        let (mut saved, mut start) = (0, 0);
        // As the peer does it: apply, and now and then sync, then move what the tables say.
        let _: Result<(), Error> = (|| {
            let segments =
                crate::Segments::open(std::sync::Arc::new(disk.clone()), super::story::SMALL)?;
            for part in all.chunks(3) {
                segments.append_many(P, part)?;
                if dice.below(4) == 0 {
                    let next = segments.next_offset(P)?;
                    segments.sync(&segments.dirty())?;
                    saved = next;
                }
                if dice.below(9) == 0 {
                    start = saved / 2;
                    segments.trim(P, start)?;
                }
            }
            Ok(())
        })();
        disk.restore();
        disk.cut(seed);
        let segments = open(&disk);
        segments.truncate_to(P, saved).unwrap();
        // Unsynced trims may come back in part: the fold knows where the partition starts.
        assert!(segments.start_offset(P).unwrap() <= start);
        let kept: Vec<_> =
            all.iter().filter(|b| b.next_offset() > start && b.next_offset() <= saved).collect();
        let found = read_all(&segments, start, i64::MAX).unwrap();
        assert!(found.iter().eq(kept), "seed {seed}");
        let rest = all.iter().position(|batch| batch.base_offset() >= saved);
        let rest = rest.map_or(&all[..0], |at| &all[at..]);
        segments.append_many(P, rest).unwrap();
        assert_eq!(end(&read_all(&segments, start, i64::MAX).unwrap()), end(&all));
    }
}

#[test]
fn appends_go_on_where_a_full_disk_stopped_them() {
    for seed in 0..30 {
        let disk = SimDisk::new();
        let segments = open(&disk);
        let all = batches(seed, 0, 40);
        segments.append_many(P, &all[..10]).unwrap();
        disk.set(|faults| faults.full = true);
        let refused = segments.append_many(P, &all[10..]).unwrap_err();
        assert!(matches!(refused, Error::NoRoom { .. }), "{refused}");
        disk.set(|faults| faults.full = false);
        let next = segments.next_offset(P).unwrap();
        let rest: Vec<_> = all.iter().filter(|b| b.base_offset() >= next).cloned().collect();
        segments.append_many(P, &rest).unwrap();
        assert!(read_all(&segments, 0, i64::MAX).unwrap().iter().eq(&all), "seed {seed}");
    }
}

#[test]
fn a_sync_needs_no_room_for_an_index() {
    let disk = SimDisk::new();
    let segments = open(&disk);
    let all = batches(3, 0, 80);
    let (first, rest) = all.split_at(40);
    segments.append_many(P, first).unwrap();
    disk.set(|faults| faults.full = true);
    segments.sync(&segments.dirty()).unwrap();
    disk.set(|faults| faults.full = false);
    segments.append_many(P, rest).unwrap();
    segments.sync(&segments.dirty()).unwrap();
    let indexes: Vec<_> = files(&disk).into_iter().filter(|(p, _)| p.ends_with(".idx")).collect();
    assert!(indexes.iter().any(|(_, bytes)| *bytes > 0), "{indexes:?}");
    disk.cut(3);
    let segments = open(&disk);
    segments.truncate_to(P, end(&all)).unwrap();
    assert!(read_all(&segments, 0, i64::MAX).unwrap().iter().eq(&all));
}

#[test]
fn a_flipped_bit_anywhere_is_never_served() {
    let disk = SimDisk::new();
    let segments = open(&disk);
    let all = batches(5, 0, 40);
    segments.append_many(P, &all).unwrap();
    segments.sync(&[P]).unwrap();
    let (mut found_rot, mut points) = (0, 0);
    for (path, bytes) in files(&disk) {
        for at in (0..bytes).step_by(3) {
            let copy = disk.fork();
            copy.flip(&path, at, (at % 8) as u8);
            let segments = open(&copy);
            points += 1;
            let truncated = segments.truncate_to(P, end(&all));
            let read = truncated.and_then(|()| read_all(&segments, 0, i64::MAX));
            let by_time = segments.position_by_time(P, end(&all) * 9);
            match read {
                Ok(read) => assert_eq!(read, all, "{path} byte {at}"),
                Err(Error::Rot(_) | Error::Missing(_)) => found_rot += 1,
                Err(e) => panic!("{path} byte {at}: {e}"),
            }
            assert!(matches!(by_time, Err(Error::Rot(_)) | Ok(_)), "{path} byte {at}: {by_time:?}");
            if path.ends_with(".seg") {
                let segments = open(&copy);
                for batch in &all {
                    if let Ok(found) = segments.read(P, batch.base_offset(), i64::MAX, 1)
                        && let Some(found) = found.first()
                    {
                        assert_eq!(found, batch, "{path} byte {at}");
                    }
                }
            }
        }
    }
    println!("{points} flips, {found_rot} found");
    assert!(found_rot > points * 8 / 10, "{found_rot} of {points}");
}

#[test]
fn a_file_of_marks_that_is_gone_or_wrong_costs_time_only() {
    let disk = SimDisk::new();
    let limits = crate::segments::Limits { segment_bytes: 400 << 10, ..super::story::SMALL };
    let open =
        |disk: &SimDisk| crate::Segments::open(std::sync::Arc::new(disk.clone()), limits).unwrap();
    let all = batches(6, 0, 3_000);
    let segments = open(&disk);
    for part in all.chunks(100) {
        segments.append_many(P, part).unwrap();
    }
    segments.sync(&[P]).unwrap();
    let marks: Vec<_> =
        files(&disk).into_iter().filter(|(path, _)| path.ends_with(".idx")).collect();
    assert!(marks.len() > 1 && marks.iter().all(|(_, bytes)| *bytes > 64), "{marks:?}");
    for kind in 0..4 {
        let copy = disk.fork();
        let mut other = vec![0; 96];
        disk.open(&marks[0].0).unwrap().read_at(&mut other, 0).unwrap();
        for (path, bytes) in &marks {
            match kind {
                0 => copy.remove(path).unwrap(),
                1 => (0..*bytes / 32).for_each(|i| copy.flip(path, i * 32 + 9, 3)),
                2 => copy.open(path).unwrap().truncate(bytes - 7).unwrap(),
                // Sound marks of another segment.
                _ => copy.create(path).unwrap().write_at(&other, 0).unwrap(),
            }
        }
        let segments = open(&copy);
        segments.truncate_to(P, end(&all)).unwrap();
        for batch in all.iter().step_by(97) {
            let found = segments.read(P, batch.base_offset(), i64::MAX, 1).unwrap();
            assert_eq!(found.first(), Some(batch), "kind {kind}");
        }
    }
}

#[test]
fn after_a_failed_sync_no_sync_succeeds() {
    let disk = SimDisk::new();
    let segments = open(&disk);
    let all = batches(5, 0, 4);
    segments.append(P, &all[0]).unwrap();
    disk.set(|faults| faults.fail_syncs = true);
    assert!(segments.sync(&[P]).is_err());
    disk.set(|faults| faults.fail_syncs = false);
    segments.append(P, &all[1]).unwrap();
    assert!(matches!(segments.sync(&[P]), Err(Error::Fenced(_))));
}

#[test]
fn a_write_that_fails_may_be_repeated() {
    let disk = SimDisk::new();
    let segments = open(&disk);
    let all = batches(5, 0, 4);
    segments.append(P, &all[0]).unwrap();
    disk.set(|faults| faults.fail_writes = true);
    assert!(segments.append_many(P, &all[1..3]).is_err());
    disk.set(|faults| faults.fail_writes = false);
    segments.append_many(P, &all[1..]).unwrap();
    assert_eq!(read_all(&segments, 0, i64::MAX).unwrap(), all);
}
