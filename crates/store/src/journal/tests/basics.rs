//! Fences, refusals, idle shards and sizes.

use super::story::{SMALL, entry, open};
use crate::disk::RealDisk;
use crate::journal::{Journal, Limits, Record};
use crate::sim::SimDisk;
use crate::{Error, File};
use model::log::EntryKind;
use model::{HardState, LogEntry, ReplicaId, ShardId};
use std::collections::BTreeMap;
use std::sync::Arc;

const S: ShardId = ShardId(3);
const R: ReplicaId = ReplicaId(1);

fn begin(shard: ShardId) -> Record {
    Record::Begin { shard, replica: R, base: (0, 0) }
}

fn append(shard: ShardId, first: u64, count: u64, bytes: usize) -> Record {
    let entries = (first..first + count).map(|i| entry(i, 1, vec![i as u8; bytes])).collect();
    Record::Entries { shard, replica: R, entries }
}

fn hard(shard: ShardId, commit: u64) -> Record {
    Record::Hard { shard, replica: R, hard: HardState { term: 1, vote: 1, commit } }
}

#[test]
fn after_a_failed_sync_nothing_is_believed_again() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    journal.write(&[begin(S)]).unwrap();
    journal.sync().unwrap();
    journal.write(&[append(S, 1, 1, 10)]).unwrap();
    disk.set(|faults| faults.fail_syncs = true);
    assert!(matches!(journal.sync(), Err(Error::Fenced(_))));
    disk.set(|faults| faults.fail_syncs = false);
    assert!(matches!(journal.sync(), Err(Error::Fenced(_))));
    assert!(matches!(journal.write(&[append(S, 2, 1, 10)]), Err(Error::Fenced(_))));
    let carry = &mut |_| Vec::new();
    assert!(matches!(journal.cut(&BTreeMap::new(), carry), Err(Error::Fenced(_))));
    // The next process reads from memory what never reached the disk; it makes sure before it relies on it.
    let (_, found) = open(&disk);
    assert_eq!(found.shards[&S].entries.len(), 1);
    disk.cut(1);
    assert_eq!(open(&disk).1.shards[&S].entries.len(), 1);
}

#[test]
fn a_full_disk_ends_nothing_and_the_same_write_goes_on_when_there_is_room() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    journal.write(&[begin(S)]).unwrap();
    disk.set(|faults| faults.full = true);
    let mut next = 1;
    let refused = loop {
        match journal.write(&[append(S, next, 1, 100)]) {
            Ok(_) => next += 1,
            Err(error) => break error,
        }
        journal.sync().unwrap();
        assert!(next < 100_000, "a segment has an end");
    };
    assert!(matches!(refused, Error::NoRoom { .. }), "{refused}");
    assert!(matches!(journal.write(&[append(S, next, 1, 100)]), Err(Error::NoRoom { .. })));
    journal.sync().unwrap();
    disk.set(|faults| faults.full = false);
    journal.write(&[append(S, next, 1, 100)]).unwrap();
    journal.sync().unwrap();
    disk.cut(1);
    assert_eq!(open(&disk).1.shards[&S].entries.len() as u64, next);
}

#[test]
fn after_a_failed_write_nothing_is_believed_again() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    disk.set(|faults| faults.fail_writes = true);
    assert!(matches!(journal.write(&[begin(S)]), Err(Error::Io { .. })));
    disk.set(|faults| faults.fail_writes = false);
    assert!(matches!(journal.write(&[begin(S)]), Err(Error::Fenced(_))));
}

#[test]
fn records_that_do_not_fit_are_refused_and_change_nothing() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    journal.write(&[begin(S), append(S, 1, 3, 5)]).unwrap();
    let other = ReplicaId(2);
    let refused = [
        begin(S),
        append(ShardId(4), 1, 1, 5),
        append(S, 5, 1, 5),
        Record::Hard { shard: S, replica: other, hard: HardState::default() },
        Record::Snapshot { shard: S, replica: other, index: 9, term: 1 },
    ];
    for record in refused {
        let frame = [hard(S, 1), record];
        assert!(matches!(journal.write(&frame), Err(Error::Misuse(_))), "{frame:?}");
    }
    assert_eq!(journal.written(), 1);
    journal.write(&[Record::Tombstone { shard: S, replica: other }]).unwrap();
    assert!(matches!(journal.write(&[begin(S)]), Err(Error::Misuse(_))));
    assert!(matches!(journal.write(&[hard(S, 2)]), Err(Error::Misuse(_))));
    journal.sync().unwrap();
    let (_, found) = open(&disk);
    assert_eq!((found.shards[&S].replica, found.shards[&S].tombstone), (ReplicaId(0), other));
}

