//! Of one sender only the next number is appended, once; producer ids are handed out once, and count only if issued.

use super::Model;
use bytes::Bytes;
use model::batch::HEADER_BYTES;
use model::{Batch, Origin, PartitionId, ProducerId, ShardId};
use replica::{Answer, Refusal};
use std::collections::VecDeque;

/// Who appended: what makes an append repeatable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sender {
    Producer(i64, i16, PartitionId),
    Door(ShardId, u64, u64),
}

impl Model {
    pub(super) fn append(
        &mut self,
        shard: ShardId,
        partition: PartitionId,
        origin: &Origin,
        bytes: &Bytes,
        outcome: &Result<Answer, Refusal>,
        placed: &mut VecDeque<(PartitionId, Batch)>,
    ) -> Result<(), String> {
        let batch = Batch::one(bytes.clone()).map_err(|error| error.to_string())?;
        let is_next = match origin {
            Origin::Key { key, .. } => !self.keys.contains_key(&(*key, partition)),
            Origin::Producer { issued } => {
                let (id, epoch) = (batch.producer_id(), batch.producer_epoch());
                if !self.is_issued(shard, id, *issued) {
                    return match outcome {
                        Err(Refusal::NotIssued) => Ok(()),
                        other => Err(format!("id {id} that nobody vouched for: {other:?}")),
                    };
                }
                let sender = Sender::Producer(id, epoch, partition);
                let number = i64::from(batch.base_sequence());
                self.takes(sender, number, i64::from(batch.last_offset_delta()) + 1)
            }
            Origin::Door { door, connection, sequence } => {
                let sender = Sender::Door(shard, *door, *connection);
                self.takes(sender, *sequence as i64, 1)
            }
        };
        let next = self.next_offset(partition);
        match (is_next, outcome) {
            (true, Ok(Answer::Appended { base_offset, duplicate: false })) => {
                if *base_offset != next {
                    return Err(format!("{partition:?} goes on at {next}, not {base_offset}"));
                }
                if let Origin::Key { key, .. } = origin {
                    self.keys.insert((*key, partition), next);
                }
                self.place(partition, bytes, placed)
            }
            (true, other) => Err(format!("the next of {origin:?} is answered {other:?}")),
            (false, Ok(Answer::Appended { duplicate: false, .. })) => {
                Err(format!("{origin:?} is appended, which is not the next"))
            }
            (false, Ok(Answer::Appended { base_offset, .. })) => {
                let there = self.batch_at(partition, *base_offset);
                match there.is_some_and(|there| there[HEADER_BYTES..] == bytes[HEADER_BYTES..]) {
                    true => Ok(()),
                    false => Err(format!("{origin:?} is said to be at {base_offset}, it is not")),
                }
            }
            (false, _) => Ok(()),
        }
    }

    /// Whether a shard knows that a producer id was issued: by itself, or as it was told.
    fn is_issued(&mut self, shard: ShardId, id: i64, issued: i64) -> bool {
        let Some(id) = ProducerId::read(id) else { return false };
        let own = self.producers.values().filter_map(|id| ProducerId::read(*id));
        let own = own.filter(|own| own.shard == shard).map(|own| own.count).max().unwrap_or(0);
        let told = self.issued.entry((shard, id.shard)).or_default();
        *told = issued.max(*told);
        id.count <= *told || (id.shard == shard && id.count <= own)
    }

    /// Whether this number is the sender's next; then the one after it is.
    fn takes(&mut self, sender: Sender, number: i64, count: i64) -> bool {
        let next = self.senders.entry(sender).or_default();
        let is_next = *next == number;
        if is_next {
            *next += count;
        }
        is_next
    }

    pub(super) fn producer(
        &mut self,
        nonce: u128,
        outcome: &Result<Answer, Refusal>,
    ) -> Result<(), String> {
        let Ok(Answer::Producer { id }) = outcome else {
            return Err(format!("a producer id is answered {outcome:?}"));
        };
        let taken = self.producers.iter().any(|(of, known)| *of != nonce && known == id);
        let known = *self.producers.entry(nonce).or_insert(*id);
        if taken || known != *id {
            return Err(format!("producer id {id} is handed out twice"));
        }
        Ok(())
    }
}
