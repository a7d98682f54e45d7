//! The thread that writes checkpoints: segments synced, then tables saved and synced, then the durable index moves.

use crate::limits;
use crate::shards::{Args, Msg};
use crate::snapshot::{self, Exports};
use crate::space::Space;
use bytes::Bytes;
use model::{PartitionId, ReplicaId, ShardId, TaskId};
use ractor::{ActorRef, ActorStatus};
use replica::Checkpoint;
use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc;
use store::{Applied, Segments, Tables};

/// One fold that moved.
pub struct Due {
    pub shard: ShardId,
    pub replica: ReplicaId,
    pub checkpoint: Checkpoint,
    /// The fold's partitions with start and next offset.
    pub partitions: Vec<(PartitionId, i64, i64)>,
    /// All rows, when a follower waits for a snapshot.
    pub export: Option<Vec<(TaskId, Bytes, Bytes)>>,
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
        let work = move || {
            while let Ok(due) = inbox.recv() {
                wait_for_room(&space, &shards);
                let done = match keep(&segments, &tables, &exports, due) {
                    Ok((kept, exports)) => Msg::Checkpointed { kept, exports },
                    Err(error) => Msg::Fenced(format!("a checkpoint cannot be written: {error}")),
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

/// A table that fails half way has to be opened anew, so nothing is begun on a full disk. The journal has it all.
fn wait_for_room(space: &Space, shards: &ActorRef<Msg>) {
    while space.is_full() && shards.get_status() < ActorStatus::Stopping {
        std::thread::sleep(limits::ROOM_PAUSE);
    }
}

fn keep(
    segments: &Segments,
    tables: &Tables,
    exports: &Exports,
    due: Vec<Due>,
) -> Result<(Vec<Kept>, Vec<Exported>), store::Error> {
    let here: BTreeSet<_> =
        due.iter().flat_map(|due| &due.partitions).map(|(id, ..)| *id).collect();
    let dirty: Vec<_> = segments.dirty().into_iter().filter(|id| here.contains(id)).collect();
    segments.sync(&dirty)?;
    let mut kept = Vec::new();
    let mut exported = Vec::new();
    for Due { shard, replica, checkpoint, partitions, export } in due {
        let Checkpoint { index, term, hard, small, rows } = checkpoint;
        // A snapshot that was installed meanwhile is newer.
        if tables.save(shard, Applied { replica, index, term, hard }, &small, &rows)? {
            kept.push(Kept { shard, replica, index });
        }
        if let Some(rows) = export {
            let manifest = snapshot::export(exports, shard, index, small, rows, partitions);
            exported.push(Exported { shard, replica, index, term, manifest });
        }
    }
    tables.sync()?;
    Ok((kept, exported))
}
