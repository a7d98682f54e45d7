//! What apply decides, told entry by entry.

mod doors;

use super::*;
use crate::limits::{DOOR_ANSWERS_MAX, END_ROWS, PRODUCER_BATCHES_MAX, PRODUCERS_MAX};
use model::entry::Move;
use model::group::{self, Committed, What};
use model::{BatchBuilder, PeerId, StageId, StreamId};

const PARTITION: PartitionId = PartitionId { stream: StreamId(1), partition: 0 };
const SOURCE: PartitionId = PartitionId { stream: StreamId(2), partition: 3 };
const TASK: TaskId = TaskId { stage: StageId(5), bucket: 1 };

/// A fold that is fed one entry after the other.
struct Log {
    fold: Fold,
    term: u64,
    actions: Vec<Action>,
}

impl Log {
    fn of_shard(shard: u16, shards: u16) -> Self {
        let config = Config {
            shard: ShardId(shard),
            mesh: MeshId(1),
            shards,
            replication: 3,
            peer: PeerId(1),
            seed: 0,
        };
        Self { fold: Fold::genesis(&config), term: 2, actions: Vec::new() }
    }

    fn new() -> Self {
        Self::of_shard(0, 1)
    }

    fn entry(&mut self, time_ms: u64, ops: Vec<Op>) -> Vec<Result<Answer, Refusal>> {
        let bytes = Bytes::from(Entry { time_ms, ops }.encode());
        let mut outcomes = Vec::new();
        let index = self.fold.index() + 1;
        let (term, actions) = (self.term, &mut self.actions);
        self.fold.apply(index, term, &bytes, &mut outcomes, actions).expect("a known entry");
        outcomes
    }

    fn op(&mut self, op: Op) -> Result<Answer, Refusal> {
        self.entry(0, vec![op]).remove(0)
    }

    fn append(&mut self, origin: Origin, batch: &Batch) -> Result<(i64, bool), Refusal> {
        let batch = batch.bytes().clone();
        match self.op(Op::Append { partition: PARTITION, origin, batch })? {
            Answer::Appended { base_offset, duplicate } => Ok((base_offset, duplicate)),
            other => panic!("{other:?}"),
        }
    }

    fn door(&mut self, sequence: u64) -> Result<(i64, bool), Refusal> {
        let origin = Origin::Door { door: 1, connection: 2, sequence };
        self.append(origin, &batch(&format!("d{sequence}"), 2))
    }

    fn producer(&mut self, epoch: i16, base: i32, count: usize) -> Result<(i64, bool), Refusal> {
        let mut builder = BatchBuilder::new().producer(9, epoch, base);
        (0..count).for_each(|_| builder.push(0, None, Some(b"v"), &[]));
        self.append(Origin::Producer { issued: 9 }, &builder.build().expect("events"))
    }

    fn one_of(&mut self, (id, epoch, base): (i64, i16, i32), issued: i64) -> Appended {
        let mut builder = BatchBuilder::new().producer(id, epoch, base);
        builder.push(0, None, Some(b"v"), &[]);
        let batch = builder.build().expect("an event");
        self.append(Origin::Producer { issued }, &batch)
    }

    fn issue(&mut self) -> i64 {
        let nonce = self.fold.index().into();
        match self.op(Op::Producer { nonce }) {
            Ok(Answer::Producer { id }) => id,
            other => panic!("{other:?}"),
        }
    }
}

/// Where a batch lies, and whether it was there already.
type Appended = Result<(i64, bool), Refusal>;

fn batch(value: &str, count: usize) -> Batch {
    let mut builder = BatchBuilder::new();
    (0..count).for_each(|n| builder.push(1_000 + n as i64, None, Some(value.as_bytes()), &[]));
    builder.build().expect("events")
}

