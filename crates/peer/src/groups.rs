//! The actor that coordinates the groups of consumers whose shards are led here.
//!
//! A group is read from its shard's log when somebody asks for it, behind a barrier, and put out of mind when the
//! lead is lost or nobody is in it. Promises that every ask is answered; after a loss of the lead with
//! [`Refusal::NotCoordinator`]. Never decides: `group::Coordinator` does.
//!
//! # Supervision
//! Child of `peer::Peer`. Its end is noticed by those who ask: they are told that nobody coordinates.

use crate::board::Board;
use crate::limits;
use crate::router::Router;
use crate::shards::{self, Found, Query};
use group::{Action, Coordinator, Input};
use model::deal::Redeal;
use model::group::{self as kept, Ask, Change, Changed, Committed, Formed, Refusal, Said, What};
use model::{Catalogue, Op, PartitionId, ShardId, hash};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use replica::Answer;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// Coordinates groups.
pub struct Groups;

/// What the actor is given once.
pub struct Args {
    pub router: Router,
}

/// What can be said to it.
pub enum Msg {
    /// Somebody asks a group's coordinator.
    Ask { group: String, ask: Ask, reply: Reply },
    /// What the log keeps of a group, and the term in which this peer leads its shard.
    Loaded { group: String, found: Option<(Option<kept::Group>, u64)> },
    /// What became of a generation that was to be kept.
    Kept { group: String, term: u64, number: u64, result: Result<(), Refusal> },
    /// What became of a change that the group, opened as the `opened`th, wanted to be kept.
    Dealt { group: String, opened: u64, number: u64, result: Result<(), Refusal> },
    /// [`limits::GROUPS_TICK`] have passed.
    Tick,
    /// The groups that are in mind.
    List(oneshot::Sender<Vec<InMind>>),
}

/// A group that is in mind, as it is listed.
#[derive(Debug)]
pub struct InMind {
    pub name: String,
    pub kind: String,
    pub state: &'static str,
    /// Its coordinator deals out.
    pub dealt: bool,
}

/// Where an answer goes.
pub type Reply = oneshot::Sender<Result<Said, Refusal>>;

/// A group's place in this actor.
enum Seat {
    /// The log is being read; who asks waits.
    Loading(Vec<(Ask, Reply)>),
    Open(Box<Open>),
}

/// A group that is coordinated here.
struct Open {
    shard: ShardId,
    /// The term in which this peer leads the shard: what it changes counts in no other.
    term: u64,
    /// How many groups were opened before: what was asked of the log by an earlier machine is not this one's.
    opened: u64,
    machine: Coordinator,
    /// The catalogue that the machine knows.
    catalogue: Arc<Catalogue>,
    waiting: HashMap<u64, Reply>,
    requests: u64,
    idle_ticks: u32,
}

/// The actor's own.
pub struct State {
    me: ActorRef<Msg>,
    router: Router,
    start: Instant,
    seats: BTreeMap<String, Seat>,
    opened: u64,
}

impl Actor for Groups {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, me: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let Args { router } = args;
        Ok(State { me, router, start: Instant::now(), seats: BTreeMap::new(), opened: 0 })
    }

    async fn handle(
        &self,
        _me: ActorRef<Msg>,
        msg: Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Ask { group, ask, reply } => state.on_ask(group, ask, reply),
            Msg::Loaded { group, found } => state.on_loaded(group, found),
            Msg::Kept { group, term, number, result } => {
                state.on_kept(&group, term, number, result)
            }
            Msg::Dealt { group, opened, number, result } => {
                state.on_dealt(&group, opened, number, result)
            }
            Msg::Tick => state.on_tick(),
            Msg::List(reply) => state.on_list(reply),
        }
        Ok(())
    }
}

