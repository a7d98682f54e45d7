//! Virtual time, the queue of what will happen, and the course of a run.

use super::Outcome;
use super::bulk::Content;
use super::clients::Clients;
use super::dice::Dice;
use super::driver::Peer;
use super::faults::{Fault, Menu};
use super::invariants::Invariants;
use super::network::Network;
use crate::brief::brief;
use bytes::Bytes;
use model::hash::hash64;
use model::{MeshId, Op, PeerId, ReplicaId, ShardId};
use replica::{Answer, Config, Refusal};
use std::collections::BTreeMap;

/// The wall clock when the world begins, ms since 1970.
const BEGINNING_MS: u64 = 1_700_000_000_000;
/// How long faults happen, µs.
const TROUBLE_US: u64 = 8_000_000;
/// How long the group may take to heal, µs. The owner gets the lead after 10 s of health.
const HEALING_US: u64 = 40_000_000;
/// How often health is looked for, µs.
const LOOK_US: u64 = 250_000;

/// What will happen. An event of a peer names its life: a process that ended has no more events.
#[derive(Clone, Debug)]
pub enum Event {
    Tick { peer: i32, life: u64 },
    Turn { peer: i32, life: u64 },
    Synced { peer: i32, life: u64, frames: usize },
    Checkpoint { peer: i32, life: u64 },
    Deliver { peer: i32, life: u64, from: (ReplicaId, PeerId), to: ReplicaId, message: Bytes },
    Lost { peer: i32, life: u64, other: i32 },
    Report { peer: i32, life: u64, replica: ReplicaId },
    Target { peer: i32, life: u64 },
    Manifest { peer: i32, life: u64 },
    Fetched { peer: i32, life: u64, from: i32, manifest: Bytes, message: Bytes },
    Outcome { peer: i32, life: u64, to: ReplicaId, installed: bool },
    Ask { peer: i32, life: u64, request: u64, ask: Ask },
    Reply { request: u64, reply: Reply },
    Timeout { request: u64 },
    Client { client: usize },
    Start { peer: i32, life: u64 },
    Crash { peer: i32, life: u64 },
    PowerCut,
    Fault,
    Join { from: i32, to: i32 },
    Look,
}

/// What a client asks of a peer.
#[derive(Clone, Debug)]
pub enum Ask {
    Propose(Op),
    Read,
}

/// What comes back: the answer and, for a read, what the fold said at that moment.
#[derive(Clone, Debug)]
pub struct Reply {
    pub result: Result<Answer, Refusal>,
    pub seen: Option<super::clients::Seen>,
}

/// A whole simulated mesh of one shard.
pub struct World {
    now_us: u64,
    number: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub(super) dice: Dice,
    pub(super) seed: u64,
    pub(super) peers: BTreeMap<i32, Peer>,
    pub(super) network: Network,
    pub(super) menu: Menu,
    pub(super) clients: Clients,
    pub(super) invariants: Invariants,
    /// The ring: epoch, the shard's target and the fewest voters allowed.
    pub(super) target: (u64, Vec<PeerId>, u8),
    pub(super) manifests: BTreeMap<u64, Content>,
    pub(super) next_request: u64,
    pub(super) crashes: u64,
    pub(super) kinds: [u64; Fault::ALL.len()],
    pub(super) snapshots: u64,
    pub(super) healing: bool,
    /// The newest configuration that some replica was seen to be in, not joint: its epoch and next replica id.
    pub(super) settled_epoch: (u64, u64),
    /// When that was.
    pub(super) configured_us: u64,
    healthy_us: Option<u64>,
    trace: u64,
    events: u64,
    verbose: bool,
}

impl World {
    pub fn new(seed: u64, verbose: bool) -> Self {
        let mut dice = Dice::new(seed);
        let menu = Menu::draw(&mut dice);
        let peers = (1..=menu.peers).map(|id| (id, Peer::new(id))).collect();
        let clients = Clients::draw(&mut dice, seed);
        Self {
            now_us: 0,
            number: 0,
            queue: BTreeMap::new(),
            dice,
            seed,
            peers,
            network: Network::default(),
            menu,
            clients,
            invariants: Invariants::default(),
            target: (1, vec![PeerId(1)], 1),
            manifests: BTreeMap::new(),
            next_request: 1,
            crashes: 0,
            kinds: [0; Fault::ALL.len()],
            snapshots: 0,
            healing: false,
            settled_epoch: (0, 0),
            configured_us: 0,
            healthy_us: None,
            trace: 0,
            events: 0,
            verbose,
        }
    }

    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    pub(super) fn wall_ms(&self, ahead_ms: i64) -> u64 {
        (BEGINNING_MS + self.now_us / 1000).wrapping_add_signed(ahead_ms)
    }

