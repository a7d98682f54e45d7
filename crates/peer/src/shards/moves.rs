//! How many replicas move at once, and what the replicas here are told of this peer's condition.

use super::State;
use crate::call::Ask;
use crate::limits;
use model::ShardId;
use net::Lane;
use replica::Input;

impl State {
    /// Tells all peers what this one leads since the last tick. Those that hold a replica know; the others would send
    /// clients to the last leader until they look around by themselves.
    pub(super) fn tell_of_leads(&mut self) {
        let leads = std::mem::take(&mut self.crowned);
        if leads.is_empty() {
            return;
        }
        let board = &self.args.board;
        let others = board.catalogue();
        let others = others.roster.keys().copied().filter(|peer| *peer != board.me());
        for key in others.filter_map(|peer| board.key_of(peer)) {
            let (calls, leads) = (self.args.fetcher.calls.clone(), leads.clone());
            tokio::spawn(async move {
                if let Err(error) = calls.ask(&key, Lane::Request, Ask::Leads(leads)).await {
                    tracing::debug!(%error, "a peer was not told who leads: it will look around");
                }
            });
        }
    }

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