fn commit(sequence: u64, from: i64, to: i64) -> Commit {
    Commit {
        task: TASK,
        version: 3,
        term: 2,
        sequence,
        moves: vec![Move { source: SOURCE, from, to, watermark_ms: to * 10 }],
        watermark_ms: to * 10,
        is_idle: true,
        changes: [(&b"\0a"[..], Some(&b"1"[..])), (b"\0b", None)].into_iter().collect(),
        emitted: vec![PARTITION],
        batches: vec![batch("out", 1).bytes().clone()],
    }
}

#[test]
fn offsets_follow_each_other_and_carry_the_term() {
    let mut log = Log::new();
    assert_eq!(log.door(0), Ok((0, false)));
    log.term = 7;
    assert_eq!(log.door(1), Ok((2, false)));
    let partition = log.fold.partition(PARTITION).expect("appended to");
    assert_eq!((partition.start, partition.next_offset, partition.max_time_ms), (0, 4, 1_001));
    assert_eq!(partition.terms, [(2, 0), (7, 2)]);
    let placed: Vec<(i64, i32)> = log
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Append { batch, .. } => Some((batch.base_offset(), batch.leader_epoch())),
            _ => None,
        })
        .collect();
    assert_eq!(placed, [(0, 2), (2, 7)]);
}

#[test]
fn of_a_door_only_the_next_number_is_appended() {
    let mut log = Log::new();
    assert_eq!(log.door(1), Err(Refusal::Gap));
    assert_eq!(log.door(0), Ok((0, false)));
    assert_eq!(log.door(0), Ok((0, true)));
    assert_eq!(log.door(2), Err(Refusal::Gap));
    for sequence in 1..=DOOR_ANSWERS_MAX as u64 {
        assert_eq!(log.door(sequence), Ok((2 * sequence as i64, false)));
    }
    assert_eq!(log.door(1), Ok((2, true)));
    assert_eq!(log.door(0), Err(Refusal::Forgotten));
    assert_eq!(log.fold.partition(PARTITION).map(|p| p.next_offset), Some(66));
}

#[test]
fn an_idempotent_producer_is_in_order_and_once() {
    let mut log = Log::new();
    assert_eq!(log.producer(0, 4, 2), Err(Refusal::Gap));
    for n in 0..=PRODUCER_BATCHES_MAX as i32 {
        assert_eq!(log.producer(0, 2 * n, 2), Ok((2 * i64::from(n), false)));
    }
    assert_eq!(log.producer(0, 2, 2), Ok((2, true)));
    assert_eq!(log.producer(0, 0, 2), Err(Refusal::Forgotten));
    assert_eq!(log.producer(0, 13, 2), Err(Refusal::Gap));
    assert_eq!(log.producer(1, 5, 1), Err(Refusal::Gap), "a new epoch begins at 0");
    assert_eq!(log.producer(1, 0, 1), Ok((12, false)));
    assert_eq!(log.producer(0, 12, 2), Err(Refusal::Fenced));
}

#[test]
fn ids_that_were_never_issued_are_refused_and_push_nobody_out() {
    let mut log = Log::of_shard(0, 4);
    let honest = log.issue();
    assert_eq!(log.one_of((honest, 0, 0), 0), Ok((0, false)));
    let elsewhere = |count| ProducerId { shard: ShardId(3), count }.number();
    let before = log.fold.small();
    for count in 1..=PRODUCERS_MAX as i64 + 1 {
        assert_eq!(log.one_of((elsewhere(count), 0, 0), 0), Err(Refusal::NotIssued));
        assert_eq!(log.one_of((honest + count, 0, 0), 0), Err(Refusal::NotIssued));
    }
    for nobodys in [0, elsewhere(0), -1, i64::MAX] {
        assert_eq!(log.one_of((nobodys, 0, 0), 0), Err(Refusal::NotIssued), "{nobodys}");
    }
    let after = log.fold.small();
    assert_eq!(before.len(), after.len(), "something is remembered of them");
    assert_eq!(log.one_of((honest, 0, 0), 0), Ok((0, true)));
    // What one append says of an issuer is known to all after it.
    assert_eq!(log.one_of((elsewhere(7), 0, 0), 7), Ok((1, false)));
    assert_eq!(log.one_of((elsewhere(6), 0, 0), 0), Ok((2, false)));
    assert_eq!(log.one_of((elsewhere(8), 0, 0), 0), Err(Refusal::NotIssued));
}

