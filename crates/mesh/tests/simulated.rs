//! Meshes of machines in virtual time, over links that delay, lose and break by seed.

use bytes::Bytes;
use mesh::{Action, Identity, Input, Limits, Member, Mesh, State};
use model::{PeerId, catalogue::Addresses};
use std::collections::BTreeMap;

const MS: u64 = 1_000;
const S: u64 = 1_000 * MS;

enum Due {
    Packet(Bytes),
    Timer(u64),
    /// The connection to this peer broke or came back.
    Link(usize, bool),
}

/// One process: none while it is dead.
struct Process {
    mesh: Option<Mesh>,
    /// Timers of an earlier life are not delivered.
    life: u64,
    side: u8,
}

struct World {
    now: u64,
    /// By time, then by order of asking.
    due: BTreeMap<(u64, u64), (usize, u64, Due)>,
    asked: u64,
    peers: Vec<Process>,
    dice: u64,
    /// Of 1,000 packets.
    lost: u64,
    trace: Vec<String>,
    packets: usize,
    bytes: usize,
}

fn key(n: usize) -> Vec<u8> {
    format!("key {n:02} of 38 bytes as libp2p has them").into_bytes()
}

fn number(key: &[u8]) -> usize {
    String::from_utf8_lossy(&key[4..6]).parse().expect("made by key()")
}

impl World {
    fn new(seed: u64, count: usize) -> Self {
        let (due, trace, peers) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (dice, lost, packets, bytes) = (seed * 2 + 1, 0, 0, 0);
        let mut world = Self { now: 0, due, asked: 0, peers, dice, lost, trace, packets, bytes };
        world.peers = (0..count).map(|_| Process { mesh: None, life: 0, side: 0 }).collect();
        (0..count).for_each(|n| world.start(n));
        world
    }

    /// A process starts anew, and joins through peer 0 (or 1, if it is 0).
    fn start(&mut self, n: usize) {
        let life = self.peers[n].life + 1;
        let at = |port: u16| format!("peer-{n}.example.org:{port}");
        let addresses =
            Addresses { mesh: at(7946), consensus: at(7947), kafka: at(9092), http: at(8080) };
        let peer = PeerId(n as i32 + 1);
        let identity = Identity { key: key(n), peer, incarnation: life, renewals: 0, addresses };
        let seed = self.dice ^ (n as u64) << 32 ^ life;
        self.peers[n] =
            Process { mesh: Some(Mesh::new(seed, identity, Limits::default())), life, side: 0 };
        self.step(n, Input::Join { key: key(usize::from(n == 0)) });
    }

    /// A process dies. With `heard`, the others' connections break; without, it is only silent.
    fn kill(&mut self, n: usize, heard: bool) {
        self.peers[n].mesh = None;
        for other in (0..self.peers.len()).filter(|other| heard && *other != n) {
            self.ask(self.now + MS, other, Due::Link(n, false));
        }
    }

