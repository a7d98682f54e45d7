//! Transactions of Kafka's producers: asks to their coordinator's log, and the telling of their parts.
//!
//! Everything is decided by entries: of the shard that the transactional id hashes to, and of the parts' shards. So any
//! peer can do any step, twice or late. Whoever decides an end tells the parts at once; what was left undone by a crash
//! is done by the leader of the coordinator's shard, which looks every [`limits::TRANSACTIONS_LOOK`].

use super::groups::partition;
use super::{Door, kafka_error};
use crate::limits;
use crate::router::Failed;
use crate::shards::{Found, Query};
use crate::wall_ms;
use door::kafka::{
    AddOffsets, AddPartitions, AddedPart, CommittedPart, EndTransaction, KafkaError, PendOffsets,
    Reply, Transact, Transacted,
};
use futures::StreamExt;
use model::group::{self, Caller};
use model::hash::{shard_of, shard_of_group};
use model::transaction::{Change, Changed, Part, Phase, Step, StepWhat, Stepped, What};
use model::{Op, PartitionId, ShardId};
use replica::Answer;
use std::time::Instant;

/// What does not fit into an answer of its own.
type Result<T> = std::result::Result<T, KafkaError>;

impl Door {
    pub(super) async fn transact(&self, ask: Transact) -> Reply {
        Reply::Transacted(match ask {
            Transact::AddPartitions(ask) => Transacted::Added(self.add_partitions(ask).await),
            Transact::AddOffsets(ask) => Transacted::Done(self.add_group(ask).await),
            Transact::PendOffsets(ask) => Transacted::Offsets(self.pend_offsets(ask).await),
            Transact::End(ask) => Transacted::Done(self.end(ask).await),
        })
    }

    /// The next epoch of a transactional producer; what an earlier one left open is given up first.
    pub(super) async fn begin_producer(
        &self,
        id: String,
        timeout_ms: i32,
        before: Option<(i64, i16)>,
    ) -> Result<(i64, i16)> {
        if !(1..=limits::TRANSACTION_MS_MAX).contains(&timeout_ms) {
            return Err(KafkaError::InvalidTimeout);
        }
        check_id(&id)?;
        let (timeout_ms, nonce) = (timeout_ms as u32, rand::random());
        let until = Instant::now() + limits::HOLD;
        loop {
            let what = What::Init { timeout_ms, nonce, before };
            match self.coordinate(&id, what).await? {
                Changed::Begun { producer, epoch } => return Ok((producer, epoch)),
                // It was the present one, and goes on when the open transaction has ended.
                Changed::Ending | Changed::Busy => {}
                other => return Err(refused(other)),
            }
            self.settle_or_wait(&id, until).await?;
        }
    }

    async fn add_partitions(&self, ask: AddPartitions) -> Vec<AddedPart> {
        let catalogue = self.board().catalogue();
        let mut found = Vec::with_capacity(ask.parts.len());
        let mut is_whole = true;
        for (name, index) in &ask.parts {
            let stream = catalogue.stream(name);
            let id = partition(&catalogue, name, *index);
            let result = match (stream, id) {
                (Some(stream), _) if stream.written_by.is_some() => Err(KafkaError::NotAllowed),
                (Some(stream), Some(id)) => {
                    let shard = shard_of(stream.placement, id.partition, self.board().shards());
                    Ok(Part::Partition(id, shard))
                }
                _ => Err(KafkaError::UnknownStream),
            };
            is_whole &= result.is_ok();
            found.push(result);
        }
        if !is_whole {
            // All or nothing: a transaction that lacks a part must not go on.
            let told = |((stream, partition), result): ((_, _), Result<Part>)| {
                let error = result.err().unwrap_or(KafkaError::NotAttempted);
                AddedPart { stream, partition, result: Err(error) }
            };
            return ask.parts.into_iter().zip(found).map(told).collect();
        }
        let parts = found.into_iter().flatten().collect();
        let result = self.add(&ask.id, (ask.producer, ask.epoch), parts).await;
        let told = |(stream, partition)| AddedPart { stream, partition, result };
        ask.parts.into_iter().map(told).collect()
    }

