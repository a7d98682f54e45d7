//! The thread that writes checkpoints: segments synced, then tables saved and synced, then the durable index moves.

use crate::limits;
use crate::shards::{Args, Msg};
use crate::snapshot::{self, Exports};
use crate::space::Space;
use bytes::Bytes;
use model::{PartitionId, ReplicaId, ShardId};
use ractor::{ActorRef, ActorStatus};
use replica::Checkpoint;
use std::collections::BTreeSet;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, mpsc};
use store::{Applied, Segments, Tables};

/// One fold that moved.
pub struct Due {
    pub shard: ShardId,
    pub replica: ReplicaId,
    pub checkpoint: Checkpoint,
    /// The fold's partitions with start and next offset.
    pub partitions: Vec<(PartitionId, i64, i64)>,
    /// A follower waits for a snapshot.
    pub export: bool,
}

/// A fold that is on disk.
pub struct Kept {
    pub shard: ShardId,
    pub replica: ReplicaId,
    pub index: u64,
}

/// A manifest that may be sent.
pub struct Exported {
    pub shard: ShardId,
    pub replica: ReplicaId,
    pub index: u64,
    pub term: u64,
    pub manifest: Bytes,
}

/// The way to the thread.
pub struct Keeper {
    rounds: mpsc::SyncSender<Vec<Due>>,
}

impl Keeper {
    pub fn start(args: &Args, shards: ActorRef<Msg>) -> io::Result<Self> {
        let (segments, tables) = (args.segments.clone(), args.tables.clone());
        let (exports, space) = (args.exports.clone(), args.space.clone());
        // One round is under way at a time; the actor waits for it before it gives the next.
        let (rounds, inbox) = mpsc::sync_channel::<Vec<Due>>(1);
        let writing = Writing { segments, tables, exports, space };
        let work = move || {
            while let Ok(due) = inbox.recv() {
                let round = AssertUnwindSafe(|| writing.keep_when_there_is_room(&due, &shards));
                let done = match panic::catch_unwind(round) {
                    Ok(Ok((kept, exports))) => Msg::Checkpointed { kept, exports },
                    Ok(Err(why)) => Msg::Fenced(format!("a checkpoint cannot be written: {why}")),
                    Err(_) => Msg::Fenced("whoever writes checkpoints has panicked".into()),
                };
                if shards.cast(done).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("keeper".into()).spawn(work)?;
        Ok(Self { rounds })
    }

    /// Hands a round over; false if the thread has ended.
    #[must_use]
    pub fn keep(&self, due: Vec<Due>) -> bool {
        self.rounds.send(due).is_ok()
    }
}

/// What the thread works on.
struct Writing {
    segments: Arc<Segments>,
    tables: Arc<Tables>,
    exports: Arc<Exports>,
    space: Arc<Space>,
}

impl Writing {
    /// Keeps a round, however long it takes until there is room: the journal has it all, and only its end is lost
    /// when tables are opened anew.
    fn keep_when_there_is_room(
        &self,
        due: &[Due],
        shards: &ActorRef<Msg>,
    ) -> Result<(Vec<Kept>, Vec<Exported>), store::Error> {
        self.wait_for_room(shards);
        let mut result = self.keep(due);
        while shards.get_status() < ActorStatus::Stopping {
            self.space.measure();
            match &result {
                Err(store::Error::NoRoom { doing }) => {
                    tracing::error!(doing, "no room for tables (SH0502)")
                }
                // The tables' own threads have met the full disk, and do not say so.
                Err(error @ store::Error::Fenced(_)) if self.space.is_full() => {
                    tracing::error!(%error, "no room for tables (SH0502)");
                }
                _ => break,
            }
            std::thread::sleep(limits::TABLES_PAUSE);
            self.wait_for_room(shards);
            result = self.tables.reopen().and_then(|()| self.keep(due));
        }
        result
    }

    /// Tables that fail half way have to be opened anew, so nothing is begun on a full disk.
    fn wait_for_room(&self, shards: &ActorRef<Msg>) {
        while self.space.is_full() && shards.get_status() < ActorStatus::Stopping {
            std::thread::sleep(limits::ROOM_PAUSE);
        }
    }

    fn keep(&self, due: &[Due]) -> Result<(Vec<Kept>, Vec<Exported>), store::Error> {
        let Self { segments, tables, exports, .. } = self;
        let here: BTreeSet<_> =
            due.iter().flat_map(|due| &due.partitions).map(|(id, ..)| *id).collect();
        let dirty: Vec<_> = segments.dirty().into_iter().filter(|id| here.contains(id)).collect();
        segments.sync(&dirty)?;
        let mut kept = Vec::new();
        let mut exported = Vec::new();
        for Due { shard, replica, checkpoint, partitions, export } in due {
            let (shard, replica) = (*shard, *replica);
            let Checkpoint { index, term, hard, small, rows } = checkpoint;
            let (index, term) = (*index, *term);
            let applied = Applied { replica, index, term, hard: *hard };
            // A snapshot that was installed meanwhile is newer.
            if tables.save(shard, applied, small, rows)? {
                kept.push(Kept { shard, replica, index });
            }
            // The tables hold that fold now, and whoever fetches it reads it from there.
            let frozen = if *export { tables.freeze(shard)? } else { None };
            if let Some((_, rows)) = frozen.filter(|(there, _)| *there == applied) {
                let parts = partitions.clone();
                let manifest =
                    snapshot::export(exports, shard, index, (small.clone(), rows), parts);
                exported.push(Exported { shard, replica, index, term, manifest });
            }
        }
        exports.sweep();
        tables.sync()?;
        Ok((kept, exported))
    }
}
