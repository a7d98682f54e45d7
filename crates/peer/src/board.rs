//! What all actors of a peer may look at: the catalogue, the ring, routes, and how far partitions are applied.
//!
//! Everything here is a hint or a fold of a committed log: losing it costs time, never data. Written by the
//! actors that own the facts, read by all. No guard ever leaves this file.

use crate::meter::Meter;
use dashmap::DashMap;
use model::transaction::Aborted;
use model::{Batch, Catalogue, PartitionId, PeerId, ShardId, StreamId, TaskId};
use net::PeerKey;
use ring::Ring;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// A task that runs says more often which keys it gets most.
const HEAT: Duration = Duration::from_secs(10);

/// How far a partition is applied here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mark {
    pub start: i64,
    /// The high watermark: offsets below it are committed and applied here.
    pub next: i64,
    /// The latest event time of any batch; -1 before the first.
    pub max_time_ms: i64,
    /// No transaction below it is open: who consumes reads no further.
    pub stable: i64,
}

impl Mark {
    pub fn of(partition: &replica::Partition) -> Self {
        Self {
            start: partition.start,
            next: partition.next_offset,
            max_time_ms: partition.max_time_ms,
            stable: partition.stable(),
        }
    }
}

/// What is known of one shard's leadership.
#[derive(Debug, Default)]
struct Route {
    /// 0 when nobody is known.
    leader: AtomicI32,
    term: AtomicU64,
    /// True while the replica here leads and has applied the first entry of its term.
    leading: AtomicBool,
    /// True while a replica of it lives here.
    here: AtomicBool,
    /// True while that replica is about as far as its leader, and sound.
    current: AtomicBool,
}

/// The shared board of one peer.
#[derive(Debug)]
pub struct Board {
    /// What is counted here, for people.
    pub meter: Arc<Meter>,
    me: AtomicI32,
    shards: u16,
    routes: Vec<Route>,
    marks: DashMap<PartitionId, Mark>,
    /// Transactions that were given up, of those partitions that have some.
    aborted: DashMap<PartitionId, Arc<Vec<Aborted>>>,
    /// Watermarks of tasks and whether they are idle, as far as applied here: what they promise to readers of what
    /// they emit.
    promises: DashMap<TaskId, (i64, bool)>,
    /// Which keys the tasks here get most, and when they said so.
    heat: DashMap<TaskId, (Instant, flow::Heat)>,
    moved: DashMap<StreamId, Arc<Notify>>,
    catalogue: watch::Sender<Arc<Catalogue>>,
    ring: watch::Sender<Arc<Ring>>,
    stopping: AtomicBool,
    /// All that this peer has to say of itself is decided.
    enrolled: AtomicBool,
    /// Partitions of which a segment here could not be read: their replicas must be replaced.
    rotten: DashMap<PartitionId, ()>,
    /// Counts changes of what is led here.
    leads: watch::Sender<u64>,
    /// What gossip says, by key, and since when: it may know a peer before the catalogue here does.
    members: DashMap<Vec<u8>, (mesh::Member, Instant)>,
    /// When this peer began: whom it never heard of is silent at least since then.
    began: Instant,
}

impl Board {
    pub fn new(me: PeerId, shards: u16, replication: u8, catalogue: Catalogue) -> Self {
        let ring = Arc::new(ring_of(&catalogue, shards, replication));
        Self {
            meter: Arc::default(),
            me: AtomicI32::new(me.0),
            shards,
            routes: (0..shards).map(|_| Route::default()).collect(),
            marks: DashMap::new(),
            aborted: DashMap::new(),
            promises: DashMap::new(),
            heat: DashMap::new(),
            moved: DashMap::new(),
            catalogue: watch::Sender::new(Arc::new(catalogue)),
            ring: watch::Sender::new(ring),
            stopping: AtomicBool::new(false),
            enrolled: AtomicBool::new(false),
            rotten: DashMap::new(),
            leads: watch::Sender::new(0),
            members: DashMap::new(),
            began: Instant::now(),
        }
    }