#[test]
fn a_forgotten_producer_is_told_so_and_goes_on_under_a_later_epoch() {
    let mut log = Log::of_shard(0, 1);
    let (forgotten, idle) = (log.issue(), log.issue());
    assert_eq!(log.one_of((forgotten, 3, 0), 0), Ok((0, false)));
    let others: Vec<i64> = (0..PRODUCERS_MAX).map(|_| log.issue()).collect();
    for other in &others {
        log.one_of((*other, 0, 0), 0).expect("the next");
    }
    let next = log.fold.partition(PARTITION).map(|partition| partition.next_offset);
    for base in [0, 1] {
        assert_eq!(log.one_of((forgotten, 3, base), 0), Err(Refusal::Lost), "a retry or the next");
    }
    assert_eq!(log.fold.partition(PARTITION).map(|partition| partition.next_offset), next);
    let next = next.expect("it has events");
    assert_eq!(log.one_of((forgotten, 4, 0), 0), Ok((next, false)));
    assert_eq!(log.one_of((forgotten, 4, 0), 0), Ok((next, true)));
    assert_eq!(log.one_of((forgotten, 3, 1), 0), Err(Refusal::Fenced));
    // Nobody knows that this one never was here; one that is issued later never was.
    assert_eq!(log.one_of((idle, 0, 0), 0), Err(Refusal::Lost));
    let fresh = log.issue();
    assert_eq!(log.one_of((fresh, 0, 0), 0), Ok((next + 1, false)));
}

#[test]
fn sequences_wrap_after_the_largest() {
    let origins = |next: i32| {
        let mut log = Log::new();
        assert!(log.producer(0, 0, 1).is_ok());
        let small = &mut log.fold.small;
        small.origins.set_next(9, PARTITION, next);
        log
    };
    let mut log = origins(i32::MAX);
    assert_eq!(log.producer(0, i32::MAX, 3), Ok((1, false)));
    assert_eq!(log.producer(0, 2, 1), Ok((4, false)));
    assert_eq!(log.producer(0, i32::MAX, 3), Ok((1, true)));
    assert_eq!(log.producer(0, i32::MAX - 5, 1), Err(Refusal::Forgotten));
    assert_eq!(log.producer(0, 4, 1), Err(Refusal::Gap));
}

#[test]
fn an_idempotency_key_stands_for_one_body() {
    let mut log = Log::new();
    let key = |key, body| Origin::Key { key, body };
    assert_eq!(log.append(key(1, 7), &batch("a", 1)), Ok((0, false)));
    assert_eq!(log.append(key(1, 7), &batch("a", 1)), Ok((0, true)));
    assert_eq!(log.append(key(1, 8), &batch("b", 1)), Err(Refusal::Conflict));
    assert_eq!(log.append(key(2, 8), &batch("b", 1)), Ok((1, false)));
}

#[test]
fn a_malformed_batch_changes_nothing_and_uses_no_number() {
    let mut log = Log::new();
    let before = log.fold.partitions().count();
    let origin = Origin::Door { door: 1, connection: 2, sequence: 0 };
    let batch = Bytes::from_static(b"not a batch");
    let refused = log.op(Op::Append { partition: PARTITION, origin, batch });
    assert_eq!(refused, Err(Refusal::Malformed));
    assert_eq!(log.fold.partitions().count(), before);
    assert_eq!(log.door(0), Ok((0, false)));
}

