//! How gossip and placement grow with the number of peers: the product's own machines, in virtual time.
//!
//! Every peer runs `mesh::Mesh` with the limits that peers run with; packets take 1 to 3 ms and none is lost. Nobody is
//! told that a connection broke: what is measured is the slow path, that of a peer that freezes.

use crate::sim::dice::Dice;
use bytes::Bytes;
use mesh::{Action, Identity, Input, Limits, Mesh, State};
use model::PeerId;
use model::catalogue::Addresses;
use ring::{Ring, Seat};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A number of shards that a mesh can have; more do not fit into their ids.
const SHARDS_MAX: usize = 1 << 15;
const SHARDS_A_PEER: usize = 16;
const SECOND_US: u64 = 1_000_000;
/// How long anything here may take to be known everywhere.
const LIMIT_US: u64 = 120 * SECOND_US;

/// What gossip costs and how fast it is.
#[derive(Clone, Copy, Debug)]
pub struct Gossip {
    /// Bytes that a peer sends in a second when nothing happens.
    pub quiet_bytes: f64,
    /// Until all know a peer that joined, in seconds and in rounds of gossip.
    pub joined_s: f64,
    pub joined_rounds: f64,
    /// Until the first peer, and until all know that one is gone, in seconds.
    pub gone_first_s: f64,
    pub gone_all_s: f64,
}

/// How even placement is, and how little moves.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    pub shards: u16,
    /// Replicas that move when one peer joins: the mean, and what would be if each took its share only.
    pub moves: f64,
    pub share: f64,
    /// The most replicas and leaderships of a peer, in parts of the mean.
    pub most_replicas: f64,
    pub most_led: f64,
    /// Milliseconds that a peer takes to compute a ring.
    pub ms: f64,
}

enum What {
    Packet(Bytes),
    Timer(u64),
}

struct World {
    now_us: u64,
    dice: Dice,
    peers: Vec<Option<Mesh>>,
    due: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// What is due, by its number.
    what: std::collections::HashMap<u64, What>,
    next: u64,
    bytes: u64,
    /// The peer that is watched, who sees it so, and the state that is waited for.
    watched: (Vec<u8>, State),
    seen: usize,
}

fn key(peer: usize) -> Vec<u8> {
    let mut key = vec![0; 38];
    key[..8].copy_from_slice(&(peer as u64).to_be_bytes());
    key
}

fn identity(peer: usize) -> Identity {
    let address =
        |port: u16| format!("10.{}.{}.{}:{port}", peer >> 16, (peer >> 8) & 255, peer & 255);
    let (mesh, consensus) = (address(7946), address(7947));
    let (kafka, http) = (address(9092), address(8080));
    Identity {
        key: key(peer),
        peer: PeerId(peer as i32 + 1),
        incarnation: 1,
        renewals: 0,
        addresses: Addresses { mesh, consensus, kafka, http },
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            now_us: 0,
            dice: Dice::new(seed),
            peers: Vec::new(),
            due: BinaryHeap::new(),
            what: Default::default(),
            next: 0,
            bytes: 0,
            watched: (Vec::new(), State::Alive),
            seen: 0,
        }
    }

    fn add(&mut self) -> usize {
        let peer = self.peers.len();
        let seed = self.dice.next();
        self.peers.push(Some(Mesh::new(seed, identity(peer), Limits::default())));
        peer
    }

    fn later(&mut self, peer: usize, after_us: u64, what: What) {
        self.next += 1;
        self.due.push(Reverse((self.now_us + after_us, self.next, peer)));
        self.what.insert(self.next, what);
    }

    fn step(&mut self, peer: usize, input: Input) {
        let Some(machine) = self.peers[peer].as_mut() else { return };
        let mut actions = Vec::new();
        machine.step(self.now_us, input, &mut actions).expect("packets of our own are sound");
        for action in actions {
            match action {
                Action::Timer { after_us, token } => {
                    self.later(peer, after_us, What::Timer(token));
                }
                Action::Send { to, packet } => {
                    self.bytes += packet.len() as u64;
                    let to = u64::from_be_bytes(to[..8].try_into().expect("a key")) as usize;
                    let delay = self.dice.range(1_000, 3_000);
                    self.later(to, delay, What::Packet(packet));
                }
                Action::Changed(members) => {
                    let (watched, state) = &self.watched;
                    let news = members.iter().find(|member| member.identity.key == *watched);
                    self.seen += usize::from(news.is_some_and(|member| member.state == *state));
                }
            }
        }
    }

    /// Goes on until a moment, or until so many have seen what is watched.
    fn run(&mut self, until_us: u64, seen: usize) {
        while self.seen < seen {
            match self.due.peek() {
                Some(Reverse((at, _, _))) if *at <= until_us => {}
                _ => {
                    self.now_us = until_us;
                    return;
                }
            }
            let Some(Reverse((at, number, peer))) = self.due.pop() else { return };
            self.now_us = at;
            match self.what.remove(&number) {
                Some(What::Packet(bytes)) => self.step(peer, Input::Packet { bytes }),
                Some(What::Timer(token)) => self.step(peer, Input::Timer { token }),
                None => {}
            }
        }
    }

    fn watch(&mut self, peer: usize, state: State) {
        (self.watched, self.seen) = ((key(peer), state), 0);
    }

    fn knows_all(&self) -> bool {
        let all = self.peers.len() - 1;
        let alive = |mesh: &Mesh| mesh.members().filter(|m| m.state == State::Alive).count();
        self.peers.iter().flatten().all(|mesh| alive(mesh) == all)
    }
}

