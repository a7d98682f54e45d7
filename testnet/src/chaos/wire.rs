//! The wire between the peers, in user space: every packet of every link passes through here, and can be lost, held
//! up, overtaken or doubled, in one direction alone if need be. It needs nothing of the kernel but TUN devices.

use super::dice::Dice;
use super::ground;
use anyhow::Context;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tappers::{Interface, Tun};

/// Large, because each packet costs two copies and two system calls here.
pub const MTU: usize = 9000;
/// Packets that may be held up at once; more are lost, as in any queue.
const HELD_MAX: usize = 8192;

/// How a link, in one direction, treats packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    pub cut: bool,
    pub loss_percent: f64,
    pub double_percent: f64,
    /// Of those so many are held up once more, so that later ones overtake them.
    pub overtaken_percent: f64,
    pub delay: Duration,
    pub jitter: Duration,
}

/// What happened to packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub passed: u64,
    pub lost: u64,
    pub doubled: u64,
    /// Held up once more, for others to overtake.
    pub overtaken: u64,
    pub held: u64,
}

impl Traffic {
    /// Whether any packet met with something since then.
    pub fn suffered_since(&self, before: Self) -> bool {
        let sum = |traffic: Self| traffic.lost + traffic.doubled + traffic.held;
        sum(*self) > sum(before)
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, lost, doubled, overtaken, held } = self;
        write!(
            f,
            "{passed} packets passed, {lost} were lost, {doubled} doubled, {held} held up, \
             {overtaken} of these for others to overtake"
        )
    }
}

struct Links {
    of: BTreeMap<(usize, usize), Link>,
    dice: Dice,
    traffic: Traffic,
    /// When the last packet of a link that keeps its order will leave.
    last: BTreeMap<(usize, usize), Instant>,
}

/// A packet that waits.
struct Held {
    until: Instant,
    number: u64,
    to: usize,
    packet: Vec<u8>,
}

#[derive(Default)]
struct Ends(Mutex<BTreeMap<usize, Arc<Tun>>>);

/// All links.
pub struct Wire {
    links: Arc<Mutex<Links>>,
    ends: Arc<Ends>,
    held: SyncSender<Held>,
}

impl Wire {
    pub fn new(seed: u64) -> Self {
        let links = Links {
            of: BTreeMap::new(),
            dice: Dice::new(seed),
            traffic: Traffic::default(),
            last: BTreeMap::new(),
        };
        let ends = Arc::new(Ends::default());
        let (held, waiting) = sync_channel(HELD_MAX);
        let deliver = Arc::clone(&ends);
        thread::spawn(move || release(&waiting, &deliver));
        Self { links: Arc::new(Mutex::new(links)), ends, held }
    }

    /// Gives a peer its end of the wire: a device called `wire` in its namespace.
    pub fn join(&self, peer: usize, namespace: &Path) -> anyhow::Result<()> {
        let namespace = namespace.to_owned();
        // A thread of its own, because it stays where it went.
        let opened = thread::spawn(move || {
            ground::enter(&namespace)?;
            let name = Interface::new("wire").context("the name of a device")?;
            Tun::new_named(name).context("open /dev/net/tun")
        });
        let end = Arc::new(opened.join().expect("it does not panic")?);
        lock(&self.ends.0).insert(peer, Arc::clone(&end));
        let (links, ends, held) =
            (Arc::clone(&self.links), Arc::clone(&self.ends), self.held.clone());
        thread::spawn(move || carry(peer, &end, &links, &ends, &held));
        Ok(())
    }

    /// From now on the link from one peer to another is like this.
    pub fn set(&self, from: usize, to: usize, link: Link) {
        lock(&self.links).of.insert((from, to), link);
    }

    /// All links are whole again.
    pub fn heal(&self) {
        let mut links = lock(&self.links);
        links.of.clear();
        links.last.clear();
    }

