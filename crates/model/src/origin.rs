//! Who sent an append, and its number: what makes an append repeatable.

use serde::{Deserialize, Serialize};

/// The sender of an append. Apply takes only the next number of an origin, answers a known one with its old
/// offset and refuses a gap; so one append sent twice is one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A Kafka idempotent producer: id, epoch and base sequence stand in the batch's own header.
    Producer,
    /// An HTTP idempotency key, as its 128-bit hash; one append a key and partition.
    Key(u128),
    /// The door's own: one connection of one run of a peer, numbered per shard from 0.
    Door { door: u64, connection: u64, sequence: u64 },
}
