//! What is appended is read back: by offset, by time, from memory and from files, while more is appended.

use super::story::{P, SMALL, batches, end, expected, open, partition, read_all};
use crate::Error;
use crate::disk::{Disk, RealDisk};
use crate::segments::{Limits, Segments};
use crate::sim::{Dice, SimDisk};
use model::Record;
use std::sync::Arc;

/// The contract, for any disk.
fn what_is_appended_is_read_back(disk: &(impl Disk + Clone)) {
    let segments = open(disk);
    let all = batches(1, 5, 120);
    for part in all.chunks(7) {
        segments.append_many(P, part).unwrap();
    }
    assert!(segments.files(P).unwrap().len() > 5);
    let mut dice = Dice::new(2);
    for _ in 0..600 {
        let from = 5 + dice.below(end(&all) as u64) as i64;
        let below = from + dice.below(60) as i64;
        let bytes_max = dice.below(6_000) as usize;
        let found = segments.read(P, from, below, bytes_max).unwrap();
        assert_eq!(found, expected(&all, from, below, bytes_max), "{from}..{below} {bytes_max}");
    }
    assert!(matches!(segments.read(P, 4, 100, 100), Err(Error::Missing(_))));
    assert_eq!(segments.read(P, end(&all), i64::MAX, 100).unwrap(), []);
    assert_eq!(
        (segments.start_offset(P).unwrap(), segments.next_offset(P).unwrap()),
        (5, end(&all))
    );
    assert_eq!(segments.partitions().unwrap(), [P]);
    segments.sync(&segments.dirty()).unwrap();
    assert_eq!(segments.dirty(), []);
    // A new process finds the same, goes on from an earlier offset and gets the same files again.
    let files = segments.files(P).unwrap();
    let half = all[60].base_offset();
    let segments = open(disk);
    assert_eq!(read_all(&segments, 5, i64::MAX).unwrap(), all);
    segments.truncate_to(P, half).unwrap();
    assert_eq!(read_all(&segments, 5, i64::MAX).unwrap(), all[..60]);
    for batch in &all[60..] {
        segments.append(P, batch).unwrap();
    }
    assert_eq!(read_all(&segments, 5, i64::MAX).unwrap(), all);
    assert_eq!(segments.files(P).unwrap(), files);
    segments.trim(P, half).unwrap();
    let start = segments.start_offset(P).unwrap();
    assert!(start > 5 && start <= half);
    assert_eq!(read_all(&segments, half, i64::MAX).unwrap(), all[60..]);
    segments.trim(P, i64::MAX).unwrap();
    assert_eq!(segments.next_offset(P).unwrap(), end(&all), "the newest file stays");
    segments.remove(P).unwrap();
    assert_eq!(segments.next_offset(P).unwrap(), 0);
    segments.append(P, &batches(9, 0, 1)[0]).unwrap();
    assert_eq!(read_all(&open(disk), 0, 100).unwrap(), batches(9, 0, 1));
}

#[test]
fn a_simulated_disk_gives_back_what_was_appended() {
    what_is_appended_is_read_back(&SimDisk::new());
}

#[test]
fn a_real_disk_gives_back_what_was_appended() {
    let dir = tempfile::tempdir().unwrap();
    what_is_appended_is_read_back(&RealDisk::new(dir.path()));
}

#[test]
fn an_append_after_a_start_says_where_the_log_goes_on() {
    let disk = SimDisk::new();
    let all = batches(1, 0, 40);
    open(&disk).append_many(P, &all).unwrap();
    let segments = open(&disk);
    segments.append_many(P, &all[10..20]).unwrap();
    assert_eq!(read_all(&segments, 0, i64::MAX).unwrap(), all[..20]);
    let before = segments.append(P, &all[5]);
    assert!(matches!(before, Err(Error::Misuse(_))), "now it can only go on");
    let gap = open(&disk).append(P, &all[30]);
    assert!(matches!(gap, Err(Error::Missing(_))), "{gap:?}");
}

#[test]
fn a_partition_that_ends_too_early_is_not_taken_for_whole() {
    let disk = SimDisk::new();
    let all = batches(1, 0, 40);
    open(&disk).append_many(P, &all).unwrap();
    let segments = open(&disk);
    assert!(matches!(segments.truncate_to(P, end(&all) + 1), Err(Error::Missing(_))));
    let within = all.iter().find(|batch| batch.count() > 1).unwrap().base_offset() + 1;
    assert!(matches!(segments.truncate_to(P, within), Err(Error::Rot(_))));
    assert!(matches!(segments.truncate_to(partition(9), 1), Err(Error::Missing(_))));
    segments.truncate_to(partition(9), 0).unwrap();
}

