//! What a log means, said a second time: as little as clients are promised, and nothing of how it is done.
//!
//! An offset has one batch for ever; of one origin only the next number is appended; what a task consumed, changed
//! and emitted moves together or not at all; offsets, positions, sequences and watermarks never fall.

use super::reference::Told;
use super::views::Views;
use bytes::Bytes;
use flow::Pipelines;
use model::batch::HEADER_BYTES;
use model::entry::Commit;
use model::hash::shard_of;
use model::log::EntryKind;
use model::{Batch, Catalogue, Entry, LogEntry, Op, Origin, PartitionId, ShardId, TaskId};
use replica::{Action, Answer, Fold, Refusal};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::super::world::SHARDS;

/// What a task has committed.
#[derive(Clone, Debug, Default)]
struct Standing {
    sequence: u64,
    version: u32,
    watermark_ms: Option<i64>,
    positions: BTreeMap<PartitionId, i64>,
}

/// Who appended: what makes an append repeatable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sender {
    Producer(i64, i16, PartitionId),
    Door(ShardId, u64, u64),
}

pub struct Model {
    logs: BTreeMap<PartitionId, BTreeMap<i64, Bytes>>,
    next: BTreeMap<PartitionId, i64>,
    /// The number that is next of each sender.
    senders: BTreeMap<Sender, i64>,
    keys: BTreeMap<(u128, PartitionId), i64>,
    producers: BTreeMap<u128, i64>,
    tasks: BTreeMap<TaskId, Standing>,
    times: BTreeMap<ShardId, u64>,
    views: Views,
    commits: u64,
}

impl Model {
    pub fn new(code: Arc<Pipelines>) -> Self {
        Self {
            logs: BTreeMap::new(),
            next: BTreeMap::new(),
            senders: BTreeMap::new(),
            keys: BTreeMap::new(),
            producers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            times: BTreeMap::new(),
            views: Views::new(code),
            commits: 0,
        }
    }

    pub fn commits(&self) -> u64 {
        self.commits
    }
    pub fn next_offset(&self, partition: PartitionId) -> i64 {
        self.next.get(&partition).copied().unwrap_or(0)
    }
    pub fn batch_at(&self, partition: PartitionId, offset: i64) -> Option<&Bytes> {
        self.logs.get(&partition)?.get(&offset)
    }
    pub fn batches(&self, partition: PartitionId) -> impl Iterator<Item = (i64, &Bytes)> {
        self.logs.get(&partition).into_iter().flatten().map(|(offset, bytes)| (*offset, bytes))
    }
    pub fn position(&self, task: TaskId, source: PartitionId) -> i64 {
        let standing = self.tasks.get(&task);
        standing.and_then(|s| s.positions.get(&source)).copied().unwrap_or(0)
    }

    /// An entry is committed; `told` is what the product's fold made of it, `fold` where that stands now.
    pub fn apply(
        &mut self,
        shard: ShardId,
        entry: &LogEntry,
        told: &Told,
        (fold, catalogue): (&Fold, Option<&Catalogue>),
    ) -> Result<(), String> {
        let time = self.times.entry(shard).or_default();
        if fold.time_ms() < *time {
            return Err(format!("{shard}: shard time falls at entry {}", entry.index));
        }
        *time = fold.time_ms();
        if entry.kind != EntryKind::Normal || entry.bytes.is_empty() {
            return Ok(());
        }
        let decoded = Entry::decode(&entry.bytes).map_err(|error| error.to_string())?;
        let mut placed: VecDeque<(PartitionId, Batch)> = VecDeque::new();
        placed.extend(told.actions.iter().filter_map(|action| match action {
            Action::Append { partition, batch } => Some((*partition, batch.clone())),
            _ => None,
        }));
        if decoded.ops.len() != told.outcomes.len() {
            return Err(format!(
                "{shard}: entry {} has no outcome for each operation",
                entry.index
            ));
        }
        for (op, outcome) in decoded.ops.into_iter().zip(&told.outcomes) {
            let operated = match op {
                Op::Append { partition, origin, batch } => {
                    self.append(shard, partition, &origin, &batch, outcome, &mut placed)
                }
                Op::Commit(commit) => {
                    let known = (shard, entry.term, catalogue);
                    self.commit(known, *commit, outcome, &mut placed)
                }
                Op::Producer { nonce } => self.producer(nonce, outcome),
                Op::Catalogue(_) | Op::Trim { .. } | Op::Drop { .. } | Op::Group(_) => Ok(()),
                // Nobody here has transactions; a marker would be found, as appended by somebody else.
                Op::Transaction(_) | Op::Step(_) => Ok(()),
            };
            operated.map_err(|why| format!("{shard} at entry {}: {why}", entry.index))?;
        }
        match placed.is_empty() {
            true => Ok(()),
            false => Err(format!("{shard} at entry {}: somebody else appended", entry.index)),
        }
    }

