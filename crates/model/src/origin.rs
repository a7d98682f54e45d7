//! Who sent an append, and its number: what makes an append repeatable.

use serde::{Deserialize, Serialize};

/// The sender of an append. Apply takes only the next number of an origin, answers a known one with its old
/// offset and refuses a gap; so one append sent twice is one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A Kafka idempotent producer: id, epoch and base sequence stand in the batch's own header. As many ids as
    /// `issued` were issued by the shard that stands in this one: a fact of that shard's log, 0 if nobody has asked it.
    Producer { issued: i64 },
    /// An HTTP idempotency key, as its 128-bit hash, and a hash of what the request says: not of when it came. One
    /// append a key and partition.
    Key { key: u128, body: u64 },
    /// The door's own: one connection of one run of a peer, numbered per shard from 0.
    Door { door: u64, connection: u64, sequence: u64 },
}
