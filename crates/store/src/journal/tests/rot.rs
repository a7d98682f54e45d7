//! Bytes change, sectors cannot be read, writes get lost: never served, never cut off as torn.

use super::story::{Model, apply, batch, check, check_shard, checkpoint, open};
use crate::disk::Disk;
use crate::journal::{Journal, Recovered};
use crate::sim::{Dice, SimDisk};
use std::sync::Arc;

/// A synced journal of several segments, where its last frame lies, and what it holds.
struct Synced {
    disk: SimDisk,
    model: Model,
    number: u64,
    last: (String, std::ops::Range<u64>),
}

fn files(disk: &SimDisk) -> Vec<(String, u64)> {
    let names = disk.list("journal").unwrap().into_iter().filter(|name| name != "spare");
    names
        .map(|name| format!("journal/{name}"))
        .map(|path| (path.clone(), disk.open(&path).unwrap().len().unwrap()))
        .collect()
}

fn synced(seed: u64, batches: u64) -> Synced {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    let mut dice = Dice::new(seed);
    let mut model = Model::new();
    let mut last = 0..0;
    for step in 0..batches {
        let records = batch(&mut dice, &model);
        let from = journal.current.place;
        journal.write(&records).unwrap();
        journal.sync().unwrap();
        let begin = if journal.current.place > from { from } else { 0 };
        last = begin..journal.current.place;
        apply(&mut model, &records);
        if step == batches / 2 {
            let durable = checkpoint(&mut dice, &mut model);
            journal.cut(&durable, &mut |shard| model[&shard].live(shard)).unwrap();
        }
    }
    let path = files(&disk).last().unwrap().0.clone();
    Synced { disk, model, number: journal.written(), last: (path, last) }
}

impl Synced {
    /// What a start on a damaged copy yields must be true, or said to be in doubt.
    fn check(&self, disk: &SimDisk, in_last_frame: bool) -> Result<bool, String> {
        let (journal, found) = open(disk);
        self.check_found(&journal, &found, in_last_frame)
    }

    fn check_found(
        &self,
        journal: &Journal,
        found: &Recovered,
        in_last_frame: bool,
    ) -> Result<bool, String> {
        if journal.written() + u64::from(in_last_frame) < self.number {
            return Err(format!("cut off at frame {} of {}", journal.written(), self.number));
        }
        if journal.written() < self.number {
            return Ok(true); // the stated exception: rot of the very last frame looks torn
        }
        let mut doubted = found.doubt.is_some();
        for (shard, kept) in &self.model {
            match found.shards.get(shard) {
                Some(found) if found.doubt.is_some() => doubted = true,
                Some(found) => check_shard(*shard, found, kept)?,
                None if found.doubt.is_some() => {}
                None => return Err(format!("{shard} is not there and not in doubt")),
            }
        }
        Ok(doubted)
    }
}

#[test]
fn a_flipped_bit_anywhere_is_never_served_and_never_cut_off() {
    let whole = synced(3, 60);
    assert!(files(&whole.disk).len() >= 3, "several segments");
    let (mut points, mut doubts) = (0, 0);
    for (path, bytes) in files(&whole.disk) {
        for at in (0..bytes).step_by(3) {
            let disk = whole.disk.fork();
            disk.flip(&path, at, (at % 8) as u8);
            let last = path == whole.last.0 && whole.last.1.contains(&at);
            match whole.check(&disk, last) {
                Ok(doubted) => doubts += u64::from(doubted),
                Err(why) => panic!("{path} byte {at}: {why}"),
            }
            points += 1;
        }
    }
    println!("{points} flips, {doubts} in doubt");
    assert!(doubts > points / 10, "{doubts} of {points}");
}

#[test]
fn sectors_that_cannot_be_read_put_shards_in_doubt() {
    let whole = synced(4, 60);
    for (path, bytes) in files(&whole.disk) {
        for at in (0..bytes).step_by(512) {
            let disk = whole.disk.fork();
            disk.break_sectors(&path, at, at + 512);
            // Not even the very last frame is cut off when it is the disk that refuses to read it.
            if let Err(why) = whole.check(&disk, false) {
                panic!("{path} byte {at}: {why}");
            }
        }
    }
}

