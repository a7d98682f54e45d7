//! A replica that alone decides leads at once; nothing of its new term may leave before that term is on its disk.
//!
//! Crashes that would show it are too rare for the simulators; without the rule of `Replica::round` this turns red.

use model::{Epoch, LogEntry, MeshId, PeerId, ReplicaId, ShardId};
use replica::{
    Action, BEAT_TICKS, Config, Input, Journalled, Now, Reopened, Replica, TICK_MS, reopen,
};

fn config() -> Config {
    let (shard, mesh, peer) = (ShardId(3), MeshId(1), PeerId(1));
    Config { shard, mesh, shards: 8, replication: 3, peer, seed: 7 }
}

fn now(ticks: u64) -> Now {
    Now { mono_us: ticks * TICK_MS * 1000, wall_ms: 1_700_000_000_000 + ticks * TICK_MS }
}

fn step(replica: &mut Replica, ticks: u64, input: Input) -> Vec<Action> {
    let mut actions = Vec::new();
    replica.step(now(ticks), input, &mut actions).expect("nothing is refused");
    actions
}

fn tick(ticks: u64) -> Input {
    Input::Tick { beat: ticks.is_multiple_of(BEAT_TICKS) }
}

/// Turns with a disk that is done at once, until the replica is at rest.
fn rest(replica: &mut Replica, ticks: u64) {
    while replica.needs_turn() {
        for action in step(replica, ticks, Input::Turn) {
            if let Action::Persist { number, .. } = action {
                step(replica, ticks, Input::Persisted { number });
            }
        }
    }
}

/// A founder whose log has a learner on another peer, as its disk has it.
fn founder_with_a_learner() -> Journalled {
    let mut founder =
        Replica::new(config(), Replica::founded(&config())).expect("it is founded soundly");
    rest(&mut founder, 0);
    let (peers, epoch) = (vec![PeerId(1), PeerId(2)], Epoch(1));
    step(&mut founder, 0, Input::Target { epoch, peers, least: 1 });
    for ticks in 1..200 {
        step(&mut founder, ticks, tick(ticks));
        rest(&mut founder, ticks);
        if founder.wants_move() {
            step(&mut founder, ticks, Input::MayMove);
            rest(&mut founder, ticks);
        }
    }
    assert_eq!(founder.status().learners, [PeerId(2)]);
    let entries: Vec<LogEntry> = founder.entries_above(1);
    let hard = founder.hard();
    Journalled { replica: ReplicaId(1), base: (1, 1), hard, entries, doubt: None }
}

#[test]
fn a_sole_voter_says_nothing_of_a_term_that_is_not_on_its_disk() {
    let journal = founder_with_a_learner();
    let kept = journal.hard.term;
    let Reopened::Replica { mut replica, .. } = reopen(config(), Some(journal), None, None) else {
        panic!("a sound disk starts");
    };
    let mut numbers = Vec::new();
    for ticks in 1_000..1_100 {
        let mut actions = step(&mut replica, ticks, tick(ticks));
        while replica.needs_turn() {
            actions.extend(step(&mut replica, ticks, Input::Turn));
        }
        for action in actions {
            match action {
                Action::Persist { number, .. } => numbers.push(number),
                Action::Send { to, .. } => panic!("{to:?} hears of a term that is not on disk"),
                _ => {}
            }
        }
    }
    assert!(replica.status().term > kept, "it leads in a new term");
    let number = *numbers.last().expect("the term is written");
    let said = step(&mut replica, 1_100, Input::Persisted { number });
    assert!(said.iter().any(|action| matches!(action, Action::Send { .. })), "now it is said");
}