    pub fn me(&self) -> PeerId {
        PeerId(self.me.load(Ordering::Relaxed))
    }
    pub fn shards(&self) -> u16 {
        self.shards
    }
    /// Whether this peer's place and its pipelines are in the log, or were refused.
    pub fn is_enrolled(&self) -> bool {
        self.enrolled.load(Ordering::Relaxed)
    }
    pub fn set_enrolled(&self) {
        self.enrolled.store(true, Ordering::Relaxed);
    }
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.borrow().clone()
    }
    pub fn watch_catalogue(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.catalogue.subscribe()
    }
    pub fn ring(&self) -> Arc<Ring> {
        self.ring.borrow().clone()
    }

    /// The fewest voters of a shard: what is left of three copies when a person has made the peers fewer.
    pub fn least(&self) -> u8 {
        let catalogue = self.catalogue.borrow();
        if catalogue.seats() >= 3 { catalogue.replication } else { 1 }
    }

    /// Takes a newer catalogue; an older one changes nothing. True if it was taken.
    pub fn learn(&self, catalogue: Arc<Catalogue>) -> bool {
        let mut old_epoch = None;
        let taken = self.catalogue.send_if_modified(|known| {
            let newer = catalogue.index > known.index;
            if newer {
                old_epoch = Some(known.epoch);
                *known = catalogue.clone();
            }
            newer
        });
        if taken && old_epoch != Some(catalogue.epoch) {
            let ring = ring_of(&catalogue, self.shards, catalogue.replication);
            self.ring.send_replace(Arc::new(ring));
        }
        taken
    }

    /// The peer that leads the shard, as far as known.
    pub fn leader(&self, shard: ShardId) -> Option<PeerId> {
        let leader = self.route(shard).leader.load(Ordering::Relaxed);
        (leader != 0).then_some(PeerId(leader))
    }
    pub fn term(&self, shard: ShardId) -> u64 {
        self.route(shard).term.load(Ordering::Relaxed)
    }
    pub fn leading(&self, shard: ShardId) -> bool {
        self.route(shard).leading.load(Ordering::Acquire)
    }
    pub fn here(&self, shard: ShardId) -> bool {
        self.route(shard).here.load(Ordering::Relaxed)
    }

    /// Notes what the replica here knows of its shard's leadership; true if what is led here changed.
    pub fn led(&self, shard: ShardId, term: u64, leader: Option<PeerId>, leading: bool) -> bool {
        let route = self.route(shard);
        let old_term = route.term.swap(term, Ordering::Relaxed);
        route.leader.store(leader.map_or(0, |p| p.0), Ordering::Relaxed);
        let was = route.leading.swap(leading, Ordering::Release);
        let changed = was != leading || (leading && old_term != term);
        if was != leading {
            self.meter.leads.inc();
        }
        if changed {
            self.leads.send_modify(|count| *count += 1);
        }
        changed
    }
    /// Told whenever what is led here changes.
    pub fn watch_leads(&self) -> watch::Receiver<u64> {
        self.leads.subscribe()
    }

    /// What gossip says of a peer.
    pub fn member(&self, peer: PeerId) -> Option<mesh::Member> {
        let key = self.catalogue().roster.get(&peer)?.key.clone();
        self.members.get(&key).map(|known| known.0.clone())
    }
    pub fn set_member(&self, member: mesh::Member) {
        let now = Instant::now();
        let mut known = self
            .members
            .entry(member.identity.key.clone())
            .or_insert_with(|| (member.clone(), now));
        let since = if known.0.state == member.state { known.1 } else { now };
        *known = (member, since);
    }
    /// Since when a peer does not answer, if it does not; a suspect may still do.
    pub fn silent_since(&self, peer: PeerId) -> Option<Instant> {
        if peer == self.me() {
            return None;
        }
        let key = self.catalogue().roster.get(&peer).map(|it| it.key.clone());
        let Some(known) = key.and_then(|key| self.members.get(&key)) else {
            return Some(self.began);
        };
        (known.0.state != mesh::State::Alive).then_some(known.1)
    }

    /// What people call a peer: its name, else its id.
    pub fn called(&self, peer: PeerId) -> String {
        let catalogue = self.catalogue.borrow();
        let name = catalogue.roster.get(&peer).map(|it| it.name.clone());
        name.filter(|name| !name.is_empty()).unwrap_or_else(|| peer.to_string())
    }
    /// The key of a peer of the roster.
    pub fn key_of(&self, peer: PeerId) -> Option<PeerKey> {
        PeerKey::from_bytes(&self.catalogue().roster.get(&peer)?.key).ok()
    }
    /// The peer of the roster with this key.
    pub fn peer_of(&self, key: &PeerKey) -> Option<PeerId> {
        let catalogue = self.catalogue.borrow();
        catalogue.roster.values().find(|p| p.key == key.bytes()).map(|p| p.id)
    }
    /// Notes what another peer said of a shard that is not led here; a hint.
    pub fn hint(&self, shard: ShardId, leader: Option<PeerId>) {
        let route = self.route(shard);
        let known = route.leader.load(Ordering::Relaxed);
        // A replica here hears of its leader by itself; a hint may only fill a gap.
        if route.here.load(Ordering::Relaxed) && (leader.is_none() || known != 0) {
            return;
        }
        route.leader.store(leader.map_or(0, |p| p.0), Ordering::Relaxed);
    }
    /// Whether what the replica here has of its partitions is all there is, but for what is under way: that it has no more
    /// then means that nothing has come.
    pub fn is_current(&self, shard: ShardId) -> bool {
        let route = self.route(shard);
        route.here.load(Ordering::Relaxed)
            && (route.leading.load(Ordering::Acquire) || route.current.load(Ordering::Relaxed))
    }
    pub fn set_current(&self, shard: ShardId, current: bool) {
        self.route(shard).current.store(current, Ordering::Relaxed);
    }
    /// Notes who said that it leads a shard in a term; an older word changes nothing. A replica here knows better, unless
    /// it knows nobody: one that was voted out is told by nobody else until it is removed.
    pub fn heard(&self, shard: ShardId, leader: PeerId, term: u64) {
        let Some(route) = self.routes.get(usize::from(shard.0)) else { return };
        let here = route.here.load(Ordering::Relaxed);
        let knows = here && route.leader.load(Ordering::Relaxed) != 0;
        if knows || term < route.term.load(Ordering::Relaxed) {
            return;
        }
        if !here {
            route.term.store(term, Ordering::Relaxed);
        }
        route.leader.store(leader.0, Ordering::Relaxed);
    }
    /// A connection broke: what that peer was believed to lead is led by nobody known, unless a replica is here.
    pub fn lost(&self, peer: PeerId) {
        for route in &self.routes {
            if !route.here.load(Ordering::Relaxed) {
                // Somebody else may have been heard of meanwhile: then that stays.
                let leader = &route.leader;
                let _ = leader.compare_exchange(peer.0, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }
    /// The replica here is no more. Who leads elsewhere is known on, as a hint.
    pub fn gone(&self, shard: ShardId) {
        let leader = self.leader(shard).filter(|leader| *leader != self.me());
        self.set_here(shard, false);
        self.led(shard, 0, leader, false);
    }
    /// Whether there is a shard of which neither a replica is here nor a leader known.
    pub fn is_lost_for_some(&self) -> bool {
        let unknown = |route: &Route| {
            !route.here.load(Ordering::Relaxed) && route.leader.load(Ordering::Relaxed) == 0
        };
        self.routes.iter().any(unknown)
    }
    pub fn set_here(&self, shard: ShardId, here: bool) {
        self.route(shard).here.store(here, Ordering::Relaxed);
    }

    pub fn mark(&self, partition: PartitionId) -> Option<Mark> {
        self.marks.get(&partition).map(|m| *m)
    }
    /// Notes how far a partition is applied. Given-up transactions first: a mark says that they are known.
    pub fn note(&self, id: PartitionId, partition: &replica::Partition) {
        let aborted = partition.transactions.aborted();
        if !aborted.is_empty() || self.aborted.contains_key(&id) {
            self.aborted.insert(id, aborted.clone());
        }
        self.marks.insert(id, Mark::of(partition));
    }
    /// The transactions of a partition that were given up and whose events are kept.
    pub fn aborted(&self, partition: PartitionId) -> Option<Arc<Vec<Aborted>>> {
        self.aborted.get(&partition).map(|aborted| aborted.clone())
    }
    /// Batches as consumers see them: those of given-up transactions are hollow.
    pub fn shown(&self, partition: PartitionId, batches: Vec<Batch>) -> Vec<Batch> {
        let Some(aborted) = self.aborted(partition) else { return batches };
        let is_void = |batch: &Batch| {
            batch.is_transactional()
                && aborted.iter().any(|it| it.covers(batch.producer_id(), batch.base_offset()))
        };
        let shown = |batch: Batch| if is_void(&batch) { batch.hollow() } else { batch };
        batches.into_iter().map(shown).collect()
    }
    /// Streams that have events here and are not in the catalogue as it is known here.
    pub fn unknown_streams(&self) -> BTreeSet<StreamId> {
        let catalogue = self.catalogue();
        let ids = self.marks.iter().map(|mark| mark.key().stream);
        ids.filter(|id| !catalogue.streams.contains_key(id)).collect()
    }
    pub fn forget_mark(&self, partition: PartitionId) {
        self.marks.remove(&partition);
        self.meter.forget(partition);
        self.aborted.remove(&partition);
    }

    /// Hands on what a read came to, and notes where the disk gave back other bytes than were written.
    pub fn witness<T>(
        &self,
        partition: PartitionId,
        read: Result<T, store::Error>,
    ) -> Result<T, store::Error> {
        if let Err(store::Error::Rot(_)) = read {
            self.rotten.insert(partition, ());
        }
        read
    }
    /// The partitions that were noted since this was last asked.
    pub fn take_rotten(&self) -> Vec<PartitionId> {
        let noted: Vec<_> = self.rotten.iter().map(|partition| *partition.key()).collect();
        noted.into_iter().filter(|partition| self.rotten.remove(partition).is_some()).collect()
    }

    /// The watermark of a task, and whether it is idle. Read it before the marks of what the task emits: they are moved before it is.
    pub fn promise(&self, task: TaskId) -> Option<(i64, bool)> {
        self.promises.get(&task).map(|promise| *promise)
    }
    pub fn set_promise(&self, task: TaskId, promise: (i64, bool)) {
        self.promises.insert(task, promise);
    }
    /// Which keys a task here gets most; nothing if it has not said so for [`HEAT`].
    pub fn heat(&self, task: TaskId) -> Option<flow::Heat> {
        self.heat.remove_if(&task, |_, (at, _)| at.elapsed() > HEAT);
        self.heat.get(&task).map(|heat| heat.1.clone())
    }
    pub fn set_heat(&self, task: TaskId, heat: flow::Heat) {
        self.heat.insert(task, (Instant::now(), heat));
    }

    pub fn forget_promise(&self, task: TaskId) {
        self.promises.remove(&task);
        self.heat.remove(&task);
    }

    /// Wakes whoever waits for events of this stream.
    pub fn stream_moved(&self, stream: StreamId) {
        if let Some(waiters) = self.moved.get(&stream) {
            waiters.notify_waiters();
        }
    }
    /// Ready when one of the streams is applied further here; listens from this call on.
    pub fn news(&self, streams: &[StreamId]) -> impl Future<Output = ()> + Send + use<> {
        let mut streams = streams.to_vec();
        streams.sort_unstable();
        streams.dedup();
        let listen = |stream| {
            let waiters = self.moved.entry(stream).or_default().clone();
            let mut heard = Box::pin(waiters.notified_owned());
            heard.as_mut().enable();
            heard
        };
        let listening: Vec<_> = streams.into_iter().map(listen).collect();
        async move {
            if listening.is_empty() {
                std::future::pending::<()>().await;
            }
            futures::future::select_all(listening).await;
        }
    }

    fn route(&self, shard: ShardId) -> &Route {
        &self.routes[usize::from(shard.0)]
    }
}

/// The ring of a catalogue's roster.
pub fn ring_of(catalogue: &Catalogue, shards: u16, replication: u8) -> Ring {
    let seats: Vec<ring::Seat> = catalogue
        .roster
        .values()
        .map(|p| ring::Seat { peer: p.id, zone: p.zone.clone(), weight: catalogue.weight(p.id) })
        .collect();
    Ring::new(&seats, shards, replication.max(1))
}

#[cfg(test)]
mod tests;
