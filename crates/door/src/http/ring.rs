//! `GET /v1/ring`: who holds which shard, and where a key lies.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct RingQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ring {
    pub epoch: u64,
    pub shards: u16,
    pub replication: u8,
    pub rows: Vec<RingRow>,
    /// Where the key of the question lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyPlace>,
}

/// One shard, as the peer that answers knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RingRow {
    pub shard: u16,
    pub leader: Option<i32>,
    pub term: u64,
    pub voters: Vec<i32>,
    pub learners: Vec<i32>,
    /// Where the ring wants it, owner first.
    pub target: Vec<i32>,
}

impl RingRow {
    /// Whether it is where the ring wants it. Of two peers one votes and the other learns: two voters would need each other.
    fn is_settled(&self) -> bool {
        let sorted = |lists: &[&[i32]]| {
            let mut all = lists.concat();
            all.sort_unstable();
            all
        };
        let target = sorted(&[&self.target]);
        match target.len() {
            2 if self.voters.len() == 1 => sorted(&[&self.voters, &self.learners]) == target,
            _ => self.learners.is_empty() && sorted(&[&self.voters]) == target,
        }
    }
}

/// `GET /v1/mesh/moves`: the shards that are not yet where the ring wants them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Moves {
    pub epoch: u64,
    pub moves: Vec<Move>,
}

/// One of them; peers by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Move {
    pub shard: u16,
    /// Those that should hold it and do not yet.
    pub come: Vec<i32>,
    /// Those that fetch it at the moment.
    pub fetching: Vec<i32>,
    /// Those that should not hold it any more.
    pub go: Vec<i32>,
}

impl Moves {
    /// The rows of a ring that are not as they should be.
    pub fn of(epoch: u64, rows: &[RingRow]) -> Self {
        let rows = rows.iter().filter(|row| !row.is_settled());
        let but = |some: &[i32], others: &[i32]| -> Vec<i32> {
            some.iter().copied().filter(|id| !others.contains(id)).collect()
        };
        let moves = rows.map(|row| Move {
            shard: row.shard,
            come: but(&row.target, &row.voters),
            fetching: row.learners.clone(),
            go: but(&row.voters, &row.target),
        });
        Self { epoch, moves: moves.collect() }
    }
}

/// Where a key lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyPlace {
    pub partition: u32,
    pub shard: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_where_the_ring_wants_it_moves() {
        let row = |shard, learners: &[i32], target: [i32; 3]| RingRow {
            shard,
            leader: Some(1),
            term: 4,
            voters: vec![1, 2, 3],
            learners: learners.to_vec(),
            target: target.to_vec(),
        };
        let moves = Moves::of(9, &[row(0, &[], [3, 1, 2]), row(1, &[4], [4, 2, 3])]);
        let pair = RingRow { voters: vec![1], target: vec![2, 1], ..row(0, &[2], [0; 3]) };
        assert!(Moves::of(9, &[pair]).moves.is_empty(), "one of two votes, the other learns");
        let one = Move { shard: 1, come: vec![4], fetching: vec![4], go: vec![1] };
        assert_eq!(moves, Moves { epoch: 9, moves: vec![one] });
    }
}
