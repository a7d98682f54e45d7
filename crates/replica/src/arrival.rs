//! Where a message for a replica goes, on a peer that may have another replica of the shard, or none.
//!
//! Promises that an id whose replica was ever here is never begun again: what it had acknowledged, or whom it had
//! voted for, would be forgotten.

use crate::wire::{ANY, may_create};
use model::ReplicaId;

/// What a driver does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Step the replica that is here, if there is one.
    Here,
    /// The shard's log gave this peer a new replica: retire the one that is here, make the new one, step it.
    Begin,
    /// Somebody counts on a replica that is not here and must not be made: tell the sender, who has it replaced.
    Missing,
}

/// Decides about a message to replica `to`. `tombstone` is the highest id that was removed here, fell silent, or is
/// in doubt.
pub fn arrival(
    here: Option<ReplicaId>,
    tombstone: Option<ReplicaId>,
    to: ReplicaId,
    message: &[u8],
) -> Arrival {
    if to == ANY || here == Some(to) {
        return Arrival::Here;
    }
    // A leader sends to an id only after a committed entry made it, so a newer one means that the one here is gone.
    let is_new = here.max(tombstone).is_none_or(|known| known < to);
    if is_new && may_create(message) { Arrival::Begin } else { Arrival::Missing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Body, Packet, encode};
    use raft::eraftpb::{Message, MessageType};

    fn told(here: u64, tombstone: u64, to: u64, fresh: bool) -> Arrival {
        let id = |id: u64| (id > 0).then_some(ReplicaId(id));
        let mut m = Message { from: 1, to: to.max(1), term: 3, ..Message::default() };
        m.set_msg_type(MessageType::MsgHeartbeat);
        let body = if to == 0 { Body::Knock } else { Body::Consensus(Box::new(m)) };
        let packet = Packet {
            from: ReplicaId(1),
            to: ReplicaId(to),
            fresh,
            strained: false,
            wall_ms: 0,
            body,
        };
        arrival(id(here), id(tombstone), ReplicaId(to), &encode(&packet))
    }

    #[test]
    fn a_message_goes_to_the_replica_that_is_here_and_a_knock_to_any() {
        assert_eq!(told(4, 0, 4, false), Arrival::Here);
        assert_eq!(told(4, 3, 0, false), Arrival::Here);
    }

    #[test]
    fn a_new_learner_begins_and_takes_the_place_of_an_older_one() {
        assert_eq!(told(0, 0, 4, true), Arrival::Begin);
        assert_eq!(told(3, 2, 4, true), Arrival::Begin);
    }

    #[test]
    fn a_replica_that_was_here_is_missing_however_fresh_its_leader_thinks_it_is() {
        assert_eq!(told(0, 4, 4, true), Arrival::Missing, "in doubt, or removed");
        assert_eq!(told(5, 0, 4, true), Arrival::Missing, "older than the one here");
        assert_eq!(told(0, 0, 4, false), Arrival::Missing, "it has acknowledged something");
    }
}
