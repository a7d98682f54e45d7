//! A running peer: the root of the supervision tree, its clock, and what it does by itself now and then.
//!
//! # Supervision
//! `Peer` watches over `Shards`, `Tasks`, `Membership` and `Groups`, the listeners and the network's events, spawned
//! sink first in `start`. It is no go-between: they speak with each other. If one of them ends while the peer is not
//! stopping, or a duty fails, the peer stops as a whole and says why: its log is on disk and on its neighbours.

use crate::answers;
use crate::board::Board;
use crate::call::{Ask, Said};
use crate::end::End;
use crate::limits;
use crate::options::Token;
use crate::router::Router;
use crate::space::Space;
use crate::start::{Begins, twin};
use crate::{
    chronicle, dying, groups, keep_catalogue, membership, shards, stay, survey, tasks, upkeep,
};
use flow::Pipelines;
use model::catalogue::{Addresses, Change, Changed, Enrolled};
use model::id::CATALOGUE;
use model::{MeshId, Op, PeerId, Problem, ReplicaId, ShardId};
use net::{Lane, Net};
use ractor::ActorRef;
use replica::Answer;
use std::sync::Arc;
use std::time::Duration;
use store::{Folder, Segments};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a stopping peer tries to hand its leaderships over.
const HAND_OVER: Duration = Duration::from_secs(5);
/// How long it waits for the next voter to take one.
const HAND_OVER_PATIENCE: Duration = Duration::from_millis(700);
/// How often a peer that holds no copy of the catalogue asks for it.
const FOLLOW: Duration = Duration::from_millis(250);
/// How often it is looked whether shards without a replica here have moved.
const SURVEY: Duration = Duration::from_secs(1);

pub struct Args {
    pub folder: Arc<Folder>,
    pub space: Arc<Space>,
    pub token: Token,
    pub me: Enrolled,
    pub mesh: MeshId,
    pub shard_count: u16,
    pub replication: u8,
    pub begins: Begins,
    /// Nobody is in the roster yet, as far as this founder knows.
    pub founds: bool,
    pub doubts: Vec<(ShardId, ReplicaId)>,
    pub board: Arc<Board>,
    pub net: Net,
    pub router: Router,
    pub shards: ActorRef<shards::Msg>,
    pub tasks: ActorRef<tasks::Msg>,
    pub groups: ActorRef<groups::Msg>,
    pub segments: Arc<Segments>,
    pub membership: ActorRef<membership::Msg>,
    pub pipelines: Arc<Pipelines>,
    pub fatal: mpsc::UnboundedReceiver<String>,
    pub loopback: bool,
}

/// The clock of a peer and its small duties.
pub struct Peer;

/// A peer that has started. Dropping it does not stop the peer: see [`Running::stop`].
pub struct Running {
    args: Args,
    duties: JoinSet<()>,
    vital: JoinSet<&'static str>,
    out: oneshot::Receiver<End>,
}

impl Peer {
    /// Sets the duties going. When one of the `vital` tasks ends, so does the peer.
    pub async fn run(args: Args, vital: JoinSet<&'static str>) -> Result<Running, Problem> {
        let mut duties = JoinSet::new();
        let (shards, membership) = (args.shards.clone(), args.membership.clone());
        duties.spawn(tick(shards.clone()));
        duties.spawn(checkpoints(shards.clone()));
        duties.spawn(measure(args.space.clone()));
        duties.spawn(chronicle::keep(args.board.clone(), args.space.clone()));
        duties.spawn(sessions(args.groups.clone()));
        duties.spawn(roster(args.board.clone(), shards, membership));
        duties.spawn(keep_catalogue::follow(args.board.clone(), args.folder.clone()));
        duties.spawn(follow(args.router.clone()));
        duties.spawn(dying::watch(args.router.clone(), limits::DYING));
        duties.spawn(upkeep::upkeep(args.router.clone(), args.segments.clone()));
        duties.spawn(enrol(args.router.clone(), Enrolment::of(&args), args.pipelines.clone()));
        if !args.doubts.is_empty() {
            duties.spawn(replace(args.router.clone(), args.doubts.clone()));
        }
        let (told, out) = oneshot::channel();
        let (router, me) = (args.router.clone(), args.me.clone());
        duties.spawn(async move {
            // Nobody listens any more: the peer ends already.
            let _ = told.send(stay::until_out(router, me).await);
        });
        Ok(Running { args, duties, vital, out })
    }
}

