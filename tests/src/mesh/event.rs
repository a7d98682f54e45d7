//! What can happen in a simulated mesh: the queue holds nothing else.

use super::calls::{Ask, Asker, Said};
use super::fetch::Fetched;
use super::host::Letter;
use super::router::{Reply, Wish};
use super::writer::Due;
use bytes::Bytes;
use model::{PartitionId, ShardId, StageId, TaskId};

/// What will happen.
#[derive(Debug)]
pub enum Event {
    /// To a process, in this life of its host: void when that has ended, late while it is paused.
    Of(usize, u64, Of),
    Start {
        host: usize,
        life: u64,
    },
    /// A host that belongs to no mesh yet hears the answer to its wish to join.
    Joined {
        host: usize,
        life: u64,
        said: Said,
    },
    Reply {
        request: u64,
        reply: Reply,
    },
    Timeout {
        request: u64,
    },
    Client {
        client: usize,
    },
    Fault,
    /// A link hears again.
    Join {
        from: usize,
        to: usize,
    },
    PowerCut,
    /// A failing disk works again.
    Mend {
        host: usize,
    },
    Look,
}

/// What happens to a process.
#[derive(Debug)]
pub enum Of {
    Tick,
    Turn,
    Checkpoint,
    /// The journal's thread is through with what it was at.
    Written,
    /// The keeper's thread is through with a round.
    Kept(Vec<Due>),
    Frame {
        from: Vec<u8>,
        letters: Vec<Letter>,
    },
    Gossip {
        from: Vec<u8>,
        bytes: Bytes,
    },
    Timer {
        token: u64,
    },
    Up {
        key: Vec<u8>,
    },
    Down {
        key: Vec<u8>,
    },
    Asked {
        from: Asker,
        key: Vec<u8>,
        ask: Ask,
    },
    /// What another peer waits for may be here by now.
    Await {
        from: Asker,
        ask: Ask,
        until_us: u64,
    },
    Said {
        id: u64,
        said: Said,
    },
    Late {
        id: u64,
    },
    Wish {
        request: u64,
        shard: ShardId,
        wish: Wish,
    },
    Retry {
        held: u64,
    },
    /// A task goes on, unless it has begun anew since.
    Task {
        task: TaskId,
        run: u64,
    },
    Restart {
        task: TaskId,
    },
    /// The sources of a stage have moved, or may have.
    Pull {
        stage: StageId,
    },
    /// A consumer reads all of a partition.
    Consume {
        partition: PartitionId,
    },
    LookForTasks,
    Fetched(Box<Fetched>),
    Follow,
    Stay,
    Duty,
    Doubts,
    Die,
}
