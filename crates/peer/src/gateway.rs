//! Serves Kafka clients: reads frames, begins what they ask, writes the answers in the order of the asks.
//!
//! Promises that a client never makes this peer hold more than its limits: a request is read only with credit for
//! its bytes, and a client that does not read its answers is not read either. A panic ends one connection only.

mod admin;
pub mod behalf;
mod connection;
mod fetch;
mod frames;
mod groups;
mod numbers;
mod offsets;
mod produce;
mod room;
mod streams;
pub mod transactions;

pub use connection::serve;

use crate::board::Board;
use crate::limits;
use crate::router::{Failed, Router};
use door::kafka::KafkaError;
use model::catalogue::{Change, Changed, Stream};
use model::hash::shard_of;
use model::id::CATALOGUE;
use model::{Op, PartitionId, Problem, Settings, ShardId, StreamId};
use net::Refusals;
use numbers::Spare;
use ractor::ActorRef;
use replica::{Answer, Refusal};
use room::Room;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::Segments;
use tokio::sync::Semaphore;

/// What every client connection shares.
#[derive(Clone)]
pub struct Door {
    pub router: Router,
    pub segments: Arc<Segments>,
    groups: ActorRef<crate::groups::Msg>,
    /// This run of the peer, in origins.
    incarnation: u64,
    connections: Arc<AtomicU64>,
    /// Origins of HTTP's requests, and of connections that have ended.
    pub spare: Arc<Spare>,
    /// KiB that clients may have under way.
    credits: Arc<Semaphore>,
    /// Clients are told this peer only, as leader and coordinator of everything; what others do, they do on its
    /// behalf.
    pub single: bool,
    /// Clients whose mistakes were told of late.
    refusals: Arc<Mutex<Refusals>>,
    /// Partitions that the mesh may have.
    pub partitions_max: u32,
    /// KiB that answers may take until clients have them.
    answers: Arc<Semaphore>,
}

/// A partition that a client named, and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Located {
    pub partition: PartitionId,
    pub shard: ShardId,
}

impl Door {
    pub fn new(
        router: Router,
        segments: Arc<Segments>,
        groups: ActorRef<crate::groups::Msg>,
        incarnation: u64,
    ) -> Self {
        Self {
            router,
            segments,
            groups,
            incarnation,
            connections: Arc::new(AtomicU64::new(1)),
            spare: Arc::default(),
            credits: Arc::new(Semaphore::new(limits::CREDIT_BYTES / 1024)),
            single: false,
            refusals: Arc::default(),
            partitions_max: limits::PARTITIONS,
            answers: Arc::new(Semaphore::new(limits::ANSWER_BYTES / 1024)),
        }
    }

    /// Whether a client's mistake is to be told: who makes it again and again must fill no trace.
    fn may_complain(&self, from: IpAddr, kind: &str) -> bool {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.is_due(&format!("{from} {kind}"), Instant::now())
    }

    /// KiB that clients may have under way, HTTP's too.
    pub fn credits(&self) -> Arc<Semaphore> {
        self.credits.clone()
    }

    fn room(&self) -> Room {
        Room::of(self.answers.clone())
    }

    pub fn board(&self) -> &Board {
        &self.router.board
    }

    /// An origin that was never used before: the run of this peer, and a number of it.
    fn fresh_origin(&self) -> (u64, u64) {
        let peer = self.board().me().0 as u64;
        (peer << 32 | self.incarnation, self.connections.fetch_add(1, Ordering::Relaxed))
    }

    pub fn locate(&self, stream: &Stream, partition: i32) -> Option<Located> {
        let index = u32::try_from(partition).ok().filter(|index| *index < stream.partitions)?;
        let shard = shard_of(stream.placement, index, self.board().shards());
        Some(Located { partition: PartitionId { stream: stream.id, partition: index }, shard })
    }

