//! The thread that owns the journal: it writes and syncs one frame at a time, and cuts.
//!
//! Promises that `Written` follows only a sync that ended well. After the first failure it says `Fenced` and
//! does nothing more.

use crate::limits;
use crate::meter::Meter;
use crate::shards::Msg;
use model::{ReplicaId, ShardId};
use ractor::{ActorRef, ActorStatus};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;
use store::{Journal, Record};

/// What the thread is asked to do.
enum Command {
    Write { records: Vec<Record>, persists: Vec<(ShardId, ReplicaId, u64)> },
    Cut { durable: BTreeMap<ShardId, u64>, carry: BTreeMap<ShardId, Vec<Record>> },
}

/// The way to the thread.
pub struct Writer {
    commands: mpsc::SyncSender<Command>,
    bytes: Arc<AtomicU64>,
}

/// Turns that may wait for the disk; then their records gather with the actor.
const COMMANDS: usize = 64;

/// What could not be handed over.
pub struct Unwritten {
    pub records: Vec<Record>,
    pub persists: Vec<(ShardId, ReplicaId, u64)>,
    /// The thread has ended: it never will be.
    pub gone: bool,
}

impl Writer {
    pub fn start(journal: Journal, shards: ActorRef<Msg>, meter: Arc<Meter>) -> io::Result<Self> {
        let (commands, inbox) = mpsc::sync_channel(COMMANDS);
        let bytes = Arc::new(AtomicU64::new(journal.size()));
        let size = bytes.clone();
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || run(journal, &inbox, &shards, &size, &meter))?;
        Ok(Self { commands, bytes })
    }

    /// Hands a turn's records over; gives them back when the thread is behind.
    pub fn write(
        &self,
        records: Vec<Record>,
        persists: Vec<(ShardId, ReplicaId, u64)>,
    ) -> Result<(), Unwritten> {
        match self.commands.try_send(Command::Write { records, persists }) {
            Ok(()) => Ok(()),
            Err(mpsc::TrySendError::Full(Command::Write { records, persists })) => {
                Err(Unwritten { records, persists, gone: false })
            }
            Err(mpsc::TrySendError::Disconnected(Command::Write { records, persists })) => {
                Err(Unwritten { records, persists, gone: true })
            }
            Err(_) => unreachable!("what was sent comes back"),
        }
    }

    /// Lets the journal forget; not while the thread is behind: the next checkpoint asks again.
    pub fn cut(&self, durable: BTreeMap<ShardId, u64>, carry: BTreeMap<ShardId, Vec<Record>>) {
        if self.commands.try_send(Command::Cut { durable, carry }).is_err() {
            tracing::debug!("the journal is behind and is cut later");
        }
    }

    /// Bytes of the journal on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn run(
    mut journal: Journal,
    inbox: &mpsc::Receiver<Command>,
    shards: &ActorRef<Msg>,
    bytes: &AtomicU64,
    meter: &Meter,
) {
    let mut next = None;
    loop {
        let command = match next.take().map_or_else(|| inbox.recv(), Ok) {
            Ok(command) => command,
            Err(mpsc::RecvError) => return,
        };
        let done = match command {
            Command::Write { mut records, mut persists } => {
                next = gather(inbox, &mut records, &mut persists);
                let written = write_when_there_is_room(&mut journal, &records, shards, meter);
                written.map(|()| Some(Msg::Written { persists }))
            }
            Command::Cut { durable, mut carry } => {
                let carry = &mut |shard| carry.remove(&shard).unwrap_or_default();
                match journal.cut(&durable, carry) {
                    // The next checkpoint asks again.
                    Ok(_) | Err(store::Error::NoRoom { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        };
        bytes.store(journal.size(), Ordering::Relaxed);
        let answer = match done {
            Ok(None) => continue,
            Ok(Some(written)) => written,
            Err(error) => Msg::Fenced(error.to_string()),
        };
        let last = matches!(answer, Msg::Fenced(_));
        if shards.cast(answer).is_err() || last {
            return;
        }
    }
}

/// Nothing is acknowledged while it waits, and nothing is lost.
fn write_when_there_is_room(
    journal: &mut Journal,
    records: &[Record],
    shards: &ActorRef<Msg>,
    meter: &Meter,
) -> Result<(), store::Error> {
    loop {
        match write(journal, records, meter) {
            Err(store::Error::NoRoom { .. }) if shards.get_status() < ActorStatus::Stopping => {
                std::thread::sleep(limits::ROOM_PAUSE);
            }
            done => return done,
        }
    }
}

/// Writes one frame and makes it last; what only waits for those before it needs neither.
fn write(journal: &mut Journal, records: &[Record], meter: &Meter) -> Result<(), store::Error> {
    if records.is_empty() {
        return Ok(());
    }
    let began = Instant::now();
    journal.write(records)?;
    journal.sync()?;
    meter.sync.observe(began.elapsed());
    Ok(())
}

/// Takes the turns that came while the last frame was synced: they share this one's sync. Returns what belongs to
/// no frame.
fn gather(
    inbox: &mpsc::Receiver<Command>,
    records: &mut Vec<Record>,
    persists: &mut Vec<(ShardId, ReplicaId, u64)>,
) -> Option<Command> {
    let mut size: usize = records.iter().map(crate::shards::record_bytes).sum();
    while size < limits::FRAME_BYTES {
        match inbox.try_recv() {
            Ok(Command::Write { records: more, persists: waiting }) => {
                size += more.iter().map(crate::shards::record_bytes).sum::<usize>();
                records.extend(more);
                persists.extend(waiting);
            }
            Ok(other) => return Some(other),
            Err(_) => return None,
        }
    }
    None
}
