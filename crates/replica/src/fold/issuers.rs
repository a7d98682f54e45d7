//! Which producer ids exist, and which of them may have been here before.
//!
//! Each shard issues ids by counting. An append may carry how many another shard had issued (I1: that never falls, so it
//! stays true), and an id above that is refused: who invents ids pushes nobody out. I2: whoever was forgotten here has
//! an id at or below the issuer's mark, so an id that is at or below it and not known is never taken for a new one.

use super::Fold;
use crate::action::Refusal;
use model::{Batch, Origin, PartitionId, ProducerId, ShardId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of the ids of each issuing shard.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Issuers {
    known: BTreeMap<ShardId, Issuer>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Issuer {
    /// So many it has issued at the least.
    issued: i64,
    /// The latest of those that were in a window here and are forgotten.
    forgotten: i64,
}

impl Issuers {
    /// A shard has issued this many.
    pub fn learn(&mut self, shard: ShardId, issued: i64) {
        if issued > 0 {
            let known = self.known.entry(shard).or_default();
            known.issued = known.issued.max(issued);
        }
    }

    /// How many ids of a shard are known to be issued.
    pub fn issued(&self, shard: ShardId) -> i64 {
        self.known.get(&shard).map_or(0, |issuer| issuer.issued)
    }

    /// An id has left its window.
    pub fn forget(&mut self, number: i64) {
        if let Some(id) = ProducerId::read(number) {
            let known = self.known.entry(id.shard).or_default();
            known.forgotten = known.forgotten.max(id.count);
        }
    }

    /// Whether a producer without a window may begin one; `issued` is what its append says of its issuer.
    pub fn admit(&self, number: i64, issued: i64) -> Result<(), Refusal> {
        let id = ProducerId::read(number).ok_or(Refusal::NotIssued)?;
        let known = self.known.get(&id.shard).copied().unwrap_or_default();
        match id.count {
            count if count <= known.forgotten => Err(Refusal::Lost),
            count if count > known.issued.max(issued) => Err(Refusal::NotIssued),
            _ => Ok(()),
        }
    }
}

impl Fold {
    /// The offset of a batch that was appended before; none if it is the next of its origin and may be appended.
    pub(super) fn known(
        &mut self,
        partition: PartitionId,
        origin: &Origin,
        batch: &Batch,
    ) -> Result<Option<i64>, Refusal> {
        if let (Origin::Producer { issued }, Some(id)) =
            (origin, ProducerId::read(batch.producer_id()))
        {
            self.small.origins.learn(id.shard, *issued);
        }
        let open = self.small.partitions.get(&partition).map(|known| &known.transactions);
        let first = batch.is_transactional() && open.is_some_and(|open| open.is_first(batch));
        let known = self.small.origins.check(partition, origin, batch, first);
        if batch.is_transactional() && matches!(known, Ok(None) | Err(Refusal::NotIssued)) {
            open.ok_or(Refusal::NotOpen)?.admits(batch)?;
        }
        if known == Err(Refusal::Lost) {
            self.small.origins.lose(partition, batch);
        }
        if !self.small.origins.has_room(self.small.time_ms, origin) {
            return Err(Refusal::Busy);
        }
        known
    }

    /// Whether an append's sender has room, and its id from a shard's log. Only saves work: apply decides.
    pub(crate) fn vouches(&self, origin: &Origin, batch: &Batch) -> Result<(), Refusal> {
        if !self.small.origins.has_room(self.small.time_ms, origin) {
            return Err(Refusal::Busy);
        }
        let Origin::Producer { issued } = origin else { return Ok(()) };
        let id = ProducerId::read(batch.producer_id()).ok_or(Refusal::NotIssued)?;
        let is_known = id.count <= *issued || self.small.origins.is_issued(id);
        // A transaction's producer has it from its coordinator.
        if is_known || batch.is_transactional() { Ok(()) } else { Err(Refusal::NotIssued) }
    }

    /// Whether a request with this idempotency key has appended this body to a partition, as far as that is remembered.
    pub fn has_key(&self, key: u128, partition: PartitionId, body: u64) -> bool {
        self.small.origins.has_key(key, partition, body)
    }

    /// How many producer ids the shard has issued.
    pub fn issued(&self) -> i64 {
        self.small.next_producer
    }
}