    /// Makes a stream, or finds that it is there with the same settings; asks for it again for so long.
    pub async fn create_stream(
        &self,
        name: &str,
        partitions: u32,
        settings: Settings,
        patience: Duration,
    ) -> Result<(Stream, bool), Problem> {
        if let Err(error) = model::name::check(name) {
            let because = error.to_string();
            return Err(Problem::new(
                "SH0002",
                "the name is not allowed",
                because,
                "choose another name",
            ));
        }
        let id = StreamId(rand::random());
        let (name_of, most) = (name.to_owned(), self.partitions_max);
        let change = Change::CreateStream { id, name: name_of, partitions, settings, most };
        let op = Op::Catalogue(Box::new(change));
        let until = Instant::now() + patience;
        match self.insist(op, until).await {
            Ok(Answer::Changed(Changed::Stream { id, created })) => {
                let mut watch = self.board().watch_catalogue();
                let seen = watch.wait_for(|catalogue| catalogue.streams.contains_key(&id));
                let left = until.saturating_duration_since(Instant::now()).max(limits::HOLD);
                let seen = tokio::time::timeout(left, seen).await;
                let found = match seen {
                    Ok(Ok(catalogue)) => catalogue.streams.get(&id).cloned(),
                    _ => None,
                };
                let found =
                    found.ok_or_else(|| undecided("the stream is made, but not known here yet"))?;
                Ok((found, created))
            }
            Ok(Answer::Changed(Changed::Refused { code, because })) => Err(Problem::new(
                &code,
                format!("stream `{name}` was not made"),
                because,
                match code.as_str() {
                    "SH0311" => {
                        "ask for fewer, delete a stream, or start peers with --partitions-max"
                    }
                    _ => "choose another name, or the same settings",
                },
            )),
            Ok(other) => Err(undecided(&format!("an unexpected answer: {other:?}"))),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl Door {
    /// Proposes a change of the catalogue that is the same however often it comes, until it is decided.
    async fn insist(&self, op: Op, until: Instant) -> Result<Answer, Failed> {
        loop {
            match self.router.propose(CATALOGUE, op.clone()).await {
                Err(Failed::Undecided(_) | Failed::NoLeader(..)) if Instant::now() < until => {
                    tokio::time::sleep(limits::HOLD_PAUSE).await;
                }
                decided => return decided,
            }
        }
    }

    /// Changes the catalogue, and waits until that is known here; `what` says what did not happen.
    pub async fn change(&self, what: &str, change: Change) -> Result<(), Problem> {
        let op = Op::Catalogue(Box::new(change));
        let index = match self.router.propose(CATALOGUE, op).await {
            Ok(Answer::Changed(Changed::Done { index })) => index,
            Ok(Answer::Changed(Changed::Refused { code, because })) => {
                return Err(Problem::new(&code, what, because, "shoal stream list"));
            }
            Ok(other) => return Err(undecided(&format!("an unexpected answer: {other:?}"))),
            Err(error) => return Err(failed(&error)),
        };
        let mut watch = self.board().watch_catalogue();
        let seen = watch.wait_for(|catalogue| catalogue.index >= index);
        match tokio::time::timeout(limits::HOLD, seen).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(undecided("it is decided, but not known here yet")),
        }
    }
}

fn undecided(because: &str) -> Problem {
    Problem::new("SH0504", "the request was not decided in time", because, "ask again")
}

/// A failed request, for people.
pub fn failed(error: &Failed) -> Problem {
    let because = error.to_string();
    match error {
        Failed::NoLeader(shard, away) => {
            Problem::new("SH0501", format!("shard {} has no leader", shard.0), because, away.fix())
        }
        Failed::Undecided(_) => undecided(&because),
        Failed::Refused(Refusal::Busy) => Problem::new(
            "SH0503",
            "the shard has reached its limit of work under way",
            because,
            "send more slowly, and try again",
        ),
        Failed::Refused(Refusal::Full) => Problem::new(
            "SH0502",
            "the events were not taken: a disk is full",
            because,
            "make room on the peer that `shoal health` names; then it goes on by itself",
        ),
        Failed::Refused(Refusal::TooLarge) => Problem::new(
            "SH0401",
            "the events are too large for one append",
            because,
            "send fewer events at once",
        ),
        Failed::Refused(Refusal::Malformed) => {
            Problem::new("SH0402", "the batch is malformed", because, "send it whole again")
        }
        Failed::Refused(Refusal::Conflict) => Problem::new(
            "SH0405",
            "the idempotency key was used with other events",
            because,
            "send a fresh key with each new request",
        ),
        Failed::Refused(Refusal::Dropped) => {
            Problem::new("SH0301", "the stream was deleted", because, "shoal stream list")
        }
        Failed::Refused(_) => {
            Problem::new("SH0504", "the request was refused", because, "try again")
        }
    }
}

/// A failed request, for Kafka clients.
fn kafka_error(error: &Failed) -> KafkaError {
    match error {
        Failed::NoLeader(..) => KafkaError::NotLeader,
        Failed::Undecided(_) => KafkaError::RequestTimedOut,
        Failed::Refused(refusal) => match refusal {
            Refusal::NotLeader { .. } | Refusal::WrongShard => KafkaError::NotLeader,
            Refusal::Unknown => KafkaError::RequestTimedOut,
            Refusal::Gap => KafkaError::OutOfOrderSequence,
            Refusal::Forgotten => KafkaError::DuplicateSequence,
            Refusal::NotIssued | Refusal::Lost => KafkaError::UnknownProducer,
            Refusal::Fenced => KafkaError::InvalidProducerEpoch,
            Refusal::NotOpen => KafkaError::InvalidTransaction,
            Refusal::Busy => KafkaError::NotEnoughReplicas,
            Refusal::Full => KafkaError::StorageError,
            Refusal::TooLarge => KafkaError::MessageTooLarge,
            Refusal::Malformed => KafkaError::CorruptMessage,
            Refusal::Dropped => KafkaError::UnknownStream,
            Refusal::Stale | Refusal::Conflict => KafkaError::Unknown,
        },
    }
}
