//! How many replicas move at once, and what the replicas here are told of this peer's condition.

use super::State;
use crate::limits;
use model::ShardId;
use replica::Input;

impl State {
    /// Lets shards that are led here begin further moves, so many at once that clients do not notice.
    pub(super) fn grant_moves(&mut self) {
        let now = self.now();
        let moving = self.slots.iter().flatten().filter(|slot| slot.replica.is_moving(now)).count();
        let wanting: Vec<ShardId> = (0..self.slots.len() as u16)
            .map(ShardId)
            .filter(|shard| self.slot(*shard).is_some_and(|slot| slot.replica.wants_move()))
            .collect();
        for shard in wanting.into_iter().take(limits::MOVES.saturating_sub(moving)) {
            self.step(shard, Input::MayMove);
        }
    }
}