    fn append(
        &mut self,
        shard: ShardId,
        partition: PartitionId,
        origin: &Origin,
        bytes: &Bytes,
        outcome: &Result<Answer, Refusal>,
        placed: &mut VecDeque<(PartitionId, Batch)>,
    ) -> Result<(), String> {
        let batch = Batch::one(bytes.clone()).map_err(|error| error.to_string())?;
        let is_next = match origin {
            Origin::Key(key) => !self.keys.contains_key(&(*key, partition)),
            Origin::Producer => {
                let (id, epoch) = (batch.producer_id(), batch.producer_epoch());
                let sender = Sender::Producer(id, epoch, partition);
                let number = i64::from(batch.base_sequence());
                self.takes(sender, number, i64::from(batch.last_offset_delta()) + 1)
            }
            Origin::Door { door, connection, sequence } => {
                let sender = Sender::Door(shard, *door, *connection);
                self.takes(sender, *sequence as i64, 1)
            }
        };
        let next = self.next_offset(partition);
        match (is_next, outcome) {
            (true, Ok(Answer::Appended { base_offset, duplicate: false })) => {
                if *base_offset != next {
                    return Err(format!("{partition:?} goes on at {next}, not {base_offset}"));
                }
                if let Origin::Key(key) = origin {
                    self.keys.insert((*key, partition), next);
                }
                self.place(partition, bytes, placed)
            }
            (true, other) => Err(format!("the next of {origin:?} is answered {other:?}")),
            (false, Ok(Answer::Appended { duplicate: false, .. })) => {
                Err(format!("{origin:?} is appended, which is not the next"))
            }
            (false, Ok(Answer::Appended { base_offset, .. })) => {
                let there = self.batch_at(partition, *base_offset);
                match there.is_some_and(|there| there[HEADER_BYTES..] == bytes[HEADER_BYTES..]) {
                    true => Ok(()),
                    false => Err(format!("{origin:?} is said to be at {base_offset}, it is not")),
                }
            }
            (false, _) => Ok(()),
        }
    }

    /// Whether this number is the sender's next; then the one after it is.
    fn takes(&mut self, sender: Sender, number: i64, count: i64) -> bool {
        let next = self.senders.entry(sender).or_default();
        let is_next = *next == number;
        if is_next {
            *next += count;
        }
        is_next
    }

    /// A batch lies where it must.
    fn place(
        &mut self,
        partition: PartitionId,
        bytes: &Bytes,
        placed: &mut VecDeque<(PartitionId, Batch)>,
    ) -> Result<(), String> {
        let next = self.next_offset(partition);
        let Some((at, batch)) = placed.pop_front() else { return Err("nothing is placed".into()) };
        let same = batch.bytes()[HEADER_BYTES..] == bytes[HEADER_BYTES..];
        if at != partition || batch.base_offset() != next || !same {
            return Err(format!("{partition:?} goes on at {next}, placed is {batch:?} in {at:?}"));
        }
        self.next.insert(partition, batch.next_offset());
        self.logs.entry(partition).or_default().insert(next, batch.bytes().clone());
        Ok(())
    }

    fn commit(
        &mut self,
        (shard, term, catalogue): (ShardId, u64, Option<&Catalogue>),
        commit: Commit,
        outcome: &Result<Answer, Refusal>,
        placed: &mut VecDeque<(PartitionId, Batch)>,
    ) -> Result<(), String> {
        let standing = self.tasks.entry(commit.task).or_default();
        let at = |source| standing.positions.get(source).copied().unwrap_or(0);
        let holds = shard_of(commit.task.stage.0, commit.task.bucket, SHARDS) == shard
            && commit.term == term
            && commit.sequence == standing.sequence
            && commit.version >= standing.version
            && commit
                .moves
                .iter()
                .all(|step| step.from == at(&step.source) && step.to >= step.from);
        let task = commit.task;
        match (holds, outcome) {
            (true, Ok(Answer::Committed { sequence })) if *sequence == commit.sequence + 1 => {}
            (false, Err(_)) => return Ok(()),
            (_, other) => {
                return Err(format!("{task:?} commits {} and hears {other:?}", commit.sequence));
            }
        }
        standing.sequence += 1;
        standing.version = commit.version;
        standing.watermark_ms = standing.watermark_ms.max(Some(commit.watermark_ms));
        for step in &commit.moves {
            standing.positions.insert(step.source, step.to);
        }
        for (partition, bytes) in commit.emitted.iter().zip(&commit.batches) {
            self.place(*partition, bytes, placed)?;
        }
        self.commits += 1;
        let catalogue = catalogue.ok_or("a task commits before there is a catalogue")?;
        self.views.commit(&commit, catalogue, &self.logs)
    }

    fn producer(&mut self, nonce: u128, outcome: &Result<Answer, Refusal>) -> Result<(), String> {
        let Ok(Answer::Producer { id }) = outcome else {
            return Err(format!("a producer id is answered {outcome:?}"));
        };
        let taken = self.producers.iter().any(|(of, known)| *of != nonce && known == id);
        let known = *self.producers.entry(nonce).or_insert(*id);
        if taken || known != *id {
            return Err(format!("producer id {id} is handed out twice"));
        }
        Ok(())
    }

    /// Holds the product's fold against this, whole.
    pub fn matches(&self, fold: &Fold) -> Result<(), String> {
        for (partition, found) in fold.partitions() {
            let next = self.next_offset(partition);
            if found.next_offset != next {
                return Err(format!("{partition:?} ends at {next}, folded {}", found.next_offset));
            }
        }
        for (id, found) in fold.tasks() {
            let Some(known) = self.tasks.get(&id) else {
                return Err(format!("{id:?} is folded and has not committed"));
            };
            let positions: BTreeMap<_, _> =
                found.positions.iter().map(|(source, (offset, _))| (*source, *offset)).collect();
            let same = found.sequence == known.sequence
                && Some(found.watermark_ms) == known.watermark_ms
                && positions == known.positions;
            if !same {
                return Err(format!("{id:?} is folded as {found:?}, committed was {known:?}"));
            }
            self.views.matches(id, fold)?;
        }
        Ok(())
    }
}
