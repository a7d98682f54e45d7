//! The thread that owns the journal: it writes and syncs one frame at a time, and cuts.
//!
//! Promises that `Written` follows only a sync that ended well. After the first failure it says `Fenced` and
//! does nothing more.

use crate::shards::Msg;
use model::{ReplicaId, ShardId};
use ractor::ActorRef;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
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

/// At most one frame is under way, and a cut now and then.
const COMMANDS: usize = 4;

impl Writer {
    pub fn start(journal: Journal, shards: ActorRef<Msg>) -> io::Result<Self> {
        let (commands, inbox) = mpsc::sync_channel(COMMANDS);
        let bytes = Arc::new(AtomicU64::new(journal.size()));
        let size = bytes.clone();
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || run(journal, &inbox, &shards, &size))?;
        Ok(Self { commands, bytes })
    }

    pub fn write(&self, records: Vec<Record>, persists: Vec<(ShardId, ReplicaId, u64)>) {
        self.send(Command::Write { records, persists });
    }

    pub fn cut(&self, durable: BTreeMap<ShardId, u64>, carry: BTreeMap<ShardId, Vec<Record>>) {
        self.send(Command::Cut { durable, carry });
    }

    /// Bytes of the journal on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!("the journal's thread has ended");
        }
    }
}

fn run(
    mut journal: Journal,
    inbox: &mpsc::Receiver<Command>,
    shards: &ActorRef<Msg>,
    bytes: &AtomicU64,
) {
    while let Ok(command) = inbox.recv() {
        let done = match command {
            Command::Write { records, persists } => journal
                .write(&records)
                .and_then(|_| journal.sync())
                .map(|_| Some(Msg::Written { persists })),
            Command::Cut { durable, mut carry } => journal
                .cut(&durable, &mut |shard| carry.remove(&shard).unwrap_or_default())
                .map(|_| None),
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