    async fn add_group(&self, ask: AddOffsets) -> Result<()> {
        if ask.group.is_empty() || ask.group.len() > limits::GROUP_NAME_BYTES {
            return Err(KafkaError::InvalidGroup);
        }
        self.add(&ask.id, (ask.producer, ask.epoch), vec![Part::Group(ask.group)]).await
    }

    /// Makes parts known to the coordinator, so that they will be told the end; only then opens them.
    async fn add(&self, id: &str, by: (i64, i16), parts: Vec<Part>) -> Result<()> {
        let (producer, epoch) = by;
        let until = Instant::now() + limits::HOLD;
        let number = loop {
            let what = What::Add { producer, epoch, parts: parts.clone() };
            match self.coordinate(id, what).await? {
                Changed::Added { number } => break number,
                Changed::Busy => self.settle_or_wait(id, until).await?,
                other => return Err(refused(other)),
            }
        };
        match self.tell_parts(parts, by, &StepWhat::Open { number }).await? {
            Stepped::Done => Ok(()),
            // It has ended meanwhile: by its time, or by a later producer.
            Stepped::Closed => Err(KafkaError::InvalidTransaction),
            Stepped::Full => Err(KafkaError::LimitReached),
            Stepped::Stale => Err(KafkaError::IllegalGeneration),
        }
    }

    async fn pend_offsets(&self, ask: PendOffsets) -> Vec<CommittedPart> {
        let catalogue = self.board().catalogue();
        let PendOffsets { group, producer, epoch, caller, parts, .. } = ask;
        let mut offsets = Vec::with_capacity(parts.len());
        let mut told = Vec::with_capacity(parts.len());
        for part in parts {
            let id = partition(&catalogue, &part.stream, part.partition);
            let result = part.committed.and_then(|committed| {
                offsets.push((id.ok_or(KafkaError::UnknownStream)?, committed));
                Ok(())
            });
            told.push(CommittedPart { stream: part.stream, partition: part.partition, result });
        }
        if let Err(error) = self.pend(group, (producer, epoch), caller, offsets).await {
            for part in told.iter_mut().filter(|part| part.result.is_ok()) {
                part.result = Err(error);
            }
        }
        told
    }

    async fn pend(
        &self,
        group: String,
        by: (i64, i16),
        caller: Caller,
        offsets: Vec<(PartitionId, group::Committed)>,
    ) -> Result<()> {
        let of = Some(caller.clone()).filter(|caller| caller.generation >= 0);
        if caller.generation >= 0 || !caller.consumer.is_empty() {
            // The group's coordinator says whether this consumer still counts; the log holds it against its generation.
            let ask = group::Ask::Commit { caller, offsets: Vec::new() };
            match self.ask_group(group.clone(), ask).await {
                Ok(_) => {}
                // Producers know generations only.
                Err(group::Refusal::StaleEpoch) => return Err(KafkaError::IllegalGeneration),
                Err(refusal) => return Err(KafkaError::from(&refusal)),
            }
        }
        match self.tell_parts(vec![Part::Group(group)], by, &StepWhat::Offsets(of, offsets)).await?
        {
            Stepped::Done => Ok(()),
            Stepped::Closed => Err(KafkaError::InvalidTransaction),
            Stepped::Full => Err(KafkaError::GroupFull),
            Stepped::Stale => Err(KafkaError::IllegalGeneration),
        }
    }

    async fn end(&self, ask: EndTransaction) -> Result<()> {
        let EndTransaction { id, producer, epoch, commit } = ask;
        match self.coordinate(&id, What::End { producer, epoch, commit }).await? {
            Changed::Done => Ok(()),
            Changed::Ending => {
                // It is decided, and the parts will be told: if not now, by whoever leads the coordinator's shard.
                if let Err(error) = self.settle(&id).await {
                    tracing::debug!(id, ?error, "the parts of a transaction are told later");
                }
                Ok(())
            }
            other => Err(refused(other)),
        }
    }

    async fn coordinate(&self, id: &str, what: What) -> Result<Changed> {
        check_id(id)?;
        let shard = shard_of_group(id, self.board().shards());
        let op = Op::Transaction(Box::new(Change { id: id.to_owned(), what }));
        match self.router.propose(shard, op).await {
            Ok(Answer::Transaction(changed)) => Ok(changed),
            Ok(_) => Err(KafkaError::Unknown),
            Err(error) => Err(coordinator_error(&error)),
        }
    }

