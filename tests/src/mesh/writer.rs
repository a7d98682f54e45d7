//! The journal's thread and the keeper's: what takes time because a disk does.
//!
//! Does what `peer::writer` and `peer::keeper` do. A frame is written at once and synced when the disk has answered;
//! a round of checkpoints takes effect as a whole when its time is over.

use super::bulk::export;
use super::faults::Fault;
use super::trace::note;
use super::world::{Of, World};
use bytes::Bytes;
use model::{PartitionId, ReplicaId, ShardId, TaskId};
use replica::{Checkpoint, Input};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use store::journal::Syncing;
use store::{Applied, Journal, Record, SimDisk};

/// Turns that may wait for the disk; then their records gather in the process.
const COMMANDS: usize = 64;
/// Records of one frame.
const FRAME_RECORDS: usize = 256;

/// Records, and the numbers that are told once they are on disk.
type Turns = (Vec<Record>, Vec<(ShardId, ReplicaId, u64)>);

enum Command {
    Write(Turns),
    Cut { durable: BTreeMap<ShardId, u64>, carry: BTreeMap<ShardId, Vec<Record>> },
}

/// A frame whose sync is under way.
struct Running {
    turns: Turns,
    syncing: Option<Syncing>,
}

/// The journal with its thread.
pub struct Writer {
    journal: Journal,
    commands: VecDeque<Command>,
    running: Option<Running>,
    fenced: bool,
    /// The disk loses the next frame, or writes it so many bytes further on.
    mislaid: Option<Option<u64>>,
}

/// One fold that moved.
#[derive(Debug)]
pub struct Due {
    pub shard: ShardId,
    pub replica: ReplicaId,
    pub checkpoint: Checkpoint,
    pub partitions: Vec<(PartitionId, i64, i64)>,
    /// All rows, when a follower waits for a snapshot.
    pub export: Option<Vec<(TaskId, Bytes, Bytes)>>,
}

impl Writer {
    pub fn new(journal: Journal) -> Self {
        Self { journal, commands: VecDeque::new(), running: None, fenced: false, mislaid: None }
    }
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }
    /// Bytes of the journal on disk.
    pub fn bytes(&self) -> u64 {
        self.journal.size()
    }
    /// Frames written so far.
    pub fn frames(&self) -> u64 {
        self.journal.written()
    }
    pub fn cut(&mut self, durable: BTreeMap<ShardId, u64>, carry: BTreeMap<ShardId, Vec<Record>>) {
        self.commands.push_back(Command::Cut { durable, carry });
    }

    /// The disk will lose the next frame, or write it `by` bytes further on.
    pub fn mislay(&mut self, by: Option<u64>) {
        self.mislaid = Some(by);
    }

    /// Begins what waits, with all turns that came meanwhile; true if that will take the disk's time.
    fn begin(&mut self, disk: &SimDisk) -> Result<Option<bool>, store::Error> {
        let Some(command) = self.commands.pop_front() else { return Ok(None) };
        let (mut records, mut persists) = match command {
            Command::Write(turns) => turns,
            Command::Cut { durable, mut carry } => {
                self.journal
                    .cut(&durable, &mut |shard| carry.remove(&shard).unwrap_or_default())?;
                self.running = Some(Running { turns: Turns::default(), syncing: None });
                return Ok(Some(true));
            }
        };
        while records.len() < FRAME_RECORDS
            && matches!(self.commands.front(), Some(Command::Write(_)))
            && let Some(Command::Write((more, waiting))) = self.commands.pop_front()
        {
            records.extend(more);
            persists.extend(waiting);
        }
        let mut syncing = None;
        if !records.is_empty() {
            if let Some(by) = self.mislaid.take() {
                disk.set(|faults| (faults.lose_write, faults.misdirect_write) = (by.is_none(), by));
            }
            self.journal.write(&records)?;
            syncing = Some(self.journal.begin_sync()?);
        }
        let takes_time = syncing.is_some();
        self.running = Some(Running { turns: (records, persists), syncing });
        Ok(Some(takes_time))
    }
}