impl State {
    fn board(&self) -> &Arc<Board> {
        &self.router.board
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn on_ask(&mut self, group: String, ask: Ask, reply: Reply) {
        let shard = hash::shard_of_group(&group, self.board().shards());
        if !self.board().leading(shard) {
            self.close(&group);
            return answer(reply, Err(Refusal::NotCoordinator));
        }
        let term = self.board().term(shard);
        if matches!(self.seats.get(&group), Some(Seat::Open(open)) if open.term != term) {
            self.close(&group);
        }
        let full = self.seats.len() >= limits::GROUPS;
        match self.seats.get_mut(&group) {
            Some(Seat::Open(_)) => self.ask(&group, ask, reply),
            Some(Seat::Loading(waiting)) => waiting.push((ask, reply)),
            None if full => answer(reply, Err(Refusal::Full)),
            None => {
                self.seats.insert(group.clone(), Seat::Loading(vec![(ask, reply)]));
                self.load(shard, group);
            }
        }
    }

    /// Reads a group from the log, as it is once everything before this moment is applied.
    fn load(&self, shard: ShardId, group: String) {
        let (me, router) = (self.me.clone(), self.router.clone());
        tokio::spawn(async move {
            let query = Query::Group { name: group.clone() };
            let found = match router.ask_here(shard, query, true).await {
                Some((Found::Group(found), place)) => {
                    // How far it has come the log knows by itself.
                    let bare = |it: kept::Group| kept::Group { offsets: BTreeMap::new(), ..it };
                    Some((found.map(|group| bare(*group)), place.term))
                }
                _ => None,
            };
            if me.cast(Msg::Loaded { group, found }).is_err() {
                tracing::debug!("a group was read for nobody: this peer stops");
            }
        });
    }

    fn on_loaded(&mut self, group: String, found: Option<(Option<kept::Group>, u64)>) {
        let Some(Seat::Loading(waiting)) = self.seats.remove(&group) else { return };
        let Some((kept, term)) = found else {
            for (_, reply) in waiting {
                answer(reply, Err(Refusal::NotCoordinator));
            }
            return;
        };
        self.opened += 1;
        let open = Open {
            shard: hash::shard_of_group(&group, self.board().shards()),
            term,
            opened: self.opened,
            machine: Coordinator::new(self.now_ms(), kept),
            catalogue: Arc::default(),
            waiting: HashMap::new(),
            requests: 0,
            idle_ticks: 0,
        };
        self.seats.insert(group.clone(), Seat::Open(Box::new(open)));
        for (ask, reply) in waiting {
            self.ask(&group, ask, reply);
        }
    }

    fn ask(&mut self, group: &str, ask: Ask, reply: Reply) {
        self.tell_catalogue(group);
        let Some(Seat::Open(open)) = self.seats.get_mut(group) else { return };
        open.requests += 1;
        let request = open.requests;
        open.waiting.insert(request, reply);
        self.step(group, Input::Asked { request, ask, fresh: rand::random() });
    }

    /// Tells a group the catalogue as it is here, if it has changed.
    fn tell_catalogue(&mut self, group: &str) {
        let catalogue = self.board().catalogue();
        let Some(Seat::Open(open)) = self.seats.get_mut(group) else { return };
        if !Arc::ptr_eq(&open.catalogue, &catalogue) {
            open.catalogue = catalogue.clone();
            self.step(group, Input::Catalogue(catalogue));
        }
    }

    fn step(&mut self, group: &str, input: Input) {
        let now_ms = self.now_ms();
        let Some(Seat::Open(open)) = self.seats.get_mut(group) else { return };
        let mut actions = Vec::new();
        open.machine.step(now_ms, input, &mut actions);
        for action in actions {
            match action {
                Action::Answer { request, result } => {
                    if let Some(reply) = open.waiting.remove(&request) {
                        answer(reply, result);
                    }
                }
                Action::Keep { number, formed } => {
                    open.keep(&self.router, &self.me, group, number, formed)
                }
                Action::Deal { number, redeal } => {
                    open.deal(&self.router, &self.me, group, (number, redeal))
                }
                Action::Commit { request, offsets } => {
                    open.commit(&self.router, group, request, offsets);
                }
                Action::Delete { request } => {
                    open.settle(&self.router, group, request, What::Delete)
                }
            }
        }
        if open.machine.is_lost() {
            self.close(group);
        }
    }

    fn on_dealt(&mut self, group: &str, opened: u64, number: u64, result: Result<(), Refusal>) {
        if matches!(self.seats.get(group), Some(Seat::Open(open)) if open.opened == opened) {
            self.step(group, Input::Dealt { number, result });
        }
    }

    fn on_kept(&mut self, group: &str, term: u64, number: u64, result: Result<(), Refusal>) {
        if matches!(self.seats.get(group), Some(Seat::Open(open)) if open.term == term) {
            self.step(group, Input::Kept { number, result });
        }
    }

    fn on_tick(&mut self) {
        let mut lost = Vec::new();
        let mut due = Vec::new();
        for (name, seat) in &mut self.seats {
            let Seat::Open(open) = seat else { continue };
            let board = &self.router.board;
            open.idle_ticks = if open.is_idle() { open.idle_ticks + 1 } else { 0 };
            let led = board.leading(open.shard) && board.term(open.shard) == open.term;
            match led && open.idle_ticks < limits::GROUP_IDLE_TICKS {
                true => due.push(name.clone()),
                false => lost.push(name.clone()),
            }
        }
        for group in lost {
            self.close(&group);
        }
        for group in due {
            self.tell_catalogue(&group);
            self.step(&group, Input::Tick);
        }
    }

    /// Puts a group out of mind; who waits asks elsewhere.
    fn close(&mut self, group: &str) {
        let Some(Seat::Open(open)) = self.seats.remove(group) else { return };
        for (_, reply) in open.waiting {
            answer(reply, Err(Refusal::NotCoordinator));
        }
    }

    fn on_list(&self, reply: oneshot::Sender<Vec<InMind>>) {
        let listed = |(name, seat): (&String, &Seat)| match seat {
            Seat::Open(open) => Some(InMind {
                name: name.clone(),
                kind: open.machine.kind().to_owned(),
                state: open.machine.state(),
                dealt: open.machine.is_dealt(),
            }),
            Seat::Loading(_) => None,
        };
        // The asker may have stopped waiting; then nobody needs the answer.
        let _ = reply.send(self.seats.iter().filter_map(listed).collect());
    }
}

impl Open {
    fn is_idle(&self) -> bool {
        self.machine.is_idle() && self.waiting.is_empty()
    }

