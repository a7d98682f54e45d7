//! Virtual time, the queue of what will happen, and the course of a run.

use super::Outcome;
use super::clients::Clients;
pub use super::event::{Event, Of};
use super::faults::Menu;
use super::health::Health;
use super::host::{Host, Process};
use super::invariants::Truth;
use super::network::Network;
use super::pipelines;
use super::trace::{Trace, Tracing, note};
use crate::brief::brief;
use crate::sim::dice::Dice;
use flow::Pipelines;
use model::{MeshId, PeerId};
use replica::Now;
use ring::Ring;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The wall clock when the world begins, ms since 1970.
const BEGINNING_MS: u64 = 1_700_000_000_000;
/// How long faults happen, µs.
pub const TROUBLE_US: u64 = 46_000_000;
/// How long the mesh may take to heal, µs.
const HEALING_US: u64 = 60_000_000;
/// How long a run lasts at least, µs: who is healthy early must be so then, too.
const LEAST_US: u64 = 60_000_000;
/// How often health is looked for, µs.
const LOOK_US: u64 = 250_000;
/// Steps between two full checks.
const CHECK_EVERY: u64 = 1_000;
pub const SHARDS: u16 = 8;
pub const REPLICATION: u8 = 3;
pub const MESH: MeshId = MeshId(7);

pub struct World {
    now_us: u64,
    number: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub dice: Dice,
    pub seed: u64,
    pub trace: Trace,
    pub menu: Menu,
    pub network: Network,
    pub hosts: Vec<Host>,
    pub clients: Clients,
    pub truth: Truth,
    pub health: Health,
    /// The code that every peer's binary holds.
    pub code: Arc<Pipelines>,
    rings: BTreeMap<Vec<(PeerId, u32)>, Arc<Ring>>,
    pub outcome: Outcome,
    pub healing: bool,
    /// When the mesh was healthy for the first time.
    healthy_us: Option<u64>,
    over: bool,
}

impl World {
    pub fn new(seed: u64, tracing: Tracing) -> Self {
        let mut dice = Dice::new(seed);
        let menu = Menu::draw(&mut dice);
        let hosts = (0..menu.hosts).map(Host::new).collect();
        let clients = Clients::draw(&mut dice, seed);
        let code = Arc::new(pipelines::described());
        Self {
            now_us: 0,
            number: 0,
            queue: BTreeMap::new(),
            dice,
            seed,
            trace: Trace::new(tracing),
            menu,
            network: Network::default(),
            hosts,
            clients,
            truth: Truth::new(code.clone()),
            health: Health::default(),
            code,
            rings: BTreeMap::new(),
            outcome: Outcome::default(),
            healing: false,
            healthy_us: None,
            over: false,
        }
    }

    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    pub fn now(&self, h: usize) -> Now {
        let wall_ms =
            (BEGINNING_MS + self.now_us / 1000).wrapping_add_signed(self.hosts[h].wall_ahead_ms);
        Now { mono_us: self.now_us, wall_ms }
    }

    /// The true time, ms since 1970: what clients put on their events.
    pub fn wall_ms(&self) -> i64 {
        (BEGINNING_MS + self.now_us / 1000) as i64
    }

    pub fn after(&mut self, delay_us: u64, event: Event) {
        self.number += 1;
        self.queue.insert((self.now_us + delay_us, self.number), event);
    }

    /// Something will happen to the process that runs on a host now.
    pub fn soon(&mut self, h: usize, delay_us: u64, of: Of) {
        let life = self.hosts[h].life();
        self.after(delay_us, Event::Of(h, life, of));
    }

    pub fn process(&mut self, h: usize) -> Option<&mut Process> {
        self.hosts[h].process.as_deref_mut()
    }

    /// The ring of a roster; a pure function, so each is computed once.
    pub fn ring_of(&mut self, catalogue: &model::Catalogue) -> Arc<Ring> {
        let seats: Vec<_> = catalogue.roster.keys().map(|p| (*p, catalogue.weight(*p))).collect();
        let make = || {
            let seat = |(peer, weight): &(PeerId, u32)| ring::Seat {
                peer: *peer,
                zone: String::new(),
                weight: *weight,
            };
            let seats: Vec<ring::Seat> = seats.iter().map(seat).collect();
            Arc::new(Ring::new(&seats, SHARDS, REPLICATION))
        };
        self.rings.entry(seats.clone()).or_insert_with(make).clone()
    }