impl World {
    /// Hands the gathered records to the thread; if it is behind they wait here for its next word.
    pub fn write(&mut self, h: usize) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let idle = process.persists.is_empty() && process.records.is_empty();
        if idle || process.writer.fenced || process.writer.commands.len() >= COMMANDS {
            return Ok(());
        }
        let turns = (std::mem::take(&mut process.records), std::mem::take(&mut process.persists));
        process.writer.commands.push_back(Command::Write(turns));
        self.run_writer(h)
    }

    /// The thread takes its next command, unless it is at one.
    pub fn run_writer(&mut self, h: usize) -> Result<(), String> {
        let (slow_us, disk) = (self.hosts[h].slow_us, self.hosts[h].disk.clone());
        let Some(process) = self.process(h) else { return Ok(()) };
        if process.writer.running.is_some() || process.writer.fenced {
            return Ok(());
        }
        let takes_time = match process.writer.begin(&disk) {
            Ok(None) => return Ok(()),
            Ok(Some(takes_time)) => takes_time,
            Err(error) => return self.fenced(h, &error.to_string()),
        };
        let slow = if slow_us > 0 { self.dice.range(0, slow_us) } else { 0 };
        let delay = if takes_time { self.dice.range(80, 1_500) + slow } else { 1 };
        self.soon(h, delay, Of::Written);
        Ok(())
    }

    /// The disk has answered.
    pub fn on_written(&mut self, h: usize) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(Running { turns, syncing }) = process.writer.running.take() else {
            return Ok(());
        };
        if let Some(syncing) = syncing
            && let Err(error) = process.writer.journal.end_sync(syncing.run())
        {
            return self.fenced(h, &error.to_string());
        }
        let (records, persists) = turns;
        self.truth.synced(h, &records);
        self.spare_no_more(h);
        self.run_writer(h)?;
        for (shard, replica, number) in persists {
            let Some(process) = self.process(h) else { return Ok(()) };
            if process.slot(shard).is_some_and(|slot| slot.replica.id() == replica) {
                self.step(h, shard, Input::Persisted { number })?;
            }
        }
        self.write(h)
    }

    /// A disk failed: the process acknowledges nothing any more, and ends.
    pub fn fenced(&mut self, h: usize, why: &str) -> Result<(), String> {
        note!(self, "h{h} is fenced: {why}");
        let excused = self.hosts[h].failing;
        self.disk_failed(h);
        let Some(process) = self.process(h) else { return Ok(()) };
        process.writer.fenced = true;
        process.waiting.clear();
        self.soon(h, 1_000, Of::Die);
        if excused { Ok(()) } else { Err(format!("h{h} is fenced on a sound disk: {why}")) }
    }

    /// What was done to a disk has taken effect when its process is fenced by it, once.
    fn disk_failed(&mut self, h: usize) {
        let process = self.hosts[h].process.as_deref();
        if process.is_none_or(|process| process.writer.fenced) {
            return;
        }
        let faults = self.hosts[h].disk.faults();
        if self.hosts[h].disk.is_off() {
            return self.befell(Fault::Torn);
        }
        if faults.fail_syncs {
            self.befell(Fault::FailSync);
        }
        if faults.fail_writes {
            self.befell(Fault::FailWrites);
        }
    }

    /// The keeper's round is over: segments synced, tables saved and synced, the durable indexes move.
    pub fn on_kept(&mut self, h: usize, due: Vec<Due>) -> Result<(), String> {
        if self.hosts[h].disk.is_off() {
            return self.fenced(h, "the power is off");
        }
        let Some(process) = self.process(h) else { return Ok(()) };
        let here: BTreeSet<_> =
            due.iter().flat_map(|due| &due.partitions).map(|(id, ..)| *id).collect();
        let dirty = process.segments.dirty().into_iter().filter(|id| here.contains(id));
        if let Err(error) = process.segments.sync(&dirty.collect::<Vec<_>>()) {
            return self.fenced(h, &format!("a checkpoint cannot be written: {error}"));
        }
        let mut kept = Vec::new();
        let mut exported = Vec::new();
        for Due { shard, replica, checkpoint, partitions, export: rows } in due {
            let Checkpoint { index, term, hard, small, rows: changed } = checkpoint;
            let applied = Applied { replica, index, term, hard };
            if self.hosts[h].tables.save(shard, applied, small.clone(), changed) {
                kept.push((shard, replica, index));
            }
            if let Some(rows) = rows {
                let (manifest, bytes) = export(shard, index, small, rows, partitions);
                let Some(process) = self.process(h) else { return Ok(()) };
                process.exports.insert(shard, (index, bytes));
                exported.push((shard, replica, (index, term), manifest));
            }
        }
        self.hosts[h].tables.sync();
        self.on_checkpointed(h, kept, exported)
    }
}
