//! What can happen to a replica.

use bytes::Bytes;
use model::{Epoch, Op, PeerId, ReplicaId};
use std::collections::BTreeSet;

/// The moment an input happens: a machine asks no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic, microseconds since any fixed moment.
    pub mono_us: u64,
    /// Wall clock, ms since 1970.
    pub wall_ms: u64,
}

/// One input of [`crate::Replica::step`].
#[derive(Clone, Debug)]
pub enum Input {
    /// A tick has passed; the driver calls it every [`crate::TICK_MS`]. Every [`crate::BEAT_TICKS`]-th of a driver is the
    /// beat: leaders give their signs of life in it, so that those of all shards of a peer share frames.
    Tick { beat: bool },
    /// A consensus message of another replica of this shard.
    Message { from: ReplicaId, from_peer: PeerId, message: Bytes },
    /// A client, a door, a task or the catalogue wants an operation in the log. Answered once by `Action::Answer`.
    Propose { request: u64, op: Op },
    /// Somebody wants to read linearizably. Answered once, when this fold has applied the barrier's index.
    Read { request: u64 },
    /// The turn ends: propose what has gathered and say what must be written and sent.
    Turn,
    /// Say what must be written and sent of what has happened; operations that have gathered wait for [`Input::Turn`].
    Round,
    /// Every `Action::Persist` up to this number is on disk.
    Persisted { number: u64 },
    /// The ring's target for this shard, owner first, and the fewest voters that a person has allowed. Only a leader
    /// acts on it.
    Target { epoch: Epoch, peers: Vec<PeerId>, least: u8 },
    /// The peers that can do this shard's work (they hold the code of its tasks): one of them should lead. With nobody
    /// named all are alike.
    Able { peers: BTreeSet<PeerId> },
    /// The connection to this peer broke: if it leads, campaign (after a wait that grows with the place in the target).
    Lost { peer: PeerId },
    /// A checkpoint holds the fold at this index: the log may be cut below it.
    Checkpointed { index: u64 },
    /// The manifest that `Action::WantManifest` asked for, of the fold at `index`; it is sent to who needs it.
    Manifest { index: u64, term: u64, bytes: Bytes },
    /// The content of an `Action::Fetch` lies in the store: the withheld snapshot message and the fold it yields.
    Fetched { message: Bytes, fold: Box<crate::Fold> },
    /// A follower has (or has not) installed the snapshot it was sent.
    SnapshotOutcome { to: ReplicaId, installed: bool },
    /// A peer reports that its replica has lost or doubts its log: replace it by a new learner.
    Replace { replica: ReplicaId },
    /// Hand leadership to a calm voter now.
    HandOver,
    /// This peer's disk is slow, or it stops; or no more. A strained one hands its leaderships over and campaigns last;
    /// every message says so, so that leaders know it of every voter.
    Strained { strained: bool },
    /// One more replica of this shard may begin to move: answers [`crate::Replica::wants_move`].
    MayMove,
}
