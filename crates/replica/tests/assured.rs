//! Who is told that a shard has three voters may lose any one of them.
//!
//! A joint state asks both of its sides, and whoever has not heard that it was left does too. What leaders say of their voters
//! is held against that here: as soon as one says three it is gone, and the others must go on without it.

use bytes::Bytes;
use model::{Epoch, MeshId, PeerId, ReplicaId, ShardId};
use replica::{Action, BEAT_TICKS, Config, Input, Now, Replica, TICK_MS};
use std::collections::{BTreeMap, VecDeque};

struct Sent {
    to: PeerId,
    to_replica: ReplicaId,
    from: (ReplicaId, PeerId),
    message: Bytes,
    patience: bool,
}

/// Three peers whose disks are done at once, and wires that may lose word of commits.
struct Three {
    replicas: BTreeMap<PeerId, Replica>,
    wire: VecDeque<Sent>,
    loses_commits: bool,
    lost: Option<PeerId>,
    ticks: u64,
}

fn config(peer: i32) -> Config {
    let (shard, mesh, peer) = (ShardId(3), MeshId(1), PeerId(peer));
    Config { shard, mesh, shards: 8, replication: 3, peer, seed: 7 }
}

impl Three {
    fn founded(loses_commits: bool) -> Self {
        let founder =
            Replica::new(config(1), Replica::founded(&config(1))).expect("it is founded soundly");
        let replicas = [(PeerId(1), founder)].into();
        let mut three =
            Self { replicas, wire: VecDeque::new(), loses_commits, lost: None, ticks: 0 };
        let (peers, epoch) = ([1, 2, 3].map(PeerId).to_vec(), Epoch(1));
        three.step(PeerId(1), Input::Target { epoch, peers, least: 1 });
        three
    }

    fn step(&mut self, peer: PeerId, input: Input) {
        let now = Now {
            mono_us: self.ticks * TICK_MS * 1000,
            wall_ms: 1_700_000_000_000 + self.ticks * TICK_MS,
        };
        let Some(replica) = self.replicas.get_mut(&peer) else { return };
        let mut actions = Vec::new();
        replica.step(now, input, &mut actions).expect("nothing is refused");
        let id = replica.id();
        for action in actions {
            match action {
                Action::Persist { number, .. } => self.step(peer, Input::Persisted { number }),
                Action::Send { to, to_replica, message, patience } => {
                    let from = (id, peer);
                    self.wire.push_back(Sent { to, to_replica, from, message, patience });
                }
                _ => {}
            }
        }
    }

    fn deliver(&mut self, sent: Sent) {
        let Sent { to, to_replica, from: (from, from_peer), message, patience } = sent;
        if patience && self.loses_commits {
            return;
        }
        if self.lost == Some(to) {
            return;
        }
        self.replicas.entry(to).or_insert_with(|| {
            let config = config(to.0);
            let joining = Replica::joining(&config, to_replica);
            Replica::new(config, joining).expect("it begins soundly")
        });
        self.step(to, Input::Message { from, from_peer, message });
    }

    /// One thing happens, until none is left; false then.
    fn goes_on(&mut self) -> bool {
        let due = self.replicas.iter().find(|(_, replica)| replica.needs_turn());
        if let Some(peer) = due.map(|(peer, _)| *peer) {
            self.step(peer, Input::Turn);
        } else if let Some(sent) = self.wire.pop_front() {
            self.deliver(sent);
        } else {
            return false;
        }
        true
    }

    fn tick(&mut self) {
        self.ticks += 1;
        for peer in [1, 2, 3].map(PeerId) {
            let beat = self.ticks.is_multiple_of(BEAT_TICKS);
            self.step(peer, Input::Tick { beat });
            if self.replicas.get(&peer).is_some_and(Replica::wants_move) {
                self.step(peer, Input::MayMove);
            }
        }
    }

    fn leader(&self) -> Option<PeerId> {
        let leads = |(_, replica): &(&PeerId, &Replica)| replica.is_leading();
        self.replicas.iter().find(leads).map(|(peer, _)| *peer)
    }

    /// Goes on until a leader says that there are three voters.
    fn grow(&mut self) -> PeerId {
        for _ in 0..2_000 {
            while self.goes_on() {
                let Some(leader) = self.leader() else { continue };
                if self.replicas[&leader].status().voters.len() == 3 {
                    return leader;
                }
            }
            self.tick();
        }
        panic!("there are never three voters");
    }

    /// A peer is gone, with all it has sent.
    fn lose(&mut self, peer: PeerId) {
        self.replicas.remove(&peer);
        self.lost = Some(peer);
        self.wire.clear();
    }

    fn elects(&mut self) -> bool {
        self.loses_commits = false;
        for _ in 0..200 {
            while self.goes_on() {}
            if self.leader().is_some() {
                return true;
            }
            self.tick();
        }
        false
    }
}

#[test]
fn when_three_voters_are_told_any_one_may_be_lost_at_that_moment() {
    for loses_commits in [false, true] {
        let mut three = Three::founded(loses_commits);
        let leader = three.grow();
        assert_eq!(leader, PeerId(1));
        three.lose(leader);
        assert!(three.elects(), "nobody leads (word of commits lost: {loses_commits})");
    }
}

#[test]
fn a_joint_state_is_told_by_the_side_with_fewer_voters() {
    let mut three = Three::founded(false);
    let mut told = Vec::new();
    for _ in 0..2_000 {
        while three.goes_on() {
            let status = three.replicas[&PeerId(1)].status();
            if status.joint {
                assert_eq!((status.voters, status.learners.len()), (vec![PeerId(1)], 2));
                told.push(status.applied);
            }
        }
        if !told.is_empty() && !three.replicas[&PeerId(1)].status().joint {
            return;
        }
        three.tick();
    }
    panic!("no joint state was met and left: {told:?}");
}