/// Measures gossip among so many peers; an error says what did not happen in time.
pub fn gossip(count: usize, seed: u64) -> Result<Gossip, String> {
    let most = Limits::default().members_max;
    if count >= most {
        return Err(format!("a peer remembers {most} members"));
    }
    let mut world = World::new(seed);
    for peer in 0..count {
        world.add();
        for through in [peer / 2, peer.saturating_sub(1)] {
            if through != peer {
                world.step(peer, Input::Join { key: key(through) });
            }
        }
    }
    while !world.knows_all() {
        if world.now_us > LIMIT_US {
            return Err(format!("not all know each other after {} s", LIMIT_US / SECOND_US));
        }
        let until = world.now_us + SECOND_US;
        world.run(until, usize::MAX);
    }
    // What is passed on still of the beginning dies down.
    let quiet = world.now_us + 20 * SECOND_US;
    world.run(quiet, usize::MAX);
    world.bytes = 0;
    world.run(quiet + 20 * SECOND_US, usize::MAX);
    let quiet_bytes = world.bytes as f64 / 20.0 / count as f64;

    let since = |world: &World, from: u64| (world.now_us - from) as f64 / SECOND_US as f64;
    let from = world.now_us;
    let new = world.add();
    world.watch(new, State::Alive);
    let through = world.dice.range(0, count as u64) as usize;
    world.step(new, Input::Join { key: key(through) });
    world.run(from + LIMIT_US, count);
    if world.seen < count {
        return Err(format!("{} of {count} have heard of who joined", world.seen));
    }
    let joined_s = since(&world, from);
    let until = world.now_us + 5 * SECOND_US;
    world.run(until, usize::MAX);

    let gone = world.dice.range(0, count as u64) as usize;
    world.peers[gone] = None;
    world.watch(gone, State::Gone);
    let from = world.now_us;
    world.run(from + LIMIT_US, 1);
    let gone_first_s = since(&world, from);
    world.run(from + LIMIT_US, count);
    if world.seen < count {
        return Err(format!("{} of {count} know who is gone", world.seen));
    }
    let round_s = Limits::default().gossip_period_us as f64 / SECOND_US as f64;
    Ok(Gossip {
        quiet_bytes,
        joined_s,
        joined_rounds: joined_s / round_s,
        gone_first_s,
        gone_all_s: since(&world, from),
    })
}

/// Measures placement on so many peers, and what moves when one of several joins.
pub fn placement(count: usize, joins: usize) -> Placement {
    let shards = (count * SHARDS_A_PEER).next_power_of_two().min(SHARDS_MAX) as u16;
    let seat = |peer: usize| Seat { peer: PeerId(peer as i32), zone: String::new(), weight: 100 };
    let seats: Vec<Seat> = (1..=count).map(seat).collect();
    let start = Instant::now();
    let ring = Ring::new(&seats, shards, 3);
    let ms = start.elapsed().as_secs_f64() * 1000.0;
    let replicas = 3 * usize::from(shards);
    let mut loads = vec![(0, 0); count + 1];
    for (_, target) in ring.targets() {
        target.iter().for_each(|peer| loads[peer.0 as usize].0 += 1);
        loads[target[0].0 as usize].1 += 1;
    }
    let mean = |total: usize| total as f64 / count as f64;
    let most = |of: fn(&(usize, usize)) -> usize| loads.iter().map(of).max().unwrap_or(0) as f64;
    let (most_replicas, most_led) = (most(|load| load.0), most(|load| load.1));
    let mut moves = 0;
    for join in 1..=joins {
        let mut joined = seats.clone();
        joined.push(seat(count + join));
        moves += ring::plan(&ring, &Ring::new(&joined, shards, 3)).moves();
    }
    Placement {
        shards,
        moves: moves as f64 / joins as f64,
        share: replicas as f64 / (count + 1) as f64,
        most_replicas: most_replicas / mean(replicas),
        most_led: most_led / mean(shards.into()),
        ms,
    }
}