    /// The whole run: trouble, then healing.
    pub fn live(&mut self) -> Result<Outcome, String> {
        self.menu.clone().apply(&mut self.network);
        for host in 0..self.hosts.len() {
            let at = self.menu.arrivals[host];
            self.after(at, Event::Start { host, life: 0 });
        }
        for client in 0..self.clients.len() {
            self.after(400_000 + 10_000 * client as u64, Event::Client { client });
        }
        self.after(2_000_000, Event::Fault);
        self.after(TROUBLE_US, Event::Look);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            assert!(at >= self.now_us, "time runs backwards");
            self.now_us = at;
            self.outcome.steps += 1;
            self.happen(event)?;
            if self.outcome.steps.is_multiple_of(CHECK_EVERY) {
                self.check_all()?;
            }
            if let Some(at) = self.healthy_us.filter(|_| self.over) {
                return Ok(self.ended(at));
            }
        }
        Err("nothing happens any more".into())
    }

    fn ended(&self, healthy_us: u64) -> Outcome {
        Outcome {
            trace: self.trace.hash(),
            simulated_ms: self.now_us / 1000,
            acknowledged: self.clients.acknowledged(),
            commits: self.truth.commits(),
            terms: self.truth.terms(),
            healed_ms: (healthy_us - TROUBLE_US) / 1000,
            ..self.outcome
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        if let Event::Of(h, life, _) = &event {
            let host = &self.hosts[*h];
            if host.life() != *life {
                return Ok(());
            }
            if host.paused_until_us > self.now_us {
                // A stopped process: everything waits for it, in order.
                let delay = host.paused_until_us - self.now_us;
                self.after(delay, event);
                return Ok(());
            }
        }
        note!(self, "{}", brief(&event));
        match event {
            Event::Of(h, _, of) => self.happen_to(h, of),
            Event::Start { host, life } if self.hosts[host].life() == life => self.start(host),
            Event::Start { .. } => Ok(()),
            Event::Joined { host, life, said } => self.joined(host, life, said),
            Event::Reply { request, reply } => self.client_hears(request, reply),
            Event::Timeout { request } => self.client_gives_up(request),
            Event::Client { client } => self.client_moves(client),
            Event::Fault => self.fault(),
            Event::Join { from, to } => {
                self.network.join(from, to);
                Ok(())
            }
            Event::PowerCut => {
                self.power_cut();
                Ok(())
            }
            Event::Mend { host } => {
                self.mend(host);
                Ok(())
            }
            Event::Look => self.look(),
        }
    }

    fn happen_to(&mut self, h: usize, of: Of) -> Result<(), String> {
        if self.hosts[h].process.is_none() {
            return Ok(());
        }
        match of {
            Of::Tick => self.on_tick(h),
            Of::Turn => self.on_turn(h),
            Of::Checkpoint => self.on_checkpoint_time(h),
            Of::Written => self.on_written(h),
            Of::Kept(due) => self.on_kept(h, due),
            Of::Frame { from, letters } => self.on_frame(h, &from, letters),
            Of::Gossip { from, bytes } => self.on_gossip(h, &from, bytes),
            Of::Timer { token } => self.gossip(h, ::mesh::Input::Timer { token }),
            Of::Up { key } => self.on_up(h, key),
            Of::Down { key } => self.on_down(h, key),
            Of::Asked { from, key, ask } => self.on_asked(h, from, &key, ask),
            Of::Await { from, ask, until_us } => self.on_await(h, from, ask, until_us),
            Of::Said { id, said } => self.on_said(h, id, Some(said)),
            Of::Late { id } => self.on_said(h, id, None),
            Of::Wish { request, shard, wish } => self.on_wish(h, request, shard, wish),
            Of::Retry { held } => self.route(h, held),
            Of::Task { task, run } => self.on_task(h, task, run),
            Of::Restart { task } => self.on_restart(h, task),
            Of::Pull { stage } => self.pull(h, stage),
            Of::Consume { partition } => {
                self.consume(h, partition);
                Ok(())
            }
            Of::LookForTasks => self.look_for_tasks(h),
            Of::Fetched(fetched) => self.on_fetched(h, *fetched),
            Of::Follow => self.follow(h),
            Of::Stay => self.stay(h),
            Of::Duty => self.duty(h),
            Of::Doubts => self.tell_doubts(h),
            Of::Die => {
                self.kill(h);
                Ok(())
            }
        }
    }

    /// After the trouble: stops all faults once, then looks for health.
    fn look(&mut self) -> Result<(), String> {
        if !self.healing {
            self.healing = true;
            self.calm_down();
        }
        self.check_segments()?;
        match self.is_healthy() {
            Ok(()) => {
                self.healthy_us.get_or_insert(self.now_us);
                if self.now_us < LEAST_US {
                    self.after(LOOK_US, Event::Look);
                    return Ok(());
                }
                self.check_all()?;
                self.check_disks()?;
                self.audit()?;
                note!(self, "all is well");
                self.over = true;
            }
            Err(why) if self.now_us > TROUBLE_US + HEALING_US => {
                return Err(format!("the mesh does not heal: {why}"));
            }
            Err(_) => self.after(LOOK_US, Event::Look),
        }
        Ok(())
    }
}