#[test]
fn a_commit_moves_positions_rows_and_output_together() {
    let mut log = Log::new();
    let done = log.op(Op::Commit(Box::new(commit(0, 0, 5))));
    assert_eq!(done, Ok(Answer::Committed { sequence: 1 }));
    let task = log.fold.task(TASK).expect("committed");
    assert_eq!((task.sequence, task.version, task.watermark_ms), (1, 3, 50));
    assert!(task.is_idle);
    assert_eq!(task.positions[&SOURCE], (5, 50));
    assert_eq!(log.fold.row(TASK, b"\0a").as_deref(), Some(&b"1"[..]));
    assert_eq!(log.fold.scan(TASK, b"\0", 10).len(), 1);
    assert_eq!(log.fold.partition(PARTITION).map(|p| p.next_offset), Some(1));
    assert!(matches!(
        log.actions[..],
        [Action::Append { .. }, Action::TaskMoved { sequence: 1, .. }]
    ));
}

#[test]
fn a_commit_whose_assumptions_are_not_the_committed_ones_changes_nothing() {
    let mut log = Log::new();
    assert!(log.op(Op::Commit(Box::new(commit(0, 0, 5)))).is_ok());
    let rows = |log: &Log| -> Vec<(TaskId, Vec<u8>, Vec<u8>)> {
        log.fold.rows().map(|(task, key, value)| (task, key.to_vec(), value.to_vec())).collect()
    };
    let digest = |log: &Log| (log.fold.small.tasks.clone(), rows(log));
    let before = digest(&log);
    let good = || commit(1, 5, 9);
    let cases = [
        (commit(0, 0, 5), Refusal::Stale),
        (commit(2, 5, 9), Refusal::Stale),
        (commit(1, 4, 9), Refusal::Stale),
        (Commit { term: 1, ..good() }, Refusal::Stale),
        (Commit { version: 2, ..good() }, Refusal::Stale),
        (commit(1, 5, 4), Refusal::Malformed),
        (Commit { moves: [good().moves, good().moves].concat(), ..good() }, Refusal::Malformed),
        (Commit { batches: vec![Bytes::from_static(b"x")], ..good() }, Refusal::Malformed),
    ];
    for (commit, refusal) in cases {
        assert_eq!(log.op(Op::Commit(Box::new(commit.clone()))), Err(refusal), "{commit:?}");
        assert!(digest(&log) == before);
    }
    assert!(log.op(Op::Commit(Box::new(Commit { version: 4, ..good() }))).is_ok());
}

#[test]
fn watermarks_never_fall() {
    let mut log = Log::new();
    assert!(log.op(Op::Commit(Box::new(commit(0, 0, 5)))).is_ok());
    let mut back = commit(1, 5, 6);
    (back.watermark_ms, back.moves[0].watermark_ms) = (1, 2);
    assert!(log.op(Op::Commit(Box::new(back))).is_ok());
    let task = log.fold.task(TASK).expect("committed");
    assert_eq!((task.watermark_ms, task.positions[&SOURCE]), (50, (6, 50)));
}

#[test]
fn operations_of_another_shard_are_refused() {
    let home = model::hash::shard_of(TASK.stage.0, TASK.bucket, 64).0;
    let mut log = Log::of_shard((home + 1) % 64, 64);
    assert_eq!(log.op(Op::Commit(Box::new(commit(0, 0, 5)))), Err(Refusal::WrongShard));
    let change =
        model::catalogue::Change::Remove { peer: PeerId(1), incarnation: 1, shrink: false };
    let mut log = Log::of_shard(1, 64);
    assert_eq!(log.op(Op::Catalogue(Box::new(change))), Err(Refusal::WrongShard));
}

#[test]
fn a_producer_id_carries_its_shard_and_belongs_to_its_nonce() {
    let mut log = Log::of_shard(u16::MAX, u16::MAX);
    let id = |answer| match answer {
        Ok(Answer::Producer { id }) => id,
        other => panic!("{other:?}"),
    };
    let first = id(log.op(Op::Producer { nonce: 7 }));
    let told = ProducerId::read(first).expect("an id of a shard");
    assert_eq!((told.shard, told.count, told.number()), (ShardId(u16::MAX), 1, first));
    assert_eq!(id(log.op(Op::Producer { nonce: 7 })), first);
    assert_eq!(id(log.op(Op::Producer { nonce: 8 })), first + 1);
}