#[test]
fn the_first_event_at_or_after_a_time_is_found() {
    let disk = SimDisk::new();
    let segments = open(&disk);
    let all = batches(3, 0, 90);
    segments.append_many(P, &all).unwrap();
    let events: Vec<Record> =
        all.iter().flat_map(|batch| batch.records(1 << 20).unwrap().map(Result::unwrap)).collect();
    let again = open(&disk);
    for time in -5..end(&all) * 10 + 60 {
        let event = events.iter().find(|event| event.time_ms >= time);
        let expected = event.map(|event| (event.offset, event.time_ms));
        assert_eq!(segments.position_by_time(P, time).unwrap(), expected, "{time}");
        assert_eq!(again.position_by_time(P, time).unwrap(), expected, "{time}");
    }
    assert_eq!(segments.position_by_time(partition(8), 0).unwrap(), None);
}

#[test]
fn readers_at_the_end_need_no_file() {
    let disk = SimDisk::new();
    let segments = Segments::open(Arc::new(disk.clone()), Limits::default()).unwrap();
    let all = batches(1, 0, 30);
    segments.append_many(P, &all).unwrap();
    let path = "segments/00000000000000000000000000000abc/3/00000000000000000000.seg";
    let len = disk.open(path).unwrap().len().unwrap();
    disk.break_sectors(path, 0, len);
    let found = segments.read(P, 0, i64::MAX, usize::MAX).unwrap();
    assert_eq!(found, all);
    assert_eq!(found[3].bytes().as_ptr(), all[3].bytes().as_ptr(), "nothing is copied");
}

#[test]
fn open_files_and_tails_have_a_bound() {
    let disk = SimDisk::new();
    let segments = open(&disk);
    for round in 0..4 {
        for p in 0..40 {
            let all = batches(u64::from(p), 0, 8);
            segments.append_many(partition(p), &all[round * 2..round * 2 + 2]).unwrap();
            let tails = segments.tails.load(std::sync::atomic::Ordering::Relaxed);
            assert!(tails <= SMALL.tail_bytes_total, "{tails}");
            assert!(segments.handles.count() <= SMALL.open_files);
        }
    }
    segments.sync(&segments.dirty()).unwrap();
    for p in 0..40 {
        let found = segments.read(partition(p), 0, i64::MAX, usize::MAX).unwrap();
        assert_eq!(found, batches(u64::from(p), 0, 8));
    }
}

#[test]
fn readers_run_beside_appends_and_trims() {
    let dir = tempfile::tempdir().unwrap();
    let segments = Arc::new(open(&RealDisk::new(dir.path())));
    let all = Arc::new(batches(4, 0, 3_000));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (segments, all) = (segments.clone(), all.clone());
            std::thread::spawn(move || {
                let mut at = 0;
                let mut reads = 0;
                while at < end(&all) {
                    let below = segments.next_offset(P).unwrap();
                    match segments.read(P, at, below, 3_000) {
                        Ok(found) => {
                            assert_eq!(found, expected(&all, at, below, 3_000)[..found.len()]);
                            at = found.last().map_or(at, |batch| batch.next_offset());
                        }
                        Err(_) => at = segments.start_offset(P).unwrap(),
                    }
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for (i, part) in all.chunks(3).enumerate() {
        segments.append_many(P, part).unwrap();
        if i % 50 == 49 {
            segments.sync(&[P]).unwrap();
            segments.trim(P, part[0].base_offset() - 300).unwrap();
        }
    }
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
}

#[test]
#[ignore = "a measurement: cargo test -p store --release -- --ignored --nocapture speed"]
fn speed_of_appends_and_reads() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let disk = Arc::new(RealDisk::new(dir.path()));
    let segments = Segments::open(disk.clone(), Limits::default()).unwrap();
    let mut builder = model::BatchBuilder::new();
    for _ in 0..140 {
        builder.push(1, Some(b"key-0000"), Some(&[7; 100]), &[]);
    }
    let batch = builder.build().unwrap();
    let count = 40_000i64;
    let bytes = (batch.size() as i64 * count) as f64;
    let started = std::time::Instant::now();
    for i in 0..count {
        segments.append(partition((i % 16) as u32), &batch.placed(i / 16 * 140, 1)).unwrap();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("append: {:.0} MB/s, {:.0} k/s", bytes / 1e6 / seconds, count as f64 / 1e3 / seconds);
    let started = std::time::Instant::now();
    segments.sync(&segments.dirty()).unwrap();
    println!("sync: {:?}", started.elapsed());
    let started = std::time::Instant::now();
    let segments = Segments::open(disk, Limits::default()).unwrap();
    for p in 0..16 {
        segments.truncate_to(partition(p), count / 16 * 140 - 1400).unwrap();
    }
    println!("open and truncate 16: {:?}", started.elapsed());
    let started = std::time::Instant::now();
    let mut read = 0;
    for p in 0..16 {
        let mut at = 0;
        loop {
            let found = segments.read(partition(p), at, i64::MAX, 1 << 20).unwrap();
            let Some(last) = found.last() else { break };
            read += found.iter().map(|batch| batch.size()).sum::<usize>();
            at = last.next_offset();
        }
    }
    println!("read: {:.0} MB/s", read as f64 / 1e6 / started.elapsed().as_secs_f64());
}
