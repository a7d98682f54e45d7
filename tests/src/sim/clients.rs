//! Those who use the shard: writers that retry, a task that commits, a reader that holds what it sees against what
//! was acknowledged before it asked.

mod reader;
mod task;
mod writer;

use super::dice::Dice;
use super::world::{Ask, Event, Reply, World};
use model::{PartitionId, PeerId, StageId, StreamId, TaskId, entry::row};
use reader::Reader;
use replica::{Fold, Refusal, TaskState};
use std::collections::BTreeMap;
use task::Task;
use writer::Writer;

pub const SOURCE: PartitionId = PartitionId { stream: StreamId(10), partition: 0 };
pub const OTHER: PartitionId = PartitionId { stream: StreamId(10), partition: 1 };
pub const OUTPUT: PartitionId = PartitionId { stream: StreamId(20), partition: 0 };
pub const TASK: TaskId = TaskId { stage: StageId(5), bucket: 0 };
/// The one row of the task's view: how many events it has counted.
pub const COUNT: &[u8] = &[row::VIEW, b'n'];

/// A client gives a request up after this, µs.
const PATIENCE_US: u64 = 1_500_000;
/// One way between a client and a peer, µs.
const WAY_US: u64 = 150;

/// All clients and their open requests.
pub struct Clients {
    all: Vec<Option<Client>>,
    open: BTreeMap<u64, (usize, u64)>,
    shared: Shared,
}

/// What clients tell each other: what was acknowledged to any of them.
#[derive(Default)]
pub struct Shared {
    /// The source's offsets below this are acknowledged.
    pub acked_next: i64,
    /// The task's commits up to this are acknowledged.
    pub acked_sequence: u64,
}

enum Client {
    Writer(Writer),
    Task(Task),
    Reader(Reader),
}

/// What a client wants done next.
pub struct Wish {
    pub peer: i32,
    pub ask: Ask,
    /// The client's own word for the request.
    pub token: u64,
}

/// What a linearizable read saw.
#[derive(Clone, Debug)]
pub struct Seen {
    pub task: TaskState,
    pub source_next: i64,
    pub count: u64,
}

impl Seen {
    pub fn of(fold: &Fold) -> Self {
        Self {
            task: fold.task(TASK).cloned().unwrap_or_default(),
            source_next: fold.partition(SOURCE).map_or(0, |partition| partition.next_offset),
            count: count(fold),
        }
    }
}

/// The count in the task's view.
pub fn count(fold: &Fold) -> u64 {
    let row = fold.row(TASK, COUNT);
    row.and_then(|row| row[..].try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// The peer to ask after a refusal: the one it names, or any.
pub fn elsewhere(refusal: Refusal, peers: i32, dice: &mut Dice) -> i32 {
    match refusal {
        Refusal::NotLeader { leader: Some(PeerId(peer)) } if dice.chance(900) => peer,
        _ => dice.range(1, peers as u64 + 1) as i32,
    }
}

impl Clients {
    pub fn draw(dice: &mut Dice, seed: u64) -> Self {
        let batches = dice.range(10, 36);
        let bytes = *dice.pick(&[40, 300]) as usize;
        let all = [
            Client::Writer(Writer::producer(SOURCE, batches, bytes, u128::from(seed) + 1)),
            Client::Writer(Writer::door(SOURCE, batches, bytes, seed)),
            Client::Writer(Writer::keyed(OTHER, batches / 2, bytes)),
            Client::Task(Task::default()),
            Client::Reader(Reader::default()),
        ];
        let all = all.into_iter().map(Some).collect();
        Self { all, open: BTreeMap::new(), shared: Shared::default() }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn acknowledged(&self) -> u64 {
        self.writers().map(|writer| writer.acknowledged().count() as u64).sum()
    }

    fn writers(&self) -> impl Iterator<Item = &Writer> {
        self.all.iter().flatten().filter_map(|client| match client {
            Client::Writer(writer) => Some(writer),
            _ => None,
        })
    }

    /// Everything is written and counted.
    pub fn is_done(&self) -> Result<(), String> {
        for client in self.all.iter().flatten() {
            match client {
                Client::Writer(writer) => writer.is_done()?,
                Client::Task(task) => task.is_done()?,
                Client::Reader(_) => {}
            }
        }
        Ok(())
    }
}

impl World {
    pub(super) fn client_moves(&mut self, number: usize) -> Result<(), String> {
        let Some(mut client) = self.clients.all[number].take() else { return Ok(()) };
        let peers = self.menu.peers;
        let (wishes, pause) = match &mut client {
            Client::Writer(writer) => writer.moves(peers, &mut self.dice),
            Client::Task(task) => task.moves(peers, &mut self.dice),
            Client::Reader(reader) => reader.moves(peers, &self.clients.shared, &mut self.dice),
        };
        self.clients.all[number] = Some(client);
        for Wish { peer, ask, token } in wishes {
            let request = self.next_request;
            self.next_request += 1;
            self.clients.open.insert(request, (number, token));
            let life = self.peers[&peer].life_number();
            self.after(WAY_US, Event::Ask { peer, life, request, ask });
            self.after(PATIENCE_US, Event::Timeout { request });
        }
        self.after(pause, Event::Client { client: number });
        Ok(())
    }

    pub(super) fn reply(&mut self, request: u64, reply: Reply) {
        self.after(WAY_US, Event::Reply { request, reply });
    }

    pub(super) fn client_gives_up(&mut self, request: u64) {
        if self.clients.open.contains_key(&request) {
            let reply = Reply { result: Err(Refusal::Unknown), seen: None };
            self.after(0, Event::Reply { request, reply });
        }
    }

    pub(super) fn client_hears(&mut self, request: u64, reply: Reply) -> Result<(), String> {
        let Some((number, token)) = self.clients.open.remove(&request) else { return Ok(()) };
        let Some(mut client) = self.clients.all[number].take() else { return Ok(()) };
        let peers = self.menu.peers;
        let (shared, dice) = (&mut self.clients.shared, &mut self.dice);
        let heard = match &mut client {
            Client::Writer(writer) => {
                writer.hears(token, reply.result, &self.invariants, shared, (peers, dice))
            }
            Client::Task(task) => task.hears(token, reply, shared, (peers, dice)),
            Client::Reader(reader) => reader.hears(token, reply),
        };
        self.clients.all[number] = Some(client);
        heard.map_err(|why| format!("client {number}: {why}"))
    }

    /// After all is done: what was acknowledged is there, and nothing is there twice.
    pub(super) fn audit(&self) -> Result<(), String> {
        for (id, peer) in self.peers.iter().filter(|(_, peer)| peer.replica.is_some()) {
            for writer in self.clients.writers() {
                writer.audit(&peer.disk.segments).map_err(|why| format!("on p{id}: {why}"))?;
            }
        }
        Ok(())
    }
}