    fn ask(&mut self, at: u64, n: usize, due: Due) {
        self.asked += 1;
        self.due.insert((at, self.asked), (n, self.peers[n].life, due));
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) % below
    }

    fn step(&mut self, n: usize, input: Input) {
        let mut actions = Vec::new();
        let Some(mesh) = &mut self.peers[n].mesh else { return };
        mesh.step(self.now, input, &mut actions).expect("only our own packets travel");
        for action in actions {
            match action {
                Action::Send { to, packet } => self.send(n, number(&to), packet),
                Action::Timer { after_us, token } => {
                    self.ask(self.now + after_us, n, Due::Timer(token));
                }
                Action::Changed(members) => {
                    for Member { identity, state, .. } in members {
                        let of = (number(&identity.key), identity.incarnation, identity.renewals);
                        self.trace.push(format!("{} {n}: {of:?} {state:?}", self.now));
                    }
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, packet: Bytes) {
        assert!(packet.len() <= mesh::limits::PACKET_BYTES_MAX);
        (self.packets, self.bytes) = (self.packets + 1, self.bytes + packet.len());
        let arrives = self.peers[from].side == self.peers[to].side && self.draw(1000) >= self.lost;
        let at = self.now + MS + self.draw(500);
        if arrives {
            self.ask(at, to, Due::Packet(packet));
        }
    }

    fn run(&mut self, for_us: u64) {
        let end = self.now + for_us;
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), (n, life, due)) = entry.remove_entry();
            self.now = at;
            let is_same_life = self.peers[n].life == life;
            match due {
                Due::Packet(bytes) => self.step(n, Input::Packet { bytes }),
                Due::Timer(token) if is_same_life => self.step(n, Input::Timer { token }),
                Due::Timer(_) => {}
                Due::Link(other, true) => self.step(n, Input::Up { key: key(other) }),
                Due::Link(other, false) => self.step(n, Input::Down { key: key(other) }),
            }
        }
        self.now = end;
    }

    /// Runs until it holds for every living peer's view of every other; answers how long that took.
    fn until(&mut self, at_most: u64, holds: impl Fn(usize, Option<&Member>) -> bool) -> u64 {
        let start = self.now;
        loop {
            let holds_now = (0..self.peers.len()).all(|n| {
                let Some(mesh) = &self.peers[n].mesh else { return true };
                let of = |other| mesh.members().find(|m| number(&m.identity.key) == other);
                (0..self.peers.len()).all(|other| other == n || holds(other, of(other)))
            });
            if holds_now {
                return self.now - start;
            }
            assert!(self.now - start < at_most, "not within {at_most} us: {:#?}", self.trace);
            self.run(10 * MS);
        }
    }

    fn until_all_alive(&mut self, at_most: u64) -> u64 {
        self.until(at_most, |_, m| m.is_some_and(|m| m.state == State::Alive))
    }

    fn until_gone(&mut self, dead: usize, at_most: u64) -> u64 {
        self.until(at_most, |n, m| n != dead || m.is_some_and(|m| m.state == State::Gone))
    }
}

fn is_gone(line: &str) -> bool {
    line.ends_with("Gone")
}

/// The slowest of ten seeds, in ms, printed for the figures.
fn slowest(what: &str, count: usize, mut story: impl FnMut(&mut World) -> u64) {
    let times = (1..=10).map(|seed| story(&mut World::new(seed, count)) / MS);
    println!("{count:2} peers: {what}: at most {} ms", times.max().unwrap_or_default());
}

#[test]
fn all_find_each_other_through_one() {
    for count in [2, 3, 5, 16] {
        slowest("all know all", count, |world| world.until_all_alive(12 * S));
        slowest("the same, a fifth of packets lost", count, |world| {
            world.lost = 200;
            world.until_all_alive(30 * S)
        });
    }
}

#[test]
fn a_peer_whose_connections_broke_is_gone_soon_and_a_silent_one_a_little_later() {
    for count in [3, 5, 16] {
        slowest("killed, gone for all", count, |world| {
            world.until_all_alive(12 * S);
            world.kill(count / 2, true);
            world.until_gone(count / 2, 3 * S)
        });
        slowest("silent, gone for all", count, |world| {
            world.until_all_alive(12 * S);
            world.kill(count / 2, false);
            world.until_gone(count / 2, 8 * S)
        });
    }
}

#[test]
fn a_broken_connection_to_a_living_peer_does_not_make_it_gone() {
    for count in [3, 5, 16] {
        for seed in 1..=10 {
            let mut world = World::new(seed, count);
            world.until_all_alive(12 * S);
            world.ask(world.now, 1, Due::Link(2, false));
            world.run(10 * MS);
            assert!(world.trace.last().expect("a change").ends_with("Suspect"));
            world.ask(world.now + 100 * MS, 1, Due::Link(2, true));
            world.run(5 * S);
            assert!(!world.trace.iter().any(|line| is_gone(line)), "{seed}: {:#?}", world.trace);
            world.until_all_alive(MS);
        }
    }
}

#[test]
fn a_restarted_peer_is_alive_at_once() {
    for count in [2, 3, 5, 16] {
        for pause in [100 * MS, 10 * S] {
            slowest(&format!("back after {} ms", pause / MS), count, |world| {
                world.until_all_alive(12 * S);
                world.kill(count - 1, true);
                world.run(pause);
                world.start(count - 1);
                world.until(3 * S, |n, m| {
                    let life = if n == count - 1 { 2 } else { 1 };
                    m.is_some_and(|m| m.state == State::Alive && m.identity.incarnation == life)
                })
            });
        }
    }
}

