//! Transactions, whatever is lost, late, doubled or left undone: what a coordinator decides and what its parts show.
//!
//! Writers compete for one transactional id. Their steps, and those of whoever tells the parts an end, are delivered late,
//! twice or never; a crash between any two of them loses all that is under way. Then everything that was ever sent comes
//! once more.

use bytes::Bytes;
use model::transaction::{Change, Changed, Part, Phase, Step, StepWhat, Stepped, What};
use model::{BatchBuilder, Entry, MeshId, Op, Origin, PartitionId, PeerId, ShardId, StreamId};
use proptest::prelude::*;
use replica::{Action, Answer, Config, Fold, Refusal};
use std::collections::{BTreeMap, BTreeSet};

const ID: &str = "t";
const TIMEOUT_MS: u32 = 10_000;
const PARTITIONS: u32 = 3;

fn partition(index: u32) -> PartitionId {
    PartitionId { stream: StreamId(1), partition: index }
}

fn part(index: u32) -> Part {
    Part::Partition(partition(index), ShardId(0))
}

/// What happens next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Move {
    Begin(usize),
    Add(usize, u32),
    Write(usize, u32),
    End(usize, bool),
    /// One step that is under way arrives, perhaps not for the last time.
    Arrive(usize, bool),
    /// Somebody tells so many parts of a decided transaction how it ends, and crashes if those are not all.
    Settle(usize),
    /// All that is under way of one writer is lost, and so is what it knew of it.
    Crash(usize),
    Wait,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => (0usize..3).prop_map(Move::Begin),
        5 => (0usize..3, 0..PARTITIONS).prop_map(|(who, at)| Move::Add(who, at)),
        8 => (0usize..3, 0..PARTITIONS).prop_map(|(who, at)| Move::Write(who, at)),
        3 => (0usize..3, any::<bool>()).prop_map(|(who, commit)| Move::End(who, commit)),
        14 => (0usize..32, prop::bool::weighted(0.2)).prop_map(|(at, again)| Move::Arrive(at, again)),
        4 => (0usize..4).prop_map(Move::Settle),
        1 => (0usize..3).prop_map(Move::Crash),
        1 => Just(Move::Wait),
    ]
}

/// One process that uses the id, as it sees itself.
#[derive(Clone, Debug, Default)]
struct Writer {
    producer: Option<(i64, i16)>,
    number: Option<u64>,
    open: BTreeSet<u32>,
    sequences: BTreeMap<u32, i32>,
    /// Appends that were not answered.
    waits: usize,
    /// It got an answer with which clients begin anew.
    is_broken: bool,
}

/// A step under way: whose, of which transaction.
#[derive(Clone, Debug)]
struct Sent {
    op: Op,
    who: usize,
    number: u64,
    answered: bool,
}

struct World {
    fold: Fold,
    now_ms: u64,
    writers: Vec<Writer>,
    sent: Vec<Sent>,
    /// Everything that was ever sent to a part.
    all: Vec<Op>,
    decided: BTreeMap<u64, bool>,
    /// Partition, offset and transaction of each event that was taken.
    taken: Vec<(u32, i64, u64)>,
}

impl World {
    fn new() -> Self {
        let (shard, mesh, peer) = (ShardId(0), MeshId(1), PeerId(1));
        let config = Config { shard, mesh, shards: 1, replication: 3, peer, seed: 0 };
        Self {
            fold: Fold::genesis(&config),
            now_ms: 1_000,
            writers: vec![Writer::default(); 3],
            sent: Vec::new(),
            all: Vec::new(),
            decided: BTreeMap::new(),
            taken: Vec::new(),
        }
    }

    fn apply(&mut self, op: Op) -> Result<Answer, Refusal> {
        let stable = self.stable();
        let bytes = Bytes::from(Entry { time_ms: self.now_ms, ops: vec![op] }.encode());
        let (mut outcomes, mut actions) = (Vec::new(), Vec::<Action>::new());
        let index = self.fold.index() + 1;
        self.fold.apply(index, 2, &bytes, &mut outcomes, &mut actions).expect("a known entry");
        for (before, after) in stable.iter().zip(self.stable()) {
            assert!(*before <= after, "P3: the stable offset fell from {before} to {after}");
        }
        if let Some(found) = self.fold.transaction(ID)
            && let Phase::Ending { commit, .. } = found.phase
        {
            let decided = *self.decided.entry(found.number).or_insert(commit);
            assert_eq!(decided, commit, "T2: transaction {} is decided twice", found.number);
        }
        outcomes.remove(0)
    }