#[test]
fn doubt_outlives_further_starts_and_cuts_until_the_replica_is_replaced() {
    let whole = synced(5, 60);
    let (path, bytes) = files(&whole.disk).iter().rev().nth(1).unwrap().clone();
    let at = (0..bytes).step_by(512).map(|at| at + 100).find(|at| {
        let disk = whole.disk.fork();
        disk.flip(&path, *at, 1);
        open(&disk).1.shards.values().any(|shard| shard.doubt.is_some())
    });
    whole.disk.flip(&path, at.expect("one of the frames matters"), 1);
    let (mut journal, found) = open(&whole.disk);
    let doubted: Vec<_> = found
        .shards
        .iter()
        .filter(|(_, s)| s.doubt.is_some())
        .map(|(id, s)| (*id, s.replica))
        .collect();
    assert!(!doubted.is_empty());
    let idle = |_| panic!("a shard in doubt needs no carrying");
    let durable = whole.model.iter().map(|(shard, kept)| (*shard, kept.last())).collect();
    assert!(journal.cut(&durable, &mut { idle }).unwrap() > 0);
    let (mut journal, found) = open(&whole.disk);
    for (shard, replica) in &doubted {
        assert!(found.shards[shard].doubt.is_some(), "{shard}");
        let refused = crate::Record::Hard {
            shard: *shard,
            replica: *replica,
            hard: model::HardState::default(),
        };
        assert!(matches!(journal.write(&[refused]), Err(crate::Error::Misuse(_))));
        let replica = model::ReplicaId(replica.0 + 7);
        journal
            .write(&[
                crate::Record::Tombstone {
                    shard: *shard,
                    replica: model::ReplicaId(replica.0 - 1),
                },
                crate::Record::Begin { shard: *shard, replica, base: (1, 1) },
            ])
            .unwrap();
    }
    journal.sync().unwrap();
    let (_, found) = open(&whole.disk);
    assert!(found.shards.values().all(|shard| shard.doubt.is_none()));
}

#[test]
fn lost_and_misdirected_writes_are_found_at_the_next_start() {
    for misdirected in [None, Some(1024), Some(512)] {
        let disk = SimDisk::new();
        let (mut journal, _) = open(&disk);
        let mut dice = Dice::new(11);
        let mut model = Model::new();
        for step in 0..8 {
            let records = batch(&mut dice, &model);
            if step == 4 {
                disk.set(|faults| match misdirected {
                    None => faults.lose_write = true,
                    shift => faults.misdirect_write = shift,
                });
            }
            journal.write(&records).unwrap();
            journal.sync().unwrap();
            apply(&mut model, &records);
        }
        let (again, found) = open(&disk);
        assert_eq!(again.written(), 8, "{misdirected:?}");
        assert!(check(&found, &model).is_err(), "{misdirected:?}: the loss was not seen");
        for (shard, found) in found.shards.iter().filter(|(_, found)| found.doubt.is_none()) {
            assert_eq!(check_shard(*shard, found, &model[shard]), Ok(()));
        }
    }
}

#[test]
fn a_segment_that_someone_deleted_is_damage_and_not_the_end() {
    let whole = synced(6, 60);
    let paths = files(&whole.disk);
    assert!(paths.len() >= 3);
    for (path, _) in &paths[1..paths.len() - 1] {
        let disk = whole.disk.fork();
        disk.remove(path).unwrap();
        assert_eq!(whole.check(&disk, false), Ok(true));
    }
}

#[test]
fn a_frame_that_a_client_forged_inside_an_event_is_not_a_frame() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    let (shard, replica) = (model::ShardId(1), model::ReplicaId(1));
    let entries = |index, bytes| crate::Record::Entries {
        shard,
        replica,
        entries: vec![super::story::entry(index, 1, bytes)],
    };
    journal.write(&[crate::Record::Begin { shard, replica, base: (0, 0) }]).unwrap();
    journal.write(&[entries(1, vec![1; 600])]).unwrap();
    journal.sync().unwrap();
    // The bytes of the synced frames, as an event of a later one that is torn.
    let mut stolen = vec![0; 4096];
    let file = Arc::clone(&journal.current.file);
    file.read_at(&mut stolen, 0).unwrap();
    let at = journal.current.place;
    journal.write(&[entries(2, stolen)]).unwrap();
    file.write_at(&[0; 64], at).unwrap();
    let (again, found) = open(&disk);
    assert_eq!(again.written(), 2);
    assert_eq!(found.shards[&shard].entries.len(), 1);
    assert_eq!(found.shards[&shard].doubt, None);
}