#[test]
fn an_idle_shard_never_pins_the_journal() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    let (idle, gone) = (ShardId(9), ShardId(8));
    journal.write(&[begin(S), begin(idle), append(idle, 1, 2, 50), hard(idle, 1)]).unwrap();
    journal.write(&[Record::Tombstone { shard: gone, replica: ReplicaId(5) }]).unwrap();
    let mut most = 0;
    let mut removed = 0;
    for index in 1..600 {
        journal.write(&[append(S, index, 1, 300)]).unwrap();
        journal.sync().unwrap();
        if index % 20 == 0 {
            let durable = BTreeMap::from([(S, index), (idle, 1)]);
            removed += journal
                .cut(&durable, &mut |shard| {
                    assert_eq!(shard, idle);
                    vec![append(idle, 2, 1, 50)]
                })
                .unwrap();
        }
        most = most.max(journal.size());
    }
    assert!(removed > 40 && most <= 6 * SMALL.segment_bytes, "{removed} removed, {most} bytes");
    let (_, found) = open(&disk);
    let shard = &found.shards[&idle];
    assert_eq!((shard.hard.commit, shard.base, shard.entries.len()), (1, (1, 1), 1));
    assert_eq!(shard.entries[0], entry(2, 1, vec![2; 50]));
    assert_eq!(found.shards[&gone].tombstone, ReplicaId(5));
    assert_eq!(found.shards[&S].replica, R);
}

#[test]
fn a_shard_that_gives_too_little_keeps_its_segments() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    journal.write(&[begin(S), begin(ShardId(9)), append(ShardId(9), 1, 2, 50)]).unwrap();
    for index in 1..100 {
        journal.write(&[append(S, index, 1, 300)]).unwrap();
    }
    let durable = BTreeMap::from([(S, 99), (ShardId(9), 0)]);
    let too_little = &mut |_| vec![append(ShardId(9), 1, 1, 50)];
    assert_eq!(journal.cut(&durable, too_little).unwrap(), 0);
    journal.sync().unwrap();
    assert_eq!(open(&disk).1.shards[&ShardId(9)].entries.len(), 2);
}

#[test]
fn much_that_lives_pins_the_journal_until_that_is_too_large() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    let slow = ShardId(9);
    journal.write(&[begin(S), begin(slow)]).unwrap();
    for index in 1..=40 {
        journal.write(&[append(slow, index, 1, 300)]).unwrap();
    }
    let carry = &mut |_| vec![append(slow, 1, 40, 300)];
    for index in 1..=45 {
        journal.write(&[append(S, index, 1, 300)]).unwrap();
    }
    assert!(journal.size() < SMALL.journal_bytes_max);
    assert_eq!(journal.cut(&BTreeMap::from([(S, 45)]), carry).unwrap(), 0);
    for index in 46..=110 {
        journal.write(&[append(S, index, 1, 300)]).unwrap();
    }
    assert!(journal.size() > SMALL.journal_bytes_max);
    assert!(journal.cut(&BTreeMap::from([(S, 110)]), carry).unwrap() > 0);
    let (_, found) = open(&disk);
    assert_eq!(found.shards[&slow].entries.len(), 40);
    assert_eq!((found.shards[&S].base, found.shards[&S].entries.len()), ((110, 1), 0));
}

#[test]
fn a_frame_larger_than_a_segment_gets_one_of_its_own() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    journal.write(&[begin(S), append(S, 1, 3, 9_000)]).unwrap();
    journal.write(&[append(S, 4, 1, 30)]).unwrap();
    journal.write(&[append(S, 5, 3, 9_000)]).unwrap();
    journal.sync().unwrap();
    disk.cut(4);
    let (_, found) = open(&disk);
    assert_eq!(found.shards[&S].entries.len(), 7);
}

