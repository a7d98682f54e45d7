//! Notes what a person would want to know later: leads taken and lost, who came and went, a full disk.

use crate::board::Board;
use crate::space::Space;
use model::id::CATALOGUE;
use model::{Catalogue, ShardId};
use std::sync::Arc;
use std::time::Duration;

/// What changes within this time is one note: an election of many shards is one story.
const GATHER: Duration = Duration::from_millis(400);

/// Writes notes for ever.
pub async fn keep(board: Arc<Board>, space: Arc<Space>) {
    let mut leads = board.watch_leads();
    let mut catalogue = board.watch_catalogue();
    let mut known = board.catalogue();
    let (mut led, mut full) = (0, false);
    let mut look = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            changed = leads.changed() => if changed.is_err() { return },
            changed = catalogue.changed() => if changed.is_err() { return },
            _ = look.tick() => {}
        }
        tokio::time::sleep(GATHER).await;
        let now = (0..board.shards()).filter(|shard| board.leading(ShardId(*shard))).count();
        if now != led {
            board.meter.note("lead", format!("leads {now} shards now, {led} before"));
            led = now;
        }
        if space.is_full() != full {
            full = space.is_full();
            let text =
                if full { "the disk is full: events are refused" } else { "there is room again" };
            board.meter.note("disk", text);
        }
        let newer = board.catalogue();
        // All peers see it; one tells.
        if board.leading(CATALOGUE) {
            for text in changes(&known, &newer) {
                board.meter.note("roster", text);
            }
        }
        known = newer;
    }
}

/// What differs between two catalogues, as far as people care.
fn changes(old: &Catalogue, new: &Catalogue) -> Vec<String> {
    let mut texts = Vec::new();
    for (id, peer) in &new.roster {
        match old.roster.get(id) {
            None => texts.push(format!("{} joined as {id}", peer.name)),
            Some(before) if before.incarnation != peer.incarnation => {
                texts.push(format!("{} started again", peer.name));
            }
            Some(_) => {}
        }
        match (old.away.get(id), new.away.get(id)) {
            (before, now) if before == now => {}
            (_, Some(why)) => {
                texts.push(format!("{} is {}", peer.name, format!("{why:?}").to_lowercase()))
            }
            (_, None) => texts.push(format!("{} gets shards again", peer.name)),
        }
    }
    for (id, peer) in &old.roster {
        if !new.roster.contains_key(id) {
            texts.push(format!("{} ({id}) is out of the mesh", peer.name));
        }
    }
    for (name, pipeline) in &new.pipelines {
        match old.pipelines.get(name) {
            None => texts.push(format!("pipeline {name} v{} is registered", pipeline.version)),
            Some(before) if before.version != pipeline.version => {
                texts.push(format!("pipeline {name} runs v{} now", pipeline.version));
            }
            Some(_) => {}
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::PeerId;
    use model::catalogue::{Addresses, Away, Enrolled};

    fn with(peers: &[(i32, &str, u64)]) -> Catalogue {
        let enrolled = |(id, name, incarnation): &(i32, &str, u64)| Enrolled {
            id: PeerId(*id),
            key: Vec::new(),
            name: (*name).to_owned(),
            zone: String::new(),
            weight: 100,
            addresses: Addresses::default(),
            incarnation: *incarnation,
            holds: Vec::new(),
            version: String::new(),
        };
        let roster = peers.iter().map(|peer| (PeerId(peer.0), enrolled(peer))).collect();
        Catalogue { roster, ..Catalogue::default() }
    }

    #[test]
    fn who_came_went_and_started_again_is_told_once() {
        let old = with(&[(1, "a", 1), (2, "b", 1)]);
        let mut new = with(&[(1, "a", 2), (3, "c", 1)]);
        new.away.insert(PeerId(3), Away::Drained);
        let texts = changes(&old, &new);
        let expected =
            ["a started again", "c joined as p3", "c is drained", "b (p2) is out of the mesh"];
        assert_eq!(texts, expected);
        assert!(changes(&new, &new).is_empty());
    }
}
