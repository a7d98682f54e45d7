//! At most one leader a term, and nobody answers before its term has begun.

use model::{PeerId, ReplicaId};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Leaders {
    by_term: BTreeMap<u64, (i32, ReplicaId)>,
}

impl Leaders {
    pub fn role(
        &mut self,
        peer: i32,
        me: ReplicaId,
        term: u64,
        leader: Option<PeerId>,
        leading: bool,
    ) -> Result<(), String> {
        if leading && leader != Some(PeerId(peer)) {
            return Err(format!("p{peer} leads but says that {leader:?} does"));
        }
        if leader != Some(PeerId(peer)) {
            return Ok(());
        }
        let known = *self.by_term.entry(term).or_insert((peer, me));
        if known != (peer, me) {
            return Err(format!("term {term} has two leaders: {known:?} and {:?}", (peer, me)));
        }
        Ok(())
    }

    pub fn terms(&self) -> u64 {
        self.by_term.len() as u64
    }
}
