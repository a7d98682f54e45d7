//! The catalogue: what the log of shard 0 says about roster, streams, pipelines and views. Data only; what a
//! change means when it is applied is decided in `replica`.

use crate::id::{Epoch, MeshId, PeerId, StageId, StreamId};
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The fold of shard 0's log. Cheap enough to clone on each change: it has no row per event or key.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Catalogue {
    pub mesh: MeshId,
    /// Index in shard 0's log of the last change that took effect.
    pub index: u64,
    /// Index of the last change of the roster: the ring's version.
    pub epoch: Epoch,
    /// The format version the mesh writes.
    pub level: u32,
    /// The mesh's fixed number of shards.
    pub shards: u16,
    /// Copies a shard should have.
    pub replication: u8,
    pub next_peer: i32,
    pub roster: BTreeMap<PeerId, Enrolled>,
    /// Peers of the roster that hold nothing, by a person's word.
    pub away: BTreeMap<PeerId, Away>,
    pub streams: BTreeMap<StreamId, Stream>,
    pub stream_names: BTreeMap<String, StreamId>,
    pub pipelines: BTreeMap<String, Pipeline>,
    pub views: BTreeMap<String, View>,
}

/// A peer of the roster: it has joined and not left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    pub id: PeerId,
    /// The public key's hash: the libp2p peer id as bytes. One key is one peer.
    pub key: Vec<u8>,
    pub name: String,
    pub zone: String,
    /// Capacity relative to others; 100 is ordinary, 0 owns nothing.
    pub weight: u32,
    pub addresses: Addresses,
    /// Grows with each start of the process.
    pub incarnation: u64,
    /// The pipelines whose code this peer's binary holds, as (name, version, fingerprint).
    pub holds: Vec<(String, u32, u64)>,
    pub version: String,
}

/// Why a peer of the roster holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Away {
    /// It stays, and may be given shards again.
    Drained,
    /// It goes when the last of its replicas has gone.
    Leaving,
}

/// Where a peer can be reached, each `host:port`; empty when it does not listen.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Addresses {
    pub mesh: String,
    pub consensus: String,
    pub kafka: String,
    pub http: String,
}

/// A named sequence of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    pub id: StreamId,
    pub name: String,
    pub partitions: u32,
    /// How many it had before it grew, the latest last: a request that is repeated goes where it went at first.
    pub layouts: Vec<u32>,
    /// The id that placement hashes: the stream's own, or that of the stage that writes it.
    pub placement: u128,
    /// The stage that writes it; clients may not.
    pub written_by: Option<StageId>,
    pub settings: Settings,
}

/// A running pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    pub name: String,
    pub version: u32,
    /// Hash of the pipeline's shape: stages, sources, buckets.
    pub fingerprint: u64,
    pub stages: Vec<Stage>,
    /// The version that waits until every peer that holds the running one holds it too.
    pub next: Option<(u32, u64)>,
    /// A person stopped its tasks: they keep their positions and their state.
    pub paused: bool,
    /// Grows with each wish that its tasks begin again; those that are parked do so, too.
    pub round: u32,
}

/// A stateful stage: one task a bucket, at the leader of the bucket's shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    pub id: StageId,
    pub name: String,
    /// Fixed when the stage is created.
    pub buckets: u32,
    pub sources: Vec<StreamId>,
    pub view: Option<String>,
    /// The stream it emits to, with a partition a bucket.
    pub output: Option<StreamId>,
    /// Streams that it emits to besides, with a partition a bucket each.
    pub sides: Vec<StreamId>,
    /// Where events go that it gave up, with a partition a bucket.
    pub dead: Option<StreamId>,
}

/// Rows kept from a stream, by a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub name: String,
    pub pipeline: String,
    pub stage: StageId,
    pub buckets: u32,
    /// How the rows are written, for those who show them: `json`, `text`, `u64`, `bytes`.
    pub format: String,
}

