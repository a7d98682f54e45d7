//! Appends of Kafka clients: every batch as it came, each part to the leader of its shard.

use super::numbers::{Numbers, UnderWay};
use super::{Door, kafka_error};
use crate::router::{Begun, Failed};
use crate::span::{self, Span};
use door::kafka::{InitProducer, KafkaError, Produce, ProducePart, ProducedPart, Refused, Reply};
use futures::future::join_all;
use model::{Batch, Catalogue, Op, Origin, PartitionId, ShardId};
use replica::{Answer, Refusal};
use std::sync::Arc;
use std::time::Instant;

/// One part on its way.
struct Part {
    stream: Arc<str>,
    partition: i32,
    events: u64,
    bytes: u64,
    /// Its batches have no producer id: we number them.
    numbered: bool,
    begun: Result<(PartitionId, Vec<Begun>), Refused>,
    under_way: UnderWay,
    /// That of its way to the commit, and of all of it.
    spans: (Span, Span),
}

impl Door {
    /// Sends all parts on their way now; the future waits until each is applied.
    pub(super) fn produce(
        &self,
        ask: Produce,
        numbers: &mut Numbers,
    ) -> impl Future<Output = Reply> + Send + use<> {
        let catalogue = self.board().catalogue();
        let begin = |part: ProducePart| {
            let ProducePart { stream, partition, batches } = part;
            let sent = batches.as_deref().unwrap_or_default();
            let events = sent.iter().map(|batch| u64::try_from(batch.count()).unwrap_or(0)).sum();
            let bytes = sent.iter().map(|batch| batch.size() as u64).sum();
            let span = Span::request("append over Kafka", || span::parent_of(sent.first()));
            span.word("stream", &stream);
            span.number("partition", i64::from(partition));
            let spans = (span.part("commit"), span);
            let numbered = sent.iter().all(|batch| batch.producer_id() < 0);
            let begun = batches.and_then(|batches| {
                self.begin_part(&catalogue, &stream, partition, batches, numbers)
            });
            let under_way = numbers.under_way();
            Part { stream, partition, events, bytes, numbered, begun, under_way, spans }
        };
        let began = Instant::now();
        let parts: Vec<Part> = ask.parts.into_iter().map(begin).collect();
        let board = self.router.board.clone();
        // All at once: where a leader changes each part is sent again, and one after the other that adds up.
        let answers = parts.into_iter().map(move |part| {
            let board = board.clone();
            async move {
                let Part { stream, partition, events, bytes, numbered, begun, under_way, spans } =
                    part;
                spans.0.number("events", i64::try_from(events).unwrap_or(i64::MAX));
                let (start_offset, result) = match begun {
                    Ok((id, begun)) => {
                        let result = settle(begun, numbered).await;
                        if result.is_ok() {
                            under_way.settled();
                        }
                        (board.mark(id).map_or(-1, |mark| mark.start), result)
                    }
                    Err(refused) => {
                        under_way.settled();
                        (-1, Err(refused))
                    }
                };
                board.meter.produced(result.is_ok(), events, bytes, began.elapsed());
                match &result {
                    Ok(offset) => spans.0.number("offset", *offset),
                    Err(refused) => spans.0.fail(&format!("{refused:?}")),
                }
                ProducedPart { stream, partition, start_offset, result }
            }
        });
        async move { Reply::Produce(join_all(answers).await) }
    }

    fn begin_part(
        &self,
        catalogue: &Catalogue,
        stream: &str,
        partition: i32,
        batches: Vec<Batch>,
        numbers: &mut Numbers,
    ) -> Result<(PartitionId, Vec<Begun>), Refused> {
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
        // A client whose metadata is old learns it, instead of taking a hop with every request. One request is answered
        // as a whole, so that only a replica here, which may lead soon, is worth waiting for.
        let shard = located.shard;
        let may_lead = match self.board().leader(shard) {
            Some(leader) => leader == self.board().me(),
            None => self.board().here(shard),
        };
        if !self.single && !may_lead {
            return Err(KafkaError::NotLeader.into());
        }
        let begin = |batch: Batch| {
            let origin = self.origin(&batch, located.shard, numbers);
            let batch = batch.bytes().clone();
            let op = Op::Append { partition: located.partition, origin, batch };
            self.router.begin(located.shard, op)
        };
        Ok((located.partition, batches.into_iter().map(begin).collect()))
    }

    fn origin(&self, batch: &Batch, shard: ShardId, numbers: &mut Numbers) -> Origin {
        match batch.producer_id() {
            id @ 0.. => Origin::Producer { issued: self.router.issued(id) },
            _ => self.number(numbers, shard),
        }
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
            Ok(Answer::Producer { id }) => {
                self.router.was_issued(id);
                Ok((id, 0))
            }
            Ok(_) => Err(KafkaError::Unknown),
            Err(error) => Err(kafka_error(&error)),
        })
    }
}

/// Waits for the batches of one part; the first one's offset is the part's.
async fn settle(begun: Vec<Begun>, numbered: bool) -> Result<i64, Refused> {
    let mut first = None;
    for begun in begun {
        match begun.answer().await {
            Ok(Answer::Appended { base_offset, .. }) => first = first.or(Some(base_offset)),
            Ok(_) => return Err(KafkaError::Unknown.into()),
            Err(error) => {
                let said = if numbered { numbered_error(&error) } else { kafka_error(&error) };
                return Err(Refused::new(said, error.to_string()));
            }
        }
    }
    Ok(first.ok_or(KafkaError::InvalidRecord)?)
}

/// An append that we numbered, not its producer: that an earlier one was given up says nothing of the producer's own
/// order, and nothing of this one was written, so it may be sent again.
fn numbered_error(error: &Failed) -> KafkaError {
    match error {
        Failed::Refused(Refusal::Gap) => KafkaError::NotEnoughReplicas,
        Failed::Refused(Refusal::Forgotten) => KafkaError::RequestTimedOut,
        other => kafka_error(other),
    }
}