#[test]
fn a_sync_may_run_on_another_thread_while_frames_are_written() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    journal.write(&[begin(S)]).unwrap();
    disk.set(|faults| faults.hold_syncs = true);
    let syncing = journal.begin_sync().unwrap();
    assert!(matches!(journal.begin_sync(), Err(Error::Misuse(_))));
    let thread = std::thread::spawn(move || syncing.run());
    assert_eq!(journal.write(&[append(S, 1, 1, 100)]).unwrap(), 2);
    disk.set(|faults| faults.hold_syncs = false);
    assert_eq!(journal.end_sync(thread.join().unwrap()).unwrap(), 1);
    assert_eq!(journal.sync().unwrap(), 2);
}

#[test]
fn a_real_folder_keeps_what_the_simulated_one_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::new(folder.path()));
    let (mut journal, found) = Journal::open(disk.clone(), SMALL).unwrap();
    assert!(found.fresh);
    journal.write(&[begin(S), hard(S, 0)]).unwrap();
    for index in 1..200 {
        journal.write(&[append(S, index, 1, 300), hard(S, index)]).unwrap();
        journal.sync().unwrap();
    }
    let cut = journal.cut(&BTreeMap::from([(S, 150)]), &mut |_| Vec::new()).unwrap();
    assert!(cut > 3, "{cut}");
    drop(journal);
    let (journal, found) = Journal::open(disk, SMALL).unwrap();
    assert!(!found.fresh && journal.written() >= 200);
    let shard = &found.shards[&S];
    assert_eq!((shard.hard.commit, shard.base, shard.entries.len()), (199, (150, 1), 49));
}

#[test]
fn frames_of_a_newer_version_are_refused() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    journal.write(&[begin(S)]).unwrap();
    let file: Arc<dyn File> = journal.current.file.clone();
    let mut frame = vec![0; 512];
    file.read_at(&mut frame, 0).unwrap();
    frame[4] = 9;
    let shards = 1;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&frame[..60]);
    crc.update(&frame[64..64 + 2 * shards]);
    frame[60..64].copy_from_slice(&crc.finalize().to_le_bytes());
    file.write_at(&frame, 0).unwrap();
    let refused = Journal::open(Arc::new(disk), SMALL);
    assert!(matches!(refused, Err(Error::Newer { .. })));
}

#[test]
#[ignore = "a measurement: cargo test -p store --release -- --ignored --nocapture speed"]
fn speed_of_64_entries_of_16_kib_a_frame() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let disk = Arc::new(RealDisk::new(folder.path()));
    let (mut journal, _) = Journal::open(disk, Limits::default()).unwrap();
    let shards: Vec<ShardId> = (0..64).map(ShardId).collect();
    journal.write(&shards.iter().map(|s| begin(*s)).collect::<Vec<_>>()).unwrap();
    let bytes = bytes::Bytes::from(vec![7; 16 << 10]);
    let mut index = 0;
    for synced in [false, true] {
        let (rounds, mut slowest) = (512, std::time::Duration::ZERO);
        let started = std::time::Instant::now();
        for round in 0..rounds {
            index += 1;
            let entry = LogEntry { index, term: 1, kind: EntryKind::Normal, bytes: bytes.clone() };
            let record = |shard: &ShardId| Record::Entries {
                shard: *shard,
                replica: R,
                entries: vec![entry.clone()],
            };
            let records: Vec<_> = shards.iter().map(record).collect();
            let begun = std::time::Instant::now();
            journal.write(&records).unwrap();
            if synced {
                journal.sync().unwrap();
            }
            slowest = slowest.max(begun.elapsed());
            if round % 64 == 63 {
                let durable = shards.iter().map(|s| (*s, index)).collect();
                journal.cut(&durable, &mut |_| Vec::new()).unwrap();
            }
        }
        let rate = rounds as f64 * 1.048576 / started.elapsed().as_secs_f64();
        println!("synced {synced}: {rate:.0} MB/s, slowest frame {slowest:?}");
    }
}