    pub fn traffic(&self) -> Traffic {
        lock(&self.links).traffic
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries what one peer sends until its namespace is gone.
fn carry(from: usize, end: &Tun, links: &Mutex<Links>, ends: &Ends, held: &SyncSender<Held>) {
    let mut packet = vec![0; MTU + 64];
    let mut number = 0;
    while let Ok(size) = end.recv(&mut packet) {
        let Some(to) = destination(&packet[..size]) else { continue };
        let fate = lock(links).fate(from, to, Instant::now());
        for until in fate.into_iter().flatten() {
            match until {
                None => ends.send(to, &packet[..size]),
                Some(until) => {
                    number += 1;
                    let packet = packet[..size].to_vec();
                    if let Err(TrySendError::Full(_)) =
                        held.try_send(Held { until, number, to, packet })
                    {
                        lock(links).traffic.lost += 1;
                    }
                }
            }
        }
    }
}

/// The peer that an IPv4 packet is for.
fn destination(packet: &[u8]) -> Option<usize> {
    let version = packet.first()? >> 4;
    match packet.get(16..20)? {
        [10, 77, 0, peer] if version == 4 => Some(usize::from(*peer)),
        _ => None,
    }
}

impl Links {
    /// When the packet, and perhaps its double, leaves: now (`Some(None)`), later, or never.
    fn fate(&mut self, from: usize, to: usize, now: Instant) -> [Option<Option<Instant>>; 2] {
        let Some(link) = self.of.get(&(from, to)).copied() else {
            self.traffic.passed += 1;
            return [Some(None), None];
        };
        if link.cut || self.dice.percent(link.loss_percent) {
            self.traffic.lost += 1;
            return [None, None];
        }
        self.traffic.passed += 1;
        let doubled = self.dice.percent(link.double_percent);
        self.traffic.doubled += u64::from(doubled);
        if link.delay.is_zero() && link.jitter.is_zero() {
            return [Some(None), doubled.then_some(None)];
        }
        self.traffic.held += 1;
        let jitter_us = u64::try_from(link.jitter.as_micros()).unwrap_or(u64::MAX);
        let jitter = Duration::from_micros(self.dice.below(jitter_us.saturating_add(1)));
        let mut until = now + link.delay + jitter;
        if self.dice.percent(link.overtaken_percent) {
            self.traffic.overtaken += 1;
            until += link.delay + Duration::from_millis(5);
        } else {
            let last = self.last.entry((from, to)).or_insert(until);
            until = until.max(*last);
            *last = until;
        }
        [Some(Some(until)), doubled.then_some(Some(until))]
    }
}

impl Ends {
    fn send(&self, to: usize, packet: &[u8]) {
        let end = lock(&self.0).get(&to).cloned();
        if let Some(end) = end {
            // A full queue or a device that is gone loses the packet, as a network may.
            let _ = end.send(packet);
        }
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        (self.until, self.number) == (other.until, other.number)
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.until, self.number).cmp(&(other.until, other.number))
    }
}

/// Lets packets go when their time has come, until nobody can hold any more.
fn release(waiting: &Receiver<Held>, ends: &Ends) {
    let mut queue: BinaryHeap<Reverse<Held>> = BinaryHeap::new();
    loop {
        let next = queue.peek().map(|Reverse(held)| held.until);
        let wait = next.map_or(Duration::from_secs(1), |until| until - Instant::now().min(until));
        match waiting.recv_timeout(wait) {
            Ok(held) if queue.len() < HELD_MAX => queue.push(Reverse(held)),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while queue.peek().is_some_and(|Reverse(held)| held.until <= now) {
            if let Some(Reverse(held)) = queue.pop() {
                ends.send(held.to, &held.packet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(link: Link) -> Links {
        let of = BTreeMap::from([((1, 2), link)]);
        Links { of, dice: Dice::new(7), traffic: Traffic::default(), last: BTreeMap::new() }
    }

    #[test]
    fn a_cut_is_one_way() {
        let mut links = links(Link { cut: true, ..Link::default() });
        let now = Instant::now();
        assert_eq!(links.fate(1, 2, now), [None, None]);
        assert_eq!(links.fate(2, 1, now), [Some(None), None]);
        assert_eq!((links.traffic.lost, links.traffic.passed), (1, 1));
    }

    #[test]
    fn loss_and_doubles_are_about_as_many_as_asked_for() {
        let link = Link { loss_percent: 20.0, double_percent: 10.0, ..Link::default() };
        let mut links = links(link);
        let now = Instant::now();
        for _ in 0..10_000 {
            links.fate(1, 2, now);
        }
        let Traffic { lost, doubled, .. } = links.traffic;
        assert!((1_800..2_200).contains(&lost), "{lost}");
        assert!((650..950).contains(&doubled), "{doubled}");
    }

    #[test]
    fn jitter_keeps_the_order_unless_overtaking_is_asked_for() {
        let leaves = |overtaken_percent| {
            let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(10));
            let mut links = links(Link { delay, jitter, overtaken_percent, ..Link::default() });
            let now = Instant::now();
            (0..200).filter_map(|_| links.fate(1, 2, now)[0].flatten()).collect::<Vec<_>>()
        };
        assert!(leaves(0.0).is_sorted());
        assert!(!leaves(30.0).is_sorted());
    }

    #[test]
    fn only_packets_for_peers_are_carried() {
        let mut packet = vec![0x45; 40];
        packet[16..20].copy_from_slice(&[10, 77, 0, 3]);
        assert_eq!(destination(&packet), Some(3));
        packet[16] = 224;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&[0x60; 40]), None);
        assert_eq!(destination(&[]), None);
    }
}
