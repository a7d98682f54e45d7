//! Those who use the mesh: writers of four kinds, and readers that hold what they see against what was acknowledged
//! before they asked. They know what their own library would know, and reach every host that runs.

mod operator;
mod reader;
mod writer;

use super::router::{Failed, Reply, WAY_US, Wish};
use super::world::{Event, Of, SHARDS, World};
use crate::sim::dice::Dice;
use model::catalogue::Change;
use model::hash::shard_of;
use model::{PartitionId, ShardId, TaskId};
use operator::Operator;
use reader::Reader;
use std::collections::BTreeMap;
use writer::Writer;

/// A client gives a request up after this, µs: a door holds it for 2 s, and may have to ask another peer.
const PATIENCE_US: u64 = 5_500_000;

/// All clients and their open requests.
pub struct Clients {
    all: Vec<Option<Client>>,
    open: BTreeMap<u64, (usize, u64)>,
    next_request: u64,
    shared: Shared,
}

/// What clients tell each other: what was acknowledged to any of them.
#[derive(Default)]
pub struct Shared {
    /// Offsets below this are acknowledged.
    pub acked: BTreeMap<PartitionId, i64>,
    /// Commits up to this are acknowledged, or were seen behind a barrier.
    pub sequences: BTreeMap<TaskId, u64>,
}

enum Client {
    Operator(Operator),
    Writer(Box<Writer>),
    Reader(Reader),
}

/// The operator's place among the clients.
const OPERATOR: usize = 0;

/// What a client wants done next.
pub struct Request {
    pub host: usize,
    pub shard: ShardId,
    pub wish: Wish,
    /// The client's own word for it.
    pub token: u64,
}

impl Shared {
    pub fn acknowledge(&mut self, partition: PartitionId, next: i64) {
        let known = self.acked.entry(partition).or_default();
        *known = next.max(*known);
    }
    pub fn committed(&mut self, task: TaskId, sequence: u64) {
        let known = self.sequences.entry(task).or_default();
        *known = sequence.max(*known);
    }
}

impl Clients {
    pub fn draw(dice: &mut Dice, seed: u64) -> Self {
        let bytes = *dice.pick(&[20, 200]) as usize;
        let pause_us = dice.range(150_000, 500_000);
        let writer = |make: fn(u64, u64) -> Writer, number: u64| {
            Client::Writer(Box::new(make(number, seed).paced(pause_us, bytes)))
        };
        let all = [
            Client::Operator(Operator::default()),
            writer(Writer::idempotent, 0),
            writer(Writer::idempotent, 1),
            writer(Writer::plain, 2),
            writer(Writer::keyed, 3),
            writer(Writer::once, 4),
            Client::Reader(Reader::default()),
            Client::Reader(Reader::default()),
        ];
        let all = all.into_iter().map(Some).collect();
        Self { all, open: BTreeMap::new(), next_request: 1, shared: Shared::default() }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }
    pub fn acknowledged(&self) -> u64 {
        self.writers().map(Writer::acknowledged).sum()
    }
    pub fn committed(&mut self, task: TaskId, sequence: u64) {
        self.shared.committed(task, sequence);
    }

    fn writers(&self) -> impl Iterator<Item = &Writer> {
        self.all.iter().flatten().filter_map(|client| match client {
            Client::Writer(writer) => Some(&**writer),
            Client::Operator(_) | Client::Reader(_) => None,
        })
    }

    /// Tells the operator what to do.
    pub fn order(&mut self, change: Change) {
        if let Some(Client::Operator(operator)) = &mut self.all[OPERATOR] {
            operator.order(change);
        }
    }

    /// No more is written, and everything that was begun is answered.
    pub fn is_done(&self) -> Result<(), String> {
        if let Some(Client::Operator(operator)) = &self.all[OPERATOR] {
            operator.is_done()?;
        }
        self.writers().try_for_each(Writer::is_done)
    }
}

/// Where a partition of the source lies, once the stream exists.
pub struct Place {
    pub partition: PartitionId,
    pub shard: ShardId,
}

impl World {
    /// The partition of a stream, as metadata tells it.
    pub fn place_of(&self, stream: &str, partition: u32) -> Option<Place> {
        let stream = self.truth.catalogue()?.stream(stream)?;
        let shard = shard_of(stream.placement, partition, SHARDS);
        Some(Place { partition: PartitionId { stream: stream.id, partition }, shard })
    }

    pub fn client_moves(&mut self, number: usize) -> Result<(), String> {
        let Some(mut client) = self.clients.all[number].take() else { return Ok(()) };
        let (requests, pause) = match &mut client {
            Client::Operator(operator) => operator.moves(self),
            Client::Writer(writer) => writer.moves(self),
            Client::Reader(reader) => reader.moves(self),
        };
        self.clients.all[number] = Some(client);
        for Request { host, shard, wish, token } in requests {
            let request = self.clients.next_request;
            self.clients.next_request += 1;
            self.clients.open.insert(request, (number, token));
            if self.hosts[host].process.is_some() {
                self.soon(host, WAY_US, Of::Wish { request, shard, wish });
                self.after(PATIENCE_US, Event::Timeout { request });
            } else {
                // The connection is refused: nothing happened.
                self.after(WAY_US, Event::Reply { request, reply: Err(Failed::NoLeader) });
            }
        }
        self.after(pause, Event::Client { client: number });
        Ok(())
    }

    pub fn client_gives_up(&mut self, request: u64) -> Result<(), String> {
        self.client_hears(request, Err(Failed::Undecided))
    }

    pub fn client_hears(&mut self, request: u64, reply: Reply) -> Result<(), String> {
        let Some((number, token)) = self.clients.open.remove(&request) else { return Ok(()) };
        let Some(mut client) = self.clients.all[number].take() else { return Ok(()) };
        let mut shared = std::mem::take(&mut self.clients.shared);
        let heard = match &mut client {
            Client::Operator(operator) => {
                operator.hears(&reply);
                Ok(())
            }
            Client::Writer(writer) => writer.hears(token, reply, &mut shared, self),
            Client::Reader(reader) => reader.hears(token, reply, &mut shared),
        };
        self.clients.shared = shared;
        self.clients.all[number] = Some(client);
        heard.map_err(|why| format!("client {number}: {why}"))
    }

    /// What was acknowledged and seen so far.
    pub fn shared(&self) -> &Shared {
        &self.clients.shared
    }

    /// After all is done: what was acknowledged is there, what failed is not, and nothing is there twice.
    pub fn audit(&self) -> Result<(), String> {
        self.clients.writers().try_for_each(|writer| writer.audit(self))
    }
}