    fn stable(&self) -> Vec<i64> {
        let stable = |index| self.fold.partition(partition(index)).map_or(0, |it| it.stable());
        (0..PARTITIONS).map(stable).collect()
    }

    fn coordinate(&mut self, what: What) -> Changed {
        let op = Op::Transaction(Box::new(Change { id: ID.into(), what }));
        match self.apply(op) {
            Ok(Answer::Transaction(changed)) => changed,
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self, step: &Move) {
        match *step {
            Move::Begin(who) => self.begin(who),
            Move::Add(who, at) => self.add(who, at),
            Move::Write(who, at) => self.write(who, at),
            Move::End(who, commit) => self.end(who, commit),
            Move::Arrive(at, again) if !self.sent.is_empty() => {
                self.arrive(at % self.sent.len(), again);
            }
            Move::Arrive(..) => {}
            Move::Settle(most) => self.settle(most),
            Move::Crash(who) => {
                self.sent.retain(|sent| sent.who != who);
                self.writers[who] = Writer::default();
            }
            Move::Wait => {
                self.now_ms += u64::from(TIMEOUT_MS);
                let number = self.fold.transaction(ID).map_or(0, |it| it.number);
                self.coordinate(What::Expire { number });
            }
        }
    }

    fn begin(&mut self, who: usize) {
        // Fresh each time: a repeated one is a story of its own.
        let nonce = u128::from(self.fold.index());
        let what = What::Init { timeout_ms: TIMEOUT_MS, nonce, before: None };
        if let Changed::Begun { producer, epoch } = self.coordinate(what) {
            self.sent.retain(|sent| sent.who != who);
            self.writers[who] = Writer { producer: Some((producer, epoch)), ..Writer::default() };
        }
    }

    fn add(&mut self, who: usize, at: u32) {
        let writer = self.writers[who].clone();
        let Some((producer, epoch)) = writer.producer.filter(|_| !writer.is_broken) else { return };
        match self.coordinate(What::Add { producer, epoch, parts: vec![part(at)] }) {
            Changed::Added { number } => {
                self.writers[who].number = Some(number);
                let what = StepWhat::Open { number };
                let step = Step { part: part(at), producer, epoch, what };
                self.send(Op::Step(Box::new(step)), who, number);
            }
            Changed::Busy => {}
            _ => self.writers[who].is_broken = true,
        }
    }

    fn write(&mut self, who: usize, at: u32) {
        let writer = &mut self.writers[who];
        let (Some((producer, epoch)), Some(number)) = (writer.producer, writer.number) else {
            return;
        };
        if writer.is_broken || !writer.open.contains(&at) {
            return;
        }
        let sequence = writer.sequences.entry(at).or_default();
        let mut builder = BatchBuilder::new().producer(producer, epoch, *sequence).transactional();
        builder.push(0, None, Some(b"v"), &[]);
        *sequence += 1;
        writer.waits += 1;
        let batch = builder.build().expect("an event").bytes().clone();
        let op =
            Op::Append { partition: partition(at), origin: Origin::Producer { issued: 0 }, batch };
        self.send(op, who, number);
    }

    fn send(&mut self, op: Op, who: usize, number: u64) {
        self.all.push(op.clone());
        self.sent.push(Sent { op, who, number, answered: false });
    }

    /// Ends a transaction all of whose events were answered, as clients do.
    fn end(&mut self, who: usize, commit: bool) {
        let writer = self.writers[who].clone();
        let (Some((producer, epoch)), Some(_)) = (writer.producer, writer.number) else { return };
        if writer.is_broken || writer.waits > 0 {
            return;
        }
        match self.coordinate(What::End { producer, epoch, commit }) {
            Changed::Ending | Changed::Done => {
                let writer = &mut self.writers[who];
                (writer.number, writer.open) = (None, BTreeSet::new());
            }
            _ => self.writers[who].is_broken = true,
        }
    }

    fn arrive(&mut self, at: usize, again: bool) {
        let mut sent = self.sent.remove(at);
        let outcome = self.apply(sent.op.clone());
        let is_first = !std::mem::replace(&mut sent.answered, true);
        let writer = &mut self.writers[sent.who];
        match (&sent.op, &outcome) {
            (Op::Append { partition, .. }, Ok(Answer::Appended { base_offset, duplicate })) => {
                if !duplicate {
                    self.taken.push((partition.partition, *base_offset, sent.number));
                }
                writer.waits -= usize::from(is_first);
            }
            // One before it is under way still.
            (Op::Append { .. }, Err(Refusal::Gap)) => {
                sent.answered = !is_first;
                return self.sent.push(sent);
            }
            (Op::Append { .. }, _) => writer.is_broken = true,
            (Op::Step(step), Ok(Answer::Stepped(Stepped::Done))) => {
                if let Part::Partition(id, _) = step.part
                    && writer.number == Some(sent.number)
                {
                    writer.open.insert(id.partition);
                }
            }
            _ => {}
        }
        if again {
            self.sent.push(sent);
        }
    }

    fn settle(&mut self, most: usize) {
        let Some(found) = self.fold.transaction(ID).cloned() else { return };
        let Phase::Ending { commit, parts } = found.phase else { return };
        for part in parts.iter().take(most) {
            let what = StepWhat::Close { number: found.number, commit };
            let (producer, epoch) = (found.producer, found.epoch);
            let op = Op::Step(Box::new(Step { part: part.clone(), producer, epoch, what }));
            self.all.push(op.clone());
            assert_eq!(self.apply(op), Ok(Answer::Stepped(Stepped::Done)));
        }
        if parts.len() <= most {
            self.coordinate(What::Ended { number: found.number });
        }
    }

    /// Faults are over: what is under way arrives, what is open too long is ended.
    fn heal(&mut self) {
        for _ in 0..2 {
            for _ in 0..self.sent.len() {
                self.arrive(0, false);
            }
        }
        self.take(&Move::Wait);
        self.settle(usize::MAX);
    }

    fn check(&self) {
        if let Some(found) = self.fold.transaction(ID) {
            assert!(matches!(found.phase, Phase::Idle { .. }), "it never ends: {found:?}");
        }
        for index in 0..PARTITIONS {
            let Some(found) = self.fold.partition(partition(index)) else { continue };
            assert_eq!(found.stable(), found.next_offset, "a transaction wedges its readers");
        }
        for (index, offset, number) in &self.taken {
            let found = self.fold.partition(partition(*index)).expect("it has events");
            let aborted = found.transactions.aborted();
            let producer = self.fold.transaction(ID).expect("somebody wrote").producer;
            let is_shown = !aborted.iter().any(|it| it.covers(producer, *offset));
            let decided = self.decided.get(number).copied().expect("what has events is decided");
            assert_eq!(is_shown, decided, "transaction {number} at offset {offset} of {index}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_transaction_is_shown_whole_or_not_at_all_and_wedges_nobody(
        moves in prop::collection::vec(any_move(), 1..160)
    ) {
        let mut world = World::new();
        for step in &moves {
            world.take(step);
        }
        world.heal();
        world.check();
        // All that was ever said to a part comes again, years late.
        let before = world.stable();
        for op in std::mem::take(&mut world.all) {
            let _ = world.apply(op);
        }
        prop_assert_eq!(before, world.stable(), "a late step had an effect");
        world.check();
    }
}

#[test]
fn a_later_producer_fences_an_earlier_one_and_ends_what_it_left() {
    let mut world = World::new();
    world.begin(0);
    world.add(0, 1);
    world.arrive(0, false);
    world.write(0, 1);
    world.arrive(0, false);
    assert_eq!(world.stable()[1], 0);
    // The first wish ends what is open; once its part knows, the next is served.
    world.begin(1);
    assert_eq!(world.writers[1].producer, None);
    world.begin(1);
    assert_eq!(world.writers[1].producer, None, "T1: the last one has not ended");
    world.settle(9);
    world.begin(1);
    let (producer, epoch) = world.writers[1].producer.expect("it has begun");
    assert_eq!(world.writers[0].producer, Some((producer, epoch - 2)));
    assert_eq!(world.stable()[1], 2, "the event and its marker");
    world.end(0, true);
    assert!(world.writers[0].is_broken, "T4: it is fenced");
    world.check();
}

#[test]
fn a_wish_and_an_end_that_are_repeated_are_answered_again() {
    let mut world = World::new();
    let init = What::Init { timeout_ms: 1, nonce: 7, before: None };
    let begun = world.coordinate(init.clone());
    assert_eq!(world.coordinate(init), begun);
    let Changed::Begun { producer, epoch } = begun else { panic!("{begun:?}") };
    let end = What::End { producer, epoch, commit: true };
    assert_eq!(world.coordinate(end.clone()), Changed::Invalid, "nothing is open");
    world.coordinate(What::Add { producer, epoch, parts: vec![part(0)] });
    assert_eq!(world.coordinate(end.clone()), Changed::Ending);
    assert_eq!(world.coordinate(end.clone()), Changed::Ending);
    let other = What::End { producer, epoch, commit: false };
    assert_eq!(world.coordinate(other.clone()), Changed::Invalid);
    world.settle(1);
    assert_eq!(world.coordinate(end), Changed::Done);
    assert_eq!(world.coordinate(other), Changed::Invalid);
}

#[test]
fn a_producer_that_missed_its_new_epoch_hears_it_again_until_the_epoch_is_used() {
    let mut world = World::new();
    let init = |nonce, before| What::Init { timeout_ms: 1, nonce, before };
    let begun = world.coordinate(init(1, None));
    let Changed::Begun { producer, epoch } = begun else { panic!("{begun:?}") };
    // Each request has a nonce of its own, also one that is sent again.
    let next = Changed::Begun { producer, epoch: epoch + 1 };
    assert_eq!(world.coordinate(init(2, Some((producer, epoch)))), next);
    assert_eq!(world.coordinate(init(3, Some((producer, epoch)))), next);
    world.coordinate(What::Add { producer, epoch: epoch + 1, parts: vec![part(0)] });
    assert_eq!(world.coordinate(init(4, Some((producer, epoch)))), Changed::Fenced);
    assert_eq!(world.coordinate(init(5, Some((producer, epoch + 1)))), Changed::Ending);
    world.settle(1);
    let last = Changed::Begun { producer, epoch: epoch + 3 };
    assert_eq!(world.coordinate(init(5, Some((producer, epoch + 1)))), last);
    assert_eq!(world.coordinate(init(6, Some((producer, epoch + 1)))), last);
    assert_eq!(world.coordinate(init(7, Some((producer, epoch)))), Changed::Fenced);
}

#[test]
fn a_producer_whose_id_was_forgotten_goes_on_under_another_number() {
    let mut world = World::new();
    let init = |nonce, before| What::Init { timeout_ms: 1, nonce, before };
    let begun = world.coordinate(init(1, Some((7, 4))));
    let Changed::Begun { producer, epoch: 0 } = begun else { panic!("{begun:?}") };
    assert_ne!(producer, 7);
    assert_eq!(world.coordinate(init(2, Some((7, 4)))), begun, "it has missed the answer");
    assert_eq!(world.coordinate(init(3, Some((7, 3)))), Changed::Fenced, "somebody else");
    world.coordinate(What::Add { producer, epoch: 0, parts: vec![part(0)] });
    assert_eq!(world.coordinate(init(4, Some((7, 4)))), Changed::Fenced, "it is used");
}

#[test]
fn a_batch_outside_of_its_transaction_is_refused() {
    let mut world = World::new();
    world.begin(0);
    world.add(0, 1);
    world.writers[0].open.insert(0);
    world.write(0, 0);
    let op = world.sent.pop().expect("it is sent").op;
    assert_eq!(world.apply(op), Err(Refusal::NotOpen), "P1: partition 0 is not in it");
}