    /// Sends a change on its way into the log, in the order of calls.
    fn propose(
        &self,
        router: &Router,
        group: &str,
        what: What,
    ) -> impl Future<Output = Result<Said, Refusal>> + Send + use<> {
        let change = Change { group: group.to_owned(), term: self.term, what };
        let (reply, decided) = oneshot::channel();
        let op = Op::Group(Box::new(change));
        let sent = router.shards.cast(shards::Msg::Propose { shard: self.shard, op, reply });
        async move {
            sent.map_err(|_| Refusal::NotCoordinator)?;
            match decided.await {
                Ok(Ok(Answer::Group(Changed::Done))) => Ok(Said::Done),
                Ok(Ok(Answer::Group(Changed::Full))) => Err(Refusal::Full),
                Ok(Ok(Answer::Group(Changed::Missing))) => Err(Refusal::Missing),
                Ok(Ok(Answer::Group(Changed::InUse))) => Err(Refusal::InUse),
                Ok(Err(replica::Refusal::Busy)) => Err(Refusal::Loading),
                Ok(Err(replica::Refusal::TooLarge)) => Err(Refusal::Full),
                // Another leads by now, or it is not known whether this came to pass: a commit may be
                // repeated, a generation is formed anew.
                _ => Err(Refusal::NotCoordinator),
            }
        }
    }

    fn keep(&self, router: &Router, me: &ActorRef<Msg>, group: &str, number: u64, formed: Formed) {
        let decided = self.propose(router, group, What::Form(formed));
        let (me, group, term) = (me.clone(), group.to_owned(), self.term);
        tokio::spawn(async move {
            let result = decided.await.map(|_| ());
            if me.cast(Msg::Kept { group, term, number, result }).is_err() {
                tracing::debug!("a generation was kept for nobody: this peer stops");
            }
        });
    }

    fn deal(
        &self,
        router: &Router,
        me: &ActorRef<Msg>,
        group: &str,
        (number, redeal): (u64, Redeal),
    ) {
        let decided = self.propose(router, group, What::Deal(redeal));
        let (me, group, opened) = (me.clone(), group.to_owned(), self.opened);
        tokio::spawn(async move {
            let result = decided.await.map(|_| ());
            if me.cast(Msg::Dealt { group, opened, number, result }).is_err() {
                tracing::debug!("it was dealt for nobody: this peer stops");
            }
        });
    }

    fn commit(
        &mut self,
        router: &Router,
        group: &str,
        request: u64,
        offsets: Vec<(PartitionId, Committed)>,
    ) {
        self.settle(router, group, request, What::Commit(offsets));
    }

    /// Answers a request by what comes of a change.
    fn settle(&mut self, router: &Router, group: &str, request: u64, what: What) {
        let Some(reply) = self.waiting.remove(&request) else { return };
        let decided = self.propose(router, group, what);
        tokio::spawn(async move { answer(reply, decided.await) });
    }
}

fn answer(reply: Reply, result: Result<Said, Refusal>) {
    // The asker may have stopped waiting; then nobody needs the answer.
    let _ = reply.send(result);
}