impl Running {
    pub fn addresses(&self) -> &Addresses {
        &self.args.me.addresses
    }
    pub fn name(&self) -> &str {
        &self.args.me.name
    }
    pub fn mesh(&self) -> MeshId {
        self.args.mesh
    }
    /// How it came to its mesh.
    pub fn begins(&self) -> Begins {
        self.args.begins
    }
    /// True if nobody on another machine can reach this peer.
    pub fn loopback(&self) -> bool {
        self.args.loopback
    }

    /// The command that lets another peer join through this one. Holds the secret.
    pub fn join_line(&self) -> String {
        let mesh = &self.args.me.addresses.mesh;
        // Who comes from another machine must be reached by all others too, not only by this peer.
        let bind = match (self.args.loopback, mesh.starts_with('[')) {
            (true, _) => "",
            (false, true) => " --bind ::",
            (false, false) => " --bind 0.0.0.0",
        };
        format!("shoal start --join {mesh} --token {}{bind}", self.args.token.text())
    }

    /// Returns when this peer is in the roster and every shard it holds is led.
    pub async fn ready(&self) {
        let board = &self.args.board;
        loop {
            let enrolled = board.catalogue().roster.contains_key(&board.me());
            let mut here = (0..board.shards()).map(ShardId).filter(|shard| board.here(*shard));
            if enrolled && here.all(|shard| board.leader(shard).is_some()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns why this peer ends by itself, if that ever happens.
    pub async fn ended(&mut self) -> End {
        let mut stays = false;
        loop {
            tokio::select! {
                // Why it ends comes before that something has ended over it.
                biased;
                Some(why) = self.args.fatal.recv() => return End::Failed(why),
                end = &mut self.out, if !stays => match end {
                    Ok(end) => {
                        if end == End::Twice {
                            twin::end(&self.args.folder);
                        }
                        return end;
                    }
                    // Whoever would have told has ended; what it ended of follows.
                    Err(_) => stays = true,
                },
                Some(ended) = self.vital.join_next() => {
                    let what = ended.unwrap_or("a vital task");
                    return End::Failed(format!("{what} has ended"));
                }
                Some(done) = self.duties.join_next() => {
                    if let Err(error) = done {
                        return End::Failed(format!("a duty has failed: {error}"));
                    }
                }
                else => return End::Failed("all of it has ended".into()),
            }
        }
    }

    /// Stops in good order: no new clients, leaderships handed over, folds on disk. At most some seconds.
    pub async fn stop(mut self) {
        let Args { board, net, shards, tasks, groups, membership, folder, .. } = &self.args;
        board.stop();
        let led = || (0..board.shards()).filter(|shard| board.leading(ShardId(*shard))).count();
        let until = Instant::now() + HAND_OVER;
        let (mut left, mut moved) = (led(), Instant::now());
        // When nobody takes them any more, the other voters are gone or stop as well.
        while left > 0 && Instant::now() < until && moved.elapsed() < HAND_OVER_PATIENCE {
            if shards.cast(shards::Msg::HandOver).is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = led();
            if now < left {
                (left, moved) = (now, Instant::now());
            }
        }
        let (reply, flushed) = oneshot::channel();
        if shards.cast(shards::Msg::Flush(reply)).is_ok()
            && tokio::time::timeout(HAND_OVER, flushed).await.is_err()
        {
            tracing::warn!("the last checkpoint was not finished; the journal has everything");
        }
        if membership.cast(membership::Msg::Leave).is_err() {
            tracing::debug!("gossip has ended already");
        }
        tasks.stop(None);
        groups.stop(None);
        shards.stop(None);
        membership.stop(None);
        self.duties.shutdown().await;
        net.stop().await;
        if let Err(error) = folder.remove_note(crate::start::PORTS) {
            tracing::debug!(%error, "ports.json stays behind");
        }
    }
}

/// The clock of consensus.
async fn tick(shards: ActorRef<shards::Msg>) {
    let mut every = tokio::time::interval(Duration::from_millis(replica::TICK_MS));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if shards.cast(shards::Msg::Tick).is_err() {
            return;
        }
    }
}

/// The clock of groups of consumers.
async fn sessions(groups: ActorRef<groups::Msg>) {
    let mut every = tokio::time::interval(limits::GROUPS_TICK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if groups.cast(groups::Msg::Tick).is_err() {
            return;
        }
    }
}

/// Looks how much room is left on the disk.
async fn measure(space: Arc<Space>) {
    let mut every = tokio::time::interval(limits::SPACE);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        space.measure();
    }
}

async fn checkpoints(shards: ActorRef<shards::Msg>) {
    let mut every = tokio::time::interval(limits::CHECKPOINT / limits::CHECKPOINT_PARTS as u32);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if shards.cast(shards::Msg::Checkpoint).is_err() {
            return;
        }
    }
}