    pub(super) fn config(&self, peer: i32) -> Config {
        Config {
            shard: ShardId(0),
            mesh: MeshId(7),
            shards: 1,
            replication: 3,
            peer: PeerId(peer),
            seed: self.seed ^ (peer as u64) << 32,
        }
    }

    pub(super) fn after(&mut self, delay_us: u64, event: Event) {
        self.number += 1;
        self.queue.insert((self.now_us + delay_us, self.number), event);
    }

    /// A line of the trace: hashed always, shown when asked for.
    pub(super) fn note(&mut self, line: std::fmt::Arguments<'_>) {
        let line = format!("{:>9} {line}", self.now_us);
        if self.verbose {
            println!("{line}");
        }
        let both = [self.trace.to_le_bytes(), hash64(line.as_bytes()).to_le_bytes()].concat();
        self.trace = hash64(&both);
    }

    /// The whole run: trouble, then healing.
    pub fn live(&mut self) -> Result<Outcome, String> {
        self.found();
        self.menu.apply(&mut self.network);
        for client in 0..self.clients.len() {
            self.after(200_000 + 10_000 * client as u64, Event::Client { client });
        }
        self.after(300_000, Event::Fault);
        self.after(TROUBLE_US, Event::Look);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            assert!(at >= self.now_us, "time runs backwards");
            self.now_us = at;
            self.events += 1;
            self.happen(event)?;
            if let Some(at) = self.healthy_us {
                return Ok(self.outcome(at));
            }
        }
        Err("nothing happens any more".into())
    }

    fn outcome(&self, healthy_us: u64) -> Outcome {
        Outcome {
            trace: self.trace,
            events: self.events,
            simulated_ms: self.now_us / 1000,
            acknowledged: self.clients.acknowledged(),
            crashes: self.crashes,
            kinds: self.kinds,
            snapshots: self.snapshots,
            terms: self.invariants.terms(),
            healed_ms: (healthy_us - TROUBLE_US) / 1000,
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        if let Some((peer, life)) = event.whose() {
            let Some(there) = self.peers.get(&peer) else { return Ok(()) };
            if there.life_number() != life {
                return Ok(());
            }
            if there.paused_until_us > self.now_us {
                // A stopped process: everything waits for it, in order.
                let delay = there.paused_until_us - self.now_us;
                self.after(delay, event);
                return Ok(());
            }
        }
        self.note(format_args!("{}", brief(&event)));
        match event {
            Event::Client { client } => self.client_moves(client),
            Event::Reply { request, reply } => self.client_hears(request, reply),
            Event::Timeout { request } => {
                self.client_gives_up(request);
                Ok(())
            }
            Event::Start { peer, .. } => self.start(peer),
            Event::Fault => self.fault(),
            Event::PowerCut => {
                self.power_cut();
                Ok(())
            }
            Event::Crash { peer, .. } => {
                self.crash(peer);
                Ok(())
            }
            Event::Join { from, to } => {
                self.network.join(from, to);
                Ok(())
            }
            Event::Look => self.look(),
            of_a_peer => self.peer_event(of_a_peer),
        }
    }

    /// After the trouble: stops all faults once, then looks for health.
    fn look(&mut self) -> Result<(), String> {
        if !self.healing {
            self.healing = true;
            self.calm_down()?;
        }
        match self.is_healthy() {
            Ok(()) => {
                self.audit()?;
                self.healthy_us = Some(self.now_us);
            }
            Err(why) if self.now_us > TROUBLE_US + HEALING_US => {
                return Err(format!("the group does not heal: {why}"));
            }
            Err(_) => self.after(LOOK_US, Event::Look),
        }
        Ok(())
    }
}

impl Event {
    /// The peer and the life of it that this happens to.
    fn whose(&self) -> Option<(i32, u64)> {
        match self {
            Self::Tick { peer, life }
            | Self::Turn { peer, life }
            | Self::Synced { peer, life, .. }
            | Self::Checkpoint { peer, life }
            | Self::Deliver { peer, life, .. }
            | Self::Lost { peer, life, .. }
            | Self::Report { peer, life, .. }
            | Self::Target { peer, life }
            | Self::Manifest { peer, life }
            | Self::Fetched { peer, life, .. }
            | Self::Outcome { peer, life, .. }
            | Self::Ask { peer, life, .. }
            | Self::Crash { peer, life }
            | Self::Start { peer, life } => Some((*peer, *life)),
            _ => None,
        }
    }
}