#[test]
fn a_split_heals_without_hands() {
    for count in [2, 3, 5, 16] {
        slowest("whole again after a split of 30 s", count, |world| {
            world.until_all_alive(12 * S);
            (0..count / 2).for_each(|n| world.peers[n].side = 1);
            world.run(30 * S);
            assert!(world.trace.iter().any(|line| is_gone(line)));
            world.peers.iter_mut().for_each(|peer| peer.side = 0);
            world.until_all_alive(15 * S)
        });
    }
}

/// A suspicion may outlive the identity of who holds it: others called that peer gone, and it came back renewed.
#[test]
fn nobody_stays_suspect_however_short_the_split() {
    for seed in 1..=200 {
        let mut world = World::new(seed, 5);
        world.until_all_alive(12 * S);
        for _ in 0..3 {
            let side = world.draw(5) as usize;
            world.peers[side].side = 1;
            let split = world.draw(5 * S);
            world.run(split);
            world.peers[side].side = 0;
            world.until_all_alive(15 * S);
        }
    }
}

#[test]
fn one_that_leaves_is_gone_at_once_and_silent() {
    let mut world = World::new(7, 5);
    world.until_all_alive(12 * S);
    world.step(3, Input::Leave);
    world.peers[3].mesh = None;
    let time = world.until_gone(3, 2 * S);
    assert!(time < S, "{time}");
}

#[test]
fn a_forgotten_peer_is_sought_no_more() {
    let mut world = World::new(7, 2);
    world.until_all_alive(12 * S);
    world.kill(1, true);
    world.until_gone(1, 5 * S);
    let before = world.packets;
    world.run(10 * S);
    assert!(world.packets >= before + 9, "it is sought");
    world.step(0, Input::Forget { key: key(1) });
    let before = world.packets;
    world.run(10 * S);
    assert_eq!(world.packets, before);
    let mesh = world.peers[0].mesh.as_ref().expect("alive");
    assert_eq!(mesh.members().count(), 0);
}

#[test]
fn equal_seeds_give_equal_traces() {
    let story = |seed| {
        let mut world = World::new(seed, 16);
        world.lost = 100;
        world.run(10 * S);
        world.kill(3, true);
        world.run(5 * S);
        world.start(3);
        (0..5).for_each(|n| world.peers[n].side = 1);
        world.run(10 * S);
        world.peers.iter_mut().for_each(|peer| peer.side = 0);
        world.run(10 * S);
        (world.trace, world.packets, world.bytes)
    };
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}

#[test]
fn gossip_at_rest_is_small() {
    for count in [3, 16] {
        let mut world = World::new(5, count);
        world.until_all_alive(12 * S);
        world.run(20 * S);
        (world.packets, world.bytes) = (0, 0);
        world.run(20 * S);
        let (packets, bytes) = (world.packets / 20 / count, world.bytes / 20 / count);
        println!("{count} peers at rest: {packets} packets, {bytes} bytes a second each");
        assert!(packets < 10 && bytes < 4000);
        assert!(!world.trace.iter().any(|line| is_gone(line)));
    }
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let mut world = World::new(3, 2);
    world.until_all_alive(12 * S);
    let now = world.now;
    let mesh = world.peers[0].mesh.as_mut().expect("alive");
    let before: Vec<Member> = mesh.members().cloned().collect();
    let mut packets: Vec<Vec<u8>> =
        vec![vec![], vec![0xff; 100], vec![0; 3], vec![1; mesh::limits::PACKET_BYTES_MAX + 1]];
    // a key that claims to be 2^63 bytes long
    packets.push([&[0xff; 9][..], &[0x7f], &[0; 50]].concat());
    for packet in packets {
        let mut actions = Vec::new();
        let outcome = mesh.step(now, Input::Packet { bytes: packet.into() }, &mut actions);
        assert!(matches!(outcome, Err(mesh::Error::Packet(_))), "{outcome:?}");
        assert!(actions.is_empty());
    }
    assert_eq!(mesh.members().cloned().collect::<Vec<_>>(), before);
}