fn group(name: &str, term: u64, offset: i64) -> Op {
    let committed = Committed { offset, ..Committed::default() };
    let what = What::Commit(vec![(PARTITION, committed)]);
    Op::Group(Box::new(group::Change { group: name.into(), term, what }))
}

#[test]
fn a_groups_change_counts_only_in_the_term_and_the_shard_of_its_coordinator() {
    let mut log = Log::new();
    assert_eq!(log.op(group("g", 1, 5)), Ok(Answer::Group(group::Changed::Stale)));
    assert_eq!(log.fold.groups().count(), 0);
    assert_eq!(log.op(group("g", 2, 5)), Ok(Answer::Group(group::Changed::Done)));
    assert_eq!(log.fold.group("g").map(|it| it.offsets[&PARTITION].offset), Some(5));
    log.term = 3;
    assert_eq!(log.op(group("g", 2, 9)), Ok(Answer::Group(group::Changed::Stale)));
    assert_eq!(log.fold.group("g").map(|it| it.offsets[&PARTITION].offset), Some(5));
    let home = model::hash::shard_of_group("g", 64).0;
    let mut log = Log::of_shard((home + 1) % 64, 64);
    assert_eq!(log.op(group("g", 2, 5)), Err(Refusal::WrongShard));
}

#[test]
fn trims_only_go_forward_and_not_beyond_the_end() {
    let mut log = Log::new();
    assert!(log.door(0).is_ok() && log.door(1).is_ok());
    let mut trim = |offset| log.op(Op::Trim { partition: PARTITION, offset });
    assert_eq!(trim(2), Ok(Answer::Trimmed { start: 2 }));
    assert_eq!(trim(1), Ok(Answer::Trimmed { start: 2 }));
    assert_eq!(trim(99), Ok(Answer::Trimmed { start: 4 }));
    let trims = log.actions.iter().filter(|action| matches!(action, Action::Trim { .. }));
    assert_eq!(trims.count(), 2);
}

#[test]
fn the_end_of_an_epoch_is_where_the_next_one_with_events_begins() {
    let partition = Partition {
        next_offset: 90,
        terms: vec![(3, 10), (5, 40), (6, 70)],
        ..Partition::default()
    };
    let ends = [-1, 2, 3, 4, 5, 6, 7, 8, 9].map(|epoch| partition.end_of(epoch, 8));
    let known = [Some((2, 10)), Some((3, 40)), Some((3, 40)), Some((5, 70)), Some((6, 90))];
    assert_eq!(ends[0], None);
    assert_eq!(ends[1..6], known);
    assert_eq!(ends[6..], [Some((6, 90)), Some((8, 90)), None]);
    assert_eq!([9, 10, 39, 40, 89].map(|at| partition.epoch_at(at)), [-1, 3, 3, 5, 6]);
    assert_eq!(Partition::default().end_of(3, 3), Some((3, 0)));
}

#[test]
fn a_dropped_partition_is_gone_and_no_late_append_brings_it_back() {
    let mut log = Log::new();
    assert!(log.door(0).is_ok());
    let drop = Op::Drop { partition: PARTITION };
    assert_eq!(log.op(drop.clone()), Ok(Answer::Dropped));
    assert_eq!(log.op(drop), Ok(Answer::Dropped));
    assert!(log.fold.partition(PARTITION).is_none());
    assert_eq!(log.door(1), Err(Refusal::Dropped));
    let drops = log.actions.iter().filter(|action| matches!(action, Action::Drop { .. }));
    assert_eq!(drops.count(), 1);
}

