//! Appends of Kafka clients: every batch as it came, each part to the leader of its shard.

use super::connection::Numbers;
use super::{Door, kafka_error};
use crate::router::Begun;
use door::kafka::{
    Appended, InitProducer, KafkaError, Produce, ProducePart, ProducedPart, Refused, Reply,
};
use model::{Batch, Catalogue, Op, Origin, ShardId};
use replica::Answer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One part on its way.
struct Part {
    stream: Arc<str>,
    partition: i32,
    begun: Result<Vec<Begun>, Refused>,
}

impl Door {
    /// Sends all parts on their way now; the future waits until each is applied.
    pub(super) fn produce(
        &self,
        ask: Produce,
        numbers: &mut Numbers,
    ) -> impl Future<Output = Reply> + Send + use<> {
        let catalogue = self.board().catalogue();
        let broken = numbers.broken();
        let begin = |part: ProducePart| {
            let ProducePart { stream, partition, batches } = part;
            let begun = batches.and_then(|batches| {
                self.begin_part(&catalogue, &stream, partition, batches, numbers)
            });
            Part { stream, partition, begun }
        };
        let parts: Vec<Part> = ask.parts.into_iter().map(begin).collect();
        async move {
            let mut replies = Vec::with_capacity(parts.len());
            for Part { stream, partition, begun } in parts {
                let result = match begun {
                    Ok(begun) => settle(begun, &broken).await,
                    Err(refused) => Err(refused),
                };
                replies.push(ProducedPart { stream, partition, result });
            }
            Reply::Produce(replies)
        }
    }

    fn begin_part(
        &self,
        catalogue: &Catalogue,
        stream: &str,
        partition: i32,
        batches: Vec<Batch>,
        numbers: &mut Numbers,
    ) -> Result<Vec<Begun>, Refused> {
        let unknown = || Refused::from(KafkaError::UnknownStream);
        let stream = catalogue.stream(stream).ok_or_else(unknown)?;
        if stream.written_by.is_some() {
            let why = "a pipeline writes this stream; clients may only read it";
            return Err(Refused::new(KafkaError::NotAllowed, why));
        }
        let most =
            stream.settings.batch_bytes_max.map_or(door::BATCH_BYTES_MAX, |most| most as usize);
        if let Some(large) = batches.iter().map(Batch::size).find(|size| *size > most) {
            let text = format!("a batch has {large} bytes, the limit of the stream is {most}");
            return Err(Refused::new(KafkaError::MessageTooLarge, text));
        }
        let located = self.locate(stream, partition).ok_or_else(unknown)?;
        // A client whose metadata is old learns it, instead of taking a hop with every request.
        let leader = self.board().leader(located.shard);
        if !self.single && leader.is_some_and(|leader| leader != self.board().me()) {
            return Err(KafkaError::NotLeader.into());
        }
        let begin = |batch: Batch| {
            let origin = self.origin(&batch, located.shard, numbers);
            let batch = batch.bytes().clone();
            let op = Op::Append { partition: located.partition, origin, batch };
            self.router.begin(located.shard, op)
        };
        Ok(batches.into_iter().map(begin).collect())
    }

    fn origin(&self, batch: &Batch, shard: ShardId, numbers: &mut Numbers) -> Origin {
        if batch.producer_id() >= 0 { Origin::Producer } else { numbers.next(self, shard) }
    }

    pub(super) async fn init_producer(&self, ask: InitProducer) -> Reply {
        if let Some(id) = ask.transactional {
            return Reply::InitProducer(self.begin_producer(id, ask.timeout_ms, ask.before).await);
        }
        let shards = self.board().shards();
        let led = (0..shards).map(ShardId).find(|shard| self.board().leading(*shard));
        let shard = led.unwrap_or_else(|| ShardId(rand::random_range(0..shards)));
        let op = Op::Producer { nonce: rand::random() };
        Reply::InitProducer(match self.router.propose(shard, op).await {
            Ok(Answer::Producer { id }) => Ok((id, 0)),
            Ok(_) => Err(KafkaError::Unknown),
            Err(error) => Err(kafka_error(&error)),
        })
    }
}

/// Waits for the batches of one part; the first one's offset is the part's.
async fn settle(begun: Vec<Begun>, broken: &AtomicBool) -> Result<Appended, Refused> {
    let mut first = None;
    for begun in begun {
        match begun.answer().await {
            Ok(Answer::Appended { base_offset, .. }) => first = first.or(Some(base_offset)),
            Ok(_) => return Err(KafkaError::Unknown.into()),
            Err(error) => {
                broken.store(true, Ordering::Relaxed);
                return Err(Refused::new(kafka_error(&error), error.to_string()));
            }
        }
    }
    let base_offset = first.ok_or(KafkaError::InvalidRecord)?;
    Ok(Appended { base_offset, start_offset: -1 })
}