/// A change of the catalogue. Random ids are drawn by the proposer; apply keeps the first it sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Founds the mesh: the first entry of shard 0.
    Found { mesh: MeshId, shards: u16, replication: u8 },
    /// Refreshes the peer with this key, or adds one to the roster; its id is given at apply. A dead peer that it
    /// replaces goes in the same moment, and its name is free.
    Join { enrolled: Enrolled, replaces: Option<PeerId> },
    /// Takes a peer out of the roster for good. Names the incarnation it is meant for: a newer one voids it. `shrink`
    /// allows that fewer peers than copies remain; only a person says so.
    Remove { peer: PeerId, incarnation: u64, shrink: bool },
    /// Takes a peer's shards away from it, or gives it some again.
    Drain { peer: PeerId, away: Option<Away>, shrink: bool },
    /// Makes a stream; `id` is drawn by the proposer. `most` is how many partitions the mesh may have then.
    CreateStream { id: StreamId, name: String, partitions: u32, settings: Settings, most: u32 },
    /// Sets a stream that is set as the proposer saw it.
    Configure { stream: StreamId, from: Settings, to: Settings },
    /// Adds partitions to a stream that no pipeline uses; `most` as above.
    Grow { stream: StreamId, partitions: u32, most: u32 },
    /// Forgets a stream that no pipeline uses.
    DeleteStream { stream: StreamId },
    /// Registers a pipeline, with ids drawn by the proposer for what does not exist yet.
    Register(Registration),
    /// Stops a pipeline's tasks where they are, or lets them begin again from their last commits.
    Pause { pipeline: String, paused: bool },
    /// The mesh goes on under this id with one peer of its roster, since a quorum is lost for good; only a person says
    /// so, offline.
    Recover { mesh: MeshId, peer: PeerId },
    /// Forgets a pipeline with all that its stages keep and write. Names the stages that the proposer saw: of a
    /// pipeline that was registered under this name since, nothing goes.
    DeletePipeline { pipeline: String, stages: Vec<StageId> },
}

/// What a peer that holds a pipeline's code says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub pipeline: String,
    pub version: u32,
    pub fingerprint: u64,
    pub stages: Vec<StageSpec>,
}

/// One stateful stage of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageSpec {
    /// Drawn by the proposer; the id of an existing stage of this name is kept instead.
    pub id: StageId,
    pub name: String,
    pub buckets: u32,
    /// Names of source streams, each with the id to give it and its partitions if it must be made.
    pub sources: Vec<(String, StreamId, u32)>,
    pub view: Option<(String, String)>,
    /// Name of the output stream and the id to give it.
    pub output: Option<(String, StreamId)>,
    /// Names of its side outputs and the ids to give them.
    pub sides: Vec<(String, StreamId)>,
    /// Id to give the dead-letter stream `<pipeline>.<stage>.dead`.
    pub dead: StreamId,
}

/// What a change answers once applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Changed {
    /// It took effect at this catalogue index, or was true already.
    Done { index: u64 },
    /// The peer's id in the roster.
    Joined { peer: PeerId, index: u64 },
    /// The stream's id; `created` is false when it was there with the same settings.
    Stream { id: StreamId, created: bool },
    /// It contradicts what is there.
    Refused { code: String, because: String },
}

impl Catalogue {
    /// A peer's capacity at present: nothing while it is away.
    pub fn weight(&self, peer: PeerId) -> u32 {
        let here = self.roster.get(&peer).filter(|_| !self.away.contains_key(&peer));
        here.map_or(0, |peer| peer.weight)
    }
    /// How many peers can hold shards.
    pub fn seats(&self) -> usize {
        self.roster.keys().filter(|peer| self.weight(**peer) > 0).count()
    }
    /// True if this id was given to a peer that is in the roster no more.
    pub fn has_removed(&self, peer: PeerId) -> bool {
        peer.0 > 0 && peer.0 < self.next_peer && !self.roster.contains_key(&peer)
    }
    pub fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.get(self.stream_names.get(name)?)
    }
    /// The stage with this id and the pipeline it belongs to.
    pub fn stage(&self, id: StageId) -> Option<(&Pipeline, &Stage)> {
        self.pipelines.values().find_map(|p| p.stages.iter().find(|s| s.id == id).map(|s| (p, s)))
    }
    /// The stages of which what their tasks have committed may still be asked for: they run, or a version before the
    /// running one has left a view or a stream of theirs.
    pub fn needed_stages(&self) -> BTreeSet<StageId> {
        let running = self.pipelines.values().flat_map(|it| &it.stages).map(|stage| stage.id);
        let views = self.views.values().map(|view| view.stage);
        let written = self.streams.values().filter_map(|stream| stream.written_by);
        running.chain(views).chain(written).collect()
    }
}