    /// Tells parts, a bounded number at a time; the answer is the worst of theirs.
    async fn tell_parts(
        &self,
        parts: Vec<Part>,
        by: (i64, i16),
        what: &StepWhat,
    ) -> Result<Stepped> {
        let (producer, epoch) = by;
        let told = parts.into_iter().map(|part| async move {
            let shard = match &part {
                Part::Partition(_, shard) => *shard,
                Part::Group(name) => shard_of_group(name, self.board().shards()),
            };
            let step = Step { part, producer, epoch, what: what.clone() };
            match self.router.propose(shard, Op::Step(Box::new(step))).await {
                Ok(Answer::Stepped(stepped)) => Ok(stepped),
                Ok(_) => Err(KafkaError::Unknown),
                Err(error) => Err(coordinator_error(&error)),
            }
        });
        let mut told = futures::stream::iter(told).buffer_unordered(limits::PARTS_AT_ONCE);
        let mut worst = Ok(Stepped::Done);
        while let Some(stepped) = told.next().await {
            if stepped != Ok(Stepped::Done) && worst.is_ok() {
                worst = stepped;
            }
        }
        worst
    }

    /// Tells all parts of a decided transaction how it ends, then the coordinator that they know.
    pub async fn settle(&self, id: &str) -> Result<()> {
        let shard = shard_of_group(id, self.board().shards());
        let query = Query::Transaction { id: id.to_owned() };
        let found = self.router.ask(shard, query, true).await;
        let Ok((Found::Transaction(Some(found)), _)) = found else {
            return Err(KafkaError::CoordinatorNotAvailable);
        };
        let (number, by) = (found.number, (found.producer, found.epoch));
        let Phase::Ending { commit, parts } = found.phase else { return Ok(()) };
        let what = StepWhat::Close { number, commit };
        self.tell_parts(parts.into_iter().collect(), by, &what).await?;
        self.coordinate(id, What::Ended { number }).await.map(drop)
    }

    /// Brings the last transaction to its end, or waits a little; fails once it is too late.
    async fn settle_or_wait(&self, id: &str, until: Instant) -> Result<()> {
        if Instant::now() >= until {
            return Err(KafkaError::Busy);
        }
        if self.settle(id).await.is_err() {
            tokio::time::sleep(limits::HOLD_PAUSE).await;
        }
        Ok(())
    }

    /// Ends what others left: decided transactions whose parts were not all told, and those open for too long.
    pub async fn watch_transactions(self) {
        let mut tick = tokio::time::interval(limits::TRANSACTIONS_LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.board().stopping() {
            tick.tick().await;
            let led = (0..self.board().shards()).map(ShardId);
            for shard in led.filter(|shard| self.board().leading(*shard)) {
                let query = Query::Overdue { now_ms: wall_ms() };
                let found = self.router.ask_here(shard, query, false).await;
                let Some((Found::Overdue(due), _)) = found else { continue };
                for (id, number) in due {
                    let expired = self.coordinate(&id, What::Expire { number }).await;
                    if let Err(error) = expired.map(drop).and(self.settle(&id).await) {
                        tracing::debug!(id, ?error, "a transaction is ended later");
                    }
                }
            }
        }
    }
}

fn check_id(id: &str) -> Result<()> {
    match id.is_empty() || id.len() > limits::GROUP_NAME_BYTES {
        true => Err(KafkaError::InvalidRequest),
        false => Ok(()),
    }
}

/// Whoever asks a coordinator knows only coordinators' errors.
fn coordinator_error(error: &Failed) -> KafkaError {
    match kafka_error(error) {
        KafkaError::NotLeader | KafkaError::RequestTimedOut => KafkaError::CoordinatorNotAvailable,
        KafkaError::NotEnoughReplicas => KafkaError::CoordinatorLoading,
        other => other,
    }
}

fn refused(changed: Changed) -> KafkaError {
    match changed {
        Changed::Unknown => KafkaError::UnknownProducerOf,
        Changed::Fenced => KafkaError::ProducerFenced,
        Changed::Invalid => KafkaError::InvalidTransaction,
        Changed::Busy => KafkaError::Busy,
        Changed::Full => KafkaError::LimitReached,
        Changed::Begun { .. } | Changed::Added { .. } | Changed::Ending | Changed::Done => {
            KafkaError::Unknown
        }
    }
}