/// Tells those who need it that the roster or the ring may have changed.
async fn roster(
    board: Arc<Board>,
    shards: ActorRef<shards::Msg>,
    membership: ActorRef<membership::Msg>,
) {
    let mut catalogue = board.watch_catalogue();
    while catalogue.changed().await.is_ok() {
        let told = shards.cast(shards::Msg::Targets).is_ok();
        if !told || membership.cast(membership::Msg::Roster).is_err() {
            return;
        }
    }
}

/// Pulls the catalogue where no replica of it is here or none is led, and learns who leads what elsewhere.
async fn follow(router: Router) {
    let mut surveyed = Instant::now();
    let mut asked = PeerId(0);
    loop {
        tokio::time::sleep(FOLLOW).await;
        let board = &router.board;
        if !board.here(CATALOGUE) || board.leader(CATALOGUE).is_none() {
            pull_catalogue(&router, &mut asked).await;
        }
        let elsewhere = (0..board.shards()).any(|shard| !board.here(ShardId(shard)));
        if elsewhere && (surveyed.elapsed() >= SURVEY || board.is_lost_for_some()) {
            surveyed = Instant::now();
            survey::of_all(&router).await;
        }
    }
}

/// Asks who is said to lead it, and one peer more, another each time: neither may know any better than this one.
async fn pull_catalogue(router: &Router, asked: &mut PeerId) {
    let catalogue = router.board.catalogue();
    let me = router.board.me();
    let others = || catalogue.roster.keys().copied().filter(|peer| *peer != me);
    let leader = router.board.leader(CATALOGUE).filter(|leader| *leader != me);
    let next = others().find(|peer| *peer > *asked).or_else(|| others().next());
    *asked = next.unwrap_or_default();
    for peer in leader.into_iter().chain(next) {
        let Some(key) = router.board.key_of(peer) else { continue };
        let ask = Ask::Catalogue { since: catalogue.index };
        match router.calls.ask(&key, Lane::Request, ask).await {
            Ok(Said::Catalogue(Some(newer))) => {
                router.board.learn(Arc::new(*newer));
                return;
            }
            // It has no leader to ask, and the mesh went on without it.
            Ok(Said::Refused(problem)) => router.calls.refuse(*problem),
            _ => {}
        }
    }
}

/// What this start tells the catalogue.
struct Enrolment {
    me: Enrolled,
    found: Option<Change>,
}

impl Enrolment {
    fn of(args: &Args) -> Self {
        let found = Change::Found {
            mesh: args.mesh,
            shards: args.shard_count,
            replication: args.replication,
        };
        let founds = args.begins == Begins::Founded || args.founds;
        Self { me: args.me.clone(), found: founds.then_some(found) }
    }
}

/// Founds if need be, then says where this peer is and what code it holds, until that is in the log.
async fn enrol(router: Router, enrolment: Enrolment, pipelines: Arc<Pipelines>) {
    let Enrolment { me, found } = enrolment;
    if let Some(found) = found {
        persist(&router, found).await;
    }
    persist(&router, Change::Join { enrolled: me, replaces: None }).await;
    for registration in pipelines.registrations(&mut rand::random) {
        persist(&router, Change::Register(registration)).await;
    }
    router.board.set_enrolled();
}

/// Proposes a change until it is decided; each of them is true however often it is said.
async fn persist(router: &Router, change: Change) {
    loop {
        let op = Op::Catalogue(Box::new(change.clone()));
        match router.propose(CATALOGUE, op).await {
            Ok(Answer::Changed(Changed::Refused { code, because })) => {
                tracing::error!(code, because, "the catalogue refused a change");
                return;
            }
            Ok(_) => return,
            Err(error) => tracing::debug!(%error, "the catalogue did not decide yet"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Asks for new replicas in place of those in doubt until they are here.
async fn replace(router: Router, mut doubts: Vec<(ShardId, ReplicaId)>) {
    while !doubts.is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // What the ring has moved elsewhere meanwhile needs no replica here.
        let board = &router.board;
        let wanted = |shard| board.ring().target(shard).contains(&board.me());
        doubts.retain(|(shard, _)| !board.here(*shard) && wanted(*shard));
        for (shard, replica) in &doubts {
            answers::ask_to_replace(&router, *shard, *replica).await;
        }
    }
}
