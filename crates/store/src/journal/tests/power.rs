//! The power goes at every change of a long run; nothing that was acknowledged is lost.

use super::story::{Model, apply, batch, check, checkpoint, durable, open};
use crate::journal::Journal;
use crate::sim::{Dice, SimDisk};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What the outside world was told, and what each frame since then meant.
#[derive(Default)]
struct Truth {
    acknowledged: u64,
    models: BTreeMap<u64, Model>,
    points: u64,
    lost: Option<String>,
}

/// How a run's acknowledgements come about.
#[derive(Clone, Copy, PartialEq)]
enum Sync {
    Honest,
    /// The journal is not asked to sync: the batch counts as soon as it is written.
    LeftOut,
    /// The disk says that it has synced and has not.
    Lie,
}

impl Truth {
    /// Opens what a power cut has left and compares it with what was promised.
    fn check(&self, disk: &SimDisk) -> Result<(), String> {
        let (mut journal, found) = open(disk);
        let number = journal.written();
        if number < self.acknowledged {
            return Err(format!(
                "frame {number} is the last of {} acknowledged",
                self.acknowledged
            ));
        }
        let (_, model) = self.models.range(..=number).next_back().ok_or("no such frame")?;
        check(&found, model)?;
        journal.write(&[]).and_then(|_| journal.sync()).map_err(|e| e.to_string())?;
        Ok(())
    }

    fn point(&mut self, change: u64, disk: &SimDisk, seeds: u64) {
        for seed in 0..seeds {
            self.points += 1;
            let cut = disk.fork();
            cut.cut(change * 31 + seed);
            if let Err(why) = self.check(&cut) {
                self.lost.get_or_insert(format!("change {change}, seed {seed}: {why}"));
            }
        }
    }
}

/// A run of `batches` batches with the power cut before each change; returns points and the first loss.
fn run(batches: u64, seed: u64, seeds: u64, sync: Sync) -> (u64, Option<String>) {
    let disk = SimDisk::new();
    let truth = Arc::new(Mutex::new(Truth::default()));
    truth.lock().unwrap().models.insert(0, Model::new());
    let (mut journal, _) = open(&disk);
    disk.set(|faults| faults.lie = sync == Sync::Lie);
    let watching = truth.clone();
    disk.watch(Box::new(move |change, fork| {
        watching.lock().unwrap().point(change, &fork, seeds);
    }));
    let mut dice = Dice::new(seed);
    let mut model = Model::new();
    for step in 0..batches {
        let records = batch(&mut dice, &model);
        let number = journal.write(&records).unwrap();
        apply(&mut model, &records);
        truth.lock().unwrap().models.insert(number, model.clone());
        let acknowledged = if sync == Sync::LeftOut { number } else { journal.sync().unwrap() };
        {
            let mut truth = truth.lock().unwrap();
            truth.acknowledged = acknowledged;
            truth.models = truth.models.split_off(&acknowledged);
        }
        if step % 20 == 19 {
            cut(&mut journal, &mut dice, &mut model, &truth);
        }
    }
    disk.unwatch();
    let truth = Arc::into_inner(truth).unwrap().into_inner().unwrap();
    (truth.points, truth.lost)
}

fn cut(journal: &mut Journal, dice: &mut Dice, model: &mut Model, truth: &Mutex<Truth>) {
    checkpoint(dice, model);
    // The durable index may be believed from now on, in whichever frame it is found.
    for kept in truth.lock().unwrap().models.values_mut() {
        *kept = model.clone();
    }
    journal.cut(&durable(model), &mut |shard| model[&shard].live(shard)).unwrap();
}

#[test]
fn a_power_cut_at_every_change_of_a_thousand_batches_loses_nothing_acknowledged() {
    let (points, lost) = run(1_000, 1, 3, Sync::Honest);
    println!("{points} power cuts");
    assert_eq!(lost, None);
    assert!(points > 6_000, "{points}");
}

#[test]
fn the_check_goes_red_when_the_sync_is_left_out() {
    let (_, lost) = run(30, 1, 3, Sync::LeftOut);
    println!("left out: {lost:?}");
    assert!(lost.is_some_and(|why| why.contains("acknowledged")));
}

#[test]
fn the_check_goes_red_when_the_disk_lies_about_syncs() {
    let (_, lost) = run(30, 1, 3, Sync::Lie);
    println!("lie: {lost:?}");
    assert!(lost.is_some());
}

#[test]
fn what_a_torn_end_held_is_never_seen_again() {
    let mut torn = 0;
    for seed in 0..200 {
        let disk = SimDisk::new();
        let (mut journal, _) = open(&disk);
        let begin = |number| crate::Record::Begin {
            shard: model::ShardId(number),
            replica: model::ReplicaId(1),
            base: (0, 0),
        };
        for number in 1..4 {
            journal.write(&[begin(number)]).unwrap();
        }
        disk.cut(seed);
        let (mut journal, found) = open(&disk);
        torn += u64::from(found.shards.is_empty());
        let mut shards: Vec<_> = found.shards.keys().copied().collect();
        journal.write(&[begin(9)]).unwrap();
        journal.sync().unwrap();
        shards.push(model::ShardId(9));
        disk.cut(seed);
        let (_, found) = open(&disk);
        assert!(found.shards.keys().eq(&shards), "seed {seed}: {found:?} and not {shards:?}");
    }
    assert!(torn > 20, "{torn}");
}

#[test]
fn a_power_cut_while_it_recovers_from_one_loses_nothing() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    let mut dice = Dice::new(7);
    let mut model = Model::new();
    let mut points = 0;
    for step in 0..120 {
        let records = batch(&mut dice, &model);
        journal.write(&records).unwrap();
        if step % 3 > 0 {
            apply(&mut model, &records);
            journal.sync().unwrap();
            continue;
        }
        // Not acknowledged: it may be there or not, but two starts must agree on it.
        let cut = disk.fork();
        cut.cut(step);
        let first = open(&cut.fork()).1;
        let watched = first.clone();
        let (count, sum) = (Arc::new(Mutex::new(0)), cut.fork());
        let counted = count.clone();
        sum.watch(Box::new(move |change, fork| {
            *counted.lock().unwrap() += 1;
            fork.cut(change);
            assert_eq!(open(&fork).1, watched, "the second start differs");
        }));
        open(&sum);
        points += *count.lock().unwrap();
        apply(&mut model, &records);
        journal.sync().unwrap();
    }
    assert!(points > 100, "{points}");
}