#[test]
fn an_ended_task_leaves_nothing_and_no_late_commit_brings_it_back() {
    let mut log = Log::new();
    let rows = END_ROWS + 1;
    let many: Vec<Vec<u8>> = (0..rows).map(|n| format!("\0{n:08}").into_bytes()).collect();
    let mut first = commit(0, 0, 5);
    first.changes = many.iter().map(|key| (&key[..], Some(&b"1"[..]))).collect();
    assert!(log.op(Op::Commit(Box::new(first))).is_ok());
    assert_eq!(log.fold.take_changed().len(), rows, "a checkpoint has them");
    let end = Op::End { task: TASK };
    assert_eq!(log.op(end.clone()), Ok(Answer::Ended { more: true }));
    assert_eq!(log.fold.kept_tasks(), BTreeSet::from([TASK]), "there is still to do");
    assert_eq!(log.op(Op::Commit(Box::new(commit(1, 5, 6)))), Err(Refusal::Dropped));
    assert_eq!(log.op(end.clone()), Ok(Answer::Ended { more: false }));
    assert_eq!(log.op(end), Ok(Answer::Ended { more: false }));
    assert!(log.fold.kept_tasks().is_empty() && log.fold.task(TASK).is_none());
    assert_eq!(log.op(Op::Commit(Box::new(commit(0, 0, 5)))), Err(Refusal::Dropped));
    let removed = log.fold.take_changed();
    assert!(removed.len() == rows && removed.iter().all(|(_, _, value)| value.is_none()));
    let mut restored = Fold::restore(&log.fold.small(), std::iter::empty()).expect("own bytes");
    assert_eq!(restored.digest(), log.fold.digest());
    let bytes = Bytes::from(
        Entry { time_ms: 0, ops: vec![Op::Commit(Box::new(commit(0, 0, 5)))] }.encode(),
    );
    let (mut outcomes, index) = (Vec::new(), restored.index() + 1);
    restored.apply(index, 2, &bytes, &mut outcomes, &mut Vec::new()).expect("a known entry");
    assert_eq!(outcomes, [Err(Refusal::Dropped)], "a restart remembers it");
}

#[test]
fn no_commit_brings_a_dropped_partition_back() {
    let mut log = Log::new();
    assert_eq!(log.op(Op::Drop { partition: PARTITION }), Ok(Answer::Dropped));
    assert_eq!(log.op(Op::Commit(Box::new(commit(0, 0, 5)))), Err(Refusal::Dropped));
    assert!(log.fold.partition(PARTITION).is_none() && log.fold.task(TASK).is_none());
}

#[test]
fn shard_time_never_falls() {
    let mut log = Log::new();
    for (given, kept) in [(500, 500), (400, 500), (600, 600)] {
        log.entry(given, vec![]);
        assert_eq!(log.fold.time_ms(), kept);
    }
}

#[test]
fn a_restored_fold_is_equal_and_rows_are_given_once() {
    let mut log = Log::new();
    assert!(log.door(0).is_ok());
    assert!(log.op(Op::Commit(Box::new(commit(0, 0, 5)))).is_ok());
    assert!(log.op(Op::Producer { nonce: 1 }).is_ok());
    assert!(log.op(group("g", 2, 5)).is_ok());
    let changed = log.fold.take_changed();
    // The other row that the commit names was never there.
    assert_eq!(changed.len(), 1);
    assert!(log.fold.take_changed().is_empty());
    let rows = changed.into_iter().filter_map(|(task, key, value)| Some((task, key, value?)));
    let mut restored = Fold::restore(&log.fold.small(), rows).expect("own bytes");
    assert_eq!(restored.digest(), log.fold.digest());
    assert!(restored.take_changed().is_empty());
    let digest = log.fold.digest();
    assert!(log.door(1).is_ok());
    assert_ne!(log.fold.digest(), digest);
    assert!(Fold::restore(b"", std::iter::empty()).is_err());
}

#[test]
fn an_entry_without_meaning_stops_before_it_changes_anything() {
    let mut log = Log::new();
    let digest = log.fold.digest();
    let (mut outcomes, mut actions) = (Vec::new(), Vec::new());
    let bytes = Bytes::from_static(&[9, 0, 0]);
    let stopped = log.fold.apply(2, 2, &bytes, &mut outcomes, &mut actions);
    assert!(stopped.is_err_and(|e| e.is_fatal()));
    assert_eq!(log.fold.digest(), digest);
}
