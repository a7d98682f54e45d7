//! What all parts of a process may look at: the catalogue, the ring, routes and marks.

use model::{Catalogue, PartitionId, PeerId, ShardId, TaskId};
use ring::Ring;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of one shard's leadership.
#[derive(Clone, Debug, Default)]
struct Route {
    leader: Option<PeerId>,
    term: u64,
    leading: bool,
    here: bool,
}

/// How far a partition is applied here: start and next offset.
pub type Mark = (i64, i64);

pub struct Board {
    me: PeerId,
    routes: Vec<Route>,
    marks: BTreeMap<PartitionId, Mark>,
    /// Watermarks of tasks and whether they are idle: what they promise to readers of what they emit.
    promises: BTreeMap<TaskId, (i64, bool)>,
    catalogue: Arc<Catalogue>,
    ring: Arc<Ring>,
    /// Counts changes of what is led here and of the catalogue: tasks look when it has moved.
    pub moves: u64,
}

impl Board {
    pub fn new(me: PeerId, shards: u16, catalogue: Arc<Catalogue>, ring: Arc<Ring>) -> Self {
        let routes = vec![Route::default(); usize::from(shards)];
        let (marks, promises) = (BTreeMap::new(), BTreeMap::new());
        Self { me, routes, marks, promises, catalogue, ring, moves: 0 }
    }

    pub fn me(&self) -> PeerId {
        self.me
    }
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.routes.len() as u16).map(ShardId)
    }
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.clone()
    }
    /// The fewest voters of a shard: what is left of three copies when a person has made the peers fewer.
    pub fn least(&self) -> u8 {
        if self.catalogue.seats() >= 3 { self.catalogue.replication } else { 1 }
    }
    pub fn ring(&self) -> Arc<Ring> {
        self.ring.clone()
    }

    /// Takes a newer catalogue with its ring; an older one changes nothing. True if it was taken.
    pub fn learn(&mut self, catalogue: Arc<Catalogue>, ring: Arc<Ring>) -> bool {
        let newer = catalogue.index > self.catalogue.index;
        if newer {
            (self.catalogue, self.ring) = (catalogue, ring);
            self.moves += 1;
        }
        newer
    }

    pub fn leader(&self, shard: ShardId) -> Option<PeerId> {
        self.route(shard).leader
    }
    pub fn term(&self, shard: ShardId) -> u64 {
        self.route(shard).term
    }
    pub fn leading(&self, shard: ShardId) -> bool {
        self.route(shard).leading
    }
    pub fn here(&self, shard: ShardId) -> bool {
        self.route(shard).here
    }

    /// Notes what the replica here knows of its shard's leadership.
    pub fn led(&mut self, shard: ShardId, term: u64, leader: Option<PeerId>, leading: bool) {
        let route = &mut self.routes[usize::from(shard.0)];
        let changed = route.leading != leading || (leading && route.term != term);
        (route.term, route.leader, route.leading) = (term, leader, leading);
        self.moves += u64::from(changed);
    }
    /// Notes what another peer said of a shard; where a replica is here it may only fill a gap.
    pub fn hint(&mut self, shard: ShardId, leader: Option<PeerId>) {
        let route = &mut self.routes[usize::from(shard.0)];
        if route.here && (leader.is_none() || route.leader.is_some()) {
            return;
        }
        route.leader = leader;
    }
    pub fn set_here(&mut self, shard: ShardId, here: bool) {
        self.routes[usize::from(shard.0)].here = here;
    }

    pub fn mark(&self, partition: PartitionId) -> Option<Mark> {
        self.marks.get(&partition).copied()
    }
    pub fn set_mark(&mut self, partition: PartitionId, mark: Mark) {
        self.marks.insert(partition, mark);
    }
    pub fn forget_mark(&mut self, partition: PartitionId) {
        self.marks.remove(&partition);
    }

    pub fn promise(&self, task: TaskId) -> Option<(i64, bool)> {
        self.promises.get(&task).copied()
    }
    pub fn set_promise(&mut self, task: TaskId, promise: (i64, bool)) {
        self.promises.insert(task, promise);
    }
    pub fn forget_promise(&mut self, task: TaskId) {
        self.promises.remove(&task);
    }

    /// The key of a peer of the roster.
    pub fn key_of(&self, peer: PeerId) -> Option<&[u8]> {
        self.catalogue.roster.get(&peer).map(|enrolled| &enrolled.key[..])
    }
    /// The peer of the roster with this key.
    pub fn peer_of(&self, key: &[u8]) -> Option<PeerId> {
        self.catalogue.roster.values().find(|peer| peer.key == key).map(|peer| peer.id)
    }

    fn route(&self, shard: ShardId) -> &Route {
        &self.routes[usize::from(shard.0)]
    }
}
